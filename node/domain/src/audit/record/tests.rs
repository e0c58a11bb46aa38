use std::collections::BTreeSet;

use prost::Message as _;

use super::*;
use crate::encoding::DecodeError;
use crate::id::LockId;
use crate::operation::{Protocol, Resource, Verb};

const SALT: [u8; 16] = [7; 16];

fn session() -> SessionId {
    SessionId { node: NodeId(2), boot: BootId(0xb007), number: 9 }
}

fn header() -> Header<'static> {
    Header {
        node: NodeId(2),
        boot: BootId(0xb007),
        sequence: 41,
        control_index: Index(1042),
        time: LogTime(1_795_000_000_123),
        session: Some(session()),
        run: Some("nightly-17"),
    }
}

fn name(text: &str) -> Name {
    text.parse().expect("a name")
}

fn accesses() -> Accesses {
    let mut orders = Resource::new(["app", "public", "orders"]);
    orders.columns = Some(BTreeSet::from(["id".into(), "status".into()]));
    Accesses::new(&[
        Access { protocol: Protocol::Postgres, verb: Verb::Select, resource: orders },
        Access { protocol: Protocol::Postgres, verb: Verb::Update, resource: Resource::new(["app", "public", "*"]) },
    ])
}

/// Names live outside, so that the record can borrow them.
struct Parties {
    agent: Name,
    person: Name,
    target: Name,
    accesses: Accesses,
}

fn parties() -> Parties {
    Parties { agent: name("billing-loop"), person: name("ana"), target: name("shop"), accesses: accesses() }
}

fn intent<'a>(parties: &'a Parties, statement: &'a [u8], verdict: IntentVerdict<'a>, digest: &'a Digest) -> Intent<'a> {
    Intent {
        operation: 3,
        principal: &parties.agent,
        on_behalf_of: Some(&parties.person),
        target: &parties.target,
        tag: "SELECT",
        effect: Effect::Read,
        accesses: &parties.accesses,
        verdict,
        grants: &[GrantId(1001), GrantId(1007)],
        job_version: Some(Index(900)),
        target_version: Index(880),
        digest: Some(digest),
        statement,
        salt: &SALT,
        parameters: Some(digest),
        policy: None,
        notes: &[],
    }
}

fn cited() -> Cited {
    Cited {
        state: Index(1042),
        principal: Index(10),
        owner: Some(Index(5)),
        target: Index(880),
        job: Some(Index(900)),
        grants: vec![(GrantId(1001), Index(1001))],
        policy: None,
    }
}

/// What is written is read, and is what prost would write: so there is one encoding, in the order of the tags.
#[track_caller]
fn round_trip(event: &Event<'_>) -> Record {
    let bytes = encode(&header(), event);
    let record = decode(&bytes).expect("own record");
    assert_eq!(record.encode_to_vec(), bytes);
    assert_eq!((record.version, record.node, record.boot, record.sequence), (RECORD_VERSION, 2, 0xb007, 41));
    assert_eq!((record.control_index, record.time, record.run.as_str()), (1042, 1_795_000_000_123, "nightly-17"));
    assert_eq!(record.session.map(|s| s.id()), Some(session()));
    assert!(KIND_NAMES.contains(&record.kind_name()), "{}", record.kind_name());
    record
}

#[track_caller]
fn check_fields(record: &Record, expect: &[(&str, &str)]) {
    // The first eight are the header's.
    let fields: Vec<(&str, String)> = record.to_fields().into_iter().skip(8).map(|(name, value)| (name, value.to_string())).collect();
    let fields: Vec<(&str, &str)> = fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
    assert_eq!(fields, expect);
}

#[test]
fn an_intent_says_who_what_and_why() {
    let (parties, digest) = (parties(), Digest([1; 32]));
    let record = round_trip(&Event::Intent(intent(&parties, b"select id, status from orders", IntentVerdict::Allow, &digest)));
    let hex = digest.to_string();
    check_fields(
        &record,
        &[
            ("operation", "3"),
            ("principal", "billing-loop"),
            ("on_behalf_of", "ana"),
            ("target", "shop"),
            ("tag", "SELECT"),
            ("effect", "read"),
            ("accesses", "postgres:select on app.public.orders(id,status); postgres:update on app.public.*"),
            ("verdict", "allow"),
            ("grants", "grant-1001; grant-1007"),
            ("job_version", "900"),
            ("target_version", "880"),
            ("digest", &hex),
            ("parameters_hash", &hex),
            ("statement", "select id, status from orders"),
        ],
    );
    let header: Vec<&str> = record.to_fields().iter().take(8).map(|(name, _)| *name).collect();
    assert_eq!(header, ["kind", "node", "boot", "sequence", "control_index", "time_ms", "session", "run"]);
}

#[test]
fn every_verdict_is_told_apart() {
    let (parties, digest) = (parties(), Digest([1; 32]));
    let refusal = Refusal::NotGranted { missing: vec!["postgres:delete on app.public.orders".into()] };
    let revoked = Refusal::Revoked { revocation: RevocationId(1046), reason: "left the team".into() };
    let verdicts = [
        (IntentVerdict::Allow, "allow", ""),
        (IntentVerdict::AllowByApproval { request: RequestId(1043) }, "approval", ""),
        (IntentVerdict::Held { request: RequestId(1043) }, "held", ""),
        (IntentVerdict::Refused(&refusal), "refused", "postgres:delete on app.public.orders"),
        (IntentVerdict::EndSession(&revoked), "session-ended", "revocation-1046: left the team"),
    ];
    for (verdict, word, reason) in verdicts {
        let record = round_trip(&Event::Intent(intent(&parties, b"delete from orders", verdict, &digest)));
        let field = |wanted: &str| record.to_fields().into_iter().find(|(name, _)| *name == wanted).map(|(_, value)| value.to_string());
        assert_eq!(field("verdict").as_deref(), Some(word));
        assert_eq!(field("reason").unwrap_or_default(), reason);
        let asked = matches!(verdict, IntentVerdict::AllowByApproval { .. } | IntentVerdict::Held { .. });
        assert_eq!(field("request").as_deref(), asked.then_some("request-1043"));
    }
}

#[test]
fn an_admission_cites_what_it_read() {
    let owner = name("ana");
    let outcome = Outcome::Modified { dropped: vec!["postgres:delete on shop.*.*".into()] };
    let cited = cited();
    let record = round_trip(&Event::Admission(Admission {
        principal: "billing-loop",
        owner: Some(&owner),
        on_behalf_of: None,
        target: "shop",
        outcome: &outcome,
        cited: &cited,
        client_address: "127.0.0.1:52000",
        application_name: "psql",
        notes: &[],
    }));
    check_fields(
        &record,
        &[
            ("principal", "billing-loop"),
            ("owner", "ana"),
            ("target", "shop"),
            ("outcome", "modified"),
            ("dropped", "postgres:delete on shop.*.*"),
            ("state_version", "1042"),
            ("principal_version", "10"),
            ("owner_version", "5"),
            ("target_version", "880"),
            ("job_version", "900"),
            ("grants", "grant-1001@1001"),
            ("client_address", "127.0.0.1:52000"),
            ("application_name", "psql"),
        ],
    );
    let refused = Outcome::Revoked(Refusal::Locked { lock: LockId(1044), reason: "incident 7".into() });
    let record = round_trip(&Event::Admission(Admission {
        principal: "Not A Name",
        owner: None,
        on_behalf_of: None,
        target: "",
        outcome: &refused,
        cited: &Cited::default(),
        client_address: "",
        application_name: "",
        notes: &[],
    }));
    let Some(stored::Kind::Admission(admission)) = record.kind else { panic!("an admission") };
    assert_eq!((admission.principal.as_str(), admission.outcome), ("Not A Name", 3));
    assert_eq!(admission.refusal, Some(stored::Refused { code: "locked".into(), detail: "lock-1044: incident 7".into() }));
}

#[test]
fn the_other_kinds_read_back() {
    let outcome = |status| Event::Outcome(OperationOutcome { operation: 3, status, rows: 2, bytes: 120, duration_us: 850 });
    check_fields(
        &round_trip(&outcome(Status::Error { code: "40001" })),
        &[("operation", "3"), ("status", "error"), ("error", "40001"), ("rows", "2"), ("bytes", "120"), ("duration_us", "850")],
    );
    for (status, word) in [(Status::Ok, "ok"), (Status::Unknown, "unknown"), (Status::NotForwarded, "not-forwarded")] {
        assert_eq!(round_trip(&outcome(status)).to_fields()[9].1, FieldValue::Text(word.into()));
    }
    let people = parties();
    let findings = vec!["high role-superuser: it is one".to_owned(); FINDINGS_LISTED_MAX + 1];
    let check = TargetCheck { principal: &people.person, target: &people.target, reachable: true, findings: &findings };
    let count = (FINDINGS_LISTED_MAX + 1).to_string();
    let listed = findings[1..].join("; ");
    check_fields(
        &round_trip(&Event::TargetCheck(check)),
        &[
            ("principal", people.person.as_str()),
            ("target", people.target.as_str()),
            ("reachable", "yes"),
            ("findings", &listed),
            ("findings_count", &count),
        ],
    );
    let ended = [(session(), Cancelled::Cancelled)];
    check_fields(
        &round_trip(&Event::Enforcement(Enforcement { revocation: RevocationId(1046), enforced: Index(1047), ended: &ended })),
        &[
            ("revocation", "revocation-1046"),
            ("enforced", "1047"),
            ("ended", "session-2-000000000000b007-9 cancelled"),
            ("ended_count", "1"),
        ],
    );
    check_fields(&round_trip(&Event::LateSend(LateSend { operation: 4, late_us: 77 })), &[("operation", "4"), ("late_us", "77")]);
    let backend = Some(Backend { process: 4711, started_us: 1_763_900_000_000_001 });
    let connection = Connection { principal: &people.person, on_behalf_of: None, target: &people.target, role: "gateway", backend };
    check_fields(
        &round_trip(&Event::Connection(connection)),
        &[
            ("principal", people.person.as_str()),
            ("target", people.target.as_str()),
            ("role", "gateway"),
            ("backend_pid", "4711"),
            ("backend_start_us", "1763900000000001"),
        ],
    );
    let unknown = round_trip(&Event::Connection(Connection { backend: None, ..connection }));
    assert!(matches!(unknown.kind, Some(stored::Kind::Connection(read)) if read.backend().is_none()));
    let termination = Termination { member: NodeId(3), left: Index(1048), target: &people.target, ended: &ended };
    check_fields(
        &round_trip(&Event::Termination(termination)),
        &[
            ("member", "3"),
            ("left", "1048"),
            ("target", people.target.as_str()),
            ("ended", "session-2-000000000000b007-9 cancelled"),
            ("ended_count", "1"),
        ],
    );
    let end = SessionEnd { by: EndedBy::Policy, reason: "revocation-1046: left the team", operations: 12 };
    check_fields(
        &round_trip(&Event::SessionEnd(end)),
        &[("by", "policy"), ("reason", "revocation-1046: left the team"), ("operations", "12")],
    );
    let text = StatementText { operation: 3, salt: &SALT, length: 20, offset: 10, part: b"from order" };
    check_fields(
        &round_trip(&Event::StatementText(text)),
        &[("operation", "3"), ("length", "20"), ("offset", "10"), ("part", "from order")],
    );
}

/// The statement is whole as long as the record keeps its size; one byte more, and its hash stands for it.
#[test]
fn a_record_never_passes_its_size() {
    let (parties, digest) = (parties(), Digest([1; 32]));
    let mut whole = 0;
    for length in (0..RECORD_SIZE_MAX + 64).step_by(7).chain([1_000_000]) {
        let statement = vec![b'x'; length];
        let record = Event::Intent(intent(&parties, &statement, IntentVerdict::Allow, &digest));
        let bytes = encode(&header(), &record);
        assert!(bytes.len() <= RECORD_SIZE_MAX, "{length} gives {}", bytes.len());
        let Some(stored::Kind::Intent(intent)) = decode(&bytes).expect("own record").kind else { panic!("an intent") };
        if intent.statement_length == 0 {
            assert_eq!(intent.statement, statement);
            whole = length;
        } else {
            assert_eq!(intent.statement_length, length as u64);
            assert_eq!(intent.statement_hash, salted_hash(&SALT, &statement).0);
            assert_eq!(intent.statement_start, &statement[..STATEMENT_START_MAX]);
            assert!(intent.statement.is_empty());
        }
    }
    assert!(whole > RECORD_SIZE_MAX - 1024, "statements up to {whole} bytes stand in the record");
}

#[test]
fn the_policy_and_its_notes_stand_behind_the_statement() {
    let (parties, digest, notes) = (parties(), Digest([1; 32]), vec!["watched".to_owned(), "odd hour".to_owned()]);
    let judged = Intent { policy: Some(PolicyId(1060)), notes: &notes, ..intent(&parties, b"select 1", IntentVerdict::Allow, &digest) };
    let record = round_trip(&Event::Intent(judged));
    let fields = record.to_fields();
    let shown = |name: &str| fields.iter().find(|(n, _)| *n == name).map(|(_, value)| format!("{value:?}")).unwrap_or_default();
    assert!(shown("policy").contains("policy-1060"), "{fields:?}");
    assert!(shown("notes").contains("odd hour"), "{fields:?}");
    for length in RECORD_SIZE_MAX - 1200..RECORD_SIZE_MAX {
        let statement = vec![b'x'; length];
        let judged = Intent { policy: Some(PolicyId(1060)), notes: &notes, ..intent(&parties, &statement, IntentVerdict::Allow, &digest) };
        assert!(encode(&header(), &Event::Intent(judged)).len() <= RECORD_SIZE_MAX);
    }
}

#[test]
fn everything_else_at_its_longest_leaves_room() {
    let long = "é".repeat(5000);
    let many: Vec<Access> = (0..1000)
        .map(|i| Access {
            protocol: Protocol::Postgres,
            verb: Verb::Select,
            resource: Resource::new(["app", "public", &format!("table{i}")]),
        })
        .collect();
    let parties = Parties { accesses: Accesses::new(&many), ..parties() };
    let grants: Vec<GrantId> = (0..1000).map(|i| GrantId(u64::MAX - i)).collect();
    let refusal = Refusal::Unparseable { message: long.clone() };
    let digest = Digest([1; 32]);
    let notes = vec![long.clone(); 100];
    let policy = Some(PolicyId(u64::MAX));
    let worst = Intent {
        tag: &long,
        grants: &grants,
        policy,
        notes: &notes,
        ..intent(&parties, long.as_bytes(), IntentVerdict::Refused(&refusal), &digest)
    };
    let bytes = encode(&Header { run: Some(&long), ..header() }, &Event::Intent(worst));
    assert!(bytes.len() <= RECORD_SIZE_MAX);
    let record = decode(&bytes).expect("own record");
    assert_eq!(record.run.len(), SHORT_TEXT_MAX);
    let Some(stored::Kind::Intent(intent)) = record.kind else { panic!("an intent") };
    assert_eq!(intent.accesses.len() + intent.accesses_left_out as usize, 1000);
    assert_eq!((intent.grants.len(), intent.grants_left_out), (GRANTS_CITED_MAX, 1000 - GRANTS_CITED_MAX as u64));
    assert_eq!(intent.refusal.map(|r| r.detail.len()), Some(REASON_SIZE_MAX));
    assert_eq!((intent.policy, intent.notes.len()), (Some(u64::MAX), NOTES_LISTED_MAX));

    let ended: Vec<_> = (0..5000).map(|number| (SessionId { number: u64::MAX - number, ..session() }, Cancelled::Unknown)).collect();
    let bytes = encode(&header(), &Event::Enforcement(Enforcement { revocation: RevocationId(1), enforced: Index(1), ended: &ended }));
    assert!(bytes.len() <= RECORD_SIZE_MAX, "{}", bytes.len());
    let outcome = Outcome::Modified { dropped: vec![long.clone(); 100] };
    let cited = Cited { grants: vec![(GrantId(u64::MAX), Index(u64::MAX)); 1000], ..cited() };
    let worst = Admission {
        principal: &long,
        owner: None,
        on_behalf_of: Some(&long),
        target: &long,
        outcome: &outcome,
        cited: &cited,
        client_address: &long,
        application_name: &long,
        notes: &[],
    };
    let bytes = encode(&header(), &Event::Admission(worst));
    assert!(bytes.len() <= RECORD_SIZE_MAX, "{}", bytes.len());
}

#[test]
fn what_is_not_known_is_an_error() {
    let bytes = encode(&header(), &Event::LateSend(LateSend { operation: 1, late_us: 2 }));
    let mut newer = decode(&bytes).expect("own record");
    newer.version = 2;
    assert_eq!(decode(&newer.encode_to_vec()), Err(DecodeError::Unknown { what: "audit record version", code: 2 }));
    newer.version = RECORD_VERSION;
    newer.kind = None;
    assert_eq!(decode(&newer.encode_to_vec()), Err(DecodeError::Unknown { what: "audit record kind", code: 0 }));
    assert!(matches!(decode(&bytes[..bytes.len() - 1]), Err(DecodeError::Malformed { .. })));
}

/// The bytes are what the tree hashes: a change of this text is a change of the format.
#[test]
fn the_bytes_stay_what_they_are() {
    let (parties, digest) = (parties(), Digest([1; 32]));
    let refusal = Refusal::JobExpired;
    let cited = cited();
    let ended = [(session(), Cancelled::Cancelled)];
    let events = [
        (
            "admission",
            Event::Admission(Admission {
                principal: "billing-loop",
                owner: Some(&parties.person),
                on_behalf_of: None,
                target: "shop",
                outcome: &Outcome::Approved,
                cited: &cited,
                client_address: "127.0.0.1:52000",
                application_name: "psql",
                notes: &[],
            }),
        ),
        ("intent", Event::Intent(intent(&parties, b"select 1", IntentVerdict::Allow, &digest))),
        ("refused intent", Event::Intent(intent(&parties, b"select 1", IntentVerdict::Refused(&refusal), &digest))),
        ("outcome", Event::Outcome(OperationOutcome { operation: 3, status: Status::Ok, rows: 2, bytes: 120, duration_us: 850 })),
        ("enforcement", Event::Enforcement(Enforcement { revocation: RevocationId(1046), enforced: Index(1047), ended: &ended })),
        ("late send", Event::LateSend(LateSend { operation: 4, late_us: 77 })),
        ("session end", Event::SessionEnd(SessionEnd { by: EndedBy::Client, reason: "", operations: 12 })),
        ("statement text", Event::StatementText(StatementText { operation: 3, salt: &SALT, length: 10, offset: 0, part: b"select 'x'" })),
    ];
    let lines: Vec<String> =
        events.iter().map(|(kind, event)| format!("{kind}: {}", data_encoding::HEXLOWER.encode(&encode(&header(), event)))).collect();
    insta::assert_snapshot!("records", lines.join("\n"));
}

#[test]
fn connections_are_told_from_other_records_without_reading_them() {
    let people = parties();
    let connection = Connection { principal: &people.person, on_behalf_of: None, target: &people.target, role: "gateway", backend: None };
    let check = |event: &Event<'_>, expect: bool| assert_eq!(concerns_connections(&encode(&header(), event)), expect, "{event:?}");
    check(&Event::Connection(connection), true);
    check(&Event::Termination(Termination { member: NodeId(3), left: Index(1), target: &people.target, ended: &[] }), true);
    check(&Event::SessionEnd(SessionEnd { by: EndedBy::Client, reason: "", operations: 0 }), true);
    check(&Event::LateSend(LateSend { operation: 4, late_us: 77 }), false);
    check(&Event::Enforcement(Enforcement { revocation: RevocationId(1), enforced: Index(2), ended: &[] }), false);
    for nonsense in [&b""[..], b"\xff\xff\xff\xff", b"\x0a\xff"] {
        assert!(!concerns_connections(nonsense));
    }
}
