//! The store against openraft's own suite, against kill -9, and against flipped bytes.

mod crash;
mod damage;
mod install;
mod ledger;
mod oracle;
mod restart;
mod suite;
