//! `bench`: what the gateway costs, measured beside a direct connection, a connection pool and a byte pump, in turns.
//!
//! It starts everything itself on loopback, in a temporary folder: PostgreSQL, PgBouncer when it is installed, a relay
//! that only copies bytes, and a cluster of three nodes with everything on. The figures of `README.md` are its output.
//!
//! What this crate must not know: anything inside `node/`. It drives the `assize` program and reads `/metrics`, as an
//! operator would, and speaks to nodes with ordinary PostgreSQL clients.

mod cluster;
mod cpu;
mod drive;
mod load;
mod machine;
mod postgres;
mod relay;
mod sections;
mod stub;
mod table;
mod targets;

use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::Result;
use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(about = "What the gateway costs, beside direct, PgBouncer and a bare relay")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Every section of the report
    All(Plan),
    /// Copy bytes between clients and one upstream: the least that any gateway costs
    Relay { listen: SocketAddr, upstream: SocketAddr },
    /// A server that accepts everybody and answers every statement with one row
    Stub { listen: SocketAddr },
    /// Open sessions and keep them until standard input ends
    Idle {
        /// `host=… port=… user=… password=… dbname=…`
        conninfo: String,
        #[arg(long, default_value_t = 10_000)]
        sessions: usize,
    },
    /// Send statements without waiting for each answer
    Flood {
        conninfo: String,
        #[arg(long, default_value_t = 8)]
        clients: usize,
        /// Statements on their way at once, for each client
        #[arg(long, default_value_t = 64)]
        pipeline: usize,
        #[arg(long, default_value_t = 3)]
        seconds: u64,
    },
}

#[derive(Parser, Clone)]
struct Plan {
    /// The program to measure; by default `assize` beside this one
    #[arg(long)]
    assize: Option<PathBuf>,
    /// Turns that every target takes in each table
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Measured seconds of one turn, after a second to connect and warm up
    #[arg(long, default_value_t = 1)]
    seconds: usize,
    /// Only these sections: statements, latency, churn, orm, stream, idle, records
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// Idle sessions of the memory section
    #[arg(long, default_value_t = 10_000)]
    sessions: usize,
    /// Keep everything running after the report, until standard input ends
    #[arg(long)]
    keep: bool,
}

fn main() -> Result<()> {
    match Arguments::parse().command {
        Command::All(plan) => sections::all(&plan),
        Command::Relay { listen, upstream } => runtime()?.block_on(relay::run(listen, upstream)),
        Command::Stub { listen } => runtime()?.block_on(stub::run(listen)),
        Command::Idle { conninfo, sessions } => runtime()?.block_on(drive::idle(&conninfo, sessions)),
        Command::Flood { conninfo, clients, pipeline, seconds } => {
            runtime()?.block_on(drive::flood(&conninfo, clients, pipeline, std::time::Duration::from_secs(seconds)))
        }
    }
}

/// One thread, so that the relay and the stub cost as little as they can.
fn runtime() -> Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_current_thread().enable_all().build()?)
}
