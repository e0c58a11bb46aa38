use clap::{Args, Subcommand};
use proto::admin as pb;

use super::receipt;
use crate::client::{Client, rpc};
use crate::outcome::Failure;
use crate::output::{Output, Table, fields};
use crate::when::{self, parse_span, span_to_wire};

#[derive(Debug, Clone, Subcommand)]
pub enum BreakGlassCommand {
    /// Open access now, without an approval. It is on record, seen by everybody, and reviewed afterwards
    Open(OpenArgs),
    /// The whole of it
    Get(IdArg),
    /// What is open, and what waits for its review
    List(ListArgs),
    /// Say afterwards whether it was justified; never who broke it, nor who answers for whom it was broken
    Review(ReviewArgs),
}

#[derive(Debug, Clone, Args)]
pub struct IdArg {
    /// E.g. break-glass-1048.
    id: String,
}

#[derive(Debug, Clone, Args)]
pub struct OpenArgs {
    /// The agent the access is for; by default whoever is logged in.
    #[arg(long)]
    principal: Option<String>,
    #[arg(long)]
    target: String,
    #[arg(short, long = "permission", required = true, value_name = "PERMISSION")]
    permissions: Vec<String>,
    /// How long it is needed, at most 4h.
    #[arg(long = "for", value_parser = parse_span, default_value = "1h", value_name = "TIME")]
    length: std::time::Duration,
    /// Until when somebody else must have reviewed it, at most 72h.
    #[arg(long, value_parser = parse_span, default_value = "72h", value_name = "TIME")]
    review_within: std::time::Duration,
    /// What is wrong, and why it cannot wait.
    #[arg(long)]
    reason: String,
    /// Of the incident.
    #[arg(long)]
    ticket: String,
}

#[derive(Debug, Clone, Args)]
pub struct ListArgs {
    /// Also what was reviewed and is over.
    #[arg(long)]
    all: bool,
}

#[derive(Debug, Clone, Args)]
#[group(skip)]
pub struct ReviewArgs {
    /// E.g. break-glass-1048.
    id: String,
    #[arg(long, conflicts_with = "not_justified", required_unless_present = "not_justified")]
    justified: bool,
    /// Its grant goes at once, if it still lives.
    #[arg(long)]
    not_justified: bool,
    /// What was found.
    #[arg(long)]
    note: String,
}

impl BreakGlassCommand {
    pub(crate) async fn run(self, client: &mut Client, out: &mut Output<'_>) -> Result<(), Failure> {
        match self {
            BreakGlassCommand::Open(args) => {
                let request = pb::BreakGlassRequest {
                    principal: args.principal.unwrap_or_default(),
                    target: args.target,
                    permissions: args.permissions,
                    length: Some(span_to_wire(args.length)),
                    review_within: Some(span_to_wire(args.review_within)),
                    reason: args.reason,
                    ticket: args.ticket,
                    ..Default::default()
                };
                let broken = rpc!(client.change, break_glass_client::BreakGlassClient, break_glass, request)?;
                out.show(&broken, |b| {
                    let (until, due) = (when::show(b.expires.as_ref()), when::show(b.review_due.as_ref()));
                    format!("{} opened {} until {until}; somebody else has to review it until {due}\n", b.id, b.grant)
                })
            }
            BreakGlassCommand::Get(args) => {
                let request = pb::GetBreakGlassRequest { id: args.id };
                let found = rpc!(client.ask, break_glass_client::BreakGlassClient, get_break_glass, request)?;
                out.show(&found, render)
            }
            BreakGlassCommand::List(args) => {
                let broken = list(client, args.all).await?;
                out.show(&pb::ListBreakGlassResponse { broken, ..Default::default() }, |all| table(&all.broken))
            }
            BreakGlassCommand::Review(args) => {
                let request =
                    pb::ReviewBreakGlassRequest { id: args.id.clone(), justified: args.justified, note: args.note, ..Default::default() };
                let mut done = rpc!(client.change, break_glass_client::BreakGlassClient, review_break_glass, request)?;
                receipt::look_again(client, &mut done.receipt).await;
                let found = if args.justified { "justified" } else { "not justified" };
                out.show(&done, |done| format!("{} was {found}\n{}", args.id, receipt::render(done.receipt.as_ref())))
            }
        }
    }
}

async fn list(client: &mut Client, all: bool) -> Result<Vec<pb::BrokenGlass>, Failure> {
    let request = pb::ListBreakGlassRequest { all, ..Default::default() };
    Ok(super::all_pages!(client, break_glass_client::BreakGlassClient, list_break_glass, request, broken))
}

/// A line for each that gives access now: for lists that must not keep quiet about it.
pub(crate) fn live(broken: &[pb::BrokenGlass]) -> String {
    let lines = broken.iter().filter(|b| b.live).map(|b| {
        let until = when::show(b.expires.as_ref());
        format!("(!) {}: {} opened {} to {} until {until} ({}): {}\n", b.id, b.by, b.target, b.principal, b.ticket, b.reason)
    });
    lines.map(|line| crate::text::plain(line.trim_end()) + "\n").collect()
}

/// As [`live`], of all that the caller sees; nothing where the cluster does not know of such a thing.
pub(crate) async fn live_now(client: &mut Client) -> String {
    list(client, false).await.map(|broken| live(&broken)).unwrap_or_default()
}

fn standing(b: &pb::BrokenGlass) -> String {
    match &b.review {
        Some(review) if review.justified => format!("justified, says {}", review.by),
        Some(review) => format!("not justified, says {}", review.by),
        None if b.overdue => "OVERDUE".into(),
        None => format!("due {}", when::show(b.review_due.as_ref())),
    }
}

fn table(broken: &[pb::BrokenGlass]) -> String {
    let mut table = Table::new(&["ID", "BY", "FOR", "TARGET", "TICKET", "OPEN", "REVIEW", "REASON"]);
    for b in broken {
        let open = if b.live { format!("until {}", when::show(b.expires.as_ref())) } else { "no".into() };
        table.row([
            b.id.clone(),
            b.by.clone(),
            b.principal.clone(),
            b.target.clone(),
            b.ticket.clone(),
            open,
            standing(b),
            b.reason.clone(),
        ]);
    }
    table.render()
}

fn render(b: &pb::BrokenGlass) -> String {
    let review = b.review.clone().unwrap_or_default();
    let text = fields(&[
        ("id", b.id.clone()),
        ("by", b.by.clone()),
        ("for", b.principal.clone()),
        ("target", b.target.clone()),
        ("grant", b.grant.clone()),
        ("ticket", b.ticket.clone()),
        ("reason", b.reason.clone()),
        ("opened", when::show(b.opened.as_ref())),
        ("expires", when::show(b.expires.as_ref())),
        ("open now", if b.live { "yes".into() } else { "no".into() }),
        ("review", standing(b)),
        ("found", review.note),
    ]);
    b.permissions.iter().fold(text + "permissions\n", |text, p| text + &format!("  {p}\n"))
}
