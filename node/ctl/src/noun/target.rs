use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};
use proto::admin as pb;
use proto::admin::upstream_tls::{Mode, Off, RequireUnverified, VerifyFull};

use super::principal::relabel;
use super::{DeleteArgs, NameArg, receipt};
use crate::client::{Client, rpc};
use crate::config;
use crate::outcome::Failure;
use crate::output::{Output, Table, fields};
use crate::text::{labels, parse_label, yes};
use crate::when::{parse_span, show_span, span_to_wire};

#[derive(Debug, Clone, Subcommand)]
pub enum TargetCommand {
    Create(CreateArgs),
    /// Change what is given, keep the rest
    Update(UpdateArgs),
    Get(NameArg),
    List,
    /// Sessions with it end on all nodes
    Delete(DeleteArgs),
    /// Let the node dial it with its credential, and tell what goes round the gateway there
    Check(NameArg),
}

#[derive(Debug, Clone, Args)]
pub struct CreateArgs {
    name: String,
    #[arg(long, value_name = "HOST:PORT")]
    address: String,
    /// The credential the gateway uses towards it.
    #[arg(long)]
    credential: String,
    /// The database a session gets when the client names only the target.
    #[arg(long)]
    database: String,
    #[command(flatten)]
    rest: Settings,
}

#[derive(Debug, Clone, Args)]
pub struct UpdateArgs {
    name: String,
    #[arg(long, value_name = "HOST:PORT")]
    address: Option<String>,
    #[arg(long)]
    credential: Option<String>,
    #[arg(long)]
    database: Option<String>,
    #[command(flatten)]
    rest: Settings,
}

#[derive(Debug, Clone, Args)]
struct Settings {
    /// How the gateway speaks to it; verify-full unless said otherwise.
    #[arg(long, value_enum)]
    tls: Option<Tls>,
    /// PEM file with the authorities to trust; by default the system's.
    #[arg(long, value_name = "FILE")]
    tls_roots: Option<PathBuf>,
    /// Name its certificate must have; by default the host of the address.
    #[arg(long, value_name = "NAME")]
    tls_server_name: Option<String>,
    /// How long a held operation keeps its client waiting.
    #[arg(long, value_parser = parse_span, value_name = "TIME")]
    hold: Option<Duration>,
    /// How long a request made by being held stays open.
    #[arg(long, value_parser = parse_span, value_name = "TIME")]
    request_expiry: Option<Duration>,
    /// How many people must approve a request.
    #[arg(long, value_name = "COUNT")]
    approvals: Option<u32>,
    /// Person who may decide on requests for it.
    #[arg(long)]
    owner: Option<String>,
    /// It stands behind a pooler, so cancelling may miss.
    #[arg(long)]
    weak_cancel: Option<bool>,
    #[arg(long, value_name = "KEY=VALUE", value_parser = parse_label)]
    label: Vec<(String, String)>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Tls {
    VerifyFull,
    /// Encrypted, the peer not verified.
    RequireUnverified,
    Off,
}

impl Settings {
    fn apply(self, target: &mut pb::Target) -> Result<(), Failure> {
        match (self.tls, self.tls_roots, self.tls_server_name) {
            (None, None, None) => {}
            (None | Some(Tls::VerifyFull), roots, name) => {
                let roots_pem = roots.map(|path| config::read(&path)).transpose()?.unwrap_or_default();
                target.tls = Some(mode(Mode::VerifyFull(VerifyFull { roots_pem, server_name: name.unwrap_or_default() })));
            }
            (Some(Tls::RequireUnverified), None, None) => target.tls = Some(mode(Mode::RequireUnverified(RequireUnverified {}))),
            (Some(Tls::Off), None, None) => target.tls = Some(mode(Mode::Off(Off {}))),
            (Some(Tls::RequireUnverified | Tls::Off), ..) => {
                return Err(Failure::usage("--tls-roots and --tls-server-name need --tls verify-full"));
            }
        }
        target.hold = self.hold.map(span_to_wire).or(target.hold.take());
        target.request_expiry = self.request_expiry.map(span_to_wire).or(target.request_expiry.take());
        target.approvals_needed = self.approvals.unwrap_or(target.approvals_needed);
        target.owner = self.owner.unwrap_or_else(|| std::mem::take(&mut target.owner));
        target.weak_cancel = self.weak_cancel.unwrap_or(target.weak_cancel);
        relabel(&mut target.labels, self.label);
        Ok(())
    }
}

fn mode(mode: Mode) -> pb::UpstreamTls {
    pb::UpstreamTls { mode: Some(mode) }
}

impl TargetCommand {
    pub(crate) async fn run(self, client: &mut Client, out: &mut Output<'_>) -> Result<(), Failure> {
        match self {
            TargetCommand::Create(args) => {
                let mut target = pb::Target {
                    name: args.name,
                    protocol: pb::Protocol::Postgres.into(),
                    address: args.address,
                    credential: args.credential,
                    default_database: args.database,
                    ..Default::default()
                };
                args.rest.apply(&mut target)?;
                let request = pb::CreateTargetRequest { target: Some(target), ..Default::default() };
                let made = rpc!(client.change, targets_client::TargetsClient, create_target, request)?;
                out.show(&made, |made| format!("created {}\n", made.name))
            }
            TargetCommand::Update(args) => {
                let mut target = find(client, &args.name).await?;
                target.address = args.address.unwrap_or(target.address);
                target.credential = args.credential.unwrap_or(target.credential);
                target.default_database = args.database.unwrap_or(target.default_database);
                args.rest.apply(&mut target)?;
                let request = pb::UpdateTargetRequest { target: Some(target), ..Default::default() };
                let done = rpc!(client.change, targets_client::TargetsClient, update_target, request)?;
                out.show(&done, |done| format!("updated\n{}", receipt::render(done.receipt.as_ref())))
            }
            TargetCommand::Get(args) => {
                let found = find(client, &args.name).await?;
                out.show(&found, render)
            }
            TargetCommand::List => {
                let targets =
                    super::all_pages!(client, targets_client::TargetsClient, list_targets, pb::ListTargetsRequest::default(), targets);
                let all = pb::ListTargetsResponse { targets, ..Default::default() };
                out.show(&all, |all| {
                    let mut table = Table::new(&["NAME", "ADDRESS", "TLS", "CREDENTIAL", "DATABASE", "OWNER", "LABELS"]);
                    for t in &all.targets {
                        table.row([
                            t.name.clone(),
                            t.address.clone(),
                            tls_name(t),
                            t.credential.clone(),
                            t.default_database.clone(),
                            t.owner.clone(),
                            labels(&t.labels),
                        ]);
                    }
                    table.render()
                })
            }
            TargetCommand::Delete(args) => {
                let request =
                    pb::DeleteTargetRequest { name: args.name.clone(), etag: args.etag.unwrap_or_default(), ..Default::default() };
                let done = rpc!(client.change, targets_client::TargetsClient, delete_target, request)?;
                out.show(&done, |done| format!("deleted {}\n{}", args.name, receipt::render(done.receipt.as_ref())))
            }
            TargetCommand::Check(args) => check(client, out, args.name).await,
        }
    }
}

pub(crate) async fn find(client: &mut Client, name: &str) -> Result<pb::Target, Failure> {
    rpc!(client.ask, targets_client::TargetsClient, get_target, pb::GetTargetRequest { name: name.to_owned() })
}

/// Exit status 1 when the target cannot be reached, so that scripts can wait for it, and when a finding is high.
async fn check(client: &mut Client, out: &mut Output<'_>, name: String) -> Result<(), Failure> {
    let found = rpc!(client.ask, targets_client::TargetsClient, check_target, pb::CheckTargetRequest { name: name.clone() })?;
    out.show(&found, |found| {
        let mut table = Table::new(&["STEP", "RESULT", "TOOK", "FINDING"]);
        for step in &found.steps {
            let took = step.took.as_ref().map(|t| format!("{} ms", t.seconds * 1000 + i64::from(t.nanos) / 1_000_000)).unwrap_or_default();
            table.row([step.step.clone(), if step.passed { "passed".into() } else { "failed".into() }, took, step.finding.clone()]);
        }
        let steps = table.render();
        if found.findings.is_empty() {
            return steps;
        }
        let mut table = Table::new(&["SEVERITY", "CODE", "WHAT GOES ROUND THE GATEWAY"]);
        for finding in &found.findings {
            table.row([finding.severity.clone(), finding.code.clone(), finding.finding.clone()]);
        }
        format!("{steps}\n{}", table.render())
    })?;
    let high = found.findings.iter().filter(|finding| finding.severity == "high").count();
    match (found.reachable, high) {
        (false, _) => Err(Failure::failed(format!("node {} cannot use {name}", found.node))),
        (true, 0) => Ok(()),
        (true, high) => Err(Failure::failed(format!("{name}: {high} of {} findings are high", found.findings.len()))),
    }
}

fn tls_name(target: &pb::Target) -> String {
    match target.tls.as_ref().and_then(|t| t.mode.as_ref()) {
        Some(Mode::VerifyFull(_)) | None => "verify-full".into(),
        Some(Mode::RequireUnverified(_)) => "unverified".into(),
        Some(Mode::Off(_)) => "off".into(),
    }
}

fn render(t: &pb::Target) -> String {
    fields(&[
        ("name", t.name.clone()),
        ("protocol", "postgres".into()),
        ("address", t.address.clone()),
        ("tls", tls_name(t)),
        ("credential", t.credential.clone()),
        ("database", t.default_database.clone()),
        ("hold", show_span(t.hold.as_ref())),
        ("request expiry", show_span(t.request_expiry.as_ref())),
        ("approvals needed", t.approvals_needed.to_string()),
        ("owner", t.owner.clone()),
        ("behind a pooler", yes(t.weak_cancel)),
        ("labels", labels(&t.labels)),
        ("version", t.etag.clone()),
    ])
}
