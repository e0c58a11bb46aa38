//! What a policy's answer means: it refuses, holds, obliges; what is not understood refuses.

use domain::operation::Verb;
use domain::policy::{Obligation, Ruling};
use domain::time::LogTime;
use policy::Engine;

use crate::world::{World, bundle, name, published, said};

const NOON: LogTime = LogTime(1_795_392_000_000 + 12 * 3_600_000);

#[test]
fn nothing_said_takes_nothing_away() {
    assert_eq!(said("deny contains \"x\" if input.operation.tag == \"OTHER\""), Ruling::default());
    assert_eq!(said("deny := false"), Ruling::default());
    assert_eq!(said("allow := true"), Ruling::default());
    assert_eq!(said("default allow := false\n\nallow if input.operation.tag == \"TEST\""), Ruling::default());
}

#[test]
fn refusals_come_with_their_reasons() {
    assert_eq!(said("deny contains \"b\"\n\ndeny contains {\"reason\": \"a\"}").refuse.as_deref(), Some("b; a"));
    assert_eq!(said("deny := true").refuse.as_deref(), Some("the policy denies it"));
    assert_eq!(said("allow if input.operation.tag == \"OTHER\"").refuse.as_deref(), Some("the policy does not allow it"));
    assert_eq!(said("allow := false").refuse.as_deref(), Some("the policy does not allow it"));
}

#[test]
fn a_hold_names_who_and_how_many() {
    let plain = said("hold contains \"look\"").hold.expect("held");
    assert_eq!((plain.reason.as_str(), plain.approvers.len(), plain.approvals), ("look", 0, 1));
    let two = said(
        "hold contains {\"reason\": \"a\", \"approvers\": [\"ben\", \"eve\"], \"approvals\": 2}\n\nhold contains {\"reason\": \"b\", \"approvers\": [\"eve\"]}",
    );
    let hold = two.hold.expect("held");
    assert_eq!((hold.reason.as_str(), hold.approvals), ("a; b", 2));
    assert_eq!(hold.approvers.into_iter().collect::<Vec<_>>(), [name("eve")], "the demands of both");
}

#[test]
fn what_is_not_understood_is_a_refusal() {
    for rego in [
        "allow := 1",
        "deny := 7",
        "deny contains 7",
        "deny contains \"\"",
        "deny contains {\"because\": \"x\"}",
        "hold contains {\"reason\": \"x\", \"aprovers\": [\"ben\"]}",
        "hold contains {\"reason\": \"x\", \"approvers\": []}",
        "hold contains {\"reason\": \"x\", \"approvers\": [\"no name!\"]}",
        "hold contains {\"reason\": \"x\", \"approvals\": 0}",
        "hold contains {\"reason\": \"x\", \"approvals\": 11}",
        "hold := {\"reason\": \"x\"}",
        "obligations contains {\"type\": \"mask\", \"column\": \"email\"}",
        "obligations contains {\"type\": \"strict\"}",
        "obligations contains \"note\"",
        "deny contains x if some x in [sprintf(\"%d\", [n]) | some n in data.many]",
    ] {
        let many = format!("{{\"many\": {:?}}}", (0..100).collect::<Vec<u32>>());
        let policy = published(&bundle(&[("operation.rego", &format!("package assize.operation\n\n{rego}\n")), ("data.json", &many)]));
        let ruling = World::new(1).operation(&Engine::default(), &policy, Verb::Insert, NOON);
        let refused = ruling.refuse.unwrap_or_else(|| panic!("{rego} passes"));
        assert!(refused.starts_with("policy-12 could not be evaluated: its answer is not understood"), "{rego}: {refused}");
    }
}

#[test]
fn a_rule_that_fails_is_a_refusal_not_an_undefined() {
    let ruling = said("deny contains \"x\" if to_number(input.operation.tag) == 1");
    assert_eq!(ruling.refuse.as_deref(), Some("policy-12 could not be evaluated: one of its rules failed"));
    let conflict = said("limit := 1 if true\n\nlimit := 2 if true\n\ndeny contains \"x\" if limit > 3");
    assert_eq!(conflict.refuse.as_deref(), Some("policy-12 could not be evaluated: one of its rules failed"));
}

#[test]
fn a_bundle_that_does_not_load_refuses_everything() {
    let mut policy = published(&bundle(&[("a.rego", "package assize.operation\n\ndeny contains \"x\" if false\n")]));
    policy.bundle = (*b"not a bundle").into();
    let (rules, world) = (Engine::default(), World::new(1));
    for ruling in [world.operation(&rules, &policy, Verb::Select, NOON), world.admission(&rules, &policy)] {
        assert_eq!(ruling.refuse.as_deref(), Some("policy-12 cannot be loaded on this node"));
    }
    assert!(domain::policy::Rules::judges_operations(&rules, &policy));
}

#[test]
fn the_question_is_the_document_that_is_described() {
    let exact = r#"
expected := {"verb": "insert", "object": "app.public.salaries", "path": ["app", "public", "salaries"], "columns": null}

allow if {
	input.version == "assize.policy.input/v1"
	input.kind == "operation"
	input.subject == {"name": "bot", "type": "agent", "owner": "ana", "backup_owner": null, "labels": {"team": "billing"}}
	input.on_behalf_of == null
	input.target.labels.env == "prod"
	input.job.data_classes == ["personal"]
	input.operation.accesses == [expected]
	input.operation.effect == "lasting"
	input.grants[0].permissions == ["postgres:insert,select on app.public.table1(id,status)"]
	input.missing == []
	time.weekday(input.time_ns) == "Monday"
}
"#;
    let exact = exact.replace("postgres:insert,select", "postgres:select,insert");
    assert_eq!(said(&exact), Ruling::default());
}

#[test]
fn the_samples_have_the_fields_of_the_real_questions() {
    fn keys(value: &serde_json::Value, at: &str, to: &mut Vec<String>) {
        match value {
            serde_json::Value::Object(fields) if at != "/subject/labels" && at != "/target/labels" => {
                for (key, value) in fields {
                    to.push(format!("{at}/{key}"));
                    keys(value, &format!("{at}/{key}"), to);
                }
            }
            serde_json::Value::Array(items) => items.iter().take(1).for_each(|item| keys(item, &format!("{at}/*"), to)),
            _ => {}
        }
    }
    let wanted = |sample: &serde_json::Value| {
        let mut all = Vec::new();
        keys(sample, "", &mut all);
        all.retain(|key| !key.starts_with("/on_behalf_of/"));
        all.sort();
        all.dedup();
        all
    };
    for (sample, package) in [(policy::document::sample_admission(), "admission"), (policy::document::sample_operation(), "operation")] {
        let mut rego = format!("package assize.{package}\n\n");
        for (n, key) in wanted(&sample).iter().enumerate() {
            let part = |part: &str| if part == "*" { "[_]".to_owned() } else { format!("[{part:?}]") };
            let path: String = key.split('/').skip(1).map(part).collect();
            rego += &format!(
                "has_{n} if {{\n\tfound := input{path}\n\ttype_name(found) != \"\"\n}}\n\ndeny contains {key:?} if not has_{n}\n\n"
            );
        }
        let policy = published(&bundle(&[("a.rego", &rego)]));
        let (rules, world) = (Engine::default(), World::new(2));
        let ruling =
            if package == "admission" { world.admission(&rules, &policy) } else { world.operation(&rules, &policy, Verb::Select, NOON) };
        assert_eq!(ruling.refuse, None, "{package}");
    }
}

#[test]
fn obligations_are_those_that_are_kept() {
    let rego = "package assize.admission\n\nobligations contains {\"type\": \"strict\"}\n\nobligations contains {\"type\": \"review_again\", \"after_seconds\": 60}\n\nobligations contains {\"type\": \"note\", \"text\": \"seen\"}\n";
    let policy = published(&bundle(&[("a.rego", rego)]));
    let ruling = World::new(1).admission(&Engine::default(), &policy);
    let expect = [Obligation::Strict, Obligation::ReviewAgain(std::time::Duration::from_secs(60)), Obligation::Note("seen".into())];
    assert!(ruling.refuse.is_none() && expect.iter().all(|one| ruling.obligations.contains(one)), "{ruling:?}");
}
