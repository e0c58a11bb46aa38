//! The API over a real TLS listener, with the state of a cluster in memory behind it.

mod access;
mod ask;
mod audit;
mod grants;
mod nouns;
mod policies;
mod routes;
mod world;
