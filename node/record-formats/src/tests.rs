//! What collectors get, byte by byte.

use std::collections::BTreeMap;

use proto::admin as pb;
use serde_json::Value;

use super::{Formatter, RecordFormat};

/// A record as the API describes it.
fn record(number: u64, kind: &str, session: &str, fields: &[(&str, &str)]) -> pb::AuditRecord {
    let fields: BTreeMap<String, String> = fields.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
    let of = |name: &str| fields.get(name).cloned().unwrap_or_default();
    pb::AuditRecord {
        log: "audit/0".into(),
        number,
        at: Some(proto::types::Timestamp { seconds: 1_763_900_000, nanos: 5_000_000 }),
        kind: kind.into(),
        node: 2,
        boot: "00000000000000ab".into(),
        sequence: number + 1,
        session: session.into(),
        principal: of("principal"),
        target: of("target"),
        control_index: 40,
        digest: of("digest"),
        summary: format!("{kind} {}", of("statement")).trim_end().to_owned(),
        fields: fields.into_iter().collect(),
        ..Default::default()
    }
}

const SESSION: &str = "2-ab-7";

/// One session's life, a refused attempt, a revocation, and what else the logs hold.
fn life() -> Vec<pb::AuditRecord> {
    let control = pb::AuditRecord {
        log: "control".into(),
        principal: "alice".into(),
        session: String::new(),
        ..record(9, "command", "", &[("command", "revoke grant-24: reason \"done = over|\""), ("reply", "done, version 40")])
    };
    vec![
        record(
            0,
            "admission",
            SESSION,
            &[
                ("principal", "bot"),
                ("owner", "bob"),
                ("target", "orders"),
                ("outcome", "approved"),
                ("grants", "grant-24@30; grant-25@31"),
                ("client_address", "10.1.2.3:5000"),
            ],
        ),
        record(
            1,
            "intent",
            SESSION,
            &[
                ("operation", "1"),
                ("principal", "bot"),
                ("target", "orders"),
                ("tag", "SELECT"),
                ("effect", "read"),
                ("verdict", "allow"),
                ("statement", "select 'a=b\\|c'"),
            ],
        ),
        record(2, "outcome", SESSION, &[("operation", "1"), ("status", "error"), ("error", "42P01"), ("rows", "0")]),
        record(
            3,
            "intent",
            SESSION,
            &[
                ("operation", "2"),
                ("principal", "bot"),
                ("target", "orders"),
                ("tag", "DROP TABLE"),
                ("effect", "lasting"),
                ("verdict", "refused"),
                ("refusal", "not-granted"),
                ("reason", "no grant covers it"),
                ("statement", "drop table orders"),
            ],
        ),
        record(4, "late-send", SESSION, &[("operation", "2"), ("late_us", "12")]),
        record(5, "session-end", SESSION, &[("by", "client"), ("operations", "2")]),
        record(
            6,
            "admission",
            "2-ab-8",
            &[("principal", "ghost"), ("target", "orders"), ("outcome", "revoked"), ("refusal", "unknown"), ("client_address", "[::1]:9")],
        ),
        record(7, "enforcement", "", &[("revocation", "revocation-40"), ("enforced", "40"), ("ended_count", "0")]),
        record(8, "statement-text", SESSION, &[("operation", "3"), ("part", "select 1")]),
        control,
        record(10, "unreadable", "", &[]),
    ]
}

fn lines(format: RecordFormat) -> Vec<String> {
    let mut formatter = Formatter::new(format);
    life().iter().map(|record| formatter.line(record)).collect()
}

#[test]
fn json_lines_keep_their_schema() {
    let lines = lines(RecordFormat::Json);
    assert_eq!(
        lines[2],
        "{\"boot\":\"00000000000000ab\",\"control_index\":40,\"digest\":\"\",\"fields\":{\"error\":\"42P01\",\"operation\":\"1\",\
         \"rows\":\"0\",\"status\":\"error\"},\"kind\":\"outcome\",\"log\":\"audit/0\",\"node\":2,\"number\":2,\"principal\":\"\",\
         \"schema\":\"assize.audit.v1\",\"sequence\":3,\"session\":\"2-ab-7\",\"summary\":\"outcome\",\"target\":\"\",\
         \"time\":\"2025-11-23T12:13:20.005Z\"}"
    );
}

#[test]
fn cef_escapes_headers_and_extensions_each_in_their_way() {
    let lines = lines(RecordFormat::Cef);
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!(
        lines[1],
        format!(
            "CEF:0|Assize|Assize|{version}|intent|intent SELECT|1|rt=1763900000005 externalId=audit/0/1 deviceExternalId=2 cat=audit/0 \
             suser=bot src=10.1.2.3 spt=5000 destinationServiceName=orders act=SELECT outcome=allow cs1=2-ab-7 cs1Label=session \
             cs2=select 'a\\=b\\\\|c' cs2Label=statement cn1=1 cn1Label=operation cn3=40 cn3Label=control index \
             deviceCustomDate1=2025-11-23T12:13:20.005Z deviceCustomDate1Label=log time msg=intent select 'a\\=b\\\\|c'"
        )
    );
    let mut odd = record(1, "a|b\\c\nd", "", &[("reason", "two\nlines\r=")]);
    odd.summary = String::new();
    let line = Formatter::new(RecordFormat::Cef).line(&odd);
    assert!(line.contains("|a\\|b\\\\c d|a\\|b\\\\c d|"), "{line}");
    assert!(line.contains(" reason=two\\nlines\\r\\= "), "{line}");
    assert_eq!(line.lines().count(), 1);
}

#[test]
fn an_outcome_names_the_parties_of_its_intent() {
    let cef = lines(RecordFormat::Cef);
    assert!(cef[2].contains("|outcome SELECT|3|"), "{}", cef[2]);
    assert!(
        cef[2].contains(" suser=bot src=10.1.2.3 spt=5000 destinationServiceName=orders act=SELECT outcome=error reason=42P01 "),
        "{}",
        cef[2]
    );
    let ocsf: Value = serde_json::from_str(&lines(RecordFormat::Ocsf)[2]).expect("JSON");
    assert_eq!(
        (&ocsf["type_uid"], &ocsf["actor"]["user"]["name"], &ocsf["status_code"]),
        (&600_504.into(), &"bot".into(), &"42P01".into())
    );
    assert_eq!(ocsf["metadata"]["correlation_uid"], "2-ab-7/1");
}

#[test]
fn nothing_is_kept_of_a_session_that_ended() {
    let mut formatter = Formatter::new(RecordFormat::Json);
    life().iter().take(6).for_each(|record| drop(formatter.line(record)));
    assert!(formatter.sessions.is_empty() && formatter.operations.is_empty());
}

/// An OCSF event whole: the rest of the tests look at members.
#[test]
fn an_admission_authorizes_a_session() {
    let event: Value = serde_json::from_str(&lines(RecordFormat::Ocsf)[0]).expect("JSON");
    let expected = serde_json::json!({
        "activity_id": 1, "activity_name": "Assign Privileges",
        "category_uid": 3, "category_name": "Identity & Access Management",
        "class_uid": 3003, "class_name": "Authorize Session",
        "type_uid": 300_301, "type_name": "Authorize Session: Assign Privileges",
        "time": 1_763_900_000_005_i64,
        "severity_id": 1, "severity": "Informational",
        "status_id": 1, "status": "Success",
        "action_id": 1, "action": "Allowed", "disposition_id": 1, "disposition": "Allowed",
        "message": "admission",
        "user": { "name": "bot", "type_id": 4, "type": "Service" },
        "privileges": ["grant-24@30", "grant-25@31"],
        "session": { "uid": "2-ab-7", "is_remote": true },
        "src_endpoint": { "ip": "10.1.2.3", "port": 5000, "uid": "2-ab-7" },
        "dst_endpoint": { "svc_name": "orders" },
        "metadata": {
            "version": "1.8.0", "profiles": ["security_control"],
            "product": { "name": "Assize", "vendor_name": "Assize", "version": env!("CARGO_PKG_VERSION") },
            "uid": "audit/0/0", "log_name": "audit/0", "sequence": 0, "event_code": "admission",
            "original_time": "2025-11-23T12:13:20.005Z",
        },
        "unmapped": {
            "principal": "bot", "owner": "bob", "target": "orders", "outcome": "approved",
            "grants": "grant-24@30; grant-25@31", "client_address": "10.1.2.3:5000",
        },
    });
    assert_eq!(event, expected, "{event:#}");
}

#[test]
fn every_event_has_what_its_class_requires() {
    let expected_classes = [3003, 6005, 6005, 6005, 6005, 6005, 6005, 3004, 6005, 3004, 0];
    for (line, class) in lines(RecordFormat::Ocsf).iter().zip(expected_classes) {
        let event: Value = serde_json::from_str(line).expect("JSON");
        assert_eq!(event["class_uid"], class, "{event:#}");
        let has = |names: &[&str]| names.iter().for_each(|name| assert!(!event[*name].is_null(), "{name} in {event:#}"));
        has(&["activity_id", "category_uid", "class_uid", "metadata", "severity_id", "time", "type_uid"]);
        assert!(event["metadata"]["version"].is_string() && event["metadata"]["product"]["vendor_name"].is_string());
        assert_eq!(event["type_uid"], class * 100 + event["activity_id"].as_u64().expect("a number"));
        match class {
            3003 => has(&["user", "privileges"]),
            3004 => has(&["entity"]),
            6005 => {
                has(&["actor", "src_endpoint"]);
                assert!(event["actor"]["user"].is_object() || event["actor"]["session"].is_object());
                assert!(["ip", "uid", "name"].iter().any(|name| event["src_endpoint"][*name].is_string()), "{event:#}");
                if event["query_info"].is_object() {
                    assert!(event["query_info"]["query_string"].is_string());
                }
            }
            _ => {}
        }
    }
}

#[test]
fn what_was_decided_and_what_became_of_it_are_told_apart() {
    let events: Vec<Value> = lines(RecordFormat::Ocsf).iter().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let seen = |at: usize| (events[at]["status"].as_str().unwrap_or_default(), events[at]["disposition"].as_str().unwrap_or_default());
    assert_eq!(seen(1), ("Unknown", "Allowed"), "an intent comes before its effect");
    assert_eq!(seen(2), ("Failure", ""));
    assert_eq!(seen(3), ("Failure", "Blocked"));
    assert_eq!(seen(6), ("Failure", "Blocked"));
    assert_eq!((&events[3]["activity_name"], &events[3]["status_detail"]), (&"Delete".into(), &"no grant covers it".into()));
    assert_eq!((&events[9]["activity_name"], &events[9]["entity"]["name"]), (&"Delete".into(), &"grant-24".into()));
    assert_eq!(events[4]["severity"], "High");
}
