//! How two entities differ, as lines: their JSON, flattened to path and value.

use std::collections::BTreeSet;

use serde::Serialize;
use serde_json::Value;

/// What the cluster says about an entity, not what was declared.
const OUTPUT_ONLY: [&str; 18] = [
    "etag",
    "narrowed",
    "id",
    "source",
    "status",
    "live",
    "granted",
    "grantedBy",
    "keyId", // of any
    "usage",
    "underReview",
    "denials", // evidence, which grows by itself
    "by",      // of a trigger, with what it has gathered and opened
    "pending",
    "pendingMore",
    "pendingSince",
    "lastOpened",
    "lastReview",
];

/// Lists in which one comes after the other. The order of any other means nothing.
const IN_ORDER: [&str; 1] = ["stages"];

/// `- path: value` for what goes, `+ path: value` for what comes. Empty when nothing differs.
pub(crate) fn lines<T: Serialize>(before: Option<&T>, after: &T) -> Vec<String> {
    let (before, after) = (before.map(pairs).unwrap_or_default(), pairs(after));
    let mut lines: Vec<(String, char, String)> =
        before.difference(&after).map(|(path, value)| (path.clone(), '-', value.clone())).collect();
    lines.extend(after.difference(&before).map(|(path, value)| (path.clone(), '+', value.clone())));
    // By path, what goes before what comes.
    lines.sort_by(|a, b| (&a.0, a.1 != '-', &a.2).cmp(&(&b.0, b.1 != '-', &b.2)));
    lines.into_iter().map(|(path, sign, value)| format!("{sign} {path}: {value}")).collect()
}

fn pairs<T: Serialize>(entity: &T) -> BTreeSet<(String, String)> {
    let mut all = BTreeSet::new();
    if let Ok(Value::Object(fields)) = serde_json::to_value(entity) {
        for (name, value) in fields.iter().filter(|(name, _)| !OUTPUT_ONLY.contains(&name.as_str())) {
            flatten(name, value, &mut all);
        }
    }
    all
}

fn flatten(path: &str, value: &Value, all: &mut BTreeSet<(String, String)>) {
    match value {
        // An empty message is a choice made (`tls.off`), and stands for itself.
        Value::Object(fields) if fields.is_empty() => {
            all.insert((path.to_owned(), "{}".to_owned()));
        }
        Value::Object(fields) => fields.iter().for_each(|(name, value)| match value {
            Value::Array(items) if IN_ORDER.contains(&name.as_str()) => {
                items.iter().enumerate().for_each(|(at, item)| flatten(&format!("{path}.{name}[{at}]"), item, all));
            }
            value => flatten(&format!("{path}.{name}"), value, all),
        }),
        // Its items share its path.
        Value::Array(items) => items.iter().for_each(|item| flatten(path, item, all)),
        Value::String(text) => {
            all.insert((path.to_owned(), text.clone()));
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {
            all.insert((path.to_owned(), value.to_string()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proto::admin as pb;
    use proto::admin::review_stage::{Named, Reviewers};

    #[test]
    fn only_what_was_declared_is_compared() {
        let before = pb::Role {
            name: "r".into(),
            description: "a".into(),
            permissions: vec!["x".into(), "y".into()],
            etag: "7".into(),
            narrowed: 7,
        };
        let same = pb::Role { etag: String::new(), narrowed: 0, permissions: vec!["y".into(), "x".into()], ..before.clone() };
        assert_eq!(lines(Some(&before), &same), Vec::<String>::new());
        let after = pb::Role { description: "b".into(), permissions: vec!["y".into(), "z".into()], ..same };
        assert_eq!(lines(Some(&before), &after), ["- description: a", "+ description: b", "- permissions: x", "+ permissions: z"]);
    }

    #[test]
    fn stages_come_in_an_order_and_reviewers_of_one_do_not() {
        let named = |names: &[&str]| {
            let persons = names.iter().map(|name| (*name).to_owned()).collect();
            pb::ReviewStage { reviewers: Some(Reviewers::Named(Named { persons })) }
        };
        let trigger = |stages| pb::ReviewTrigger { terms: Some(pb::ReviewTerms { stages, ..Default::default() }), ..Default::default() };
        let before = trigger(vec![named(&["ana", "bo"]), named(&["cy"])]);
        assert_eq!(lines(Some(&before), &trigger(vec![named(&["bo", "ana"]), named(&["cy"])])), Vec::<String>::new());
        let turned = lines(Some(&before), &trigger(vec![named(&["cy"]), named(&["ana", "bo"])]));
        assert_eq!(turned.len(), 6, "{turned:?}");
        assert_eq!(turned[2], "+ terms.stages[0].named.persons: cy");
        let gathered = pb::ReviewTrigger { pending_more: true, by: "ana".into(), last_review: "review-7".into(), ..before.clone() };
        assert_eq!(lines(Some(&gathered), &before), Vec::<String>::new());
    }

    #[test]
    fn use_reviews_and_denials_are_no_difference() {
        let declared = pb::Grant { name: "g".into(), principal: "packer".into(), ..Default::default() };
        let used = pb::Grant { usage: Some(pb::GrantUsage::default()), under_review: "review-7".into(), ..declared.clone() };
        assert_eq!(lines(Some(&used), &declared), Vec::<String>::new());
        let agent = pb::Principal { name: "packer".into(), ..Default::default() };
        let denied = pb::Principal { denials: vec![pb::Denials { target: "orders".into(), ..Default::default() }], ..agent.clone() };
        assert_eq!(lines(Some(&denied), &agent), Vec::<String>::new());
    }
}
