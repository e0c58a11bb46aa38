//! The same log gives the same state: on twins, from a snapshot and the tail, and on a disk that saw only the changes.
//! Random logs over few names, so that commands meet.

use proptest::prelude::*;

use super::*;
use crate::grant::GrantStatus;
use crate::limits::DAY;
use crate::lock::LockOn;
use crate::request::RequestStatus;
use crate::retention::{Held, RecordClass, Runs};
use crate::review::trigger::{Event, Finding};
use crate::review::{Access, Choice, Overdue, Reviewers, Risk};
use crate::state::State;
use crate::usage::{Denied, UsedAccess, UsedGrant};

/// Which command, and three choices within it.
type Dice = (u8, u8, u8, u8);

const PEOPLE: [&str; 6] = ["ana", "ben", "eve", "cora", "dan", "fay"];
const AGENTS: [&str; 3] = ["bot", "bot2", "bot3"];
const SETS: [&str; 3] = ["postgres:select on app.public.*", "postgres:select,delete on app.public.orders", "postgres:* on *.*.*"];

fn pick<'a>(from: &[&'a str], n: u8) -> &'a str {
    from[usize::from(n) % from.len()]
}

/// Any existing id, or one that does not exist.
fn one_of<K: Copy>(keys: impl Iterator<Item = K>, n: u8, none: K) -> K {
    let keys: Vec<K> = keys.collect();
    if keys.is_empty() || n == 255 { none } else { keys[usize::from(n) % keys.len()] }
}

fn throw(w: &World, (kind, a, b, c): Dice) -> (Actor, Command) {
    let s = &w.state;
    let admin = || by("ana");
    let person = |n| pick(&PEOPLE, n);
    let anybody = |n: u8| if n.is_multiple_of(2) { person(n / 2) } else { pick(&AGENTS, n / 2) };
    let end = |n: u8| (!n.is_multiple_of(3)).then(|| s.now.after(Duration::from_secs(u64::from(n))));
    let request = |n| one_of(s.requests.keys().copied(), n, RequestId(1));
    let grant = |n| one_of(s.grants.keys().copied(), n, GrantId(1));
    let review = |n| one_of(s.reviews.keys().copied(), n, ReviewId(1));
    match kind % 38 {
        0 => (admin(), agent_command(pick(&AGENTS, a), person(b), (c > 30).then_some("reports"), c > 10)),
        1 => (admin(), person_command(person(a), c > 60)),
        2 => (admin(), with_times(grant_command(anybody(a), "orders", pick(&SETS, b)), None, end(c), end(b))),
        3 => (
            admin(),
            declared(with_times(grant_command(anybody(a), "orders", pick(&SETS, b)), None, end(c), None), pick(&["one", "two"], c)),
        ),
        4 => (admin(), with_roles(administration(person(a), "assize:read on role/*"), &[pick(&["reviewer", "admin"], b)])),
        5 => (admin(), Command::RevokeGrant { grant: grant(a), reason: pick(&[PRUNED, "no"], b).to_owned() }),
        6 | 7 => {
            let agent = pick(&AGENTS, a);
            (node(1), request_command(agent, w.exact(agent, digest(b % 6))))
        }
        8 => {
            let on_behalf_of = c.is_multiple_of(2).then(|| name(anybody(c)));
            let ask = window(pick(&SETS, b), Duration::from_secs(u64::from(c) + 1));
            (
                by(anybody(a)),
                Command::OpenRequest { principal: name(anybody(b)), on_behalf_of, target: name("orders"), ask, reason: String::new() },
            )
        }
        9..=12 => (by(person(a)), decide(request(b), c > 20)),
        13 | 14 => {
            let request = request(a);
            let bound = match s.requests.get(&request).map(|r| &r.ask) {
                Some(Ask::Exact { digest, .. }) => *digest,
                Some(Ask::Window { .. }) | None => digest(b),
            };
            (node(1), Command::SpendApproval { request, digest: bound, by: operation_id(1, u64::from(c % 4)) })
        }
        15 => (node(1), Command::ReturnApproval { request: request(a), by: operation_id(1, u64::from(c % 4)) }),
        16 => (by(anybody(a)), Command::WithdrawRequest { request: request(b) }),
        17 => {
            let on = match b % 4 {
                0 => LockOn::Principal(name(anybody(a))),
                1 => LockOn::Target(name("orders")),
                2 => LockOn::Credential(name("orders-login")),
                _ => LockOn::Session(session(1, u64::from(a))),
            };
            (admin(), Command::CreateLock { on, reason: String::new(), expires: end(c) })
        }
        18 => (Actor::Operator, Command::DeleteLock { lock: one_of(s.locks.keys().copied(), a, LockId(1)) }),
        19 => (admin(), job_command("reports", pick(&SETS, a))),
        20 => (admin(), token_command(anybody(a), b, end(c))),
        21 | 22 => {
            let kinds = [Overdue::Keep, Overdue::Suspend, Overdue::Revoke];
            let mut terms = terms(kinds[usize::from(a) % 3]);
            terms.scope.principals = if b.is_multiple_of(3) { BTreeSet::new() } else { names(&[pick(&AGENTS, b)]) };
            terms.length = Duration::from_secs(u64::from(c) + 1);
            terms.repeats = c.is_multiple_of(5).then(|| Duration::from_secs(300));
            if a.is_multiple_of(4) {
                terms.stages.push(Reviewers::ByRight);
            }
            (admin(), review_command(terms))
        }
        23 | 24 => {
            let id = review(a);
            let access = Access { permissions: perms(pick(&SETS, c)), roles: BTreeSet::new() };
            let choices = [Choice::Approve, Choice::Revoke, Choice::Abstain, Choice::Modify { access, expires: None }];
            let item = u32::from(b % 4);
            let command = match w.state.item(id, item) {
                Some(_) => decide_item(w, id, item, choices[usize::from(c) % 4].clone()),
                None => Command::DecideItems { review: id, decisions: Vec::new() },
            };
            (by(person(b)), command)
        }
        25 => {
            let id = review(a);
            if b.is_multiple_of(2) {
                let to = name(anybody(c));
                (admin(), Command::HandItems { review: id, items: vec![u32::from(b % 4)], to, reason: "on leave".to_owned() })
            } else {
                let digest = s.reviews.get(&id).map_or(digest(1), |review| review.report_digest(s));
                (admin(), Command::CloseReview { review: id, digest, statement: "signed".to_owned(), ends_series: c > 100 })
            }
        }
        26 => {
            let policies: Vec<PolicyId> = s.policies.keys().copied().collect();
            match (b % 4, policies.is_empty()) {
                (0 | 1, false) => {
                    (by(pick(&["ana", "ben"], a)), Command::ActivatePolicy { policy: policies[usize::from(c) % policies.len()] })
                }
                (2, false) => (admin(), Command::RollbackPolicy),
                (3, false) => (admin(), if c > 40 { Command::DeactivatePolicy } else { Command::SetPolicyRule { two_people: c > 20 } }),
                (_, _) => (admin(), publish(&[a, b, c], c > 120)),
            }
        }
        29 => {
            let access = operation("postgres:select on app.public.orders").accesses[0].clone();
            let used = UsedAccess { access, operations: u64::from(b), rows: u64::from(c) };
            let used = UsedGrant { grant: grant(a), operations: u64::from(b), rows: u64::from(c), accesses: vec![used] };
            let denied = Denied { principal: name(anybody(b)), target: name("orders"), operations: u64::from(c) };
            (node(1), Command::ReportUsage { grants: vec![used], denials: vec![denied] })
        }
        30 => {
            let command = Command::BreakGlass {
                principal: name(anybody(a)),
                target: name("orders"),
                permissions: perms(pick(&SETS, b)),
                length: Duration::from_secs(u64::from(c)),
                review_within: Duration::from_secs(u64::from(b) * 60),
                reason: "now".to_owned(),
                ticket: "INC-7".to_owned(),
            };
            (by(pick(&["ana", "ben"], c)), command)
        }
        31 => {
            let id = one_of(s.break_glass.keys().copied(), a, BreakGlassId(1));
            (by(person(b)), Command::ReviewBreakGlass { id, justified: c > 128, note: "looked at it".to_owned() })
        }
        32 => {
            let class = RecordClass::ALL[usize::from(a) % RecordClass::ALL.len()];
            let keep = (c > 40).then(|| (365 + u32::from(c)) * DAY);
            let on = Held { principal: Some(name(anybody(a))), ..Held::default() };
            let command = match b % 4 {
                0 | 1 => Command::SetRetention { class, keep, reason: "policy".to_owned() },
                2 => Command::CreateHold { on, reason: "case".to_owned(), two_people: c > 128 },
                _ => Command::ReleaseHold { hold: one_of(s.holds.keys().copied(), c, HoldId(1)), reason: "closed".to_owned() },
            };
            (by(pick(&["ana", "ben"], c)), command)
        }
        33 => {
            let class = RecordClass::ALL[usize::from(a) % RecordClass::ALL.len()];
            let seen = if c > 220 { Index(1) } else { s.retention.changed };
            let leaves = Runs::from_pairs(if b.is_multiple_of(3) { vec![] } else { vec![u64::from(b), 3] }).expect("in order");
            (node(1), Command::PruneRecords { class, seen, before: LogTime(u64::from(c)), through: u64::from(b) + 3, leaves })
        }
        34 | 35 if b.is_multiple_of(8) => (admin(), Command::DeleteTrigger { name: name(pick(&["one", "two"], a)), expect: Expect::Any }),
        34 | 35 => {
            let span = Duration::from_secs(u64::from(b) + 1);
            let events = [
                Event::OwnerLeft,
                Event::JobChanged,
                Event::TokenIssued,
                Event::CredentialChanged,
                Event::HighRiskGrant,
                Event::Denials { every: u64::from(b) + 1 },
                Event::Unused { span },
                Event::Volume { window: span, factor: 1, least: 1 },
                Event::Finding { from: Risk::Medium },
            ];
            let mut terms = terms(Overdue::Keep);
            terms.scope.principals = BTreeSet::new();
            terms.length = Duration::from_secs(u64::from(c) + 1);
            let event = events[usize::from(a) % events.len()].clone();
            let gather = Duration::from_secs(u64::from(c) / 8);
            (admin(), Command::PutTrigger { name: name(pick(&["one", "two"], c)), event, terms, gather, expect: Expect::Any })
        }
        36 if b.is_multiple_of(3) => {
            let finding = |risk| Finding { risk, code: format!("code-{}", c % 4), text: "found".to_owned() };
            (node(1), Command::ReportFindings { target: name("orders"), findings: vec![finding(Risk::Low), finding(Risk::High)] })
        }
        36 | 37 => (node(1), Command::Tick),
        27 | 28 => (admin(), publish(&[a, b, c], c > 120)),
        _ => (admin(), Command::DeletePrincipal { name: name(anybody(a)), expect: Expect::Any }),
    }
}

fn log() -> impl Strategy<Value = Vec<Dice>> {
    prop::collection::vec(any::<Dice>(), 1..120)
}

/// What must hold between the states before and after one entry.
fn check_step(before: &State, after: &State, proposal: &Proposal, applied: &Applied) {
    // R4: who finds an approval usable is the only one until it is given back.
    if let (Command::SpendApproval { request, by, digest }, Reply::Spent) = (&proposal.command, &applied.reply) {
        let earlier = &before.requests[request];
        assert!(matches!(&earlier.ask, Ask::Exact { digest: bound, .. } if bound == digest));
        match &earlier.status {
            RequestStatus::Approved { .. } => assert!(before.now <= after.now && after.now < earlier.expires),
            RequestStatus::Spent { by: spender } => assert_eq!(spender, by),
            other => panic!("spent what was {other:?}"),
        }
    }
    for (id, request) in after.requests.iter().filter(|(id, request)| before.requests.get(*id) != Some(request)) {
        // R6: whatever the graph of owners and delegators, nobody on the asking side is among the deciders.
        let conflicted = after.conflicted(request);
        let newly_approved = matches!(request.status, RequestStatus::Approved { .. })
            && !matches!(before.requests.get(id).map(|r| &r.status), Some(RequestStatus::Approved { .. } | RequestStatus::Spent { .. }));
        if newly_approved {
            let counting = request.approvals.keys().filter(|by| !conflicted.contains(*by) && after.principals[*by].is_person()).count();
            assert!(counting >= request.needed as usize, "{request:?}");
        }
        if let Command::DecideRequest { request: decided, .. } = &proposal.command
            && decided == id
            && !matches!(applied.reply, Reply::Rejected(_))
        {
            let Actor::Principal(who) = &proposal.actor else { panic!("decided by {:?}", proposal.actor) };
            assert!(!conflicted.contains(who), "{who} decided on {request:?}");
        }
        assert!(request.version == after.applied, "every change has its version");
    }
    if let (Command::DecideItems { review, decisions }, Reply::Done { .. }, Actor::Principal(who)) =
        (&proposal.command, &applied.reply, &proposal.actor)
    {
        for decide in decisions {
            let item = before.item(*review, decide.item).expect("was decided on");
            assert!(!before.conflicted_on(item).contains(who), "{who} decided on {item:?}");
        }
    }
    if let (Command::ReviewBreakGlass { id, .. }, Reply::Done { .. }, Actor::Principal(who)) =
        (&proposal.command, &applied.reply, &proposal.actor)
    {
        assert!(!before.break_glass[id].conflicted.contains(who), "{who} reviewed {:?}", before.break_glass[id]);
    }
    if let (Command::BreakGlass { .. }, Reply::Grant(_), Actor::Principal(who)) = (&proposal.command, &applied.reply, &proposal.actor) {
        assert!(!before.break_glass.values().any(|broken| broken.by == *who && broken.is_overdue(after.now)), "{who} owed a review");
    }
    if let (Command::PruneRecords { class, seen, .. }, Reply::Done { .. }) = (&proposal.command, &applied.reply) {
        assert_eq!(*seen, before.retention.changed, "what was planned before a rule or a hold changed");
        assert!(before.retention_rules[class].keep.is_some(), "what is kept for ever");
    }
    for (key, history) in &before.review_history {
        if let Some(later) = after.review_history.get(key) {
            assert!(later.decisions.starts_with(&history.decisions) && later.handed.starts_with(&history.handed), "history was rewritten");
        }
    }
    for (id, grant) in after.grants.iter().filter(|(id, grant)| before.grants.get(*id) != Some(grant)) {
        assert!(grant.version == after.applied && grant.narrowed <= grant.version);
        let revived = matches!(before.grants.get(id).map(|g| &g.status), Some(GrantStatus::Revoked { .. }));
        assert!(!revived, "{id} came back from the dead");
    }
    for (name, principal) in &after.principals {
        let earlier = before.principals.get(name);
        assert!(earlier.is_none_or(|e| e.version <= principal.version && e.narrowed <= principal.narrowed), "{name} went back");
    }
    assert!(before.now <= after.now);
    assert!(before.cluster.narrowed <= after.cluster.narrowed);
}

/// Loaded indexes say what applied ones say, but for the versions of the past, which a load raises.
fn check_indexes(state: &State) {
    let mut rebuilt = state.clone();
    rebuilt.rebuild_indexes();
    let mut applied = state.clone();
    for indexes in [&mut rebuilt.indexes, &mut applied.indexes] {
        indexes.touched_principal = Default::default();
        indexes.touched_target = Default::default();
        indexes.touched_all = Index(0);
        indexes.touched_any = Index(0);
    }
    assert_eq!(rebuilt.indexes, applied.indexes);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, ..ProptestConfig::default() })]

    #[test]
    fn random_logs_keep_every_rule(dice in log()) {
        let mut w = World::new();
        for (n, throw_of) in dice.iter().enumerate() {
            let (actor, command) = throw(&w, *throw_of);
            w.stamp = w.stamp.after(Duration::from_secs(u64::from(throw_of.3) / 4));
            let before = w.state.clone();
            let applied = w.apply(&format!("r{n}"), actor, command);
            let (_, proposal) = w.log.last().expect("just applied").clone();
            check_step(&before, &w.state, &proposal, &applied);

            if proposal.command == Command::Tick {
                continue;
            }
            // The same proposal again: the same answer, and nothing but the clock moves.
            let once = w.state.clone();
            let again = w.apply(&format!("r{n}"), proposal.actor, proposal.command);
            prop_assert_eq!(&again.reply, &applied.reply);
            prop_assert_eq!(once.requests, w.state.requests.clone());
            prop_assert_eq!(once.grants, w.state.grants.clone());
            prop_assert!(!again.changes.narrowing);
        }
        check_indexes(&w.state);
        let rows: BTreeMap<Vec<u8>, Vec<u8>> = w.state.rows().collect();
        prop_assert_eq!(&rows, &w.disk, "the changes name every row that changed");
    }

    #[test]
    fn twins_and_snapshots_agree(dice in log(), cut in any::<prop::sample::Index>()) {
        let mut w = World::new();
        for throw_of in &dice {
            let (actor, command) = throw(&w, *throw_of);
            w.stamp = w.stamp.after(Duration::from_secs(u64::from(throw_of.3)));
            w.run(actor, command);
        }
        let mut twin = State::default();
        let cut = cut.index(w.log.len());
        for (index, proposal) in &w.log[..cut] {
            apply(&mut twin, *index, proposal);
        }
        let mut loaded = State::load(twin.rows()).expect("own rows");
        for (index, proposal) in &w.log[cut..] {
            let one = apply(&mut twin, *index, proposal);
            let other = apply(&mut loaded, *index, proposal);
            prop_assert_eq!(one, other, "at {}", index);
        }
        prop_assert_eq!(twin.digest(), w.state.digest());
        prop_assert_eq!(loaded.digest(), w.state.digest());
    }
}
