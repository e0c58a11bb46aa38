use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

use clap::{Args, Subcommand};
use proto::admin as pb;

use crate::client::{Client, rpc};
use crate::local::{InitArgs, JoinArgs, RecoverArgs};
use crate::outcome::Failure;
use crate::output::{Output, Table, fields};
use crate::text::yes;
use crate::when::{self, parse_span, span_to_wire};

#[derive(Debug, Clone, Subcommand)]
pub enum ClusterCommand {
    /// Make the first node of a new cluster; run on the node
    Init(InitArgs),
    /// Make this machine a node of an existing cluster; run on the node
    Join(JoinArgs),
    Status,
    /// A single-use token with which one node joins
    JoinToken(JoinTokenArgs),
    /// Make a node that has joined a voter
    Add(NodeArg),
    /// Take a node out for good
    Remove(NodeArg),
    /// Let another voter lead
    Transfer(TransferArgs),
    /// Write a consistent, encrypted copy of the cluster's data
    Backup(BackupArgs),
    /// Start a new incarnation after a lost quorum; run on the node
    Recover(RecoverArgs),
}

#[derive(Debug, Clone, Args)]
pub struct JoinTokenArgs {
    #[arg(long, value_parser = parse_span, default_value = "1h", value_name = "TIME")]
    valid: std::time::Duration,
}

#[derive(Debug, Clone, Args)]
pub struct NodeArg {
    /// The node's number.
    node: u64,
}

#[derive(Debug, Clone, Args)]
pub struct TransferArgs {
    /// By default any other voter.
    #[arg(long, default_value_t = 0, hide_default_value = true, value_name = "NODE")]
    to: u64,
}

#[derive(Debug, Clone, Args)]
pub struct BackupArgs {
    /// Must not exist yet.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

impl ClusterCommand {
    pub(crate) async fn run(self, client: &mut Client, out: &mut Output<'_>) -> Result<(), Failure> {
        match self {
            ClusterCommand::Status => {
                let status = rpc!(client.ask, cluster_client::ClusterClient, get_status, pb::GetStatusRequest {})?;
                out.show(&status, render)
            }
            ClusterCommand::JoinToken(args) => {
                let request = pb::CreateJoinTokenRequest { valid: Some(span_to_wire(args.valid)), ..Default::default() };
                let made = rpc!(client.change, cluster_client::ClusterClient, create_join_token, request)?;
                if !out.is_json() {
                    eprintln!("good for one node until {}; shown this once:", when::show(made.expires.as_ref()));
                }
                out.show(&made, |made| format!("{}\n", made.token))
            }
            ClusterCommand::Add(args) => {
                let request = pb::AddVoterRequest { node: args.node, ..Default::default() };
                let status = rpc!(client.change, cluster_client::ClusterClient, add_voter, request)?;
                out.show(&status, render)
            }
            ClusterCommand::Remove(args) => {
                let request = pb::RemoveNodeRequest { node: args.node, ..Default::default() };
                let done = rpc!(client.change, cluster_client::ClusterClient, remove_node, request)?;
                out.show(&done, |done| done.status.as_ref().map(render).unwrap_or_default())
            }
            ClusterCommand::Transfer(args) => {
                let request = pb::TransferLeaderRequest { to: args.to };
                let status = rpc!(client.change, cluster_client::ClusterClient, transfer_leader, request)?;
                out.show(&status, render)
            }
            ClusterCommand::Backup(args) => backup(client, out, args).await,
            // Taken by `run_to` before there is a client.
            ClusterCommand::Init(_) | ClusterCommand::Join(_) | ClusterCommand::Recover(_) => Err(Failure::usage("runs on the node")),
        }
    }
}

/// A backup cut short is not left behind under the name of a whole one.
async fn backup(client: &mut Client, out: &mut Output<'_>, args: BackupArgs) -> Result<(), Failure> {
    if args.out.exists() {
        return Err(Failure::usage(format!("{} exists already", args.out.display())));
    }
    let part = args.out.with_extension("part");
    let mut stream = rpc!(client.stream, cluster_client::ClusterClient, backup, pb::BackupRequest {})?;
    let mut file = std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&part)?;
    let mut size = 0;
    while let Some(chunk) = stream.message().await.map_err(|status| crate::outcome::refused(&status))? {
        size += chunk.bytes.len();
        file.write_all(&chunk.bytes)?;
    }
    file.sync_all()?;
    std::fs::rename(&part, &args.out)?;
    out.say(&format!("{size} bytes in {}; it opens with the recovery key only", args.out.display()))
}

fn render(s: &pb::ClusterStatus) -> String {
    let leader = if s.leader == 0 { "none is known".into() } else { s.leader.to_string() };
    let mut text = fields(&[
        ("cluster", format!("{} (incarnation {})", s.id, s.incarnation)),
        ("answered by node", s.node.to_string()),
        ("version", s.version.clone()),
        ("leader", format!("{leader} in term {}", s.term)),
        ("committed, applied", format!("{}, {}", s.committed, s.applied)),
        ("log time", when::show(s.log_time.as_ref())),
        ("serving lease", yes(s.lease)),
        ("feature level", s.feature_level.to_string()),
    ]);
    let mut nodes = Table::new(&["NODE", "ADDRESS", "ADMIN", "ROLE", "SERVING", "MATCHED", "REACHABLE"]);
    for n in &s.nodes {
        let role = match n.role() {
            pb::NodeRole::Voter => "voter",
            pb::NodeRole::Learner => "learner",
            pb::NodeRole::Removed => "removed",
            pb::NodeRole::Unspecified => "",
        };
        let matched = n.matched.map(|m| m.to_string()).unwrap_or_default();
        nodes.row([
            n.node.to_string(),
            n.address.clone(),
            n.admin_address.clone(),
            role.into(),
            yes(n.serving),
            matched,
            n.reachable.map(yes).unwrap_or_default(),
        ]);
    }
    text.push_str(&nodes.render());
    if !s.logs.is_empty() {
        let mut logs = Table::new(&["LOG", "LEADER", "RECORDS", "CHECKPOINT AT"]);
        for l in &s.logs {
            logs.row([l.log.clone(), l.leader.to_string(), l.size.to_string(), l.checkpoint_size.to_string()]);
        }
        text.push_str(&logs.render());
    }
    text.push_str(&super::break_glass::live(&s.break_glass));
    let owed = s.break_glass.iter().filter(|b| b.review.is_none()).count();
    if owed > 0 {
        text.push_str(&format!("{owed} times glass was broken and nobody has reviewed it: assize break-glass list\n"));
    }
    text
}
