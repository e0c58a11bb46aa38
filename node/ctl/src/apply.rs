//! `assize apply`: makes the cluster as files say.
//!
//! ```text
//! files → documents (typed, unknown keys refused) → plan (compared with what is there) → changes, in dependency order
//! ```
//!
//! Idempotent: what is as declared is left alone. It owns only what it made: agents, persons and targets that carry
//! [`MANAGED_BY`], and grants whose source is `declared`. Roles, jobs and credentials are created and updated but never
//! pruned, because nothing on them says who made them. A password is sent when a credential is created, or with
//! `--rotate-credentials`: what is sealed cannot be compared.

mod diff;
mod document;
mod plan;
pub(crate) mod spec;

use std::path::PathBuf;

use clap::Args;
use serde::Serialize;

use crate::client::Client;
use crate::outcome::Failure;
use crate::output::Output;
use plan::{Action, Change};

/// The label that marks what apply made.
pub(crate) const MANAGED_BY: (&str, &str) = ("assize.managed-by", "apply");

#[derive(Debug, Clone, Args)]
pub struct ApplyArgs {
    /// A YAML file, or a folder with `.yaml` and `.yml` files. May be given several times.
    #[arg(short, long = "file", required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Show what would change, and change nothing.
    #[arg(long)]
    dry_run: bool,
    /// Remove what an earlier apply made and these files no longer declare.
    #[arg(long)]
    prune: bool,
    /// Send the passwords of credentials that exist already, too.
    #[arg(long)]
    rotate_credentials: bool,
}

/// What was done, or would be.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Report {
    dry_run: bool,
    changes: Vec<Line>,
}

#[derive(Debug, Serialize)]
struct Line {
    kind: &'static str,
    name: String,
    action: &'static str,
    diff: Vec<String>,
}

pub(crate) async fn run(client: &mut Client, args: ApplyArgs, out: &mut Output<'_>) -> Result<(), Failure> {
    let documents = document::read(&args.files)?;
    let plan = plan::make(client, documents, args.prune, args.rotate_credentials).await?;
    let conflicts: Vec<String> = plan.iter().filter_map(Change::conflict).collect();
    let mut report = Report { dry_run: args.dry_run, changes: Vec::new() };
    for change in plan {
        report.changes.push(line(&change));
        // With a conflict nothing at all is changed: half of a file is no state anybody declared.
        if !args.dry_run && conflicts.is_empty() {
            let what = format!("{}/{}", change.kind, change.name);
            if let Err(failure) = change.execute(client).await {
                report.changes.pop();
                show(out, &report)?;
                return Err(in_context(failure, &what));
            }
        }
    }
    show(out, &report)?;
    if conflicts.is_empty() { Ok(()) } else { Err(Failure::failed(format!("nothing was changed:\n  {}", conflicts.join("\n  ")))) }
}

fn in_context(failure: Failure, what: &str) -> Failure {
    match failure {
        Failure::Failed(message) => Failure::Failed(format!("{what}: {message}")),
        Failure::Unknown { request_id, message } => Failure::Unknown { request_id, message: format!("{what}: {message}") },
        Failure::Usage(_) | Failure::ReaderLeft => failure,
    }
}

fn line(change: &Change) -> Line {
    let action = match &change.action {
        Action::Create(_) => "create",
        Action::Update(_) => "update",
        Action::Prune(_) => "prune",
        Action::Unchanged => "unchanged",
        Action::Conflict(_) => "conflict",
    };
    Line { kind: change.kind, name: change.name.clone(), action, diff: change.diff.clone() }
}

fn show(out: &mut Output<'_>, report: &Report) -> Result<(), Failure> {
    out.show(report, |report| {
        let mut text = String::new();
        for change in &report.changes {
            let verb =
                if report.dry_run && change.action != "unchanged" { format!("would {}", change.action) } else { change.action.to_owned() };
            text.push_str(&format!("{verb} {} {}\n", change.kind, change.name));
            change.diff.iter().for_each(|line| text.push_str(&format!("    {}\n", crate::text::plain(line))));
        }
        text
    })
}
