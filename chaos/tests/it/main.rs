//! What is promised to operators and agents, each promise against real processes.

mod admin;
mod ask;
mod clients;
mod demo;
mod fence;
mod hold;
mod outbound;
mod points;
mod policy;
mod power;
mod promises;
mod records;
mod recovery;
mod retention;
mod review;
mod revocation;
mod road;
mod smoke;
mod trigger;
mod usage;
mod witness;
