use std::time::Duration;

use clap::{Args, Subcommand};
use proto::admin as pb;
use proto::admin::trigger_event::{
    CredentialChanged, Denials, Event, Finding, HighRiskGrant, JobChanged, OwnerLeft, TokenIssued, Unused, Volume,
};

use super::{TermsArgs, declared_terms, stage_in_words, terms};
use crate::apply::spec::{TriggerSpec, span};
use crate::client::{Client, rpc};
use crate::noun::{DeleteArgs, NameArg};
use crate::outcome::Failure;
use crate::output::{Output, Table, fields};
use crate::when::{self, parse_span, show_span, span_to_wire};

#[derive(Debug, Clone, Subcommand)]
pub enum TriggerCommand {
    /// Set up what opens reviews by itself, or change it
    Set(Box<SetArgs>),
    Get(NameArg),
    List,
    /// Reviews that it opened go on
    Delete(DeleteArgs),
}

/// What holds where nothing is said.
const WINDOW: &str = "1h";
const LEAST: u64 = 1000;
const GATHER: &str = "10m";

#[derive(Debug, Clone, Args)]
pub struct SetArgs {
    /// Also of the reviews it opens.
    name: String,
    /// owner-left, job-changed, token-issued, credential-changed, high-risk-grant, denials=COUNT, unused=TIME,
    /// volume=FACTOR (times the rows that are usual within --window), finding=RISK.
    #[arg(long, value_name = "EVENT", value_parser = parse_event)]
    on: Event,
    /// Of --on volume: what rows are counted within.
    #[arg(long, default_value = WINDOW, value_parser = parse_span, value_name = "TIME")]
    window: Duration,
    /// Of --on volume: fewer rows are never too many.
    #[arg(long, default_value_t = LEAST, value_name = "ROWS")]
    least: u64,
    /// From the first event to the opening: what happens meanwhile is one review.
    #[arg(long, default_value = GATHER, value_parser = parse_span, value_name = "TIME")]
    gather: Duration,
    #[command(flatten)]
    terms: TermsArgs,
}

impl TriggerCommand {
    pub(crate) async fn run(self, client: &mut Client, out: &mut Output<'_>) -> Result<(), Failure> {
        match self {
            TriggerCommand::Set(args) => set(client, out, *args).await,
            TriggerCommand::Get(args) => {
                let request = pb::GetReviewTriggerRequest { name: args.name };
                let found = rpc!(client.ask, reviews_client::ReviewsClient, get_review_trigger, request)?;
                out.show(&found, render)
            }
            TriggerCommand::List => {
                let all = rpc!(client.ask, reviews_client::ReviewsClient, list_review_triggers, pb::ListReviewTriggersRequest {})?;
                out.show(&all, |all| {
                    let mut table = Table::new(&["NAME", "ON", "WAITING", "LAST OPENED", "REVIEW"]);
                    for trigger in &all.triggers {
                        let last = when::show(trigger.last_opened.as_ref());
                        table.row([trigger.name.clone(), on(trigger), waiting(trigger), last, trigger.last_review.clone()]);
                    }
                    table.render()
                })
            }
            TriggerCommand::Delete(args) => {
                let request =
                    pb::DeleteReviewTriggerRequest { name: args.name.clone(), etag: args.etag.unwrap_or_default(), ..Default::default() };
                let done = rpc!(client.change, reviews_client::ReviewsClient, delete_review_trigger, request)?;
                out.show(&done, |_| format!("deleted trigger {}\n", args.name))
            }
        }
    }
}

async fn set(client: &mut Client, out: &mut Output<'_>, args: SetArgs) -> Result<(), Failure> {
    let all = rpc!(client.ask, reviews_client::ReviewsClient, list_review_triggers, pb::ListReviewTriggersRequest {})?;
    let there = all.triggers.into_iter().find(|trigger| trigger.name == args.name);
    let etag = there.map(|there| there.etag).unwrap_or_default();
    let request = pb::PutReviewTriggerRequest { trigger: Some(wanted(args)), etag, ..Default::default() };
    let put = rpc!(client.change, reviews_client::ReviewsClient, put_review_trigger, request)?;
    out.show(&put, |put| format!("{} opens a review on {}\n", put.name, on(put)))
}

fn wanted(args: SetArgs) -> pb::ReviewTrigger {
    let event = match args.on {
        Event::Volume(volume) => Event::Volume(Volume { window: Some(span_to_wire(args.window)), least: args.least, ..volume }),
        event => event,
    };
    pb::ReviewTrigger {
        name: args.name,
        event: Some(pb::TriggerEvent { event: Some(event) }),
        terms: Some(terms(args.terms, None)),
        gather: Some(span_to_wire(args.gather)),
        ..Default::default()
    }
}

/// What a document declares: the same as [`SetArgs`], with the same defaults.
pub(crate) fn declared(name: &str, spec: &TriggerSpec) -> Result<pb::ReviewTrigger, Failure> {
    let on = parse_event(&spec.on).map_err(|e| Failure::usage(format!("on: {e}")))?;
    Ok(wanted(SetArgs {
        name: name.to_owned(),
        on,
        window: span("window", spec.window.as_deref().unwrap_or(WINDOW))?,
        least: spec.least.unwrap_or(LEAST),
        gather: span("gather", spec.gather.as_deref().unwrap_or(GATHER))?,
        terms: declared_terms(spec)?,
    }))
}

fn parse_event(text: &str) -> Result<Event, String> {
    let (event, value) = text.split_once('=').map_or((text, None), |(event, value)| (event, Some(value)));
    let number = |value: Option<&str>| {
        let value = value.ok_or_else(|| format!("{event} needs a number: {event}=NUMBER"))?;
        value.parse::<u64>().map_err(|_| format!("{value:?} is not a number"))
    };
    match (event, value) {
        ("owner-left", None) => Ok(Event::OwnerLeft(OwnerLeft {})),
        ("job-changed", None) => Ok(Event::JobChanged(JobChanged {})),
        ("token-issued", None) => Ok(Event::TokenIssued(TokenIssued {})),
        ("credential-changed", None) => Ok(Event::CredentialChanged(CredentialChanged {})),
        ("high-risk-grant", None) => Ok(Event::HighRiskGrant(HighRiskGrant {})),
        ("denials", value) => number(value).map(|every| Event::Denials(Denials { every })),
        ("unused", Some(span)) => parse_span(span).map(|span| Event::Unused(Unused { span: Some(span_to_wire(span)) })),
        ("unused", None) => Err("unused needs a time: unused=90d".into()),
        ("volume", value) => {
            let factor = u32::try_from(number(value)?).map_err(|_| "the factor of volume is too large")?;
            Ok(Event::Volume(Volume { window: None, factor, least: 0 }))
        }
        ("finding", Some(risk)) => {
            let from = match risk {
                "low" => pb::Risk::Low,
                "medium" => pb::Risk::Medium,
                "high" => pb::Risk::High,
                other => return Err(format!("{other:?} is not low, medium or high")),
            };
            Ok(Event::Finding(Finding { from: from.into() }))
        }
        ("finding", None) => Err("finding needs a risk: finding=high".into()),
        _ => Err(format!(
            "{text:?} is not one of owner-left, job-changed, token-issued, credential-changed, high-risk-grant, denials=COUNT, \
             unused=TIME, volume=FACTOR, finding=RISK"
        )),
    }
}

fn on(trigger: &pb::ReviewTrigger) -> String {
    match trigger.event.as_ref().and_then(|event| event.event.as_ref()) {
        Some(Event::OwnerLeft(_)) => "owner-left".into(),
        Some(Event::JobChanged(_)) => "job-changed".into(),
        Some(Event::TokenIssued(_)) => "token-issued".into(),
        Some(Event::CredentialChanged(_)) => "credential-changed".into(),
        Some(Event::HighRiskGrant(_)) => "high-risk-grant".into(),
        Some(Event::Denials(denials)) => format!("denials={}", denials.every),
        Some(Event::Unused(unused)) => format!("unused={}", show_span(unused.span.as_ref())),
        Some(Event::Volume(volume)) => {
            format!("volume={} within {}, {} rows at least", volume.factor, show_span(volume.window.as_ref()), volume.least)
        }
        Some(Event::Finding(finding)) => {
            let from = match finding.from() {
                pb::Risk::Low | pb::Risk::Unspecified => "low",
                pb::Risk::Medium => "medium",
                pb::Risk::High => "high",
            };
            format!("finding={from}")
        }
        None => String::new(),
    }
}

fn waiting(trigger: &pb::ReviewTrigger) -> String {
    let more = if trigger.pending_more { " and more" } else { "" };
    if trigger.pending.is_empty() { String::new() } else { format!("{}{more}", trigger.pending.len()) }
}

fn render(trigger: &pb::ReviewTrigger) -> String {
    let terms = trigger.terms.clone().unwrap_or_default();
    let last = match (&trigger.last_opened, trigger.last_review.as_str()) {
        (None, _) => String::new(),
        (Some(at), "") => format!("{}, nothing to review", when::show(Some(at))),
        (Some(at), review) => format!("{}, {review}", when::show(Some(at))),
    };
    let mut text = fields(&[
        ("name", trigger.name.clone()),
        ("on", on(trigger)),
        ("basis", terms.basis.clone()),
        ("by", trigger.by.clone()),
        ("gathers for", show_span(trigger.gather.as_ref())),
        ("reviewers", terms.stages.iter().map(stage_in_words).collect::<Vec<_>>().join(", then ")),
        ("due within", show_span(terms.length.as_ref())),
        ("last", last),
        ("version", trigger.etag.clone()),
    ]);
    if !trigger.pending.is_empty() {
        let since = when::show(trigger.pending_since.as_ref());
        text.push_str(&format!("waiting since {since}:\n{}", causes(&trigger.pending, trigger.pending_more)));
    }
    text
}

/// A line each.
pub(super) fn causes(causes: &[pb::TriggerCause], more: bool) -> String {
    let line = |cause: &pb::TriggerCause| format!("  {}: {} (entry {})\n", cause.about, cause.why, cause.index);
    let more = if more { "  and more, so that all in scope is reviewed\n" } else { "" };
    causes.iter().map(line).chain([more.to_owned()]).collect()
}
