//! The PostgreSQL road against a real server, with psql and tokio-postgres as clients.

mod differential;
mod end;
mod harness;
mod hold;
mod pipeline;
mod raw;
mod records;
mod road;
mod server;
