//! How two entities differ, as lines: their JSON, flattened to path and value.

use std::collections::BTreeSet;

use serde::Serialize;
use serde_json::Value;

/// What the cluster says about an entity, not what was declared.
const OUTPUT_ONLY: [&str; 12] = [
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
];

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

/// The items of a list share its path: their order means nothing in any entity.
fn flatten(path: &str, value: &Value, all: &mut BTreeSet<(String, String)>) {
    match value {
        // An empty message is a choice made (`tls.off`), and stands for itself.
        Value::Object(fields) if fields.is_empty() => {
            all.insert((path.to_owned(), "{}".to_owned()));
        }
        Value::Object(fields) => fields.iter().for_each(|(name, value)| flatten(&format!("{path}.{name}"), value, all)),
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
    fn use_reviews_and_denials_are_no_difference() {
        let declared = pb::Grant { name: "g".into(), principal: "packer".into(), ..Default::default() };
        let used = pb::Grant { usage: Some(pb::GrantUsage::default()), under_review: "review-7".into(), ..declared.clone() };
        assert_eq!(lines(Some(&used), &declared), Vec::<String>::new());
        let agent = pb::Principal { name: "packer".into(), ..Default::default() };
        let denied = pb::Principal { denials: vec![pb::Denials { target: "orders".into(), ..Default::default() }], ..agent.clone() };
        assert_eq!(lines(Some(&denied), &agent), Vec::<String>::new());
    }
}
