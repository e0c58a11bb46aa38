use std::time::Duration;

use clap::{Args, Subcommand};
use proto::admin as pb;

use crate::client::{Client, rpc};
use crate::outcome::Failure;
use crate::output::{Output, Table};
use crate::when::{self, parse_span, show_span, span_to_wire};

#[derive(Debug, Clone, Subcommand)]
pub enum RetentionCommand {
    /// Say how long the records of a class are kept. Their hashes stay, so every proof does
    Set(SetArgs),
    /// Rules by class, and what went because of them
    List,
}

#[derive(Debug, Clone, Args)]
#[command(group = clap::ArgGroup::new("how long").required(true))]
pub struct SetArgs {
    /// operations, statements, sessions, decisions or checks.
    class: String,
    /// E.g. 400d.
    #[arg(long, value_parser = parse_span, value_name = "TIME", group = "how long")]
    keep: Option<Duration>,
    #[arg(long, group = "how long")]
    for_ever: bool,
    /// Needed where records are kept for a shorter time than before.
    #[arg(long, default_value = "")]
    reason: String,
}

impl RetentionCommand {
    pub(crate) async fn run(self, client: &mut Client, out: &mut Output<'_>) -> Result<(), Failure> {
        match self {
            RetentionCommand::Set(args) => {
                let rule =
                    pb::RetentionRule { class: args.class, keep: args.keep.map(span_to_wire), reason: args.reason, ..Default::default() };
                let request = pb::SetRetentionRuleRequest { rule: Some(rule), ..Default::default() };
                let made = rpc!(client.change, retention_client::RetentionClient, set_retention_rule, request)?;
                out.show(&made, |made| format!("{} are kept {}\n", made.class, kept(made)))
            }
            RetentionCommand::List => {
                let request = pb::ListRetentionRulesRequest {};
                let all = rpc!(client.ask, retention_client::RetentionClient, list_retention_rules, request)?;
                out.show(&all, |all| {
                    let mut table = Table::new(&["CLASS", "KEPT", "AT LEAST", "BY", "SINCE", "PRUNED", "LAST PLAN", "REASON"]);
                    for rule in &all.rules {
                        table.row([
                            rule.class.clone(),
                            kept(rule),
                            show_span(rule.keep_min.as_ref()),
                            rule.by.clone(),
                            when::show(rule.at.as_ref()),
                            rule.pruned.to_string(),
                            if rule.plan == 0 { "-".into() } else { format!("{} at {}", rule.plan, when::show(rule.planned.as_ref())) },
                            rule.reason.clone(),
                        ]);
                    }
                    table.render()
                })
            }
        }
    }
}

fn kept(rule: &pb::RetentionRule) -> String {
    rule.keep.as_ref().map_or_else(|| "for ever".into(), |keep| show_span(Some(keep)))
}
