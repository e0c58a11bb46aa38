use clap::{Args, Subcommand};
use proto::admin as pb;
use proto::admin::access_request::Ask;
use proto::admin::request_status::Status;

use super::receipt;
use crate::client::{Client, rpc};
use crate::outcome::Failure;
use crate::output::{Output, Table, fields};
use crate::when::{self, parse_span, span_to_wire};

#[derive(Debug, Clone, Subcommand)]
pub enum RequestCommand {
    /// Ask for a window of access, or for one exact statement before it is run
    Open(OpenArgs),
    /// The whole request, as an approver must read it
    Get(IdArg),
    List(ListArgs),
    Approve(DecideArgs),
    Deny(DecideArgs),
    Withdraw(IdArg),
}

#[derive(Debug, Clone, Args)]
pub struct IdArg {
    /// E.g. request-1043.
    id: String,
}

#[derive(Debug, Clone, Args)]
pub struct OpenArgs {
    /// Whom the access is for; by default whoever is logged in.
    #[arg(long)]
    principal: Option<String>,
    #[arg(long)]
    on_behalf_of: Option<String>,
    #[arg(long)]
    target: String,
    #[arg(short, long = "permission", required_unless_present = "statement", value_name = "PERMISSION")]
    permissions: Vec<String>,
    /// How long it is needed, e.g. 1h.
    #[arg(long = "for", value_parser = parse_span, required_unless_present = "statement", value_name = "TIME")]
    length: Option<std::time::Duration>,
    /// One statement without parameters, to be run once, exactly as it stands here.
    #[arg(long, conflicts_with_all = ["permissions", "length"], value_name = "SQL")]
    statement: Option<String>,
    /// Where it runs; by default the target's own.
    #[arg(long, requires = "statement")]
    database: Option<String>,
    #[arg(long)]
    reason: String,
}

#[derive(Debug, Clone, Args)]
pub struct ListArgs {
    #[arg(long)]
    principal: Option<String>,
    #[arg(long)]
    target: Option<String>,
    /// Also those that are decided, withdrawn, spent or expired.
    #[arg(long)]
    all: bool,
}

#[derive(Debug, Clone, Args)]
pub struct DecideArgs {
    /// E.g. request-1043.
    id: String,
    #[arg(long, default_value = "")]
    reason: String,
    /// The digest that was read: refused if the request is for anything else.
    #[arg(long)]
    digest: Option<String>,
}

impl RequestCommand {
    pub(crate) async fn run(self, client: &mut Client, out: &mut Output<'_>) -> Result<(), Failure> {
        match self {
            RequestCommand::Open(args) => {
                let request = pb::OpenRequestRequest {
                    principal: args.principal.unwrap_or_default(),
                    on_behalf_of: args.on_behalf_of.unwrap_or_default(),
                    target: args.target,
                    window: args.length.map(|length| pb::Window { permissions: args.permissions, length: Some(span_to_wire(length)) }),
                    exact: args.statement.map(|statement| pb::ExactAsk { statement, database: args.database.unwrap_or_default() }),
                    reason: args.reason,
                    ..Default::default()
                };
                let opened = rpc!(client.change, requests_client::RequestsClient, open_request, request)?;
                out.show(&opened, |r| format!("opened {}; it needs {}\n", r.id, approvals(r.needed)))
            }
            RequestCommand::Get(args) => {
                let found = rpc!(client.ask, requests_client::RequestsClient, get_request, pb::GetRequestRequest { id: args.id })?;
                out.show(&found, render)
            }
            RequestCommand::List(args) => {
                let request = pb::ListRequestsRequest {
                    principal: args.principal.unwrap_or_default(),
                    target: args.target.unwrap_or_default(),
                    all: args.all,
                    ..Default::default()
                };
                let requests = super::all_pages!(client, requests_client::RequestsClient, list_requests, request, requests);
                let open = if out.is_json() { String::new() } else { super::break_glass::live_now(client).await };
                out.show(&pb::ListRequestsResponse { requests, ..Default::default() }, |all| table(&all.requests) + &open)
            }
            RequestCommand::Approve(args) => {
                let decided = rpc!(client.change, requests_client::RequestsClient, approve_request, decision(args))?;
                out.show(&decided, |r| match r.status.as_ref().and_then(|s| s.status.as_ref()) {
                    Some(Status::Approved(approved)) if !approved.grant.is_empty() => format!("approved {}: {}\n", r.id, approved.grant),
                    Some(Status::Approved(_)) => format!("approved {}\n", r.id),
                    _ => format!("your approval of {} counts; it has {} of {}\n", r.id, r.approvals.len(), r.needed),
                })
            }
            RequestCommand::Deny(args) => {
                let decided = rpc!(client.change, requests_client::RequestsClient, deny_request, decision(args))?;
                out.show(&decided, |r| format!("denied {}\n", r.id))
            }
            RequestCommand::Withdraw(args) => {
                let request = pb::WithdrawRequestRequest { id: args.id.clone(), ..Default::default() };
                let done = rpc!(client.change, requests_client::RequestsClient, withdraw_request, request)?;
                out.show(&done, |done| format!("withdrawn {}\n{}", args.id, receipt::render(done.receipt.as_ref())))
            }
        }
    }
}

fn decision(args: DecideArgs) -> pb::DecideRequestRequest {
    pb::DecideRequestRequest { id: args.id, reason: args.reason, digest: args.digest.unwrap_or_default(), ..Default::default() }
}

fn approvals(count: u32) -> String {
    if count == 1 { "1 approval".into() } else { format!("{count} approvals") }
}

fn status(request: &pb::AccessRequest) -> String {
    match request.status.as_ref().and_then(|s| s.status.as_ref()) {
        Some(Status::Pending(_)) => format!("pending ({}/{})", request.approvals.len(), request.needed),
        Some(Status::Approved(_)) => "approved".into(),
        Some(Status::Denied(_)) => "denied".into(),
        Some(Status::Withdrawn(_)) => "withdrawn".into(),
        Some(Status::Expired(_)) => "expired".into(),
        Some(Status::Spent(_)) => "spent".into(),
        Some(Status::Reopened(_)) => "reopened".into(),
        None => String::new(),
    }
}

/// A list is no place to decide from: the statement is cut, and marked where it could deceive.
fn table(requests: &[pb::AccessRequest]) -> String {
    const SHOWN: usize = 60;
    let mut table = Table::new(&["ID", "PRINCIPAL", "TARGET", "STATUS", "EXPIRES", "ASKS FOR"]);
    for r in requests {
        let asks = match &r.ask {
            Some(Ask::Exact(exact)) => {
                let cut: String = exact.statement.chars().take(SHOWN).collect();
                let more = if cut.len() < exact.statement.len() { "…" } else { "" };
                let mark = if exact.escaped || exact.non_ascii { "(!) " } else { "" };
                format!("{mark}{cut}{more}")
            }
            Some(Ask::Window(window)) => format!("{} for {}", window.permissions.join("; "), when::show_span(window.length.as_ref())),
            None => String::new(),
        };
        table.row([r.id.clone(), r.principal.clone(), r.target.clone(), status(r), when::show(r.expires.as_ref()), asks]);
    }
    table.render()
}

/// Everything an approver decides on: nothing is cut.
pub(crate) fn render(r: &pb::AccessRequest) -> String {
    let mut text = fields(&[
        ("id", r.id.clone()),
        ("principal", r.principal.clone()),
        ("on behalf of", r.on_behalf_of.clone()),
        ("target", r.target.clone()),
        ("status", status(r)),
        ("reason", r.reason.clone()),
        ("opened", when::show(r.opened.as_ref())),
        ("expires", when::show(r.expires.as_ref())),
        ("tried again", if r.joined == 0 { String::new() } else { format!("{} times", r.joined) }),
    ]);
    for approval in &r.approvals {
        text.push_str(&format!("approved by {} at {} {}\n", approval.by, when::show(approval.at.as_ref()), approval.reason));
    }
    match r.status.as_ref().and_then(|s| s.status.as_ref()) {
        Some(Status::Denied(denied)) => text.push_str(&format!("denied by {}: {}\n", denied.by, denied.reason)),
        Some(Status::Spent(spent)) => text.push_str(&format!("spent by operation {} of {}\n", spent.sequence, spent.session)),
        _ => {}
    }
    match &r.ask {
        Some(Ask::Exact(exact)) => text.push_str(&render_exact(exact)),
        Some(Ask::Window(window)) => {
            text.push_str(&format!("asks for {} of\n", when::show_span(window.length.as_ref())));
            window.permissions.iter().for_each(|p| text.push_str(&format!("  {p}\n")));
        }
        None => {}
    }
    text
}

fn render_exact(exact: &pb::ExactOperation) -> String {
    let mut text = String::new();
    if exact.escaped {
        text.push_str("(!) the text has hidden or control characters; they stand as \\u{…}\n");
    }
    if exact.non_ascii {
        text.push_str("(!) the text has characters beyond ASCII: letters may look alike\n");
    }
    text.push_str(&format!("statement\n  {}\n", exact.statement));
    for (i, parameter) in exact.parameters.iter().enumerate() {
        text.push_str(&format!("  ${} = {parameter}\n", i + 1));
    }
    text.push_str("runs with\n");
    exact.context.iter().for_each(|c| text.push_str(&format!("  {} = {}\n", c.name, c.value)));
    text.push_str("needs beyond what is granted\n");
    exact.missing.iter().for_each(|m| text.push_str(&format!("  {m}\n")));
    if !exact.policy.is_empty() {
        let job = if exact.job_version == 0 { "no job".into() } else { format!("job at version {}", exact.job_version) };
        text.push_str(&format!("judged under {}, {job}, target at version {}\n", exact.policy, exact.target_version));
    }
    if !exact.held_because.is_empty() {
        text.push_str(&format!("held because {}\n", exact.held_because));
    }
    if !exact.approvers.is_empty() {
        text.push_str(&format!("to be decided by {} only\n", exact.approvers.join(", ")));
    }
    text.push_str(&format!("digest {}\n", exact.digest));
    text
}
