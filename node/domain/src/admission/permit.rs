//! The permit: proof that an admission said yes. Only admission can make one; dialling a target takes `&Permit`.
