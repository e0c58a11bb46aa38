//! Clients of the administration: they reach every node that runs, and go on whatever they are told.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use cluster::{Cluster, Committed, ProposeError};
use domain::command::{Actor, Command, Expect, Rejection, Reply};
use domain::credential::Sealed;
use domain::grant::{GrantSource, TargetSelector};
use domain::id::{Digest, GrantId, Name, OperationId, ProposalId, SessionId};
use domain::operation::Protocol;
use domain::principal::PrincipalKind;
use domain::request::Ask;
use domain::target::UpstreamTls;
use parking_lot::Mutex;
use tokio::time::{Instant, sleep};

use super::history::{Fact, Pen};
use crate::simulation::rng::Rng;

pub(super) const REGISTERS: usize = 2;
/// Operations on a register in a run: the search for an order of them must end.
const REGISTER_OPERATIONS_MAX: u64 = 24;
/// Writes of unknown outcome on a register: each doubles the search.
const REGISTER_UNKNOWN_MAX: u64 = 4;

/// The nodes that run.
#[derive(Clone, Default)]
pub(super) struct Directory(Arc<Mutex<BTreeMap<u64, Cluster>>>);

impl Directory {
    pub(super) fn put(&self, node: u64, cluster: Cluster) {
        self.0.lock().insert(node, cluster);
    }

    pub(super) fn remove(&self, node: u64) -> Option<Cluster> {
        self.0.lock().remove(&node)
    }

    pub(super) fn all(&self) -> Vec<(u64, Cluster)> {
        self.0.lock().iter().map(|(node, cluster)| (*node, cluster.clone())).collect()
    }

    fn any(&self, rng: &mut Rng) -> Option<Cluster> {
        let nodes = self.0.lock();
        if nodes.is_empty() { None } else { nodes.values().nth(rng.below(nodes.len())).cloned() }
    }

    /// The process that was asked can still answer.
    fn runs(&self, cluster: &Cluster) -> bool {
        self.0.lock().get(&cluster.node().0).is_some_and(|now| now.boot() == cluster.boot())
    }
}

fn name(text: &str) -> Name {
    text.parse().expect("a name")
}

fn admin() -> Actor {
    Actor::Principal(name("ana"))
}

/// What the clients share.
pub(super) struct Clients {
    pub(super) directory: Directory,
    pub(super) pen: Pen,
    seed: u64,
    count: Mutex<u64>,
    grants: Mutex<Vec<GrantId>>,
}

/// What must be there before anybody can do anything.
fn setting() -> Vec<Command> {
    let person = |who: &str| Command::PutPrincipal {
        name: name(who),
        kind: PrincipalKind::Person { email: None, certificate: None },
        active: true,
        labels: BTreeMap::new(),
        expect: Expect::Absent,
    };
    vec![
        person("cora"),
        Command::PutCredential {
            name: name("login"),
            username: "gateway".into(),
            sealed: Sealed { key_id: 1, wrapped_key: vec![1], nonce: [0; 12], ciphertext: vec![2] },
            expect: Expect::Absent,
        },
        Command::PutTarget {
            name: name("orders"),
            protocol: Protocol::Postgres,
            address: "db:5432".into(),
            tls: UpstreamTls::Off,
            credential: name("login"),
            default_database: "app".into(),
            hold: Duration::from_secs(20),
            request_expiry: Duration::from_secs(3600),
            approvals_needed: 1,
            // She owns the target, so she may decide; but not on her own agent's requests.
            owner: Some(name("cora")),
            labels: BTreeMap::new(),
            weak_cancel: false,
            expect: Expect::Absent,
        },
        Command::PutJob {
            name: name("reports"),
            purpose: "makes reports".into(),
            owner: name("cora"),
            backup_owner: None,
            permissions: "postgres:select on app.public.*".parse().expect("permissions"),
            roles: BTreeSet::new(),
            data_classes: BTreeSet::new(),
            environments: BTreeSet::new(),
            expires: None,
            expect: Expect::Absent,
        },
        Command::PutPrincipal {
            name: name("bot"),
            kind: PrincipalKind::Agent { owner: name("cora"), backup_owner: None, job: Some(name("reports")) },
            active: true,
            labels: BTreeMap::new(),
            expect: Expect::Absent,
        },
    ]
}

fn register(key: usize) -> Name {
    name(&format!("register-{key}"))
}

fn write(key: usize, value: u64) -> Command {
    Command::PutPrincipal {
        name: register(key),
        kind: PrincipalKind::Person { email: None, certificate: None },
        active: true,
        labels: BTreeMap::from([("value".to_owned(), value.to_string())]),
        expect: Expect::Any,
    }
}

impl Clients {
    pub(super) fn new(seed: u64, directory: Directory, pen: Pen) -> Arc<Clients> {
        Arc::new(Clients { directory, pen, seed, count: Mutex::default(), grants: Mutex::default() })
    }

    fn next(&self) -> u64 {
        let mut count = self.count.lock();
        *count += 1;
        *count
    }

    fn id(&self) -> ProposalId {
        format!("client-{}", self.next()).parse().expect("an id")
    }

    fn rng(&self) -> Rng {
        Rng::new(self.seed.wrapping_mul(31).wrapping_add(self.next()))
    }

    /// Puts the setting and the registers there, on a cluster that is well.
    pub(super) async fn prepare(&self, cluster: &Cluster) {
        let registers = (0..REGISTERS).map(|key| write(key, 0));
        for command in setting().into_iter().chain(registers) {
            let done = cluster.propose(self.id(), admin(), command.clone()).await.expect("a healthy cluster");
            assert!(!matches!(done.reply, Reply::Rejected(_)), "{command:?}: {:?}", done.reply);
        }
        for _ in 0..4 {
            self.issue(cluster).await;
        }
    }

    /// An answer counts if the process that gives it still runs.
    fn heard<T>(&self, cluster: &Cluster, answer: Result<T, ProposeError>) -> Result<T, ProposeError> {
        if self.directory.runs(cluster) { answer } else { Err(ProposeError::Unknown("the node lost its power".into())) }
    }

    async fn propose(&self, cluster: &Cluster, actor: Actor, command: Command) -> Result<Committed, ProposeError> {
        let answer = cluster.propose(self.id(), actor, command).await;
        self.heard(cluster, answer)
    }

    async fn issue(&self, cluster: &Cluster) {
        let marker = format!("grant-{}", self.next());
        let command = Command::IssueGrant {
            name: Some(name(&marker)),
            principal: name("bot"),
            target: TargetSelector::Name(name("orders")),
            permissions: "postgres:select on app.public.*".parse().expect("permissions"),
            roles: BTreeSet::new(),
            valid_from: None,
            expires: None,
            review_due: None,
            strict: false,
            source: GrantSource::Baseline,
        };
        match self.propose(cluster, admin(), command).await {
            Ok(Committed { reply: Reply::Grant(grant), .. }) => {
                self.pen.note(Fact::Granted { grant });
                self.grants.lock().push(grant);
            }
            Ok(_) | Err(ProposeError::NotCommitted(_)) => self.pen.note(Fact::NotGranted { marker }),
            Err(ProposeError::Unknown(_)) => {}
        }
    }

    /// Takes access away and gives new, for ever.
    pub(super) async fn revoke(self: Arc<Self>) {
        let mut rng = self.rng();
        loop {
            sleep(Duration::from_millis(rng.range(60, 700))).await;
            let Some(cluster) = self.directory.any(&mut rng) else { continue };
            let grant = {
                let mut grants = self.grants.lock();
                if grants.len() < 3 { None } else { Some(grants.len()) }.map(|many| grants.swap_remove(rng.below(many)))
            };
            match grant {
                None => self.issue(&cluster).await,
                Some(grant) => {
                    let begun = Instant::now();
                    let node = cluster.node().0;
                    let command = Command::RevokeGrant { grant, reason: "attacked".into() };
                    let answer = cluster.narrow(self.id(), admin(), command).await;
                    let took_ms = begun.elapsed().as_millis() as u64;
                    self.pen.note(match self.heard(&cluster, answer) {
                        Ok((Committed { reply: Reply::Done { .. }, .. }, receipt)) => {
                            let silent = receipt.map_or(0, |r| r.nodes.iter().filter(|n| n.by_expiry).count());
                            Fact::Acknowledged { node, grant, took_ms, silent }
                        }
                        Ok((done, _)) => Fact::NotAcknowledged { node, grant, why: format!("{:?}", done.reply) },
                        Err(e) => Fact::NotAcknowledged { node, grant, why: e.to_string() },
                    });
                }
            }
        }
    }

    /// Opens requests, has them approved, and lets every node try to use each, for ever.
    pub(super) async fn approve(self: Arc<Self>) {
        let mut rng = self.rng();
        loop {
            sleep(Duration::from_millis(rng.range(100, 500))).await;
            let Some(cluster) = self.directory.any(&mut rng) else { continue };
            let state = cluster.state();
            let digest = Digest([(self.next() % 251) as u8; 32]);
            let ask = Ask::Exact {
                digest,
                statement: "delete from orders".into(),
                parameters: Vec::new(),
                context: vec![("database".into(), "app".into())],
                missing: Vec::new(),
                job_version: state.job_of(&name("bot")).map(|job| job.version),
                target_version: state.targets.get(&name("orders")).map_or(domain::id::Index(0), |target| target.version),
                under: None,
            };
            let open =
                Command::OpenRequest { principal: name("bot"), on_behalf_of: None, target: name("orders"), ask, reason: "clean up".into() };
            let Ok(Committed { reply: Reply::Request { request, .. }, .. }) =
                self.propose(&cluster, Actor::Node(cluster.node()), open).await
            else {
                continue;
            };
            let decide =
                |who: &str| (Actor::Principal(name(who)), Command::DecideRequest { request, approve: true, reason: "fine".into() });
            // The owner of the agent owns the target as well, and still may not.
            let (actor, command) = decide("cora");
            if let Ok(Committed { reply: Reply::Done { .. }, .. }) = self.propose(&cluster, actor, command).await {
                self.pen.note(Fact::ApprovedOwn { request });
            }
            let Some(elsewhere) = self.directory.any(&mut rng) else { continue };
            let (actor, command) = decide("ana");
            if !matches!(self.propose(&elsewhere, actor, command).await, Ok(Committed { reply: Reply::Done { .. }, .. })) {
                continue;
            }
            let rivals = self.directory.all().into_iter().map(|(_, cluster)| {
                let this = self.clone();
                async move { this.spend(cluster, request, digest).await }
            });
            futures_util::future::join_all(rivals).await;
        }
    }

    async fn spend(&self, cluster: Cluster, request: domain::id::RequestId, digest: Digest) {
        let node = cluster.node();
        let session = SessionId { node, boot: cluster.boot(), number: self.next() };
        let by = OperationId { session, sequence: 1 };
        let command = Command::SpendApproval { request, digest, by };
        let fact = match self.propose(&cluster, Actor::Node(node), command).await {
            Ok(Committed { reply: Reply::Spent, .. }) => Fact::Spent { node: node.0, request },
            Ok(Committed { reply: Reply::Rejected(Rejection::AlreadySpent { .. }), .. }) => {
                Fact::NotSpent { node: node.0, request, why: "spent already".into() }
            }
            Ok(Committed { reply, .. }) => Fact::NotSpent { node: node.0, request, why: format!("{reply:?}") },
            Err(e) => Fact::NotSpent { node: node.0, request, why: e.to_string() },
        };
        self.pen.note(fact);
    }

    /// One client of a register: writes numbers, and reads behind a read index.
    pub(super) async fn use_register(self: Arc<Self>, key: usize, tally: Arc<Mutex<(u64, u64)>>) {
        let mut rng = self.rng();
        let mut client = self.next();
        loop {
            sleep(Duration::from_millis(rng.range(50, 900))).await;
            let Some(cluster) = self.directory.any(&mut rng) else { continue };
            let may_write = {
                let mut tally = tally.lock();
                if tally.0 >= REGISTER_OPERATIONS_MAX {
                    return;
                }
                tally.0 += 1;
                tally.1 < REGISTER_UNKNOWN_MAX
            };
            if may_write && rng.in_thousand(500) {
                let value = self.next();
                self.pen.note(Fact::Invoked { client, key, write: Some(value) });
                match self.propose(&cluster, admin(), write(key, value)).await {
                    Ok(Committed { reply: Reply::Done { .. }, .. }) => self.pen.note(Fact::Returned { client, key, read: None }),
                    _ => {
                        tally.lock().1 += 1;
                        client = self.next();
                    }
                }
                continue;
            }
            self.pen.note(Fact::Invoked { client, key, write: None });
            let confirmed = cluster.confirm().await;
            let state = cluster.state();
            let value = state.principals.get(&register(key)).and_then(|p| p.labels.get("value")?.parse().ok());
            match value {
                Some(value) if confirmed.is_ok() && self.directory.runs(&cluster) => {
                    self.pen.note(Fact::Returned { client, key, read: Some(value) });
                }
                _ => client = self.next(),
            }
        }
    }
}
