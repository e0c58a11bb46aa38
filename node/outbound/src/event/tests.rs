use std::time::Duration;

use domain::command::Proposal;
use domain::id::{Digest, Index, NodeId};

use super::*;

fn name(text: &str) -> domain::id::Name {
    text.parse().expect("a name")
}

fn told(command: Command, reply: Reply) -> Option<(EventKind, Event)> {
    let actor = Actor::Principal(name("ana"));
    let proposal = Proposal { id: "p".parse().expect("an id"), actor, stamp: LogTime(1_763_900_000_000), command };
    of_leaf(&ControlLeaf { index: Index(7), proposal, reply }, &State::default())
}

fn opened(reason: &str) -> Command {
    let ask = Ask::Exact {
        digest: Digest([9; 32]),
        statement: "delete from payroll where iban = 'DE00'".into(),
        parameters: vec!["hunter2".into()],
        context: vec![],
        missing: vec![],
        job_version: None,
        target_version: Index(3),
        under: None,
    };
    Command::OpenRequest { principal: name("bot"), on_behalf_of: None, target: name("orders"), ask, reason: reason.into() }
}

#[test]
fn a_request_is_told_without_what_it_would_execute() {
    let reply = Reply::Request { request: RequestId(7), joined: false };
    let (kind, event) = told(opened("end of\nmonth\u{202e}"), reply).expect("people are told");
    assert_eq!(kind, EventKind::RequestOpened);
    assert_eq!(event.title, "bot asks for one operation on orders (request-7)");
    assert!(event.commands.contains(&"assize request approve request-7".to_owned()));
    assert!(event.facts.contains(&("reason", "end of\\nmonth\\u{202e}".into())), "{:?}", event.facts);
    let all = format!("{event:?}");
    assert!(!all.contains("payroll") && !all.contains("hunter2"), "{all}");
    let joined = Reply::Request { request: RequestId(7), joined: true };
    assert_eq!(told(opened(""), joined), None, "one request, one message");
    let long = told(opened(&"x".repeat(5000)), Reply::Request { request: RequestId(7), joined: false }).expect("told").1;
    assert!(long.facts.iter().all(|(_, value)| value.chars().count() <= TEXT_SHOWN + 1));
}

#[test]
fn broken_glass_is_told_with_who_and_why_and_how_to_take_it_back() {
    let command = Command::BreakGlass {
        principal: name("bot"),
        target: name("orders"),
        permissions: "postgres:delete on app.public.orders".parse().expect("permissions"),
        length: Duration::from_secs(3600),
        review_within: Duration::from_secs(7200),
        reason: "orders are stuck".into(),
        ticket: "INC-7".into(),
    };
    let (kind, event) = told(command, Reply::Grant(domain::id::GrantId(7))).expect("people are told");
    assert_eq!((kind, event.kind), (EventKind::BreakGlassOpened, "break-glass.opened"));
    assert!(event.facts.contains(&("by", "ana".into())) && event.facts.contains(&("ticket", "INC-7".into())), "{:?}", event.facts);
    assert!(event.commands.contains(&"assize grant revoke grant-7".to_owned()), "{:?}", event.commands);
    let review = Command::ReviewBreakGlass { id: domain::id::BreakGlassId(7), justified: false, note: "no".into() };
    let (kind, event) = told(review, Reply::Done { version: Index(8) }).expect("people are told");
    assert!(kind == EventKind::BreakGlassReviewed && event.title.contains("not justified"), "{}", event.title);
}

#[test]
fn what_was_refused_or_is_bookkeeping_is_not_told() {
    let refused = Reply::Rejected(domain::command::Rejection::NotFound { what: "x".into() });
    assert_eq!(told(opened(""), refused), None);
    let serving = Command::SetServing { node: NodeId(1), serving: true };
    assert_eq!(told(serving, Reply::Done { version: Index(7) }), None);
}

#[test]
fn accounts_configuration_and_retention_are_told_when_they_change() {
    let done = || Reply::Done { version: Index(7) };
    let person = |active| Command::PutPrincipal {
        name: name("cora"),
        kind: domain::principal::PrincipalKind::Person { email: None, certificate: None },
        active,
        labels: Default::default(),
        expect: domain::command::Expect::Any,
    };
    let (kind, event) = told(person(false), done()).expect("people are told");
    assert_eq!((kind, event.title.as_str()), (EventKind::AccountChanged, "ana switched principal cora off"));
    assert_eq!(told(person(true), Reply::Done { version: Index(3) }), None, "put again as it was");
    let delete = Command::DeleteJob { name: name("reports"), expect: domain::command::Expect::Any };
    assert_eq!(told(delete, done()).expect("told").1.kind, "configuration.changed");
    let hold = Command::CreateHold { on: Default::default(), reason: "case\n7".into(), two_people: true };
    let (kind, event) = told(hold, done()).expect("people are told");
    assert_eq!((kind, event.title.as_str()), (EventKind::RetentionChanged, "ana placed hold-7"));
    assert!(event.facts.contains(&("reason", "case\\n7".into())), "{:?}", event.facts);
}

fn review(length: Duration, status: ReviewStatus) -> State {
    use domain::review::{Overdue, Reviewers, Scope, Terms};
    let terms = Terms {
        basis: String::new(),
        scope: Scope::default(),
        stages: vec![Reviewers::ByRight],
        fallback: Default::default(),
        escalates: None,
        length,
        overdue: Overdue::Keep,
        certifies: Duration::from_secs(1),
        rationale_from: None,
        repeats: None,
    };
    let review = Review {
        id: ReviewId(5),
        name: name("quarterly"),
        terms,
        opened_by: name("ana"),
        opened: LogTime(1000),
        items: 3,
        undecided: 2,
        worked: 3,
        repeats_at: None,
        status,
        version: Index(5),
        trigger: None,
    };
    let mut state = State::default();
    state.reviews.insert(review.id, review);
    state
}

#[test]
fn time_alone_reminds_and_is_due_once_each_wherever_the_cursor_stood() {
    let day = Duration::from_secs(24 * 3600);
    let state = review(10 * day, ReviewStatus::Open);
    let due = LogTime(1000).after(10 * day);
    let places = |from, to| by_time(&state, from, to).into_iter().map(|(place, _, _)| place).collect::<Vec<_>>();
    let all = ["review-5-reminder-604800", "review-5-reminder-86400", "review-5-due"];
    assert_eq!(places(LogTime(0), due), all);
    let mut stepwise = Vec::new();
    let mut at = LogTime(0);
    while at < due {
        let next = LogTime(at.0 + 3_600_000);
        stepwise.extend(places(at, next));
        at = next;
    }
    assert_eq!(stepwise, all, "each once");
    assert!(places(due, due.after(day)).is_empty());

    let short = review(day / 2, ReviewStatus::Open);
    let told: Vec<String> = by_time(&short, LogTime(0), due).into_iter().map(|(place, _, _)| place).collect();
    assert_eq!(told, ["review-5-due"], "no reminder before it was opened");
    let closed =
        ReviewStatus::Closed { by: name("ana"), at: LogTime(2000), index: Index(6), digest: Digest([1; 32]), statement: "".into() };
    assert!(by_time(&review(10 * day, closed), LogTime(0), due).is_empty());
}
