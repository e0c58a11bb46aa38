//! The operator's commands, as a library: the binary is `assize`, in the server crate.
//!
//! What this crate must **not** know: Raft, RocksDB, sessions, the state. It speaks to a node through `proto` like any
//! other client, and checks exports offline with `domain::audit` and policy bundles with `policy`. What runs on the node itself (`cluster init`, `join`,
//! `recover`) the server supplies as [`LocalOps`].
//!
//! A command is first what was typed ([`Command`]), then requests, then an answer printed as a table or as proto3 JSON.

mod access;
mod apply;
mod audit;
mod client;
mod config;
mod explain;
mod local;
mod login;
mod noun;
mod outcome;
mod output;
mod text;
mod when;

pub use access::AccessCommand;
pub use audit::AuditCommand;
pub use local::{InitArgs, JoinArgs, LocalOps, RecoverArgs, WitnessInitArgs, WitnessServeArgs};
pub use noun::cluster::ClusterCommand;
pub use noun::witness::WitnessCommand;
pub use outcome::{EXIT_FAILED, EXIT_UNKNOWN, EXIT_USAGE, Failure};
pub use output::Format;

use std::io::Write;
use std::process::ExitCode;

use clap::{Args, Subcommand};

use crate::client::Client;
use crate::output::Output;

/// Options of every command.
#[derive(Debug, Clone, Default, Args)]
pub struct Options {
    /// Admin addresses of nodes, `host:port`, comma separated; the next is tried when one cannot be reached.
    #[arg(long, global = true, env = "ASSIZE_ADDR", value_name = "HOST:PORT,…", help_heading = "Connection")]
    pub addr: Option<String>,
    /// Admin token. Better given by environment or `assize login`: arguments are seen by other users of the machine.
    #[arg(long, global = true, env = "ASSIZE_TOKEN", hide_env_values = true, value_name = "TOKEN", help_heading = "Connection")]
    pub token: Option<String>,
    /// PEM file with the cluster's certificate authority.
    #[arg(long, global = true, env = "ASSIZE_CA", value_name = "FILE", help_heading = "Connection")]
    pub ca: Option<std::path::PathBuf>,
    /// PEM file with a client certificate.
    #[arg(long, global = true, env = "ASSIZE_CERT", value_name = "FILE", help_heading = "Connection")]
    pub cert: Option<std::path::PathBuf>,
    /// PEM file with the client certificate's key.
    #[arg(long, global = true, env = "ASSIZE_KEY", value_name = "FILE", help_heading = "Connection")]
    pub key: Option<std::path::PathBuf>,
    /// Name the node's certificate must have; by default the host of the address.
    #[arg(long, global = true, env = "ASSIZE_SERVER_NAME", value_name = "NAME", help_heading = "Connection")]
    pub server_name: Option<String>,
    /// How long one call may take.
    #[arg(long, global = true, default_value = "30s", value_parser = when::parse_span, value_name = "TIME", help_heading = "Connection")]
    pub timeout: Option<std::time::Duration>,

    /// Print tables for people or proto3 JSON for programs.
    #[arg(short, long, global = true, default_value = "table", value_enum)]
    pub output: Option<Format>,
    /// Id of this change: repeating a command with the same id changes nothing twice.
    #[arg(long, global = true, value_name = "ID")]
    pub request_id: Option<String>,
    /// When the outcome is unknown, repeat with the same id up to so many times.
    #[arg(long, global = true, default_value_t = 0, value_name = "TIMES")]
    pub retry_unknown: u32,
}

/// `assize COMMAND`.
#[derive(Debug, Clone, Subcommand)]
pub enum Command {
    /// Make the cluster as files say: idempotent, only what apply made is ever pruned
    Apply(apply::ApplyArgs),
    /// Agents: loops, bots, pipelines
    #[command(subcommand)]
    Agent(noun::agent::AgentCommand),
    /// People who answer for agents, decide and operate
    #[command(subcommand)]
    Person(noun::person::PersonCommand),
    /// Protected services
    #[command(subcommand)]
    Target(noun::target::TargetCommand),
    /// Secrets the gateway uses towards targets
    #[command(subcommand)]
    Credential(noun::credential::CredentialCommand),
    /// Named sets of permissions
    #[command(subcommand)]
    Role(noun::role::RoleCommand),
    /// Job descriptions
    #[command(subcommand)]
    Job(noun::job::JobCommand),
    /// Secrets principals prove themselves with
    #[command(subcommand)]
    Token(noun::token::TokenCommand),
    /// The only source of access
    #[command(subcommand)]
    Grant(noun::grant::GrantCommand),
    /// Access requests and their approvals
    #[command(subcommand)]
    Request(noun::request::RequestCommand),
    /// Access opened at once and answered for afterwards
    #[command(subcommand)]
    BreakGlass(noun::break_glass::BreakGlassCommand),
    /// Campaigns in which people recertify access
    #[command(subcommand)]
    Review(noun::review::ReviewCommand),
    /// Rules in Rego that refuse, hold and oblige
    #[command(subcommand)]
    Policy(noun::policy::PolicyCommand),
    /// Emergency stops
    #[command(subcommand)]
    Lock(noun::lock::LockCommand),
    /// Where notifications and records are sent
    #[command(subcommand)]
    Sink(noun::sink::SinkCommand),
    /// Others who co-sign the heads of the logs
    #[command(subcommand)]
    Witness(noun::witness::WitnessCommand),
    /// How long audit records are kept
    #[command(subcommand)]
    Retention(noun::retention::RetentionCommand),
    /// Legal holds: records that no rule prunes
    #[command(subcommand)]
    Hold(noun::hold::HoldCommand),
    /// Live sessions
    #[command(subcommand)]
    Session(noun::session::SessionCommand),
    /// Runs of agents' loops, told from the audit log
    #[command(subcommand)]
    Run(noun::run::RunCommand),
    /// What would be decided, and why
    Explain(explain::ExplainArgs),
    /// Who could reach what, and who approved it
    #[command(subcommand)]
    Access(AccessCommand),
    /// The audit log and its proofs
    #[command(subcommand)]
    Audit(AuditCommand),
    /// The nodes
    #[command(subcommand)]
    Cluster(ClusterCommand),
    /// Store address, authority and token for later commands
    Login(login::LoginArgs),
}

/// Runs one command to its exit status: 0 done, 1 refused or failed, 2 usage, 3 outcome unknown.
pub fn run(options: Options, command: Command, local: &dyn LocalOps) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let result = match runtime {
        Ok(runtime) => runtime.block_on(run_to(options, command, local, &mut std::io::stdout())),
        Err(error) => Err(Failure::failed(format!("starting: {error}"))),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            // A reader that left (`| head`) is no failure worth words.
            if !failure.is_silent() {
                eprintln!("assize: {failure}");
            }
            ExitCode::from(failure.exit_code())
        }
    }
}

/// As [`run`], printing to `out`.
///
/// # Errors
/// [`Failure`], with the exit status it stands for.
pub async fn run_to(options: Options, command: Command, local: &dyn LocalOps, out: &mut (dyn Write + Send)) -> Result<(), Failure> {
    let mut out = Output::new(options.output.unwrap_or(Format::Table), out);
    // What needs no cluster comes first: it must work without an address.
    let command = match command {
        Command::Login(args) => return login::run(&options, args, &mut out).await,
        Command::Audit(AuditCommand::Verify(args)) => return audit::verify::run(args, &mut out),
        Command::Cluster(ClusterCommand::Init(args)) => return local.init(args, out.writer()).map_err(Failure::from),
        Command::Cluster(ClusterCommand::Join(args)) => return local.join(args, out.writer()).map_err(Failure::from),
        Command::Witness(WitnessCommand::Init(args)) => return local.witness_init(args, out.writer()).map_err(Failure::from),
        Command::Witness(WitnessCommand::Serve(args)) => return local.witness_serve(args, out.writer()).map_err(Failure::from),
        Command::Cluster(ClusterCommand::Recover(args)) => return local.recover(args, out.writer()).map_err(Failure::from),
        Command::Policy(command) => match command.offline(&mut out)? {
            Some(command) => Command::Policy(command),
            None => return Ok(()),
        },
        other => other,
    };
    let client = &mut Client::new(config::resolve(&options)?)?;
    match command {
        Command::Apply(args) => apply::run(client, args, &mut out).await,
        Command::Agent(command) => command.run(client, &mut out).await,
        Command::Person(command) => command.run(client, &mut out).await,
        Command::Target(command) => command.run(client, &mut out).await,
        Command::Credential(command) => command.run(client, &mut out).await,
        Command::Role(command) => command.run(client, &mut out).await,
        Command::Job(command) => command.run(client, &mut out).await,
        Command::Token(command) => command.run(client, &mut out).await,
        Command::Grant(command) => command.run(client, &mut out).await,
        Command::Request(command) => command.run(client, &mut out).await,
        Command::BreakGlass(command) => command.run(client, &mut out).await,
        Command::Review(command) => command.run(client, &mut out).await,
        Command::Policy(command) => command.run(client, &mut out).await,
        Command::Lock(command) => command.run(client, &mut out).await,
        Command::Sink(command) => command.run(client, &mut out).await,
        Command::Witness(command) => command.run(client, &mut out).await,
        Command::Retention(command) => command.run(client, &mut out).await,
        Command::Hold(command) => command.run(client, &mut out).await,
        Command::Session(command) => command.run(client, &mut out).await,
        Command::Run(command) => command.run(client, &mut out).await,
        Command::Explain(args) => explain::run(client, args, &mut out).await,
        Command::Access(command) => command.run(client, &mut out).await,
        Command::Audit(command) => command.run(client, &mut out).await,
        Command::Cluster(command) => command.run(client, &mut out).await,
        Command::Login(_) => Ok(()),
    }
}
