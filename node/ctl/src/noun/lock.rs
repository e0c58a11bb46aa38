use clap::{Args, Subcommand};
use proto::admin as pb;
use proto::admin::lock::On;

use super::receipt;
use crate::client::{Client, rpc};
use crate::outcome::Failure;
use crate::output::{Output, Table};
use crate::when::{self, When};

#[derive(Debug, Clone, Subcommand)]
pub enum LockCommand {
    /// Stop it on all nodes, and answer when none forwards anything of it
    Create(CreateArgs),
    List(ListArgs),
    /// What it stopped may start again; what was ended stays ended
    Delete(IdArg),
    /// The receipt of any revocation or lock, as it was filed
    Receipt(ReceiptArg),
}

#[derive(Debug, Clone, Args)]
pub struct CreateArgs {
    #[command(flatten)]
    on: OnArgs,
    #[arg(long)]
    reason: String,
    /// A span such as 1h, or a time; by default it stays until it is deleted.
    #[arg(long, value_parser = when::parse, value_name = "TIME")]
    expires: Option<When>,
}

#[derive(Debug, Clone, Args)]
#[group(required = true, multiple = false)]
pub(crate) struct OnArgs {
    #[arg(long, value_name = "NAME")]
    principal: Option<String>,
    #[arg(long, value_name = "NAME")]
    target: Option<String>,
    #[arg(long, value_name = "NAME")]
    role: Option<String>,
    #[arg(long, value_name = "NAME")]
    credential: Option<String>,
    #[arg(long, value_name = "ID")]
    session: Option<String>,
}

#[derive(Debug, Clone, Args)]
pub struct ListArgs {
    /// Also those that expired.
    #[arg(long)]
    all: bool,
}

#[derive(Debug, Clone, Args)]
pub struct IdArg {
    /// E.g. lock-1044.
    id: String,
}

#[derive(Debug, Clone, Args)]
pub struct ReceiptArg {
    /// E.g. revocation-1046.
    revocation: String,
}

impl OnArgs {
    fn on(self) -> Option<On> {
        let named = [
            self.principal.map(On::Principal),
            self.target.map(On::Target),
            self.role.map(On::Role),
            self.credential.map(On::Credential),
            self.session.map(On::Session),
        ];
        named.into_iter().flatten().next()
    }
}

impl LockCommand {
    pub(crate) async fn run(self, client: &mut Client, out: &mut Output<'_>) -> Result<(), Failure> {
        match self {
            LockCommand::Create(args) => {
                let lock =
                    pb::Lock { on: args.on.on(), reason: args.reason, expires: args.expires.map(When::resolve), ..Default::default() };
                let request = pb::CreateLockRequest { lock: Some(lock), ..Default::default() };
                let mut done = rpc!(client.change, locks_client::LocksClient, create_lock, request)?;
                receipt::look_again(client, &mut done.receipt).await;
                out.show(&done, |done| {
                    let id = done.lock.as_ref().map(|l| l.id.clone()).unwrap_or_default();
                    format!("created {id}\n{}", receipt::render(done.receipt.as_ref()))
                })
            }
            LockCommand::List(args) => {
                let request = pb::ListLocksRequest { all: args.all, ..Default::default() };
                let locks = super::all_pages!(client, locks_client::LocksClient, list_locks, request, locks);
                out.show(&pb::ListLocksResponse { locks, ..Default::default() }, |all| {
                    let mut table = Table::new(&["ID", "ON", "BY", "CREATED", "EXPIRES", "REASON"]);
                    for l in &all.locks {
                        table.row([
                            l.id.clone(),
                            on(l),
                            l.by.clone(),
                            when::show(l.created.as_ref()),
                            when::show(l.expires.as_ref()),
                            l.reason.clone(),
                        ]);
                    }
                    table.render()
                })
            }
            LockCommand::Delete(args) => {
                let request = pb::DeleteLockRequest { id: args.id.clone(), ..Default::default() };
                let done = rpc!(client.change, locks_client::LocksClient, delete_lock, request)?;
                out.show(&done, |_| format!("deleted {}\n", args.id))
            }
            LockCommand::Receipt(args) => {
                let request = pb::GetReceiptRequest { revocation: args.revocation };
                let found = rpc!(client.ask, locks_client::LocksClient, get_receipt, request)?;
                out.show(&found, |found| receipt::render(Some(found)))
            }
        }
    }
}

pub(crate) fn on(lock: &pb::Lock) -> String {
    match &lock.on {
        Some(On::Principal(name)) => format!("principal {name}"),
        Some(On::Target(name)) => format!("target {name}"),
        Some(On::Role(name)) => format!("role {name}"),
        Some(On::Credential(name)) => format!("credential {name}"),
        Some(On::Session(id)) => id.clone(),
        None => String::new(),
    }
}
