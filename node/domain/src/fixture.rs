//! A small world for tests: a cluster with some people, one agent with a job, one target.
//!
//! ana is the first administrator; ben and eve review; cora owns the agent `bot`, dan is its backup owner; fay is a
//! person without rights. `bot` has the job `reports` and a grant to read `app.public.*` at the target `orders`.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::admission::{Admission, Attempt, admit};
use crate::command::{Actor, Applied, Command, Decide, Expect, Proposal, Rejection, Reply, apply};
use crate::credential::Sealed;
use crate::grant::{GrantSource, TargetSelector};
use crate::id::{BootId, Digest, GrantId, Index, Name, NodeId, OperationId, ProposalId, RequestId, ReviewId, SessionId, TokenId};
use crate::member::MemberRole;
use crate::operation::{Access, Effect, Operation, Protocol};
use crate::permission::PermissionSet;
use crate::policy::{AskedUnder, NoRules};
use crate::principal::{PrincipalKind, ScramVerifier, TokenUse};
use crate::request::Ask;
use crate::review::{Choice, Overdue, Reviewers, Scope, Terms};
use crate::state::State;
use crate::target::UpstreamTls;
use crate::time::LogTime;

pub(crate) const START: LogTime = LogTime(1_790_000_000_000);

pub(crate) fn name(text: &str) -> Name {
    text.parse().expect("a name")
}

pub(crate) fn names(list: &[&str]) -> BTreeSet<Name> {
    list.iter().map(|n| name(n)).collect()
}

pub(crate) fn perms(text: &str) -> PermissionSet {
    text.parse().expect("permissions")
}

pub(crate) fn by(who: &str) -> Actor {
    Actor::Principal(name(who))
}

pub(crate) fn node(id: u64) -> Actor {
    Actor::Node(NodeId(id))
}

pub(crate) fn digest(n: u8) -> Digest {
    Digest([n; 32])
}

pub(crate) fn session(node: u64, number: u64) -> SessionId {
    SessionId { node: NodeId(node), boot: BootId(7), number }
}

pub(crate) fn operation_id(node: u64, sequence: u64) -> OperationId {
    OperationId { session: session(node, 1), sequence }
}

pub(crate) fn attempt(principal: &str, target: &str) -> Attempt {
    Attempt { session: session(1, 1), principal: name(principal), on_behalf_of: None, target: name(target) }
}

/// An operation that needs these accesses, written as permissions without patterns.
pub(crate) fn operation(accesses: &str) -> Operation {
    let of = perms(accesses);
    let accesses = of.iter().flat_map(|p| {
        p.verbs.iter().map(|verb| {
            let path: Vec<String> = p.on.segments.iter().map(segment).collect();
            let mut resource = crate::operation::Resource::new(path);
            resource.columns = p.on.columns.clone();
            Access { protocol: p.protocol, verb: *verb, resource }
        })
    });
    Operation { tag: "test".into(), accesses: accesses.collect(), effect: Effect::Lasting }
}

fn segment(segment: &crate::permission::Segment) -> String {
    match segment {
        crate::permission::Segment::Any => "*".to_owned(),
        crate::permission::Segment::Exact(text) => text.to_string(),
        crate::permission::Segment::Prefix(text) => panic!("an access has no prefix {text}*"),
    }
}

#[derive(Clone)]
pub(crate) struct World {
    pub(crate) state: State,
    pub(crate) stamp: LogTime,
    pub(crate) log: Vec<(Index, Proposal)>,
    /// What a node's disk holds, written from the changes alone.
    pub(crate) disk: BTreeMap<Vec<u8>, Vec<u8>>,
}

impl World {
    /// Nothing was ever applied.
    pub(crate) fn empty() -> World {
        World { state: State::default(), stamp: START, log: Vec::new(), disk: BTreeMap::new() }
    }

    pub(crate) fn founded() -> World {
        let mut w = World::empty();
        w.done(
            Actor::Operator,
            Command::FoundCluster {
                id: "test".to_owned(),
                incarnation: 1,
                recovery_key: [1; 32],
                first_admin: name("ana"),
                feature_level: crate::command::FEATURE_LEVEL_MAX,
            },
        );
        for (person, role) in [("ben", Some("reviewer")), ("eve", Some("reviewer")), ("cora", None), ("dan", None), ("fay", None)] {
            w.done(by("ana"), person_command(person, true));
            if let Some(role) = role {
                w.grant(by("ana"), with_roles(administration(person, "assize:read on role/*"), &[role]));
            }
        }
        w
    }

    pub(crate) fn new() -> World {
        let mut w = World::founded();
        w.done(by("ana"), credential_command("orders-login", "gateway"));
        w.done(by("ana"), target_command("orders"));
        w.done(by("ana"), job_command("reports", "postgres:select,insert on app.public.*"));
        w.done(by("ana"), agent_command("bot", "cora", Some("reports"), true));
        w.grant(by("ana"), grant_command("bot", "orders", "postgres:select on app.public.*"));
        w
    }

    pub(crate) fn next_index(&self) -> Index {
        Index(self.state.applied.0 + 1)
    }

    pub(crate) fn apply(&mut self, id: &str, actor: Actor, command: Command) -> Applied {
        let id: ProposalId = id.parse().expect("a proposal id");
        let proposal = Proposal { id, actor, stamp: self.stamp, command };
        let index = self.next_index();
        let applied = apply(&mut self.state, index, &proposal);
        for row in &applied.changes.touched {
            match crate::encoding::encode_row(&self.state, row) {
                (key, Some(value)) => self.disk.insert(key, value),
                (key, None) => self.disk.remove(&key),
            };
        }
        self.log.push((index, proposal));
        applied
    }

    pub(crate) fn run(&mut self, actor: Actor, command: Command) -> Reply {
        self.stamp = self.stamp.after(Duration::from_millis(1));
        let id = format!("p{}", self.next_index());
        self.apply(&id, actor, command).reply
    }

    pub(crate) fn done(&mut self, actor: Actor, command: Command) -> Index {
        match self.run(actor, command.clone()) {
            Reply::Done { version } => version,
            other => panic!("{command:?} was answered {other:?}"),
        }
    }

    pub(crate) fn rejected(&mut self, actor: Actor, command: Command) -> Rejection {
        match self.run(actor, command.clone()) {
            Reply::Rejected(rejection) => rejection,
            other => panic!("{command:?} was answered {other:?}"),
        }
    }

    pub(crate) fn grant(&mut self, actor: Actor, command: Command) -> GrantId {
        match self.run(actor, command.clone()) {
            Reply::Grant(id) => id,
            other => panic!("{command:?} was answered {other:?}"),
        }
    }

    pub(crate) fn token(&mut self, actor: Actor, command: Command) -> TokenId {
        match self.run(actor, command.clone()) {
            Reply::Token(id) => id,
            other => panic!("{command:?} was answered {other:?}"),
        }
    }

    pub(crate) fn request(&mut self, actor: Actor, command: Command) -> (RequestId, bool) {
        match self.run(actor, command.clone()) {
            Reply::Request { request, joined } => (request, joined),
            other => panic!("{command:?} was answered {other:?}"),
        }
    }

    pub(crate) fn review(&mut self, actor: Actor, command: Command) -> ReviewId {
        match self.run(actor, command.clone()) {
            Reply::Review(id) => id,
            other => panic!("{command:?} was answered {other:?}"),
        }
    }

    pub(crate) fn lock(&mut self, actor: Actor, command: Command) -> crate::id::LockId {
        match self.run(actor, command.clone()) {
            Reply::Lock(id) => id,
            other => panic!("{command:?} was answered {other:?}"),
        }
    }

    /// Time passes, in steps that log time follows.
    pub(crate) fn pass(&mut self, span: Duration) {
        let until = self.stamp.after(span);
        while self.stamp < until {
            self.stamp = until.min(self.stamp.after(crate::limits::LOG_TIME_JUMP_MAX));
            let id = format!("tick{}", self.next_index());
            self.apply(&id, node(1), Command::Tick);
        }
    }

    pub(crate) fn admit(&self, principal: &str, target: &str) -> Admission {
        admit(&self.state, &attempt(principal, target), self.state.now, &NoRules)
    }

    /// What `bot` asks for: one exact operation at `orders`, under the versions of now.
    pub(crate) fn exact(&self, principal: &str, digest: Digest) -> Ask {
        Ask::Exact {
            digest,
            statement: format!("DELETE FROM orders -- {digest}"),
            parameters: Vec::new(),
            context: vec![("database".to_owned(), "app".to_owned())],
            missing: operation("postgres:delete on app.public.orders").accesses.to_vec(),
            job_version: self.state.job_of(&name(principal)).map(|j| j.version),
            target_version: self.state.targets[&name("orders")].version,
            under: self.state.active_policy().map(|policy| AskedUnder { policy: policy.id, hold: None }),
        }
    }

    pub(crate) fn open(&mut self, digest: Digest) -> RequestId {
        let ask = self.exact("bot", digest);
        self.request(node(1), request_command("bot", ask)).0
    }
}

pub(crate) fn request_command(principal: &str, ask: Ask) -> Command {
    Command::OpenRequest { principal: name(principal), on_behalf_of: None, target: name("orders"), ask, reason: "clean up".to_owned() }
}

pub(crate) fn window(permissions: &str, length: Duration) -> Ask {
    Ask::Window { permissions: perms(permissions), length }
}

pub(crate) fn decide(request: RequestId, approve: bool) -> Command {
    Command::DecideRequest { request, approve, reason: "looked at it".to_owned() }
}

/// A fortnight for ben and eve to look at everything of `bot`.
pub(crate) fn terms(overdue: Overdue) -> Terms {
    Terms {
        basis: "TRA-12: quarterly".to_owned(),
        scope: Scope { grants: true, tokens: true, principals: names(&["bot"]), ..Scope::default() },
        stages: vec![Reviewers::Named(names(&["ben", "eve"]))],
        fallback: BTreeSet::new(),
        escalates: None,
        length: Duration::from_secs(14 * 86_400),
        overdue,
        certifies: Duration::from_secs(90 * 86_400),
        rationale_from: None,
        repeats: None,
    }
}

pub(crate) fn review_command(terms: Terms) -> Command {
    Command::OpenReview { name: name("quarterly"), terms }
}

/// One decision, on the version that the item has now.
pub(crate) fn decide_item(w: &World, review: ReviewId, item: u32, choice: Choice) -> Command {
    let found = w.state.item(review, item).expect("an item");
    let seen = match &found.subject {
        crate::review::Subject::Grant(of) => w.state.grants.get(&of.id).map_or(of.version, |grant| grant.version),
        crate::review::Subject::Token { id, .. } => Index(id.0),
    };
    Command::DecideItems { review, decisions: vec![Decide { item, seen, choice, rationale: "looked at it".to_owned() }] }
}

pub(crate) fn person_command(person: &str, active: bool) -> Command {
    let kind = PrincipalKind::Person { email: None, certificate: None };
    Command::PutPrincipal { name: name(person), kind, active, labels: BTreeMap::new(), expect: Expect::Any }
}

pub(crate) fn agent_command(agent: &str, owner: &str, job: Option<&str>, active: bool) -> Command {
    let backup_owner = (owner != "dan").then(|| name("dan"));
    let kind = PrincipalKind::Agent { owner: name(owner), backup_owner, job: job.map(name) };
    Command::PutPrincipal { name: name(agent), kind, active, labels: BTreeMap::new(), expect: Expect::Any }
}

pub(crate) fn token_command(principal: &str, secret: u8, expires: Option<LogTime>) -> Command {
    let scram = ScramVerifier { salt: [9; 16], iterations: 4096, stored_key: [secret; 32], server_key: [secret; 32] };
    Command::IssueToken {
        principal: name(principal),
        usage: TokenUse::Gateway,
        lookup: digest(secret),
        scram,
        label: String::new(),
        expires,
    }
}

pub(crate) fn credential_command(credential: &str, username: &str) -> Command {
    let sealed = Sealed { key_id: 1, wrapped_key: vec![1], nonce: [0; 12], ciphertext: vec![2] };
    Command::PutCredential { name: name(credential), username: username.to_owned(), sealed, expect: Expect::Any }
}

pub(crate) fn target_command(target: &str) -> Command {
    Command::PutTarget {
        name: name(target),
        protocol: Protocol::Postgres,
        address: "db.internal:5432".to_owned(),
        tls: UpstreamTls::Off,
        credential: name("orders-login"),
        default_database: "app".to_owned(),
        hold: Duration::from_secs(20),
        request_expiry: Duration::from_secs(3600),
        approvals_needed: 1,
        owner: None,
        labels: BTreeMap::from([("env".to_owned(), "prod".to_owned())]),
        weak_cancel: false,
        expect: Expect::Any,
    }
}

/// The same target under another owner, with another number of approvals.
pub(crate) fn deciding_on_target(target: &str, by: Option<&str>, approvals: u32) -> Command {
    let mut command = target_command(target);
    if let Command::PutTarget { owner, approvals_needed, .. } = &mut command {
        *owner = by.map(name);
        *approvals_needed = approvals;
    }
    command
}

pub(crate) fn job_command(job: &str, permissions: &str) -> Command {
    Command::PutJob {
        name: name(job),
        purpose: "makes reports".to_owned(),
        owner: name("cora"),
        backup_owner: None,
        permissions: perms(permissions),
        roles: BTreeSet::new(),
        data_classes: BTreeSet::new(),
        environments: BTreeSet::new(),
        expires: None,
        expect: Expect::Any,
    }
}

pub(crate) fn grant_command(principal: &str, target: &str, permissions: &str) -> Command {
    Command::IssueGrant {
        name: None,
        principal: name(principal),
        target: TargetSelector::Name(name(target)),
        permissions: perms(permissions),
        roles: BTreeSet::new(),
        valid_from: None,
        expires: None,
        review_due: None,
        strict: false,
        source: GrantSource::Baseline,
    }
}

/// A grant on the gateway itself.
pub(crate) fn administration(principal: &str, permissions: &str) -> Command {
    on_target(grant_command(principal, "orders", permissions), TargetSelector::Assize)
}

pub(crate) fn member_command(id: u64, role: MemberRole, join_token: Option<Digest>) -> Command {
    Command::RegisterNode {
        node: NodeId(id),
        address: format!("10.0.0.{id}:7400"),
        admin_address: format!("10.0.0.{id}:7401"),
        checkpoint_key: [id as u8; 32],
        sealing_key: [id as u8; 32],
        role,
        feature_level_max: crate::command::FEATURE_LEVEL_MAX,
        join_token,
    }
}

/// The same grant with roles instead of permissions.
pub(crate) fn with_roles(command: Command, as_roles: &[&str]) -> Command {
    match command {
        Command::IssueGrant { name, principal, target, valid_from, expires, review_due, strict, source, .. } => Command::IssueGrant {
            name,
            principal,
            target,
            permissions: PermissionSet::default(),
            roles: names(as_roles),
            valid_from,
            expires,
            review_due,
            strict,
            source,
        },
        other => other,
    }
}

/// The same grant with another end, begin and review date.
pub(crate) fn with_times(command: Command, from: Option<LogTime>, end: Option<LogTime>, review: Option<LogTime>) -> Command {
    match command {
        Command::IssueGrant { name, principal, target, permissions, roles, strict, source, .. } => Command::IssueGrant {
            name,
            principal,
            target,
            permissions,
            roles,
            valid_from: from,
            expires: end,
            review_due: review,
            strict,
            source,
        },
        other => other,
    }
}

/// The same grant as `assize apply` makes it.
pub(crate) fn declared(command: Command, as_name: &str) -> Command {
    match command {
        Command::IssueGrant { principal, target, permissions, roles, valid_from, expires, review_due, strict, .. } => Command::IssueGrant {
            name: Some(name(as_name)),
            principal,
            target,
            permissions,
            roles,
            valid_from,
            expires,
            review_due,
            strict,
            source: GrantSource::Declared,
        },
        other => other,
    }
}

/// The same grant on what another selector selects.
pub(crate) fn on_target(command: Command, target: TargetSelector) -> Command {
    match command {
        Command::IssueGrant { name, principal, permissions, roles, valid_from, expires, review_due, strict, source, .. } => {
            Command::IssueGrant { name, principal, target, permissions, roles, valid_from, expires, review_due, strict, source }
        }
        other => other,
    }
}

/// A bundle, as its author would publish it.
pub(crate) fn publish(bundle: &[u8], two_people: bool) -> Command {
    use sha2::Digest as _;
    let digest = Digest(sha2::Sha256::digest(bundle).into());
    Command::PublishPolicy { bundle: bundle.into(), digest, revision: "r1".to_owned(), two_people }
}
