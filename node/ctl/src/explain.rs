//! `assize explain`: what would be decided, and why, without doing it.

use clap::Args;
use proto::admin as pb;

use crate::client::{Client, rpc};
use crate::outcome::Failure;
use crate::output::Output;

#[derive(Debug, Clone, Args)]
pub struct ExplainArgs {
    #[arg(long)]
    principal: String,
    #[arg(long)]
    on_behalf_of: Option<String>,
    #[arg(long)]
    target: String,
    /// A needed access, e.g. 'postgres:select on app.public.orders(id)'.
    #[arg(long = "access", value_name = "ACCESS")]
    accesses: Vec<String>,
    /// A statement, classified as the gateway would.
    #[arg(long, value_name = "SQL")]
    statement: Option<String>,
    /// The database it runs in; by default the target's.
    #[arg(long)]
    database: Option<String>,
}

pub(crate) async fn run(client: &mut Client, args: ExplainArgs, out: &mut Output<'_>) -> Result<(), Failure> {
    let request = pb::ExplainAccessRequest {
        principal: args.principal,
        on_behalf_of: args.on_behalf_of.unwrap_or_default(),
        target: args.target,
        accesses: args.accesses,
        statement: args.statement.unwrap_or_default(),
        database: args.database.unwrap_or_default(),
    };
    let answer = rpc!(client.ask, explain_client::ExplainClient, explain_access, request)?;
    out.show(&answer, render)
}

fn render(answer: &pb::ExplainAccessResponse) -> String {
    let mut text = format!("admission: {}\n", answer.outcome);
    answer.reasons.iter().for_each(|reason| text.push_str(&format!("  {reason}\n")));
    if !answer.verdict.is_empty() {
        text.push_str(&format!("verdict: {}\n", answer.verdict));
    }
    if !answer.impossible.is_empty() {
        text.push_str(&format!("  {}\n", answer.impossible));
    }
    if !answer.policy.is_empty() {
        text.push_str(&format!("policy: {}{}\n", answer.policy, if answer.policy_says.is_empty() { " takes nothing away" } else { "" }));
    }
    answer.policy_says.iter().for_each(|line| text.push_str(&format!("  {}\n", crate::text::plain(line))));
    for a in &answer.accesses {
        let by = if a.allowed { format!("by {}", a.grant) } else { "not granted".into() };
        text.push_str(&format!("  {} {}  {by}\n", if a.allowed { "+" } else { "-" }, a.access));
    }
    let cited: Vec<String> = answer.cited.iter().map(|c| format!("{} {}", c.what, c.version)).collect();
    text.push_str(&format!("read at index {}: {}\n", answer.index, cited.join(", ")));
    text
}
