//! Stages, gate, registry and relay, with a target that shows every byte it was sent.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use domain::admission::{self, Attempt};
use domain::audit::record::decode;
use domain::command::{Actor, Command, Expect, Reply};
use domain::credential::Sealed;
use domain::grant::{GrantSource, TargetSelector};
use domain::id::{BootId, GrantId, Name, NodeId, SessionId};
use domain::operation::Protocol;
use domain::policy::{AtAdmission, NoRules, OnOperation, Policy, Rules, Ruling};
use domain::principal::PrincipalKind;
use domain::review::{Overdue, Reviewers, Scope, Terms};
use domain::target::UpstreamTls;
use domain::time::LogTime;
use parking_lot::Mutex;
use session::authority::Authority;
use session::gate::{Gate, Stopped};
use session::local::{Local, LocalAuthority};
use session::registry::Registry;
use session::stage::Parts;
use session::tasks::Tasks;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

use crate::lines::Lines;

/// What a target does with what it gets.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Manner {
    Echoes,
    /// Takes connections and reads nothing.
    Deaf,
}

struct World {
    authority: Local,
    registry: Arc<Registry>,
    parts: Arc<Parts>,
    address: std::net::SocketAddr,
    grant: GrantId,
    /// All bytes that reached the target.
    seen: Arc<Mutex<Vec<u8>>>,
}

fn name(text: &str) -> Name {
    text.parse().expect("a name")
}

impl World {
    async fn new(manner: Manner) -> World {
        Self::with(manner, Registry::new()).await
    }

    async fn with(manner: Manner, registry: Arc<Registry>) -> World {
        let target = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let at = target.local_addr().expect("bound").to_string();
        let seen = Arc::new(Mutex::new(Vec::new()));
        tokio::spawn(serve(target, manner, seen.clone()));
        let authority = Local(LocalAuthority::new(NodeId(1), LogTime(1_700_000_000_000), |_| None));
        let grant = found(&authority, at);
        let parts = Parts::new(Arc::new(authority.clone()), registry.clone(), Tasks::new());
        let listener = session::listener::bind("127.0.0.1:0".parse().expect("an address")).expect("a port");
        let address = listener.local_addr().expect("bound");
        session::listener::serve(listener, Arc::new(Lines), parts.clone());
        World { authority, registry, parts, address, grant, seen }
    }

    async fn client(&self) -> BufReader<TcpStream> {
        let mut client = BufReader::new(TcpStream::connect(self.address).await.expect("accepted"));
        client.write_all(b"loop-1\n").await.expect("sent");
        assert_eq!(line(&mut client).await, "welcome");
        client
    }

    async fn enforce(&self) -> session::registry::EnforceReport {
        let state = self.authority.state();
        self.registry.enforce(&state, Authority::now(&self.authority), state.applied, Authority::rules(&self.authority)).await
    }
}

async fn line(client: &mut BufReader<TcpStream>) -> String {
    let mut line = String::new();
    let read = tokio::time::timeout(Duration::from_secs(10), client.read_line(&mut line)).await;
    read.expect("in time").expect("readable");
    line.trim().to_owned()
}

async fn until(what: &str, mut there: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !there() {
        assert!(begun.elapsed() < Duration::from_secs(20), "waited in vain until {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn serve(target: TcpListener, manner: Manner, seen: Arc<Mutex<Vec<u8>>>) {
    let mut kept = Vec::new();
    while let Ok((mut stream, _)) = target.accept().await {
        if manner == Manner::Deaf {
            kept.push(stream);
            continue;
        }
        let seen = seen.clone();
        tokio::spawn(async move {
            let mut chunk = [0; 4096];
            while let Ok(count @ 1..) = stream.read(&mut chunk).await {
                seen.lock().extend_from_slice(&chunk[..count]);
                if stream.write_all(&chunk[..count]).await.is_err() {
                    return;
                }
            }
        });
    }
}

fn found(authority: &Local, address: String) -> GrantId {
    let done = |actor: Actor, command: Command| {
        let reply = authority.apply(actor, command);
        assert!(!matches!(reply, Reply::Rejected(_)), "{reply:?}");
        reply
    };
    let all: domain::permission::PermissionSet = "postgres:* on *.*.*".parse().expect("permissions");
    done(
        Actor::Operator,
        Command::FoundCluster {
            id: "test".into(),
            incarnation: 1,
            recovery_key: [1; 32],
            first_admin: name("ada"),
            feature_level: domain::command::FEATURE_LEVEL_MAX,
        },
    );
    let person = PrincipalKind::Person { email: None, certificate: None };
    done(
        admin(),
        Command::PutPrincipal { name: name("olga"), kind: person, active: true, labels: Default::default(), expect: Expect::Any },
    );
    let job = Command::PutJob {
        name: name("orders"),
        purpose: "keeps orders".into(),
        owner: name("olga"),
        backup_owner: None,
        permissions: all,
        roles: Default::default(),
        data_classes: Default::default(),
        environments: Default::default(),
        expires: None,
        expect: Expect::Any,
    };
    done(admin(), job);
    let agent = PrincipalKind::Agent { owner: name("olga"), backup_owner: None, job: Some(name("orders")) };
    done(
        admin(),
        Command::PutPrincipal { name: name("loop-1"), kind: agent, active: true, labels: Default::default(), expect: Expect::Any },
    );
    let sealed = Sealed { key_id: 1, wrapped_key: vec![1; 40], nonce: [0; 12], ciphertext: vec![1; 32] };
    done(admin(), Command::PutCredential { name: name("login"), username: "x".into(), sealed, expect: Expect::Any });
    let target = Command::PutTarget {
        name: name("shop"),
        protocol: Protocol::Postgres,
        address,
        tls: UpstreamTls::Off,
        credential: name("login"),
        default_database: "db".into(),
        hold: Duration::from_secs(1),
        request_expiry: Duration::from_secs(60),
        approvals_needed: 1,
        owner: None,
        labels: Default::default(),
        weak_cancel: false,
        expect: Expect::Any,
    };
    done(admin(), target);
    match done(admin(), insert_orders(None)) {
        Reply::Grant(id) => id,
        other => panic!("no grant: {other:?}"),
    }
}

fn admin() -> Actor {
    Actor::Principal(name("ada"))
}

fn insert_orders(expires: Option<LogTime>) -> Command {
    Command::IssueGrant {
        name: None,
        principal: name("loop-1"),
        target: TargetSelector::Name(name("shop")),
        permissions: "postgres:insert on db.public.orders".parse().expect("permissions"),
        roles: Default::default(),
        valid_from: None,
        expires,
        review_due: None,
        strict: false,
        source: GrantSource::Baseline,
    }
}

#[tokio::test]
pub(crate) async fn no_byte_reaches_the_target_before_its_record_is_committed() {
    let world = World::new(Manner::Echoes).await;
    let mut client = world.client().await;
    client.write_all(b"orders 1\nsecrets 2\n").await.expect("sent");
    assert_eq!(line(&mut client).await, "no", "what waits for nothing may overtake");
    assert_eq!(line(&mut client).await, "orders 1");
    world.authority.set_committing(false);
    let begun = Instant::now();
    client.write_all(b"orders 3\n").await.expect("sent");
    assert_eq!(line(&mut client).await, "not done");
    assert!(begun.elapsed() < Duration::from_secs(3));
    assert_eq!(world.seen.lock().as_slice(), b"orders 1\n");
    world.authority.set_committing(true);
    client.write_all(b"orders 4\n").await.expect("sent");
    assert_eq!(line(&mut client).await, "orders 4");
}

#[tokio::test]
async fn a_revocation_resets_a_target_that_does_not_read() {
    let world = World::new(Manner::Deaf).await;
    let mut client = world.client().await;
    // More than the kernel takes from us without the target reading.
    let long = format!("orders {}\n", "x".repeat(60_000));
    for _ in 0..120 {
        match tokio::time::timeout(Duration::from_millis(100), client.write_all(long.as_bytes())).await {
            Ok(sent) => sent.expect("sent"),
            Err(_full) => break,
        }
    }
    let reply = world.authority.apply(Actor::Principal(name("ada")), Command::RevokeGrant { grant: world.grant, reason: "enough".into() });
    assert!(matches!(reply, Reply::Done { .. }));
    let begun = Instant::now();
    let report = world.enforce().await;
    assert!(begun.elapsed() < Duration::from_millis(500), "{:?}", begun.elapsed());
    assert_eq!(report.session_count(), 1);
    // On record once, however often the next enforcements find it on its way out.
    session::records::enforcement(&world.parts, &report);
    session::records::enforcement(&world.parts, &world.enforce().await);
    let ended = report.receipts()[0].session;
    let applied = world.authority.state().applied;
    let recorded = enforcements(&world);
    assert_eq!(recorded.len(), 1, "{recorded:?}");
    assert_eq!(recorded[0].0, format!("revocation-{applied}"));
    assert!(recorded[0].1.starts_with(&format!("{ended} ")), "{recorded:?}");
    until("the session is gone", || world.registry.is_empty()).await;
}

/// Of each enforcement record, what it names: the revocation, and the sessions it ended.
fn enforcements(world: &World) -> Vec<(String, String)> {
    let records = world.authority.records().into_iter().map(|bytes| decode(&bytes).expect("readable"));
    let named = records.filter(|record| record.kind_name() == "enforcement").map(|record| {
        let fields: BTreeMap<_, _> = record.to_fields().into_iter().collect();
        (fields["revocation"].to_string(), fields["ended"].to_string())
    });
    named.collect()
}

/// Between the entry and its enforcement the gate itself sees that the state has moved on.
#[tokio::test]
pub(crate) async fn a_revoked_permit_forwards_nothing_before_it_is_enforced() {
    let world = World::new(Manner::Echoes).await;
    let session = SessionId { node: NodeId(1), boot: BootId(1), number: 1 };
    let attempt = Attempt { session, principal: name("loop-1"), on_behalf_of: None, target: name("shop") };
    let state = world.authority.state();
    let permit = admission::admit(&state, &attempt, Authority::now(&world.authority), &NoRules).permit.expect("admitted");
    let gate = Gate::new(Arc::new(permit), None);
    assert_eq!(gate.forward(&world.authority, || ("granted", false)), Ok("granted"));
    world.authority.apply(admin(), Command::RevokeGrant { grant: world.grant, reason: String::new() });
    assert_eq!(gate.forward(&world.authority, || ("revoked", false)), Err(Stopped::Stale));
}

#[tokio::test]
pub(crate) async fn what_was_sent_late_says_how_late() {
    let world = World::new(Manner::Echoes).await;
    let session = SessionId { node: NodeId(1), boot: BootId(1), number: 1 };
    let attempt = Attempt { session, principal: name("loop-1"), on_behalf_of: None, target: name("shop") };
    let state = world.authority.state();
    let permit = admission::admit(&state, &attempt, Authority::now(&world.authority), &NoRules).permit.expect("admitted");
    let gate = Gate::new(Arc::new(permit), None);
    assert_eq!(gate.forward(&world.authority, || ("in time", false)), Ok("in time"));
    let late = Duration::from_millis(30);
    let stopped = gate.forward(&world.authority, || {
        world.authority.set_serving(false);
        std::thread::sleep(late);
        ("too late", false)
    });
    assert!(matches!(stopped, Err(Stopped::Late(by)) if by >= late), "{stopped:?}");
}

#[tokio::test]
async fn a_listed_session_says_where_it_is_and_what_it_did() {
    let world = World::new(Manner::Echoes).await;
    let mut client = world.client().await;
    for number in 1..=2 {
        client.write_all(format!("orders {number}\n").as_bytes()).await.expect("sent");
        assert_eq!(line(&mut client).await, format!("orders {number}"));
    }
    let listed = world.registry.list();
    assert_eq!((listed.len(), listed[0].database.as_str(), listed[0].operations), (1, "db", 2));
}

#[tokio::test]
pub(crate) async fn frozen_sessions_end_when_no_lease_comes_within_the_grace() {
    let world = World::with(Manner::Echoes, Registry::with_grace(Duration::from_millis(300))).await;
    let mut client = world.client().await;
    world.authority.set_serving(false);
    tokio::time::sleep(Duration::from_millis(100)).await;
    world.authority.set_serving(true);
    client.write_all(b"orders 1\n").await.expect("sent");
    assert_eq!(line(&mut client).await, "orders 1", "a lease that comes back in time thaws");
    world.authority.set_serving(false);
    assert!(line(&mut client).await.starts_with("over: "));
    until("it is gone", || world.registry.is_empty()).await;
}

/// How long after its time an idle session may live (R5), and then some for a busy machine.
const SOON: Duration = Duration::from_millis(500);

#[tokio::test]
pub(crate) async fn an_idle_session_ends_with_the_last_of_its_grants() {
    let world = World::new(Manner::Echoes).await;
    for seconds in [10, 20] {
        let expires = Some(Authority::now(&world.authority).after(Duration::from_secs(seconds)));
        let reply = world.authority.apply(admin(), insert_orders(expires));
        assert!(matches!(reply, Reply::Grant(_)), "{reply:?}");
    }
    world.authority.apply(admin(), Command::RevokeGrant { grant: world.grant, reason: String::new() });
    let mut client = world.client().await;
    world.authority.pass(Duration::from_secs(15));
    tokio::time::sleep(SOON).await;
    assert_eq!(world.registry.len(), 1, "one of the two still counts");
    world.authority.pass(Duration::from_secs(10));
    assert!(line(&mut client).await.starts_with("over: "));
    until("it is gone", || world.registry.is_empty()).await;
}

#[tokio::test]
async fn an_idle_session_ends_at_a_due_date_that_it_got_meanwhile() {
    let world = World::new(Manner::Echoes).await;
    let mut client = world.client().await;
    let terms = Terms {
        basis: "incident 7".into(),
        scope: Scope { grants: true, ..Scope::default() },
        stages: vec![Reviewers::Named([name("olga")].into())],
        fallback: Default::default(),
        escalates: None,
        length: Duration::from_secs(10),
        overdue: Overdue::Suspend,
        certifies: Duration::from_secs(3600),
        rationale_from: None,
        repeats: None,
    };
    let reply = world.authority.apply(admin(), Command::OpenReview { name: name("short"), terms });
    assert!(matches!(reply, Reply::Review(_)), "{reply:?}");
    tokio::time::sleep(SOON).await;
    assert_eq!(world.registry.len(), 1, "not due yet");
    world.authority.pass(Duration::from_secs(11));
    assert!(line(&mut client).await.starts_with("over: "));
    until("it is gone", || world.registry.is_empty()).await;
}

#[tokio::test]
async fn t008_sessions_that_register_while_a_revocation_is_enforced_do_not_live() {
    let world = World::new(Manner::Echoes).await;
    let mut clients = Vec::new();
    for _ in 0..50 {
        clients.push(tokio::spawn(TcpStream::connect(world.address)));
    }
    let mut streams = Vec::new();
    for client in clients {
        let mut stream = client.await.expect("does not panic").expect("accepted");
        stream.write_all(b"loop-1\n").await.expect("sent");
        streams.push(stream);
    }
    world.authority.apply(Actor::Principal(name("ada")), Command::RevokeGrant { grant: world.grant, reason: "enough".into() });
    world.enforce().await;
    for stream in &mut streams {
        let _ = stream.write_all(b"orders 1\n").await;
    }
    until("nobody is left", || world.registry.is_empty()).await;
    assert!(world.seen.lock().is_empty(), "nothing was forwarded after the revocation was enforced");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_thousand_idle_strangers_do_not_stop_a_newcomer() {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    let raised = rustix::process::Rlimit { current: limit.maximum, maximum: limit.maximum };
    rustix::process::setrlimit(rustix::process::Resource::Nofile, raised).expect("up to the hard limit");
    let strangers_max = limit.maximum.map_or(5_000, |max| (max.saturating_sub(500) / 2).min(5_000));
    let world = World::new(Manner::Echoes).await;
    let mut strangers = Vec::new();
    for _ in 0..strangers_max {
        strangers.push(TcpStream::connect(world.address).await.expect("accepted"));
    }
    until("all are in", || world.parts.handshakes.len() as u64 == strangers_max).await;
    let begun = Instant::now();
    let mut client = world.client().await;
    client.write_all(b"orders 1\n").await.expect("sent");
    assert_eq!(line(&mut client).await, "orders 1");
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
    drop(strangers);
    until("all strangers are gone", || world.parts.handshakes.is_empty()).await;
}

#[tokio::test]
async fn who_has_no_grant_is_told_and_not_dialled_for() {
    let world = World::new(Manner::Echoes).await;
    let mut stranger = BufReader::new(TcpStream::connect(world.address).await.expect("accepted"));
    stranger.write_all(b"nobody\n").await.expect("sent");
    assert!(line(&mut stranger).await.starts_with("refused:"));
    assert!(world.registry.is_empty());
    world.authority.set_serving(false);
    let mut client = BufReader::new(TcpStream::connect(world.address).await.expect("accepted"));
    client.write_all(b"loop-1\n").await.expect("sent");
    assert!(line(&mut client).await.starts_with("refused:"), "no lease, no admission");
}

/// Refuses what it is told to, from the entry of its activation on.
struct Refuses {
    admissions: std::sync::atomic::AtomicBool,
    operations: std::sync::atomic::AtomicBool,
}

struct Shared(Arc<Refuses>);

impl Rules for Shared {
    fn at_admission(&self, _: &Policy, _: &AtAdmission<'_>) -> Ruling {
        if self.0.admissions.load(std::sync::atomic::Ordering::SeqCst) { Ruling::refused("off duty") } else { Ruling::default() }
    }

    fn on_operation(&self, _: &Policy, _: &OnOperation<'_>) -> Ruling {
        if self.0.operations.load(std::sync::atomic::Ordering::SeqCst) { Ruling::refused("not now") } else { Ruling::default() }
    }

    fn judges_operations(&self, _: &Policy) -> bool {
        true
    }
}

#[tokio::test]
async fn a_policy_is_heard_in_sessions_of_before_it() {
    use sha2::Digest as _;
    let world = World::new(Manner::Echoes).await;
    let says = Arc::new(Refuses { admissions: false.into(), operations: false.into() });
    world.authority.set_rules(Box::new(Shared(says.clone())));
    let mut client = world.client().await;
    client.write_all(b"orders 1\n").await.expect("sent");
    assert_eq!(line(&mut client).await, "orders 1");
    let ada = Actor::Principal(name("ada"));
    let switch = |bundle: &[u8]| {
        let digest = domain::id::Digest(sha2::Sha256::digest(bundle).into());
        let publish = Command::PublishPolicy { bundle: bundle.into(), digest, revision: String::new(), two_people: false };
        let Reply::Done { version } = world.authority.apply(ada.clone(), publish) else { panic!("published") };
        let activate = Command::ActivatePolicy { policy: domain::id::PolicyId(version.0) };
        assert!(matches!(world.authority.apply(ada.clone(), activate), Reply::Done { .. }));
    };
    // The same statement was allowed a moment ago: what was remembered of it is gone.
    says.operations.store(true, std::sync::atomic::Ordering::SeqCst);
    switch(b"one");
    assert_eq!(world.enforce().await.session_count(), 0, "the session may go on");
    client.write_all(b"orders 1\n").await.expect("sent");
    assert_eq!(line(&mut client).await, "no");
    // And with every operation it is asked again.
    says.operations.store(false, std::sync::atomic::Ordering::SeqCst);
    client.write_all(b"orders 2\n").await.expect("sent");
    assert_eq!(line(&mut client).await, "orders 2");
    says.operations.store(true, std::sync::atomic::Ordering::SeqCst);
    client.write_all(b"orders 2\n").await.expect("sent");
    assert_eq!(line(&mut client).await, "no");

    says.admissions.store(true, std::sync::atomic::Ordering::SeqCst);
    switch(b"two");
    assert_eq!(world.enforce().await.session_count(), 1, "its admission is reviewed at once");
    until("the session is gone", || world.registry.is_empty()).await;
    assert_eq!(world.seen.lock().as_slice(), b"orders 1\norders 2\n");
}
