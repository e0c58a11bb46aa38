//! What the replicated core costs at the size it is made for: 10,000 agents with 100,000 grants.
//!
//! `cargo bench -p domain` prints the figures; nothing here is asserted.

#![expect(clippy::disallowed_types, clippy::disallowed_methods, reason = "the core has no clock and reads no file; what measures it does")]

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use domain::admission::{Attempt, Recent, admit};
use domain::command::{Actor, Command, Expect, Proposal, Reply, apply};
use domain::credential::Sealed;
use domain::encoding::encode_row;
use domain::grant::{GrantSource, TargetSelector};
use domain::id::{BootId, GrantId, Index, Name, NodeId, SessionId};
use domain::operation::Protocol;
use domain::policy::NoRules;
use domain::principal::PrincipalKind;
use domain::review::{Overdue, Reviewers, Scope, Terms};
use domain::state::State;
use domain::target::UpstreamTls;
use domain::time::LogTime;

const AGENTS: usize = 10_000;
const GRANTS_EACH: usize = 10;
/// Grants of the one agent whose admission is measured.
const GRANTS_OF_ONE: usize = 1000;
const ADMISSIONS: u32 = 200;

struct Log {
    state: State,
    next: u64,
    /// Bytes of the rows that the entries changed, as a node would write them.
    written: usize,
}

fn name(text: &str) -> Name {
    text.parse().expect("a name")
}

impl Log {
    fn apply(&mut self, actor: Actor, command: Command) -> (Reply, Duration) {
        self.next += 1;
        let id = format!("bench-{}", self.next).parse().expect("a proposal id");
        let proposal = Proposal { id, actor, stamp: LogTime(1_790_000_000_000 + self.next), command };
        let begun = Instant::now();
        let applied = apply(&mut self.state, Index(self.next), &proposal);
        for row in &applied.changes.touched {
            self.written += encode_row(&self.state, row).1.map_or(0, |value| value.len());
        }
        let took = begun.elapsed();
        assert!(!matches!(applied.reply, Reply::Rejected(_)), "{:?}", applied.reply);
        (applied.reply, took)
    }

    fn by_ana(&mut self, command: Command) -> (Reply, Duration) {
        self.apply(Actor::Principal(name("ana")), command)
    }
}

fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/statm").expect("Linux");
    let pages: usize = status.split_whitespace().nth(1).and_then(|pages| pages.parse().ok()).expect("pages");
    pages * 4096
}

fn founded() -> Log {
    let mut log = Log { state: State::default(), next: 0, written: 0 };
    let found = Command::FoundCluster {
        id: "bench".into(),
        incarnation: 1,
        recovery_key: [1; 32],
        first_admin: name("ana"),
        feature_level: domain::command::FEATURE_LEVEL_MAX,
    };
    log.apply(Actor::Operator, found);
    for person in ["ben", "cora"] {
        let kind = PrincipalKind::Person { email: None, certificate: None };
        log.by_ana(Command::PutPrincipal { name: name(person), kind, active: true, labels: Default::default(), expect: Expect::Any });
    }
    log.by_ana(Command::PutJob {
        name: name("reports"),
        purpose: "makes reports".into(),
        owner: name("cora"),
        backup_owner: None,
        permissions: "postgres:* on app.*.*".parse().expect("permissions"),
        roles: BTreeSet::new(),
        data_classes: BTreeSet::new(),
        environments: BTreeSet::new(),
        expires: None,
        expect: Expect::Any,
    });
    let sealed = Sealed { key_id: 1, wrapped_key: vec![1], nonce: [0; 12], ciphertext: vec![2] };
    log.by_ana(Command::PutCredential { name: name("login"), username: "gateway".into(), sealed, expect: Expect::Any });
    log.by_ana(Command::PutTarget {
        name: name("orders"),
        protocol: Protocol::Postgres,
        address: "db.internal:5432".into(),
        tls: UpstreamTls::Off,
        credential: name("login"),
        default_database: "app".into(),
        hold: Duration::from_secs(20),
        request_expiry: Duration::from_secs(3600),
        approvals_needed: 1,
        owner: None,
        labels: Default::default(),
        weak_cancel: false,
        expect: Expect::Any,
    });
    log
}

fn agent(log: &mut Log, number: usize) -> Name {
    let agent = name(&format!("agent-{number}"));
    let kind = PrincipalKind::Agent { owner: name("cora"), backup_owner: None, job: Some(name("reports")) };
    log.by_ana(Command::PutPrincipal { name: agent.clone(), kind, active: true, labels: Default::default(), expect: Expect::Any });
    agent
}

fn grant(log: &mut Log, agent: &Name, table: usize) -> GrantId {
    let issue = Command::IssueGrant {
        name: None,
        principal: agent.clone(),
        target: TargetSelector::Name(name("orders")),
        permissions: format!("postgres:select,insert on app.public.table_{table}").parse().expect("permissions"),
        roles: BTreeSet::new(),
        valid_from: None,
        expires: None,
        review_due: None,
        strict: false,
        source: GrantSource::Baseline,
    };
    match log.by_ana(issue).0 {
        Reply::Grant(id) => id,
        other => panic!("{other:?}"),
    }
}

fn everything() -> Terms {
    Terms {
        basis: "bench".into(),
        scope: Scope { grants: true, tokens: true, ..Scope::default() },
        stages: vec![Reviewers::Named([name("ben")].into())],
        fallback: BTreeSet::new(),
        escalates: None,
        length: Duration::from_secs(14 * 86_400),
        overdue: Overdue::Suspend,
        certifies: Duration::from_secs(90 * 86_400),
        rationale_from: None,
        repeats: None,
    }
}

fn main() {
    let mut log = founded();
    let before = resident();
    let begun = Instant::now();
    let mut last = None;
    for number in 0..AGENTS {
        let agent = agent(&mut log, number);
        for table in 0..GRANTS_EACH {
            last = Some(grant(&mut log, &agent, table));
        }
    }
    let took = begun.elapsed();
    let commands = AGENTS * (GRANTS_EACH + 1);
    let grants = AGENTS * GRANTS_EACH;
    println!("apply: {:.0} commands a second over {commands}", commands as f64 / took.as_secs_f64());
    // The replies that are remembered are bounded, and no part of a grant.
    println!("memory: {} bytes a grant, everything included", (resident() - before) / grants);

    let busy = agent(&mut log, AGENTS);
    for table in 0..GRANTS_OF_ONE {
        grant(&mut log, &busy, table);
    }
    let session = SessionId { node: NodeId(1), boot: BootId(1), number: 1 };
    let attempt = Attempt { session, principal: busy, on_behalf_of: None, target: name("orders") };
    let now = log.state.now;
    let begun = Instant::now();
    let mut admission = admit(&log.state, &attempt, now, &NoRules);
    for _ in 1..ADMISSIONS {
        admission = admit(&log.state, &attempt, now, &NoRules);
    }
    println!("admission of an agent with {GRANTS_OF_ONE} grants: {:?}", begun.elapsed() / ADMISSIONS);
    let mut recent = Recent::default();
    recent.keep(&attempt, &admission);
    let begun = Instant::now();
    let found = (0..ADMISSIONS).filter(|_| recent.find(&log.state, &attempt, now).is_some()).count();
    println!("the same again ({found} of {ADMISSIONS} found): {:?}", begun.elapsed() / ADMISSIONS);

    // A reader holds the state from before, as on a node.
    let reader = log.state.clone();
    log.written = 0;
    let (_, took) = log.by_ana(Command::OpenReview { name: name("all"), terms: everything() });
    println!("review of all {grants} grants: opened in {took:?}, {} KiB of rows", log.written / 1024);
    let revoke = Command::RevokeGrant { grant: last.expect("a grant"), reason: "bench".into() };
    println!("a revocation right behind it: applied in {:?}", log.by_ana(revoke).1);
    let (mut entries, mut longest) = (0, Duration::ZERO);
    while log.state.reviews.values().any(|review| review.worked < review.items) {
        longest = longest.max(log.apply(Actor::Node(NodeId(1)), Command::Tick).1);
        entries += 1;
    }
    println!("its due date reached every grant after {entries} further entries of at most {longest:?}");
    drop(reader);
}
