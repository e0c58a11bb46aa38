use std::collections::BTreeMap;

use clap::{Args, Subcommand};
use proto::admin as pb;
use proto::admin::grant_source::Source;
use proto::admin::grant_status::Status;
use proto::admin::target_selector::{Assize, Labels, Selector};

use super::receipt;
use crate::client::{Client, rpc};
use crate::outcome::Failure;
use crate::output::{Output, Table, fields};
use crate::text::{labels, parse_label, plain, yes};
use crate::when::{self, When};

#[derive(Debug, Clone, Subcommand)]
pub enum GrantCommand {
    Create(CreateArgs),
    Get(IdArg),
    List(ListArgs),
    /// Ends its sessions on all nodes, and answers when none forwards anything under it
    Revoke(RevokeArgs),
    /// Bring back a grant that `cluster recover` suspended
    Confirm(IdArg),
}

#[derive(Debug, Clone, Args)]
pub struct IdArg {
    /// E.g. grant-1042, or its name.
    id: String,
}

#[derive(Debug, Clone, Args)]
pub struct CreateArgs {
    #[arg(long)]
    principal: String,
    #[command(flatten)]
    on: OnArgs,
    /// E.g. 'postgres:select on app.public.*'.
    #[arg(short, long = "permission", value_name = "PERMISSION")]
    permissions: Vec<String>,
    #[arg(long = "role", value_name = "NAME")]
    roles: Vec<String>,
    /// A span from now, or a time.
    #[arg(long, value_parser = when::parse, value_name = "TIME")]
    valid_from: Option<When>,
    /// A span such as 90d, or a time.
    #[arg(long, value_parser = when::parse, value_name = "TIME")]
    expires: Option<When>,
    /// Past this it admits nothing until it was reviewed.
    #[arg(long, value_parser = when::parse, value_name = "TIME")]
    review_due: Option<When>,
    /// Ask the cluster's leader before every operation.
    #[arg(long)]
    strict: bool,
    /// A new version of a declared grant that was revoked: `assize apply` then finds this one.
    #[arg(long)]
    name: Option<String>,
}

#[derive(Debug, Clone, Args)]
#[group(required = true, multiple = false)]
pub(crate) struct OnArgs {
    /// One target by name; `assize` is the gateway's own administration.
    #[arg(long, value_name = "NAME")]
    target: Option<String>,
    /// All targets with these labels.
    #[arg(long = "target-label", value_name = "KEY=VALUE", value_parser = parse_label)]
    target_labels: Vec<(String, String)>,
}

#[derive(Debug, Clone, Args)]
pub struct ListArgs {
    #[arg(long)]
    principal: Option<String>,
    /// Those that reach this target.
    #[arg(long)]
    target: Option<String>,
    /// Also those that are revoked, expired or overdue.
    #[arg(long)]
    all: bool,
}

#[derive(Debug, Clone, Args)]
pub struct RevokeArgs {
    /// E.g. grant-1042, or its name.
    id: String,
    /// Told to the clients that are cut off, and put on record.
    #[arg(long, default_value = "")]
    reason: String,
}

/// `assize` is the administration; a target of that name cannot be meant.
pub(crate) fn selector(target: Option<String>, labels: BTreeMap<String, String>) -> pb::TargetSelector {
    let selector = match target {
        Some(name) if name == "assize" => Selector::Assize(Assize {}),
        Some(name) => Selector::Name(name),
        None => Selector::Labels(Labels { labels }),
    };
    pb::TargetSelector { selector: Some(selector) }
}

impl GrantCommand {
    pub(crate) async fn run(self, client: &mut Client, out: &mut Output<'_>) -> Result<(), Failure> {
        match self {
            GrantCommand::Create(args) => {
                let grant = pb::Grant {
                    name: args.name.unwrap_or_default(),
                    principal: args.principal,
                    target: Some(selector(args.on.target, args.on.target_labels.into_iter().collect())),
                    permissions: args.permissions,
                    roles: args.roles,
                    valid_from: args.valid_from.map(When::resolve),
                    expires: args.expires.map(When::resolve),
                    review_due: args.review_due.map(When::resolve),
                    strict: args.strict,
                    ..Default::default()
                };
                let request = pb::CreateGrantRequest { grant: Some(grant), ..Default::default() };
                let made = rpc!(client.change, grants_client::GrantsClient, create_grant, request)?;
                out.show(&made, |made| format!("created {}\n", made.id))
            }
            GrantCommand::Get(args) => {
                let found = rpc!(client.ask, grants_client::GrantsClient, get_grant, pb::GetGrantRequest { id: args.id })?;
                out.show(&found, render)
            }
            GrantCommand::List(args) => {
                let request = pb::ListGrantsRequest {
                    principal: args.principal.unwrap_or_default(),
                    target: args.target.unwrap_or_default(),
                    all: args.all,
                    ..Default::default()
                };
                let grants = super::all_pages!(client, grants_client::GrantsClient, list_grants, request, grants);
                out.show(&pb::ListGrantsResponse { grants, ..Default::default() }, |all| table(&all.grants))
            }
            GrantCommand::Revoke(args) => {
                let request = pb::RevokeGrantRequest { id: args.id.clone(), reason: args.reason, ..Default::default() };
                let mut done = rpc!(client.change, grants_client::GrantsClient, revoke_grant, request)?;
                receipt::look_again(client, &mut done.receipt).await;
                out.show(&done, |done| revoked(&args.id, done))
            }
            GrantCommand::Confirm(args) => {
                let request = pb::ConfirmGrantRequest { id: args.id, ..Default::default() };
                let done = rpc!(client.change, grants_client::GrantsClient, confirm_grant, request)?;
                out.show(&done, |done| format!("confirmed {}\n", done.id))
            }
        }
    }
}

fn revoked(typed: &str, done: &pb::RevokeGrantResponse) -> String {
    let (id, ended) = done.grant.as_ref().map_or((typed, String::new()), |g| (g.id.as_str(), ended(g)));
    let what = if done.already_revoked { format!("{id} was revoked already, {ended}; nothing changed") } else { format!("revoked {id}") };
    format!("{what}\n{}", receipt::render(done.receipt.as_ref()))
}

fn ended(grant: &pb::Grant) -> String {
    match grant.status.as_ref().and_then(|s| s.status.as_ref()) {
        Some(Status::Revoked(r)) => format!("by {} at {}: {} ({})", r.by, when::show(r.at.as_ref()), plain(&r.reason), r.revocation),
        Some(Status::Suspended(s)) => plain(&s.reason),
        Some(Status::Active(_)) | None => String::new(),
    }
}

fn table(grants: &[pb::Grant]) -> String {
    let mut table =
        Table::new(&["ID", "NAME", "PRINCIPAL", "TARGET", "PERMISSIONS", "EXPIRES", "REVIEW DUE", "LAST USED", "STATUS", "SOURCE"]);
    for g in grants {
        let mut what = g.permissions.clone();
        what.extend(g.roles.iter().map(|role| format!("role {role}")));
        let what = match what.as_slice() {
            [one] => one.clone(),
            [first, rest @ ..] => format!("{first} (+{})", rest.len()),
            [] => String::new(),
        };
        table.row([
            g.id.clone(),
            g.name.clone(),
            g.principal.clone(),
            target_in_words(g),
            what,
            when::show(g.expires.as_ref()),
            when::show(g.review_due.as_ref()),
            last_used(g.usage.as_ref()),
            status(g),
            source(g),
        ]);
    }
    table.render()
}

/// Empty where nothing is counted.
pub(crate) fn last_used(usage: Option<&pb::GrantUsage>) -> String {
    let Some(usage) = usage else { return String::new() };
    match usage.total.as_ref().and_then(|total| total.last.as_ref()) {
        Some(last) => when::show(Some(last)),
        None => "never".into(),
    }
}

fn count_in_words(count: &pb::UseCount) -> String {
    match count.operations {
        0 => "never used".into(),
        n => format!("{n} operations, {} rows, {} to {}", count.rows, when::show(count.first.as_ref()), when::show(count.last.as_ref())),
    }
}

pub(crate) fn target_in_words(grant: &pb::Grant) -> String {
    match grant.target.as_ref().and_then(|t| t.selector.as_ref()) {
        Some(Selector::Name(name)) => name.clone(),
        Some(Selector::Labels(with)) => labels(&with.labels),
        Some(Selector::Assize(_)) => "assize".into(),
        None => String::new(),
    }
}

fn status(grant: &pb::Grant) -> String {
    match grant.status.as_ref().and_then(|s| s.status.as_ref()) {
        Some(Status::Active(_)) if grant.live => "live".into(),
        Some(Status::Active(_)) => "not in force".into(),
        Some(Status::Suspended(_)) => "suspended".into(),
        Some(Status::Revoked(_)) => "revoked".into(),
        None => String::new(),
    }
}

fn source(grant: &pb::Grant) -> String {
    match grant.source.as_ref().and_then(|s| s.source.as_ref()) {
        Some(Source::Baseline(_)) => "baseline".into(),
        Some(Source::Declared(_)) => "declared".into(),
        Some(Source::Request(id)) => id.clone(),
        Some(Source::Review(review)) => review.clone(),
        Some(Source::BreakGlass(broken)) => broken.clone(),
        None => String::new(),
    }
}

fn render(g: &pb::Grant) -> String {
    let mut text = fields(&[
        ("id", g.id.clone()),
        ("name", g.name.clone()),
        ("principal", g.principal.clone()),
        ("target", target_in_words(g)),
        ("roles", g.roles.join(",")),
        ("valid from", when::show(g.valid_from.as_ref())),
        ("expires", when::show(g.expires.as_ref())),
        ("review due", when::show(g.review_due.as_ref())),
        ("strict", yes(g.strict)),
        ("source", source(g)),
        ("status", status(g)),
        ("ended", ended(g)),
        ("granted by", g.granted_by.clone()),
        ("granted", when::show(g.granted.as_ref())),
        ("version", g.etag.clone()),
        ("use counted since", g.usage.as_ref().map(|usage| when::show(usage.counted_since.as_ref())).unwrap_or_default()),
        ("used", g.usage.as_ref().and_then(|usage| usage.total.as_ref()).map(count_in_words).unwrap_or_default()),
    ]);
    match &g.usage {
        None => g.permissions.iter().for_each(|p| text.push_str(&format!("  {p}\n"))),
        Some(usage) => {
            for line in &usage.permissions {
                text.push_str(&format!("  {}: {}\n", line.permission, count_in_words(&line.count.unwrap_or_default())));
            }
            let apart = [("by roles", &usage.by_roles), ("on further objects", &usage.more)];
            for (what, count) in apart.into_iter().filter_map(|(what, count)| Some((what, count.as_ref()?))) {
                text.push_str(&format!("  {what}: {}\n", count_in_words(count)));
            }
        }
    }
    text
}
