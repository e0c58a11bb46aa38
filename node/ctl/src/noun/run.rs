use clap::{Args, Subcommand};
use proto::admin as pb;

use crate::client::{Client, rpc};
use crate::outcome::Failure;
use crate::output::{Output, Table, fields};
use crate::when::{self, When};

#[derive(Debug, Clone, Subcommand)]
pub enum RunCommand {
    /// A run's own story: its sessions on all nodes, what was asked, decided and done in them
    Get(GetArgs),
}

#[derive(Debug, Clone, Args)]
pub struct GetArgs {
    /// As the client named it, e.g. nightly-17.
    run: String,
    /// Whose run: names are each principal's own.
    #[arg(long)]
    principal: Option<String>,
    /// A time, or a span back from now: spares reading an old log.
    #[arg(long, value_parser = when::parse, value_name = "TIME")]
    since: Option<When>,
}

impl RunCommand {
    pub(crate) async fn run(self, client: &mut Client, out: &mut Output<'_>) -> Result<(), Failure> {
        let RunCommand::Get(args) = self;
        let request = pb::GetRunRequest { run: args.run, principal: args.principal.unwrap_or_default(), since: args.since.map(When::back) };
        let found = rpc!(client.ask, runs_client::RunsClient, get_run, request)?;
        out.show(&found, |found| {
            let cut = if found.cut { "the log is longer than one call reads: later records are not told; say --since\n" } else { "" };
            found.runs.iter().map(render).collect::<Vec<_>>().join("\n") + cut
        })
    }
}

fn render(run: &pb::Run) -> String {
    let done = run.operations.unwrap_or_default();
    let counted = [
        (done.allowed, "allowed"),
        (done.approved, "of them by approval"),
        (done.held, "held"),
        (done.refused, "refused"),
        (done.failed, "failed at the target"),
        (done.unknown, "of unknown outcome"),
    ];
    let counted: Vec<String> = counted.iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}")).collect();
    let head = fields(&[
        ("run", run.run.clone()),
        ("principal", run.principal.clone()),
        ("first record", when::show(run.first.as_ref())),
        ("last record", when::show(run.last.as_ref())),
        ("admission reviews", format!("{} approved, {} modified, {} revoked", run.approved, run.modified, run.revoked)),
        ("operations", counted.join(", ")),
        ("rows", done.rows.to_string()),
        ("requests", run.requests.join(", ")),
    ]);
    let mut table = Table::new(&["SESSION", "NODE", "TARGET", "STARTED", "REVIEW", "WHY", "ENDED"]);
    for s in &run.sessions {
        let ended = match (&s.ended, s.reason.as_str()) {
            (None, _) => String::new(),
            (Some(at), "") => format!("{} by {}", when::show(Some(at)), s.ended_by),
            (Some(at), reason) => format!("{} by {}: {reason}", when::show(Some(at)), s.ended_by),
        };
        let node = if s.node == 0 { String::new() } else { s.node.to_string() };
        let started = when::show(s.started.as_ref());
        table.row([s.id.clone(), node, s.target.clone(), started, s.outcome.clone(), s.why.join("; "), ended]);
    }
    let more = match run.sessions_left_out {
        0 => String::new(),
        count => format!("and {count} more sessions\n"),
    };
    format!("{head}\n{}{more}", table.render())
}
