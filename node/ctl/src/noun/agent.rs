use clap::{Args, Subcommand};
use proto::admin as pb;
use proto::admin::principal::Kind;

use super::principal::{create, delete, expect_kind, find, list, relabel, render, update};
use super::{DeleteArgs, NameArg};
use crate::client::Client;
use crate::outcome::Failure;
use crate::output::Output;
use crate::text::parse_label;

#[derive(Debug, Clone, Subcommand)]
pub enum AgentCommand {
    Create(CreateArgs),
    /// Change what is given, keep the rest
    Update(UpdateArgs),
    Get(NameArg),
    List,
    /// Its sessions end on all nodes
    Delete(DeleteArgs),
}

#[derive(Debug, Clone, Args)]
pub struct CreateArgs {
    name: String,
    /// The person who answers for it.
    #[arg(long)]
    owner: String,
    #[arg(long)]
    backup_owner: Option<String>,
    /// The job description that bounds its grants.
    #[arg(long)]
    job: Option<String>,
    #[arg(long, value_name = "KEY=VALUE", value_parser = parse_label)]
    label: Vec<(String, String)>,
    /// Make it, but admit it to nothing yet.
    #[arg(long)]
    inactive: bool,
}

#[derive(Debug, Clone, Args)]
pub struct UpdateArgs {
    name: String,
    #[arg(long)]
    owner: Option<String>,
    #[arg(long)]
    backup_owner: Option<String>,
    #[arg(long)]
    job: Option<String>,
    /// KEY= removes a label.
    #[arg(long, value_name = "KEY=VALUE", value_parser = parse_label)]
    label: Vec<(String, String)>,
    /// `false` ends its sessions on all nodes.
    #[arg(long)]
    active: Option<bool>,
}

impl AgentCommand {
    pub(crate) async fn run(self, client: &mut Client, out: &mut Output<'_>) -> Result<(), Failure> {
        match self {
            AgentCommand::Create(args) => {
                let agent =
                    pb::Agent { owner: args.owner, backup_owner: args.backup_owner.unwrap_or_default(), job: args.job.unwrap_or_default() };
                let labels = args.label.into_iter().collect();
                let principal = pb::Principal {
                    name: args.name,
                    kind: Some(Kind::Agent(agent)),
                    active: Some(!args.inactive),
                    labels,
                    ..Default::default()
                };
                create(client, out, principal).await
            }
            AgentCommand::Update(args) => {
                let mut principal = expect_kind(find(client, &args.name).await?, true)?;
                if let Some(Kind::Agent(agent)) = &mut principal.kind {
                    agent.owner = args.owner.unwrap_or_else(|| std::mem::take(&mut agent.owner));
                    agent.backup_owner = args.backup_owner.unwrap_or_else(|| std::mem::take(&mut agent.backup_owner));
                    agent.job = args.job.unwrap_or_else(|| std::mem::take(&mut agent.job));
                }
                principal.active = args.active.or(principal.active);
                relabel(&mut principal.labels, args.label);
                update(client, out, principal).await
            }
            AgentCommand::Get(args) => {
                let found = expect_kind(find(client, &args.name).await?, true)?;
                out.show(&found, render)
            }
            AgentCommand::List => list(client, out, pb::PrincipalKindFilter::Agent).await,
            AgentCommand::Delete(args) => {
                expect_kind(find(client, &args.name).await?, true)?;
                delete(client, out, args).await
            }
        }
    }
}
