//! Attacks on the promises, from outside: real processes, the admin API through the real CLI, real clients, a real
//! PostgreSQL.
//!
//! What this crate must **not** know: anything under `node/`. It sees what an operator and an agent see.

pub mod admin;
pub mod arena;
pub mod attack;
pub mod clients;
pub mod cluster;
pub mod fault;
pub mod history;
pub mod load;
pub mod ports;
pub mod postgres;
pub mod power;
pub mod process;
pub mod receiver;
pub mod recorder;
pub mod wait;
