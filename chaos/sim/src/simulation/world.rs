//! The replicated state: a small world to begin with, and what the log made of it. Commands are applied by `domain`
//! once for all nodes, which is all there is to know: the same entries give the same state everywhere.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;
use std::time::Duration;

use domain::admission::Attempt;
use domain::command::{Actor, Command, Expect, Proposal, Reply, apply};
use domain::credential::Sealed;
use domain::grant::{GrantSource, TargetSelector};
use domain::id::{BootId, GrantId, Index, Name, NodeId, SessionId};
use domain::lock::LockOn;
use domain::member::MemberRole;
use domain::operation::Protocol;
use domain::principal::PrincipalKind;
use domain::state::State;
use domain::target::UpstreamTls;
use domain::time::LogTime;

use super::NODES_MAX;
use super::clock::START;

/// Agents, each with a grant of its own.
pub(super) const AGENTS: usize = 3;

fn name(text: &str) -> Name {
    text.parse().expect("a name")
}

pub(super) fn agent(number: usize) -> Name {
    name(["bot", "cat", "dog"][number])
}

pub(super) fn admin() -> Actor {
    Actor::Principal(name("ana"))
}

pub(super) fn actor(node: usize) -> Actor {
    Actor::Node(node_id(node))
}

pub(super) fn node_id(node: usize) -> NodeId {
    NodeId(node as u64 + 1)
}

pub(super) fn attempt(node: usize, boot: u64, number: u64, agent_number: usize) -> Attempt {
    let session = SessionId { node: node_id(node), boot: BootId(boot), number };
    Attempt { session, principal: agent(agent_number), on_behalf_of: None, target: name("orders") }
}

pub(super) fn grant_to(agent_number: usize, expires: Option<LogTime>) -> Command {
    Command::IssueGrant {
        name: None,
        principal: agent(agent_number),
        target: TargetSelector::Name(name("orders")),
        permissions: "postgres:select on app.public.*".parse().expect("permissions"),
        roles: BTreeSet::new(),
        valid_from: None,
        expires,
        review_due: None,
        strict: false,
        source: GrantSource::Baseline,
    }
}

pub(super) fn lock_on(agent_number: usize) -> Command {
    Command::CreateLock { on: LockOn::Principal(agent(agent_number)), reason: "emergency".into(), expires: None }
}

/// What the log made: the state after each of its entries.
pub(super) struct World {
    /// `states[0]` is what was there before the first entry.
    states: Vec<State>,
    replies: Vec<Reply>,
    narrowing: Vec<bool>,
    base: u64,
}

static FOUNDED: LazyLock<Vec<State>> = LazyLock::new(|| (0..=NODES_MAX).map(found).collect());

/// A cluster of so many nodes that all serve, with the agents and their grants.
fn found(nodes: usize) -> State {
    let person = || PrincipalKind::Person { email: None, certificate: None };
    let principal =
        |who: Name, kind| Command::PutPrincipal { name: who, kind, active: true, labels: BTreeMap::new(), expect: Expect::Absent };
    let mut commands = vec![
        (
            Actor::Operator,
            Command::FoundCluster {
                id: "sim".into(),
                incarnation: 1,
                recovery_key: [1; 32],
                first_admin: name("ana"),
                feature_level: domain::command::FEATURE_LEVEL_MAX,
            },
        ),
        (admin(), principal(name("cora"), person())),
        (
            admin(),
            Command::PutCredential {
                name: name("login"),
                username: "gateway".into(),
                sealed: Sealed { key_id: 1, wrapped_key: vec![1], nonce: [0; 12], ciphertext: vec![2] },
                expect: Expect::Absent,
            },
        ),
        (
            admin(),
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
                owner: None,
                labels: BTreeMap::new(),
                weak_cancel: false,
                expect: Expect::Absent,
            },
        ),
        (
            admin(),
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
        ),
    ];
    for number in 0..AGENTS {
        let kind = PrincipalKind::Agent { owner: name("cora"), backup_owner: None, job: Some(name("reports")) };
        commands.push((admin(), principal(agent(number), kind)));
        commands.push((admin(), grant_to(number, None)));
    }
    for node in 0..nodes {
        let register = Command::RegisterNode {
            node: node_id(node),
            address: format!("10.0.0.{node}:7400"),
            admin_address: format!("10.0.0.{node}:7401"),
            checkpoint_key: [node as u8; 32],
            sealing_key: [node as u8; 32],
            role: MemberRole::Voter,
            feature_level_max: domain::command::FEATURE_LEVEL_MAX,
            join_token: None,
        };
        commands.push((Actor::Operator, register));
        commands.push((actor(node), Command::SetServing { node: node_id(node), serving: true }));
    }
    let mut state = State::default();
    for (at, (actor, command)) in commands.into_iter().enumerate() {
        let id = format!("found{at}").parse().expect("an id");
        let applied = apply(&mut state, Index(at as u64 + 1), &Proposal { id, actor, stamp: LogTime(START), command: command.clone() });
        assert!(!matches!(applied.reply, Reply::Rejected(_)), "{command:?}: {:?}", applied.reply);
    }
    state
}

impl World {
    pub(super) fn new(nodes: usize) -> World {
        let state = FOUNDED[nodes].clone();
        let base = state.applied.0;
        World { states: vec![state], replies: Vec::new(), narrowing: Vec::new(), base }
    }

    /// Entries applied so far, by whoever was first.
    pub(super) fn len(&self) -> usize {
        self.replies.len()
    }

    /// The index in the control log of the entry at a place of the log, counted from 1.
    pub(super) fn index(&self, place: usize) -> Index {
        Index(self.base + place as u64)
    }

    pub(super) fn place(&self, index: Index) -> usize {
        (index.0 - self.base) as usize
    }

    pub(super) fn state(&self, place: usize) -> &State {
        &self.states[place]
    }

    pub(super) fn reply(&self, place: usize) -> &Reply {
        &self.replies[place - 1]
    }

    pub(super) fn is_narrowing(&self, place: usize) -> bool {
        self.narrowing[place - 1]
    }

    /// Applies the next entry; one without a command is what a new leader begins with.
    pub(super) fn apply(&mut self, proposal: Option<&Proposal>) {
        let mut state = self.states[self.len()].clone();
        let (reply, narrowing) = match proposal {
            Some(proposal) => {
                let applied = apply(&mut state, self.index(self.len() + 1), proposal);
                (applied.reply, applied.changes.narrowing)
            }
            None => (Reply::Done { version: Index(0) }, false),
        };
        self.states.push(state);
        self.replies.push(reply);
        self.narrowing.push(narrowing);
    }

    /// The live grant of an agent, in the latest state.
    pub(super) fn grant_of(&self, agent_number: usize) -> Option<GrantId> {
        let state = self.states.last().expect("never empty");
        let now = state.now;
        state.grants.values().find(|g| g.principal == agent(agent_number) && g.is_live(now)).map(|g| g.id)
    }
}
