//! Sinks, their cursors, and witnesses.

use super::*;
use crate::audit::checkpoint::{Checkpoint, Origin};
use crate::audit::cosignature::WitnessKey;
use crate::audit::leaf::ControlLeaf;
use crate::command::{Advance, Changes};
use crate::credential::Sealed;
use crate::sink::{Cursor, Destination, EventKind, MailTls, RecordFormat, Selection, StreamedLog, Terms};
use crate::witness::Witness;

fn sealed() -> Option<Sealed> {
    Some(Sealed { key_id: 1, wrapped_key: vec![7], nonce: [1; 12], ciphertext: vec![8] })
}

fn events(destination: Destination) -> Terms {
    let selection = Selection { events: [EventKind::RequestOpened].into(), logs: [].into() };
    Terms { destination, selection, roots_pem: String::new(), give_up: None, active: true }
}

fn records(destination: Destination) -> Terms {
    let selection = Selection { events: [].into(), logs: [StreamedLog::Audit].into() };
    Terms { selection, ..events(destination) }
}

fn webhook(url: &str) -> Terms {
    events(Destination::Webhook { url: url.into() })
}

fn mail(address: &str, to: &str) -> Terms {
    let (from, to) = ("assize@example.com".into(), vec![to.into()]);
    events(Destination::Mail { address: address.into(), tls: MailTls::Starttls, from, to, username: "assize".into() })
}

fn put(terms: Terms, sealed: Option<Sealed>) -> Command {
    Command::PutSink { name: name("hook"), terms, sealed, start: Cursor { control: 3, audit: 4, time: LogTime(9) }, expect: Expect::Any }
}

fn advance(w: &World, to: Cursor, error: Option<&str>) -> Advance {
    let progress = &w.state.sink_progress[&name("hook")];
    Advance {
        sink: name("hook"),
        created: progress.created,
        from: progress.cursor,
        to,
        delivered: 1,
        abandoned: 0,
        error: error.map(str::to_owned),
    }
}

#[test]
fn a_sink_begins_where_it_is_made_and_goes_on_when_it_changes() {
    let mut w = World::new();
    let made = w.done(by("ana"), put(webhook("https://hooks.example/a"), sealed()));
    let start = w.state.sink_progress[&name("hook")].cursor;
    assert_eq!((start.control, start.audit, start.time), (3, 4, w.state.now));

    let to = Cursor { control: 10, ..start };
    w.done(node(1), Command::AdvanceSink(advance(&w, to, None)));
    w.done(by("ana"), put(webhook("https://hooks.example/b"), None));
    let sink = &w.state.sinks[&name("hook")];
    assert_eq!((sink.created, &sink.sealed), (made, &sealed()), "the secret stays");
    assert_eq!(w.state.sink_progress[&name("hook")].cursor, to, "nothing is told twice");
    let same = w.done(by("ana"), put(webhook("https://hooks.example/b"), None));
    assert_eq!(w.state.sinks[&name("hook")].version, same);

    w.done(by("ana"), Command::DeleteSink { name: name("hook"), expect: Expect::Any });
    assert!(w.state.sink_progress.is_empty());
}

#[test]
fn of_two_that_deliver_one_finds_out() {
    let mut w = World::new();
    w.done(by("ana"), put(webhook("https://hooks.example/a"), sealed()));
    let start = w.state.sink_progress[&name("hook")].cursor;
    let (first, second) = (advance(&w, Cursor { control: 10, ..start }, None), advance(&w, Cursor { control: 11, ..start }, None));
    w.done(node(1), Command::AdvanceSink(first.clone()));
    invalid_field(&w.rejected(node(2), Command::AdvanceSink(second)), "from");
    invalid_field(&w.rejected(node(1), Command::AdvanceSink(first)), "from");
    invalid_field(&w.rejected(node(1), Command::AdvanceSink(advance(&w, start, None))), "to");
    forbidden(&w.rejected(by("ana"), Command::AdvanceSink(advance(&w, Cursor { control: 12, ..start }, None))));

    // A sink made anew under the same name is another one.
    let late = advance(&w, Cursor { control: 13, ..start }, None);
    w.done(by("ana"), Command::DeleteSink { name: name("hook"), expect: Expect::Any });
    w.done(by("ana"), put(webhook("https://hooks.example/a"), sealed()));
    assert!(matches!(w.rejected(node(1), Command::AdvanceSink(late)), Rejection::NotFound { .. }));
}

#[test]
fn failures_are_counted_until_the_cursor_moves() {
    let mut w = World::new();
    w.done(by("ana"), put(webhook("https://hooks.example/a"), sealed()));
    let at = w.state.sink_progress[&name("hook")].cursor;
    for _ in 0..3 {
        w.done(node(1), Command::AdvanceSink(Advance { delivered: 0, ..advance(&w, at, Some("status 503")) }));
    }
    let failing = w.state.sink_progress[&name("hook")].failing.clone().expect("it fails");
    assert_eq!((failing.attempts, failing.error.as_str()), (3, "status 503"));
    let next = Cursor { control: at.control + 1, ..at };
    w.done(node(1), Command::AdvanceSink(advance(&w, next, Some("status 500"))));
    assert_eq!(w.state.sink_progress[&name("hook")].failing.as_ref().map(|f| f.attempts), Some(1), "another message");
    w.done(node(1), Command::AdvanceSink(advance(&w, Cursor { control: at.control + 2, ..at }, None)));
    let progress = &w.state.sink_progress[&name("hook")];
    assert_eq!((&progress.failing, progress.delivered), (&None, 2));
}

/// Whoever follows the control log would otherwise be sent a leaf for each leaf sent.
#[test]
fn delivering_makes_no_leaf_but_giving_up_does() {
    let mut w = World::new();
    w.done(by("ana"), put(webhook("https://hooks.example/a"), sealed()));
    let at = w.state.sink_progress[&name("hook")].cursor;
    let due = |advance| ControlLeaf::is_due(Index(99), &Command::AdvanceSink(advance), &Changes::default());
    assert!(!due(advance(&w, at, None)));
    assert!(due(Advance { abandoned: 1, ..advance(&w, at, None) }));
}

#[test]
fn terms_of_a_sink_are_checked_field_by_field() {
    let mut w = World::new();
    let syslog = |address: &str| Destination::Syslog { address: address.into(), server_name: None, format: RecordFormat::Cef };
    for url in [
        "",
        "hooks.example",
        "ftp://hooks.example/",
        "https://",
        "https://user@hooks.example/",
        "https://h/a b",
        "https://h/#x",
        "https://h/\n",
    ] {
        invalid_field(&w.rejected(by("ana"), put(webhook(url), sealed())), "url");
    }
    invalid_field(&w.rejected(by("ana"), put(webhook("https://h/"), None)), "secret");
    invalid_field(&w.rejected(by("ana"), put(events(Destination::Slack), None)), "secret");
    invalid_field(&w.rejected(by("ana"), put(records(Destination::Teams), sealed())), "logs");
    invalid_field(&w.rejected(by("ana"), put(events(syslog("siem:6514")), None)), "events");
    invalid_field(&w.rejected(by("ana"), put(records(syslog("siem")), None)), "address");
    for to in ["ana", "ana@b@c", "<ana@b>", "a b@c", "a@b\r\nRCPT TO:<x@y>", "@b", "a@"] {
        invalid_field(&w.rejected(by("ana"), put(mail("mail:587", to), sealed())), "to");
    }
    let none = Terms { selection: Selection::default(), ..webhook("https://h/") };
    invalid_field(&w.rejected(by("ana"), put(none, sealed())), "selection");
    let given_up = Terms { give_up: Some(Duration::from_secs(3600)), ..records(syslog("siem:6514")) };
    invalid_field(&w.rejected(by("ana"), put(given_up, None)), "give_up");
}

#[test]
fn a_secret_that_is_sent_does_not_go_where_it_was_not_given_for() {
    let mut w = World::new();
    w.done(by("ana"), put(mail("mail.example:587", "ana@example.com"), sealed()));
    w.done(by("ana"), put(mail("mail.example:587", "bo@example.com"), None));
    invalid_field(&w.rejected(by("ana"), put(mail("evil.example:587", "bo@example.com"), None)), "secret");
    let watched = Terms { roots_pem: "another authority".into(), ..mail("mail.example:587", "bo@example.com") };
    invalid_field(&w.rejected(by("ana"), put(watched, None)), "secret");
    invalid_field(&w.rejected(by("ana"), put(webhook("https://h/"), None)), "secret");
    w.done(by("ana"), put(mail("other.example:587", "bo@example.com"), sealed()));
}

#[test]
fn whoever_may_not_read_records_does_not_stream_them() {
    let mut w = World::new();
    w.done(by("ana"), person_command("olga", true));
    w.grant(by("ana"), administration("olga", "assize:write on sink/*"));
    w.done(by("olga"), put(webhook("https://h/"), sealed()));
    let stream = records(Destination::Webhook { url: "https://h/".into() });
    forbidden(&w.rejected(by("olga"), put(stream.clone(), None)));
    w.grant(by("ana"), administration("olga", "assize:read on audit/*"));
    w.done(by("olga"), put(stream, None));
    forbidden(&w.rejected(by("fay"), put(webhook("https://h/"), sealed())));
    forbidden(&w.rejected(node(1), put(webhook("https://h/"), sealed())));
}

fn witness(key: u8) -> Command {
    let key = WitnessKey { name: "witness.example/w1".into(), key: [key; 32] }.to_string();
    let witness = Witness {
        name: name("outside"),
        url: "https://witness.example/w1".into(),
        key,
        roots_pem: String::new(),
        interval: Duration::from_secs(60),
        version: Index(0),
    };
    Command::PutWitness { witness, expect: Expect::Any }
}

fn cosigned(size: u64) -> Command {
    let origin = Origin { cluster: "demo".into(), incarnation: 1, log: "audit/0".into() };
    let head = Checkpoint { origin, size, root: [3; 32], control_index: Index(1), time: LogTime(2) };
    let note = head.note([(NodeId(1), &[1; 32], &[2; 64][..])]).to_string();
    Command::FileCosignature { witness: name("outside"), note }
}

#[test]
fn co_signed_heads_only_grow_and_go_with_the_witness_s_key() {
    let mut w = World::new();
    assert!(matches!(w.rejected(node(1), cosigned(5)), Rejection::NotFound { .. }));
    w.done(by("ana"), witness(1));
    w.done(node(1), cosigned(5));
    invalid_field(&w.rejected(node(2), cosigned(5)), "note");
    invalid_field(&w.rejected(node(2), cosigned(4)), "note");
    for size in 6..40 {
        w.done(node(1), cosigned(size));
    }
    let key = (name("outside"), "audit/0".to_owned());
    let heads = &w.state.cosigned[&key].heads;
    assert_eq!((heads.len(), heads[0].size, heads[15].size), (16, 24, 39));
    forbidden(&w.rejected(by("ana"), cosigned(50)));
    w.done(by("ana"), witness(1));
    assert!(w.state.cosigned.contains_key(&key), "the same witness");
    w.done(by("ana"), witness(2));
    assert!(w.state.cosigned.is_empty());
    w.done(by("ana"), Command::DeleteWitness { name: name("outside"), expect: Expect::Any });
    assert!(w.state.witnesses.is_empty());
}
