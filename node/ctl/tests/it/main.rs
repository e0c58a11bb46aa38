//! The commands as operators type them, against the API over a real TLS listener.

mod access;
mod apply;
mod audit;
mod commands;
mod connection;
mod documents;
mod world;
