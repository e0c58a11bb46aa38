//! What runs on the node itself, before there is an API to call. The server supplies it.

use std::io::Write;
use std::path::PathBuf;

use clap::Args;

/// Makes the first node of a new cluster.
#[derive(Debug, Clone, Args)]
pub struct InitArgs {
    /// The node's configuration file.
    #[arg(long, value_name = "FILE")]
    pub config: PathBuf,
    /// The first person with all rights; a client certificate and an admin token are made for them.
    #[arg(long, value_name = "NAME", default_value = "admin")]
    pub admin: String,
    /// Where the first admin's certificate, key and token go; by default `admin/` beside the data.
    #[arg(long, value_name = "FOLDER")]
    pub admin_out: Option<PathBuf>,
}

/// Makes this machine a node of an existing cluster.
#[derive(Debug, Clone, Args)]
pub struct JoinArgs {
    /// The node's configuration file.
    #[arg(long, value_name = "FILE")]
    pub config: PathBuf,
    /// QUIC address of any node of the cluster.
    #[arg(long, value_name = "HOST:PORT")]
    pub peer: String,
    /// File with the single-use join token; `-` reads standard input.
    #[arg(long, value_name = "FILE")]
    pub token_file: PathBuf,
}

/// Starts a new incarnation of a cluster that lost its quorum.
#[derive(Debug, Clone, Args)]
pub struct RecoverArgs {
    /// The surviving node's configuration file.
    #[arg(long, value_name = "FILE")]
    pub config: PathBuf,
    /// A backup to recover from; without one, from this node's own data.
    #[arg(long, value_name = "FILE")]
    pub backup: Option<PathBuf>,
    /// File with the recovery key that `cluster init` printed.
    #[arg(long, value_name = "FILE")]
    pub recovery_key_file: Option<PathBuf>,
    /// The person with all rights from now on, known before or new; a client certificate is made for them.
    #[arg(long, value_name = "NAME", default_value = "admin")]
    pub admin: String,
    /// Where that person's certificate and key go; by default `admin/` beside the data.
    #[arg(long, value_name = "FOLDER")]
    pub admin_out: Option<PathBuf>,
    /// Approvals become void and grants wait for confirmation: say that this is understood.
    #[arg(long)]
    pub yes: bool,
}

/// Makes a witness: a key, and a state that has seen nothing.
#[derive(Debug, Clone, Args)]
pub struct WitnessInitArgs {
    /// Its name in signatures, such as witness.example/w1.
    #[arg(long)]
    pub name: String,
    /// Where its key goes; must not exist.
    #[arg(long, value_name = "FILE")]
    pub key_file: PathBuf,
    /// Where it keeps what it co-signed last; must not exist.
    #[arg(long, value_name = "FILE")]
    pub state: PathBuf,
}

/// Runs a witness. Signatures make it safe to be reached without TLS; put it behind whatever serves the public there.
#[derive(Debug, Clone, Args)]
pub struct WitnessServeArgs {
    #[arg(long, value_name = "FILE")]
    pub key_file: PathBuf,
    /// Kept by it alone. A witness whose state was lost is retired with its key.
    #[arg(long, value_name = "FILE")]
    pub state: PathBuf,
    #[arg(long, value_name = "HOST:PORT")]
    pub listen: std::net::SocketAddr,
    /// A key that may sign a log's heads, as `assize witness list` shows them. Of a cluster's keys a majority must sign.
    #[arg(long = "trust", required = true, value_name = "KEY")]
    pub trust: Vec<String>,
}

/// Implemented by the server over its own folders and the cluster crate. All are run while no node process runs there.
pub trait LocalOps {
    fn init(&self, args: InitArgs, out: &mut dyn Write) -> anyhow::Result<()>;
    fn join(&self, args: JoinArgs, out: &mut dyn Write) -> anyhow::Result<()>;
    fn recover(&self, args: RecoverArgs, out: &mut dyn Write) -> anyhow::Result<()>;
    fn witness_init(&self, args: WitnessInitArgs, out: &mut dyn Write) -> anyhow::Result<()>;
    fn witness_serve(&self, args: WitnessServeArgs, out: &mut dyn Write) -> anyhow::Result<()>;
}
