//! What is promised to operators and agents, each promise against real processes.

mod admin;
mod clients;
mod fence;
mod hold;
mod policy;
mod promises;
mod records;
mod recovery;
mod review;
mod revocation;
mod road;
mod smoke;
