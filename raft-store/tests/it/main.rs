//! The store against openraft's own suite, against kill -9, and against flipped bytes.

mod crash;
mod damage;
mod install;
mod ledger;
mod oracle;
mod planted;
mod power;
mod prune;
mod restart;
mod suite;
