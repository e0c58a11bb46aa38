//! The PostgreSQL road against a real server, with psql and tokio-postgres as clients.

mod harness;
mod road;
