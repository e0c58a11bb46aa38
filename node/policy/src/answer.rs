//! From what a policy's rules say to a [`Ruling`]. What is not understood is an error, and so a refusal: a demand that
//! is misspelt must not be none.

use std::collections::BTreeSet;
use std::time::Duration;

use domain::id::Name;
use domain::limits::{APPROVALS_NEEDED_MAX, POLICY_APPROVERS_MAX};
use domain::policy::{Hold, Obligation, Ruling};
use serde_json::{Map, Value};

use crate::limits::{ANSWERS_MAX, REASON_MAX, REVIEW_AGAIN_MAX, REVIEW_AGAIN_MIN};

/// The rules a policy answers with, in `assize.admission` and `assize.operation`.
pub(crate) const RULES: [&str; 4] = ["allow", "deny", "hold", "obligations"];

/// Which package was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    Admission,
    Operation,
}

impl Kind {
    pub(crate) const ALL: [Kind; 2] = [Kind::Admission, Kind::Operation];

    pub(crate) fn package(self) -> &'static str {
        match self {
            Kind::Admission => "assize.admission",
            Kind::Operation => "assize.operation",
        }
    }
}

/// What the rules gave; `None` for one that is undefined or not written at all.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Answers {
    /// There is an `allow` rule: then it must say yes.
    pub(crate) allow_is_written: bool,
    pub(crate) allow: Option<Value>,
    pub(crate) deny: Option<Value>,
    pub(crate) hold: Option<Value>,
    pub(crate) obligations: Option<Value>,
}

pub(crate) fn ruling(kind: Kind, answers: &Answers) -> Result<Ruling, String> {
    let mut refusals = Vec::new();
    if answers.allow_is_written {
        match &answers.allow {
            Some(Value::Bool(true)) => {}
            Some(Value::Bool(false)) | None => refusals.push("the policy does not allow it".to_owned()),
            Some(_) => return Err("allow is neither true nor false".to_owned()),
        }
    }
    match &answers.deny {
        None => {}
        Some(Value::Bool(false)) => {}
        Some(Value::Bool(true)) => refusals.push("the policy denies it".to_owned()),
        Some(many) => {
            for item in items("deny", many)? {
                refusals.push(match item {
                    Value::String(reason) => short("deny", reason)?,
                    Value::Object(fields) => {
                        only("deny", fields, &["reason"])?;
                        required_text("deny", fields, "reason")?
                    }
                    _ => return Err("deny holds something else than reasons".to_owned()),
                });
            }
        }
    }
    let mut hold: Option<Hold> = None;
    for item in answers.hold.as_ref().map(|many| items("hold", many)).transpose()?.unwrap_or_default() {
        let next = one_hold(item)?;
        hold = Some(match hold {
            Some(before) => both(before, next),
            None => next,
        });
    }
    let obligations = answers.obligations.as_ref().map(|many| items("obligations", many)).transpose()?.unwrap_or_default();
    let obligations = obligations.into_iter().map(|item| obligation(kind, item)).collect::<Result<Vec<_>, _>>()?;
    let refuse = (!refusals.is_empty()).then(|| cut(&refusals.join("; ")));
    Ok(Ruling { refuse, hold, obligations })
}

fn items<'a>(rule: &str, many: &'a Value) -> Result<Vec<&'a Value>, String> {
    match many {
        Value::Array(items) if items.len() > ANSWERS_MAX => Err(format!("{rule} holds more than {ANSWERS_MAX} answers")),
        Value::Array(items) => Ok(items.iter().collect()),
        _ => Err(format!("{rule} is no set")),
    }
}

fn one_hold(item: &Value) -> Result<Hold, String> {
    let fields = match item {
        Value::String(reason) => {
            return Ok(Hold { reason: short("hold", reason)?, approvers: BTreeSet::new(), approvals: 1 });
        }
        Value::Object(fields) => fields,
        _ => return Err("hold holds something else than reasons and objects".to_owned()),
    };
    only("hold", fields, &["reason", "approvers", "approvals"])?;
    let reason = required_text("hold", fields, "reason")?;
    let approvers = match fields.get("approvers") {
        None => BTreeSet::new(),
        Some(Value::Array(names)) if !names.is_empty() && names.len() <= POLICY_APPROVERS_MAX => {
            let name = |name: &Value| name.as_str().and_then(|name| name.parse::<Name>().ok());
            names.iter().map(|n| name(n).ok_or_else(|| format!("hold.approvers: {n} is no name"))).collect::<Result<_, _>>()?
        }
        Some(_) => return Err(format!("hold.approvers is no list of one to {POLICY_APPROVERS_MAX} names")),
    };
    let approvals = match fields.get("approvals") {
        None => 1,
        Some(number) => number
            .as_u64()
            .and_then(|n| u32::try_from(n).ok())
            .filter(|n| (1..=APPROVALS_NEEDED_MAX).contains(n))
            .ok_or_else(|| format!("hold.approvals is no number from 1 to {APPROVALS_NEEDED_MAX}"))?,
    };
    Ok(Hold { reason, approvers, approvals })
}

/// Two holds of one answer: the demands of each.
fn both(one: Hold, other: Hold) -> Hold {
    let mut joined = one.and(other);
    joined.reason = cut(&joined.reason);
    joined
}

fn obligation(kind: Kind, item: &Value) -> Result<Obligation, String> {
    let fields = item.as_object().ok_or("obligations holds something else than objects")?;
    let name = required_text("obligations", fields, "type")?;
    match (name.as_str(), kind) {
        ("note", _) => {
            only("obligations", fields, &["type", "text"])?;
            Ok(Obligation::Note(required_text("obligations", fields, "text")?))
        }
        ("strict", Kind::Admission) => {
            only("obligations", fields, &["type"])?;
            Ok(Obligation::Strict)
        }
        ("review_again", Kind::Admission) => {
            only("obligations", fields, &["type", "after_seconds"])?;
            let after = fields.get("after_seconds").and_then(Value::as_u64).map(Duration::from_secs);
            let after = after.filter(|after| (REVIEW_AGAIN_MIN..=REVIEW_AGAIN_MAX).contains(after));
            after.map(Obligation::ReviewAgain).ok_or_else(|| format!("after_seconds is no number up to {}", REVIEW_AGAIN_MAX.as_secs()))
        }
        ("strict" | "review_again", Kind::Operation) => Err(format!("the obligation {name} is for admissions only")),
        (_, _) => Err(format!("the obligation {name} is not known")),
    }
}

fn only(rule: &str, fields: &Map<String, Value>, known: &[&str]) -> Result<(), String> {
    match fields.keys().find(|key| !known.contains(&key.as_str())) {
        Some(other) => Err(format!("{rule}: the field {other} is not known")),
        None => Ok(()),
    }
}

fn required_text(rule: &str, fields: &Map<String, Value>, field: &str) -> Result<String, String> {
    let text = fields.get(field).and_then(Value::as_str).ok_or_else(|| format!("{rule}: the text {field} is missing"))?;
    short(rule, text)
}

fn short(rule: &str, text: &str) -> Result<String, String> {
    if text.trim().is_empty() || text.len() > REASON_MAX {
        Err(format!("{rule}: a text is empty or longer than {REASON_MAX} bytes"))
    } else {
        Ok(text.to_owned())
    }
}

/// Several reasons together may be longer than one.
fn cut(text: &str) -> String {
    let mut end = text.len().min(REASON_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text[..end].to_owned()
}
