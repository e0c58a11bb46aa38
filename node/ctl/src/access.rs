//! `assize access at`: who could reach what at a time, and who approved it, recomputed from the control log.

use clap::{Args, Subcommand};
use proto::admin as pb;
use proto::admin::grant_source::Source;

use crate::client::{Client, rpc};
use crate::noun::lock::on;
use crate::outcome::Failure;
use crate::output::{Output, Table};
use crate::when::{self, When};

#[derive(Debug, Clone, Subcommand)]
pub enum AccessCommand {
    /// At a time: grants live then, what each gave, who approved it, and the locks that stood
    At(AtArgs),
}

#[derive(Debug, Clone, Args)]
pub struct AtArgs {
    /// A time, or a span back from now. By default now.
    #[arg(long, value_parser = when::parse, value_name = "TIME")]
    time: Option<When>,
    #[arg(long)]
    principal: Option<String>,
    /// `assize` is the administration of the gateway.
    #[arg(long)]
    target: Option<String>,
}

impl AccessCommand {
    pub(crate) async fn run(self, client: &mut Client, out: &mut Output<'_>) -> Result<(), Failure> {
        let AccessCommand::At(args) = self;
        let request = pb::ListAccessRequest {
            time: args.time.map(When::back),
            principal: args.principal.unwrap_or_default(),
            target: args.target.unwrap_or_default(),
        };
        let found = rpc!(client.ask, explain_client::ExplainClient, list_access, request)?;
        out.show(&found, render)
    }
}

fn render(found: &pb::ListAccessResponse) -> String {
    let mut table = Table::new(&[
        "PRINCIPAL",
        "TARGET",
        "OUTCOME",
        "GRANT",
        "SOURCE",
        "APPROVED BY",
        "GRANTED",
        "EXPIRES",
        "REVIEW DUE",
        "JOB",
        "COULD DO",
    ]);
    for reach in &found.reached {
        for by in &reach.grants {
            let grant = by.grant.clone().unwrap_or_default();
            let could = if by.permissions.is_empty() { reach.reasons.join("; ") } else { by.permissions.join("; ") };
            let job = if reach.job.is_empty() { String::new() } else { format!("{} version {}", reach.job, reach.job_version) };
            table.row([
                reach.principal.clone(),
                reach.target.clone(),
                reach.outcome.clone(),
                if grant.name.is_empty() { grant.id.clone() } else { format!("{} {}", grant.id, grant.name) },
                source(&grant),
                approvers(by),
                when::show(grant.granted.as_ref()),
                when::show(grant.expires.as_ref()),
                when::show(grant.review_due.as_ref()),
                job,
                could,
            ]);
        }
    }
    let mut text = table.render();
    for lock in &found.locks {
        text.push_str(&format!("locked: {} by {}, {}\n", on(lock), lock.by, crate::text::plain(&lock.reason)));
    }
    text.push_str(&format!(
        "as of {}, control index {}, recomputed from {} records of the control log since the founding\n",
        when::show(found.time.as_ref()),
        found.index,
        found.records
    ));
    text
}

fn source(grant: &pb::Grant) -> String {
    match grant.source.as_ref().and_then(|s| s.source.as_ref()) {
        Some(Source::Baseline(_)) => "baseline".into(),
        Some(Source::Declared(_)) => "declared".into(),
        Some(Source::Request(id) | Source::Review(id) | Source::BreakGlass(id)) => id.clone(),
        None => String::new(),
    }
}

/// Of a request those who approved it; of any other grant who issued it.
fn approvers(by: &pb::ReachedBy) -> String {
    match &by.request {
        Some(request) if !request.approvals.is_empty() => request.approvals.iter().map(|d| d.by.as_str()).collect::<Vec<_>>().join(", "),
        _ => by.grant.as_ref().map(|grant| grant.granted_by.clone()).unwrap_or_default(),
    }
}
