//! The process: one binary, `assize`, that is a node (`assize node`) or an operator's command.
//!
//! What this crate must **not** do: decide anything. It reads the configuration, wires the rooms together and keeps
//! the process well-behaved.

mod alarm;
mod authority;
mod backup;
mod config;
mod control;
mod demo;
mod enforcement;
mod http;
mod local_ops;
mod neighbour;
mod node;
mod orphan;
mod outbound;
mod own_login;
mod retention;
mod target;
mod time;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Assize: an access review in every agent loop.
#[derive(Parser)]
#[command(name = "assize", version, propagate_version = true)]
struct Cli {
    #[command(flatten)]
    options: ctl::Options,
    #[command(subcommand)]
    command: Top,
}

#[derive(Subcommand)]
enum Top {
    /// Run a node until it is told to stop
    Node {
        /// The node's configuration.
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
    },
    /// Show the main job on this machine: three nodes, a PostgreSQL of their own, one agent loop; about a minute
    Demo {
        /// Leave the cluster running, and say how to reach and how to stop it.
        #[arg(long)]
        keep: bool,
    },
    #[command(flatten)]
    Operator(Box<ctl::Command>),
}

fn main() -> ExitCode {
    // One provider for the whole process, before anybody asks for it.
    if rustls::crypto::aws_lc_rs::default_provider().install_default().is_err() {
        eprintln!("assize: another TLS provider was installed first");
        return ExitCode::FAILURE;
    }
    if let Err(refused) = planted::from_environment() {
        eprintln!("assize: {refused}");
        return ExitCode::FAILURE;
    }
    let cli = Cli::parse();
    match cli.command {
        Top::Node { config } => node::run(&config),
        Top::Demo { keep } => demo::run(keep),
        Top::Operator(command) => ctl::run(cli.options, *command, &local_ops::OnThisMachine),
    }
}
