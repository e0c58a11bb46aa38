use clap::{Args, Subcommand};
use proto::admin as pb;

use crate::client::{Client, rpc};
use crate::outcome::Failure;
use crate::output::{Output, Table};
use crate::when::{self, When};

#[derive(Debug, Clone, Subcommand)]
pub enum HoldCommand {
    /// Keep the records that fit all that is named, whatever the rules say
    Create(CreateArgs),
    List,
    /// What it kept goes when its class' rule says so
    Release(ReleaseArgs),
}

#[derive(Debug, Clone, Args)]
pub struct CreateArgs {
    /// Who acted, or for whom.
    #[arg(long, value_name = "NAME")]
    principal: Option<String>,
    #[arg(long, value_name = "NAME")]
    target: Option<String>,
    #[arg(long, value_name = "RUN")]
    run: Option<String>,
    /// A time, or a span back from now.
    #[arg(long, value_parser = when::parse, value_name = "TIME")]
    from: Option<When>,
    /// The same; excluded.
    #[arg(long, value_parser = when::parse, value_name = "TIME")]
    until: Option<When>,
    /// Every record, now and later.
    #[arg(long, conflicts_with_all = ["principal", "target", "run", "from", "until"])]
    everything: bool,
    #[arg(long)]
    reason: String,
    /// Only somebody else may release it.
    #[arg(long)]
    two_people: bool,
}

#[derive(Debug, Clone, Args)]
pub struct ReleaseArgs {
    /// E.g. hold-1049.
    id: String,
    #[arg(long)]
    reason: String,
}

impl HoldCommand {
    pub(crate) async fn run(self, client: &mut Client, out: &mut Output<'_>) -> Result<(), Failure> {
        match self {
            HoldCommand::Create(args) => {
                let hold = pb::LegalHold {
                    principal: args.principal.unwrap_or_default(),
                    target: args.target.unwrap_or_default(),
                    run: args.run.unwrap_or_default(),
                    from: args.from.map(When::back),
                    until: args.until.map(When::back),
                    reason: args.reason,
                    two_people: args.two_people,
                    ..Default::default()
                };
                let request = pb::CreateHoldRequest { hold: Some(hold), everything: args.everything, ..Default::default() };
                let made = rpc!(client.change, retention_client::RetentionClient, create_hold, request)?;
                out.show(&made, |made| format!("placed {} on {}\n", made.id, on(made)))
            }
            HoldCommand::List => {
                let all = rpc!(client.ask, retention_client::RetentionClient, list_holds, pb::ListHoldsRequest {})?;
                out.show(&all, |all| {
                    let mut table = Table::new(&["ID", "ON", "BY", "PLACED", "RELEASED BY", "REASON"]);
                    for hold in &all.holds {
                        let releases = if hold.two_people { "another person" } else { "anyone who may" };
                        let placed = when::show(hold.at.as_ref());
                        table.row([hold.id.clone(), on(hold), hold.by.clone(), placed, releases.into(), hold.reason.clone()]);
                    }
                    table.render()
                })
            }
            HoldCommand::Release(args) => {
                let request = pb::ReleaseHoldRequest { id: args.id.clone(), reason: args.reason, ..Default::default() };
                let done = rpc!(client.change, retention_client::RetentionClient, release_hold, request)?;
                out.show(&done, |_| format!("released {}\n", args.id))
            }
        }
    }
}

fn on(hold: &pb::LegalHold) -> String {
    let named = [("principal", &hold.principal), ("target", &hold.target), ("run", &hold.run)];
    let mut terms: Vec<String> =
        named.into_iter().filter(|(_, value)| !value.is_empty()).map(|(name, value)| format!("{name} {value}")).collect();
    let times = [("from", &hold.from), ("until", &hold.until)];
    terms.extend(times.into_iter().filter_map(|(name, time)| time.as_ref().map(|time| format!("{name} {}", when::show(Some(time))))));
    if terms.is_empty() { "everything".into() } else { terms.join(", ") }
}
