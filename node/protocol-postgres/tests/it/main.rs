//! The PostgreSQL road against a real server, with psql and tokio-postgres as clients.

mod end;
mod harness;
mod hold;
mod pipeline;
mod raw;
mod road;
mod records;
