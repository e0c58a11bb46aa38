//! protocol-postgres
