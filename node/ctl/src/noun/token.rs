use clap::{Args, Subcommand};
use proto::admin as pb;

use super::receipt;
use crate::client::{Client, rpc};
use crate::outcome::Failure;
use crate::output::{Output, Table};
use crate::when::{self, When};

#[derive(Debug, Clone, Subcommand)]
pub enum TokenCommand {
    /// Make a token; its secret is shown this once
    Issue(IssueArgs),
    List(ListArgs),
    /// Sessions opened with it end on all nodes
    Revoke(RevokeArgs),
}

#[derive(Debug, Clone, Args)]
pub struct IssueArgs {
    /// The agent or person it proves.
    principal: String,
    /// For this API, instead of for sessions with targets.
    #[arg(long)]
    admin: bool,
    #[arg(long, default_value = "")]
    label: String,
    /// A span such as 90d, or a time.
    #[arg(long, value_parser = when::parse, value_name = "TIME")]
    expires: Option<When>,
}

#[derive(Debug, Clone, Args)]
pub struct ListArgs {
    /// Of all principals by default.
    principal: Option<String>,
}

#[derive(Debug, Clone, Args)]
pub struct RevokeArgs {
    principal: String,
    /// E.g. token-1045.
    id: String,
}

impl TokenCommand {
    pub(crate) async fn run(self, client: &mut Client, out: &mut Output<'_>) -> Result<(), Failure> {
        match self {
            TokenCommand::Issue(args) => issue(client, out, args).await,
            TokenCommand::List(args) => {
                let request = pb::ListTokensRequest { principal: args.principal.unwrap_or_default(), ..Default::default() };
                let tokens = super::all_pages!(client, tokens_client::TokensClient, list_tokens, request, tokens);
                let all = pb::ListTokensResponse { tokens, ..Default::default() };
                out.show(&all, |all| {
                    let mut table = Table::new(&["ID", "PRINCIPAL", "USE", "EXPIRES", "ISSUED BY", "LABEL"]);
                    for t in &all.tokens {
                        let usage = if t.r#use() == pb::TokenUse::Admin { "admin" } else { "gateway" };
                        table.row([
                            t.id.clone(),
                            t.principal.clone(),
                            usage.into(),
                            when::show(t.expires.as_ref()),
                            t.issued_by.clone(),
                            t.label.clone(),
                        ]);
                    }
                    table.render()
                })
            }
            TokenCommand::Revoke(args) => {
                let request = pb::RevokeTokenRequest { principal: args.principal, id: args.id.clone(), ..Default::default() };
                let mut done = rpc!(client.change, tokens_client::TokensClient, revoke_token, request)?;
                receipt::look_again(client, &mut done.receipt).await;
                out.show(&done, |done| format!("revoked {}\n{}", args.id, receipt::render(done.receipt.as_ref())))
            }
        }
    }
}

async fn issue(client: &mut Client, out: &mut Output<'_>, args: IssueArgs) -> Result<(), Failure> {
    let usage = if args.admin { pb::TokenUse::Admin } else { pb::TokenUse::Gateway };
    let request = pb::IssueTokenRequest {
        principal: args.principal.clone(),
        r#use: usage.into(),
        label: args.label,
        expires: args.expires.map(When::resolve),
        ..Default::default()
    };
    let issued = rpc!(client.change, tokens_client::TokensClient, issue_token, request)?;
    let id = issued.token.as_ref().map(|t| t.id.clone()).unwrap_or_default();
    if issued.secret.is_empty() {
        let principal = args.principal;
        return Err(Failure::failed(format!(
            "{id} was issued by an earlier call with this request id, and its secret went with that answer\n  revoke it with `assize token revoke {principal} {id}` and issue another"
        )));
    }
    // The secret stands alone on standard output, so that it can be piped into a file.
    if !out.is_json() {
        eprintln!("{id} for {}; the secret is shown this once:", args.principal);
    }
    out.show(&issued, |issued| format!("{}\n", issued.secret))
}
