//! `assize audit`: records, signed heads, and an export that is verified offline.

pub(crate) mod export;
pub(crate) mod verify;

use clap::{Args, Subcommand};
use proto::admin as pb;

use crate::client::{Client, rpc};
use crate::outcome::{Failure, refused};
use crate::output::{Output, fields};
use crate::when::{self, When};

pub(crate) use verify::VerifyArgs;

#[derive(Debug, Clone, Subcommand)]
pub enum AuditCommand {
    /// Records, in the order of the log
    Query(QueryArgs),
    /// The latest signed head of a log, or the one at a size
    Checkpoint(CheckpointArgs),
    /// Write everything a verifier needs into a file, or the records for a log collector
    Export(export::ExportArgs),
    /// Check an export offline: needs no cluster
    Verify(VerifyArgs),
}

#[derive(Debug, Clone, Args)]
pub struct QueryArgs {
    /// `audit/0`, …, or `control` for administration.
    #[arg(long, default_value = "audit/0")]
    log: String,
    /// First record, counted from 0.
    #[arg(long, default_value_t = 0)]
    from: u64,
    #[arg(long, default_value_t = 0, hide_default_value = true, value_name = "COUNT")]
    limit: u32,
    #[arg(long)]
    principal: Option<String>,
    #[arg(long)]
    target: Option<String>,
    #[arg(long)]
    session: Option<String>,
    /// Of one run of an agent's loop; with --principal, of that agent's run of this name.
    #[arg(long)]
    run: Option<String>,
    /// `admission`, `intent`, `outcome`, …
    #[arg(long)]
    kind: Option<String>,
    /// A time, or a span back from now.
    #[arg(long, value_parser = when::parse, value_name = "TIME")]
    since: Option<When>,
    #[arg(long, value_parser = when::parse, value_name = "TIME")]
    until: Option<When>,
    /// Go on as records come, until interrupted.
    #[arg(long)]
    follow: bool,
    /// Print every field of each record.
    #[arg(long)]
    full: bool,
}

#[derive(Debug, Clone, Args)]
pub struct CheckpointArgs {
    #[arg(long, default_value = "audit/0")]
    log: String,
    /// Size of the tree; by default the latest.
    #[arg(long, default_value_t = 0, hide_default_value = true)]
    size: u64,
}

impl AuditCommand {
    pub(crate) async fn run(self, client: &mut Client, out: &mut Output<'_>) -> Result<(), Failure> {
        match self {
            AuditCommand::Query(args) => query(client, out, args).await,
            AuditCommand::Checkpoint(args) => {
                let request = pb::GetCheckpointRequest { log: args.log, size: args.size };
                let found = rpc!(client.ask, audit_client::AuditClient, get_checkpoint, request)?;
                out.show(&found, |c| {
                    let signers: Vec<String> = c.signers.iter().map(u64::to_string).collect();
                    let head = fields(&[
                        ("log", c.log.clone()),
                        ("size", c.size.to_string()),
                        ("root", data_encoding::HEXLOWER.encode(&c.root)),
                        ("made", when::show(c.made.as_ref())),
                        ("signed by nodes", signers.join(", ")),
                    ]);
                    format!("{head}\n{}", String::from_utf8_lossy(&c.signed))
                })
            }
            AuditCommand::Export(args) => export::run(client, out, args).await,
            AuditCommand::Verify(args) => verify::run(args, out),
        }
    }
}

async fn query(client: &mut Client, out: &mut Output<'_>, args: QueryArgs) -> Result<(), Failure> {
    let request = pb::QueryRecordsRequest {
        log: args.log,
        from: args.from,
        limit: args.limit,
        principal: args.principal.unwrap_or_default(),
        target: args.target.unwrap_or_default(),
        session: args.session.unwrap_or_default(),
        kind: args.kind.unwrap_or_default(),
        since: args.since.map(When::back),
        until: args.until.map(When::back),
        with_leaf: false,
        follow: args.follow,
        run: args.run.unwrap_or_default(),
    };
    let mut stream = rpc!(client.stream, audit_client::AuditClient, query_records, request)?;
    while let Some(record) = stream.message().await.map_err(|status| refused(&status))? {
        out.item(&record, |record| line(record, args.full))?;
    }
    Ok(())
}

fn line(r: &pb::AuditRecord, full: bool) -> String {
    let or_dash = |text: &str| if text.is_empty() { "-".to_owned() } else { crate::text::plain(text) };
    let head = format!(
        "{}  {}  node {}  {:<12} {:<16} {:<12} {}",
        r.number,
        when::show(r.at.as_ref()),
        r.node,
        r.kind,
        or_dash(&r.principal),
        or_dash(&r.target),
        crate::text::plain(&r.summary)
    );
    if !full {
        return head.trim_end().to_owned();
    }
    let more = r.fields.iter().map(|(name, value)| format!("\n    {name}: {}", crate::text::plain(value)));
    head.trim_end().to_owned() + &more.collect::<String>()
}
