use clap::{Args, Subcommand};
use proto::admin as pb;
use proto::admin::session::Stage;

use super::receipt;
use crate::client::{Client, rpc};
use crate::outcome::Failure;
use crate::output::{Output, Table};
use crate::when;

#[derive(Debug, Clone, Subcommand)]
pub enum SessionCommand {
    List(ListArgs),
    /// End it, wherever it runs, and cancel what it runs at the target
    End(EndArgs),
}

#[derive(Debug, Clone, Args)]
pub struct ListArgs {
    #[arg(long)]
    principal: Option<String>,
    #[arg(long)]
    target: Option<String>,
    /// Of one run of an agent's loop.
    #[arg(long)]
    run: Option<String>,
    /// Of the answering node only.
    #[arg(long)]
    this_node: bool,
}

#[derive(Debug, Clone, Args)]
pub struct EndArgs {
    /// E.g. session-1-00000000deadbeef-7.
    id: String,
    #[arg(long, default_value = "")]
    reason: String,
}

impl SessionCommand {
    pub(crate) async fn run(self, client: &mut Client, out: &mut Output<'_>) -> Result<(), Failure> {
        match self {
            SessionCommand::List(args) => list(client, out, args).await,
            SessionCommand::End(args) => {
                let request = pb::EndSessionRequest { id: args.id.clone(), reason: args.reason, ..Default::default() };
                let mut done = rpc!(client.change, sessions_client::SessionsClient, end_session, request)?;
                receipt::look_again(client, &mut done.receipt).await;
                out.show(&done, |done| format!("ended {} by {}\n{}", args.id, done.lock, receipt::render(done.receipt.as_ref())))
            }
        }
    }
}

async fn list(client: &mut Client, out: &mut Output<'_>, args: ListArgs) -> Result<(), Failure> {
    let mut request = pb::ListSessionsRequest {
        page_size: 1000,
        principal: args.principal.unwrap_or_default(),
        target: args.target.unwrap_or_default(),
        all_nodes: !args.this_node,
        run: args.run.unwrap_or_default(),
        ..Default::default()
    };
    let mut all = pb::ListSessionsResponse::default();
    loop {
        let page = rpc!(client.ask, sessions_client::SessionsClient, list_sessions, request.clone())?;
        all.sessions.extend(page.sessions);
        all.silent_nodes = page.silent_nodes;
        if page.next_page_token.is_empty() {
            break;
        }
        request.page_token = page.next_page_token;
    }
    out.show(&all, |all| {
        let mut table = Table::new(&["ID", "PRINCIPAL", "TARGET", "DATABASE", "RUN", "CLIENT", "STARTED", "OPERATIONS", "STAGE"]);
        for s in &all.sessions {
            let stage = if s.held_by.is_empty() { stage(s.stage()).to_owned() } else { format!("held by {}", s.held_by) };
            table.row([
                s.id.clone(),
                s.principal.clone(),
                s.target.clone(),
                s.database.clone(),
                s.run.clone(),
                s.client.clone(),
                when::show(s.started.as_ref()),
                s.operations.to_string(),
                stage,
            ]);
        }
        let silent = all.silent_nodes.iter().map(|node| format!("node {node} did not answer\n"));
        table.render() + &silent.collect::<String>()
    })
}

fn stage(stage: Stage) -> &'static str {
    match stage {
        Stage::Unspecified => "",
        Stage::Arrived => "arrived",
        Stage::Identified => "identified",
        Stage::Admitted => "admitted",
        Stage::Idle => "idle",
        Stage::Active => "active",
        Stage::InTransaction => "in transaction",
        Stage::Held => "held",
        Stage::Frozen => "frozen",
        Stage::Ending => "ending",
    }
}
