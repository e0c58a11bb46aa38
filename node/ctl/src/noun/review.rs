mod export;
pub(crate) mod trigger;

use std::collections::BTreeMap;

use clap::{Args, Subcommand, ValueEnum};
use proto::admin as pb;
use proto::admin::review_choice::{Abstain, Approve, Choice, Modify, Revoke};
use proto::admin::review_item::Subject;
use proto::admin::review_stage::{ByRight, Named, Reviewers, TargetOwner};
use proto::admin::review_status::Status;

use super::{grant, receipt};
use crate::apply::spec::{TriggerSpec, span};
use crate::client::{Client, rpc};
use crate::outcome::Failure;
use crate::output::{Output, Table, fields};
use crate::text::parse_label;
use crate::when::{self, When, parse_span, span_to_wire};

#[derive(Debug, Clone, Subcommand)]
pub enum ReviewCommand {
    /// Fix what is to be reviewed now, and ask its reviewers
    Open(OpenArgs),
    Get(IdArg),
    List(ListArgs),
    /// What is to be decided on, and what was decided
    Items(ItemsArgs),
    /// Approve, modify, revoke or abstain
    Decide(DecideArgs),
    /// Give items to another reviewer
    Hand(HandArgs),
    /// Sign the review off, over the digest of its report
    Close(CloseArgs),
    /// Open reviews by itself when something happens
    #[command(subcommand)]
    Trigger(trigger::TriggerCommand),
    /// The report: CSV is what is signed, JSON has every field, OSCAL is for assessors' tools
    Export(export::ExportArgs),
}

#[derive(Debug, Clone, Args)]
pub struct IdArg {
    /// E.g. review-1047.
    id: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum OverdueArg {
    Keep,
    Suspend,
    Revoke,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum RiskArg {
    Low,
    Medium,
    High,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Subjects {
    All,
    Grants,
    Tokens,
}

#[derive(Debug, Clone, Args)]
pub struct OpenArgs {
    /// Reviews that repeat share it.
    name: String,
    /// Open the next one by itself, counted from this opening.
    #[arg(long, value_parser = parse_span, value_name = "TIME")]
    repeats: Option<std::time::Duration>,
    #[command(flatten)]
    terms: TermsArgs,
}

/// What holds where nothing is said.
const OVERDUE: &str = "suspend";
const CERTIFIES: &str = "90d";
const SUBJECTS: &str = "all";

/// What a review is held on.
#[derive(Debug, Clone, Args)]
struct TermsArgs {
    /// Why it is held and this often: a policy, a risk analysis, a ticket.
    #[arg(long)]
    basis: String,
    /// A stage of reviewers: names with commas between, `target-owner`, or `by-right`. Up to three, one after the other.
    #[arg(long = "reviewers", required = true, value_name = "NAMES")]
    stages: Vec<String>,
    /// How long the reviewers have, e.g. 14d.
    #[arg(long, value_parser = parse_span, value_name = "TIME")]
    due: std::time::Duration,
    /// What becomes of an item that nobody decided on.
    #[arg(long, value_enum, default_value = OVERDUE)]
    overdue: OverdueArg,
    /// How long a decision to keep access counts.
    #[arg(long, default_value = CERTIFIES, value_parser = parse_span, value_name = "TIME")]
    certifies: std::time::Duration,
    /// A person who decides where nobody else can, and on everything once it escalates.
    #[arg(long, value_name = "NAME")]
    fallback: Vec<String>,
    #[arg(long, value_parser = parse_span, value_name = "TIME")]
    escalates: Option<std::time::Duration>,
    /// From this risk on, keeping access needs a rationale too.
    #[arg(long, value_enum, value_name = "RISK")]
    rationale_from: Option<RiskArg>,
    #[command(flatten)]
    scope: ScopeArgs,
}

/// All that is given must hold; without any of them everything is reviewed.
#[derive(Debug, Clone, Args)]
struct ScopeArgs {
    #[arg(long, value_enum, default_value = SUBJECTS, help_heading = "Scope")]
    subjects: Subjects,
    #[arg(long = "principal", value_name = "NAME", help_heading = "Scope")]
    principals: Vec<String>,
    /// Agents that this person answers for.
    #[arg(long = "owner", value_name = "NAME", help_heading = "Scope")]
    owners: Vec<String>,
    #[arg(long = "target", value_name = "NAME", help_heading = "Scope")]
    targets: Vec<String>,
    /// Of the principal.
    #[arg(long = "label", value_name = "KEY=VALUE", value_parser = parse_label, help_heading = "Scope")]
    labels: Vec<(String, String)>,
    /// Grants with this verb, e.g. delete.
    #[arg(long = "verb", value_name = "VERB", help_heading = "Scope")]
    verbs: Vec<String>,
    /// From this risk on.
    #[arg(long = "risk", value_enum, value_name = "RISK", help_heading = "Scope")]
    risk_from: Option<RiskArg>,
    /// Grants that were not used for this long, e.g. 90d.
    #[arg(long, value_parser = parse_span, value_name = "TIME", help_heading = "Scope")]
    unused_for: Option<std::time::Duration>,
}

#[derive(Debug, Clone, Args)]
pub struct ListArgs {
    /// Also those that are closed.
    #[arg(long)]
    all: bool,
}

#[derive(Debug, Clone, Args)]
pub struct ItemsArgs {
    /// E.g. review-1047.
    id: String,
    /// Only what you may decide on now.
    #[arg(long)]
    mine: bool,
    /// Only what is not decided yet.
    #[arg(long)]
    undecided: bool,
    /// What recommendations look back on; 90 days unless said.
    #[arg(long, value_parser = parse_span, value_name = "TIME")]
    window: Option<std::time::Duration>,
}

#[derive(Debug, Clone, Args)]
pub struct DecideArgs {
    /// E.g. review-1047.
    id: String,
    /// Numbers of items; with `@VERSION` the decision is refused if the item has changed since you saw that version.
    #[arg(required = true, value_name = "ITEM[@VERSION]")]
    items: Vec<String>,
    #[command(flatten)]
    choice: ChoiceArgs,
    /// With --recommended: what it looks back on; 90 days unless said.
    #[arg(long, value_parser = parse_span, value_name = "TIME", requires = "recommended")]
    window: Option<std::time::Duration>,
    /// Goes on record with each of the items.
    #[arg(long, default_value = "")]
    rationale: String,
    /// With --modify: keep this role of the grant.
    #[arg(long = "role", value_name = "NAME", requires = "permissions")]
    roles: Vec<String>,
    /// With --modify: end it sooner.
    #[arg(long, value_parser = when::parse, value_name = "TIME", requires = "permissions")]
    expires: Option<When>,
}

#[derive(Debug, Clone, Args)]
#[group(required = true, multiple = false)]
struct ChoiceArgs {
    #[arg(long)]
    approve: bool,
    #[arg(long)]
    revoke: bool,
    #[arg(long)]
    abstain: bool,
    /// What the use suggests for each of the items: see `assize review items`.
    #[arg(long)]
    recommended: bool,
    /// Keep only this permission; may be given more than once.
    #[arg(long = "modify", value_name = "PERMISSION", id = "permissions")]
    permissions: Vec<String>,
}

#[derive(Debug, Clone, Args)]
pub struct HandArgs {
    /// E.g. review-1047.
    id: String,
    #[arg(required = true, value_name = "ITEM")]
    items: Vec<u32>,
    #[arg(long, value_name = "NAME")]
    to: String,
    #[arg(long)]
    reason: String,
}

#[derive(Debug, Clone, Args)]
pub struct CloseArgs {
    /// E.g. review-1047.
    id: String,
    /// SHA-256 of the report you have read: `assize review export ID | sha256sum`.
    #[arg(long)]
    digest: String,
    /// What you sign, e.g. "reviewed, and acknowledged for management".
    #[arg(long)]
    statement: String,
    /// No further review opens under these terms.
    #[arg(long)]
    ends_series: bool,
}

impl ReviewCommand {
    pub(crate) async fn run(self, client: &mut Client, out: &mut Output<'_>) -> Result<(), Failure> {
        match self {
            ReviewCommand::Open(args) => {
                let request = pb::OpenReviewRequest { name: args.name, terms: Some(terms(args.terms, args.repeats)), ..Default::default() };
                let opened = rpc!(client.change, reviews_client::ReviewsClient, open_review, request)?;
                out.show(&opened, |r| format!("opened {}: {} items, due {}\n", r.id, r.items, when::show(r.due.as_ref())))
            }
            ReviewCommand::Get(args) => {
                let found = rpc!(client.ask, reviews_client::ReviewsClient, get_review, pb::GetReviewRequest { id: args.id })?;
                out.show(&found, render)
            }
            ReviewCommand::List(args) => {
                let request = pb::ListReviewsRequest { all: args.all, ..Default::default() };
                let reviews = super::all_pages!(client, reviews_client::ReviewsClient, list_reviews, request, reviews);
                out.show(&pb::ListReviewsResponse { reviews, ..Default::default() }, |all| table(&all.reviews))
            }
            ReviewCommand::Items(args) => {
                let request = pb::ListReviewItemsRequest {
                    review: args.id,
                    mine: args.mine,
                    undecided: args.undecided,
                    window: args.window.map(span_to_wire),
                    ..Default::default()
                };
                let items = super::all_pages!(client, reviews_client::ReviewsClient, list_review_items, request, items);
                out.show(&pb::ListReviewItemsResponse { items, ..Default::default() }, |all| items_table(&all.items))
            }
            ReviewCommand::Decide(args) => decide(client, out, args).await,
            ReviewCommand::Hand(args) => {
                let request = pb::HandReviewItemsRequest {
                    review: args.id,
                    items: args.items,
                    to: args.to.clone(),
                    reason: args.reason,
                    ..Default::default()
                };
                let done = rpc!(client.change, reviews_client::ReviewsClient, hand_review_items, request)?;
                out.show(&done, |r| format!("handed items of {} to {}\n", r.id, args.to))
            }
            ReviewCommand::Close(args) => {
                let request = pb::CloseReviewRequest {
                    review: args.id,
                    digest: args.digest,
                    statement: args.statement,
                    ends_series: args.ends_series,
                    ..Default::default()
                };
                let closed = rpc!(client.change, reviews_client::ReviewsClient, close_review, request)?;
                out.show(&closed, |r| format!("signed off {}\n", r.id))
            }
            ReviewCommand::Trigger(command) => command.run(client, out).await,
            ReviewCommand::Export(args) => export::run(client, out, args).await,
        }
    }
}

fn terms(args: TermsArgs, repeats: Option<std::time::Duration>) -> pb::ReviewTerms {
    let ScopeArgs { subjects, principals, owners, targets, labels, verbs, risk_from, unused_for } = args.scope;
    let scope = pb::ReviewScope {
        grants: subjects != Subjects::Tokens,
        tokens: subjects != Subjects::Grants,
        principals,
        owners,
        targets,
        labels: labels.into_iter().collect::<BTreeMap<_, _>>(),
        verbs,
        risk_from: risk(risk_from).into(),
        unused_for: unused_for.map(span_to_wire),
    };
    let overdue = match args.overdue {
        OverdueArg::Keep => pb::Overdue::Keep,
        OverdueArg::Suspend => pb::Overdue::Suspend,
        OverdueArg::Revoke => pb::Overdue::Revoke,
    };
    pb::ReviewTerms {
        basis: args.basis,
        scope: Some(scope),
        stages: args.stages.iter().map(|text| stage(text)).collect(),
        fallback: args.fallback,
        escalates: args.escalates.map(span_to_wire),
        length: Some(span_to_wire(args.due)),
        overdue: overdue.into(),
        certifies: Some(span_to_wire(args.certifies)),
        rationale_from: risk(args.rationale_from).into(),
        repeats: repeats.map(span_to_wire),
    }
}

/// The same from a document.
fn declared_terms(spec: &TriggerSpec) -> Result<TermsArgs, Failure> {
    let given = |text: &Option<String>, default: &str| text.clone().unwrap_or_else(|| default.to_owned());
    let scope = &spec.scope;
    Ok(TermsArgs {
        basis: spec.basis.clone(),
        stages: spec.reviewers.clone(),
        due: span("due", &spec.due)?,
        overdue: word("overdue", &given(&spec.overdue, OVERDUE))?,
        certifies: span("certifies", &given(&spec.certifies, CERTIFIES))?,
        fallback: spec.fallback.clone(),
        escalates: spec.escalates.as_deref().map(|text| span("escalates", text)).transpose()?,
        rationale_from: spec.rationale_from.as_deref().map(|text| word("rationaleFrom", text)).transpose()?,
        scope: ScopeArgs {
            subjects: word("scope.subjects", &given(&scope.subjects, SUBJECTS))?,
            principals: scope.principals.clone(),
            owners: scope.owners.clone(),
            targets: scope.targets.clone(),
            labels: scope.labels.clone().into_iter().collect(),
            verbs: scope.verbs.clone(),
            risk_from: scope.risk.as_deref().map(|text| word("scope.risk", text)).transpose()?,
            unused_for: scope.unused_for.as_deref().map(|text| span("scope.unusedFor", text)).transpose()?,
        },
    })
}

fn word<T: ValueEnum>(field: &str, text: &str) -> Result<T, Failure> {
    T::from_str(text, false).map_err(|_| {
        let words: Vec<String> =
            T::value_variants().iter().filter_map(|word| Some(word.to_possible_value()?.get_name().to_owned())).collect();
        Failure::usage(format!("{field}: {text:?} is not one of {}", words.join(", ")))
    })
}

fn risk(risk: Option<RiskArg>) -> pb::Risk {
    match risk {
        None => pb::Risk::Unspecified,
        Some(RiskArg::Low) => pb::Risk::Low,
        Some(RiskArg::Medium) => pb::Risk::Medium,
        Some(RiskArg::High) => pb::Risk::High,
    }
}

fn stage(text: &str) -> pb::ReviewStage {
    let reviewers = match text {
        "target-owner" => Reviewers::TargetOwner(TargetOwner {}),
        "by-right" => Reviewers::ByRight(ByRight {}),
        names => Reviewers::Named(Named { persons: names.split(',').map(|name| name.trim().to_owned()).collect() }),
    };
    pb::ReviewStage { reviewers: Some(reviewers) }
}

async fn decide(client: &mut Client, out: &mut Output<'_>, args: DecideArgs) -> Result<(), Failure> {
    let mut wanted = Vec::new();
    for text in &args.items {
        let (number, version) = text.split_once('@').map_or((text.as_str(), None), |(number, version)| (number, Some(version.to_owned())));
        let number: u32 = number.parse().map_err(|_| Failure::usage(format!("{text:?} is not the number of an item")))?;
        wanted.push((number, version));
    }
    let mut mine = BTreeMap::new();
    if args.choice.recommended || wanted.iter().any(|(_, version)| version.is_none()) {
        let window = args.window.map(span_to_wire);
        let request = pb::ListReviewItemsRequest { review: args.id.clone(), mine: true, window, ..Default::default() };
        let items = super::all_pages!(client, reviews_client::ReviewsClient, list_review_items, request, items);
        mine.extend(items.into_iter().map(|item| (item.number, item)));
    }
    let decide = |(item, version): (u32, Option<String>)| {
        let known = mine.get(&item);
        let (choice, because) = match choice(&args) {
            Some(choice) => (pb::ReviewChoice { choice: Some(choice) }, String::new()),
            None => recommended(known, item)?,
        };
        // Not among the caller's: the answer says why not.
        let seen = known.map(|item| item.etag.clone()).filter(|etag| !etag.is_empty());
        let etag = version.or(seen).unwrap_or_else(|| "0".into());
        let rationale = if args.rationale.is_empty() { because } else { args.rationale.clone() };
        Ok(pb::DecideReviewItem { item, etag, choice: Some(choice), rationale })
    };
    let decisions = wanted.into_iter().map(decide).collect::<Result<_, Failure>>()?;
    let request = pb::DecideReviewItemsRequest { review: args.id.clone(), decisions, ..Default::default() };
    let mut done = rpc!(client.change, reviews_client::ReviewsClient, decide_review_items, request)?;
    receipt::look_again(client, &mut done.receipt).await;
    out.show(&done, |done| {
        let left = done.review.as_ref().map(|r| r.undecided).unwrap_or_default();
        let receipt = done.receipt.as_ref().map(|made| receipt::render(Some(made))).unwrap_or_default();
        format!("decided on {} of {}; {left} left\n{receipt}", args.items.join(" "), args.id)
    })
}

/// What the use suggests, and why; an item without a recommendation is for a person to think about.
fn recommended(item: Option<&pb::ReviewItem>, number: u32) -> Result<(pb::ReviewChoice, String), Failure> {
    let found = item.and_then(|item| item.recommendation.clone());
    let found = found.and_then(|found| Some((found.choice?, found.because)));
    found.ok_or_else(|| Failure::failed(format!("nothing is recommended for item {number}; nothing was decided")))
}

/// `None`: what is recommended for each item.
fn choice(args: &DecideArgs) -> Option<Choice> {
    let choice = if args.choice.recommended {
        return None;
    } else if args.choice.approve {
        Choice::Approve(Approve {})
    } else if args.choice.revoke {
        Choice::Revoke(Revoke {})
    } else if args.choice.abstain {
        Choice::Abstain(Abstain {})
    } else {
        let access = pb::ReviewAccess { permissions: args.choice.permissions.clone(), roles: args.roles.clone() };
        Choice::Modify(Modify { access: Some(access), expires: args.expires.map(When::resolve) })
    };
    Some(choice)
}

fn status(review: &pb::Review) -> String {
    match review.status.as_ref().and_then(|s| s.status.as_ref()) {
        Some(Status::Open(_)) => "open".into(),
        Some(Status::Due(_)) => "past due".into(),
        Some(Status::Closed(_)) => "closed".into(),
        None => String::new(),
    }
}

fn table(reviews: &[pb::Review]) -> String {
    let mut table = Table::new(&["ID", "NAME", "STATUS", "ITEMS", "UNDECIDED", "DUE"]);
    for r in reviews {
        let count = |n: u32| n.to_string();
        table.row([r.id.clone(), r.name.clone(), status(r), count(r.items), count(r.undecided), when::show(r.due.as_ref())]);
    }
    table.render()
}

fn render(r: &pb::Review) -> String {
    let terms = r.terms.clone().unwrap_or_default();
    let mut text = fields(&[
        ("id", r.id.clone()),
        ("name", r.name.clone()),
        ("status", status(r)),
        ("basis", terms.basis.clone()),
        ("opened", format!("{} by {}", when::show(r.opened.as_ref()), r.opened_by)),
        ("due", when::show(r.due.as_ref())),
        ("items", format!("{}, {} undecided", r.items, r.undecided)),
        ("reviewers", terms.stages.iter().map(stage_in_words).collect::<Vec<_>>().join(", then ")),
        ("fallback", terms.fallback.join(", ")),
        ("escalates", when::show(r.escalates_at.as_ref())),
        ("next", when::show(r.repeats_at.as_ref())),
    ]);
    if let Some(why) = &r.triggered {
        text.push_str(&format!("opened by trigger {}:\n{}", why.trigger, trigger::causes(&why.causes, why.more)));
    }
    if let Some(Status::Closed(closed)) = r.status.as_ref().and_then(|s| s.status.as_ref()) {
        let at = when::show(closed.at.as_ref());
        text.push_str(&format!("signed by {} at {at}: {}\nreport SHA-256 {}\n", closed.by, closed.statement, closed.digest));
    }
    text
}

fn stage_in_words(stage: &pb::ReviewStage) -> String {
    match &stage.reviewers {
        Some(Reviewers::Named(named)) => named.persons.join(" or "),
        Some(Reviewers::TargetOwner(_)) => "the target's owner".into(),
        Some(Reviewers::ByRight(_)) => "whoever has the right".into(),
        None => String::new(),
    }
}

fn items_table(items: &[pb::ReviewItem]) -> String {
    let mut table =
        Table::new(&["ITEM", "VERSION", "SUBJECT", "PRINCIPAL", "TARGET", "RISK", "STANDING", "LAST USED", "RECOMMENDED", "ACCESS"]);
    for item in items {
        let (subject, target, access) = subject(item);
        let risk = match item.risk() {
            pb::Risk::Unspecified => String::new(),
            pb::Risk::Low => "low".into(),
            pb::Risk::Medium => "medium".into(),
            pb::Risk::High => "high".into(),
        };
        let cells = [item.number.to_string(), item.etag.clone(), subject, item.principal.clone(), target, risk, standing(item)];
        let evidence = [grant::last_used(item.usage.as_ref()), recommendation(item), access];
        table.row(cells.into_iter().chain(evidence).collect::<Vec<_>>());
    }
    table.render()
}

fn standing(item: &pb::ReviewItem) -> String {
    let mut text = item.standing.clone();
    if text == "undecided" {
        text.push_str(&format!(", stage {}", item.stage));
    }
    if !item.escalated_to.is_empty() {
        text.push_str(&format!(", escalated to {}", item.escalated_to.join(" or ")));
    }
    text
}

fn recommendation(item: &pb::ReviewItem) -> String {
    match item.recommendation.as_ref().and_then(|found| found.choice.as_ref()?.choice.as_ref()) {
        Some(Choice::Revoke(_)) => "revoke".into(),
        Some(Choice::Modify(modify)) => {
            let kept = modify.access.clone().unwrap_or_default();
            let roles = kept.roles.iter().map(|role| format!("role {role}"));
            format!("keep {}", kept.permissions.iter().cloned().chain(roles).collect::<Vec<_>>().join("; "))
        }
        Some(Choice::Approve(_) | Choice::Abstain(_)) | None => String::new(),
    }
}

/// What is decided on: as it is now, where it has changed.
fn subject(item: &pb::ReviewItem) -> (String, String, String) {
    match &item.subject {
        Some(Subject::Grant(opened)) => {
            let now = item.changed.as_ref().unwrap_or(opened);
            let roles = now.roles.iter().map(|role| format!("role {role}"));
            let access = now.permissions.iter().cloned().chain(roles).collect::<Vec<_>>().join("; ");
            (opened.id.clone(), grant::target_in_words(now), access)
        }
        Some(Subject::Token(token)) => (token.id.clone(), token.usage.clone(), token.label.clone()),
        None => Default::default(),
    }
}
