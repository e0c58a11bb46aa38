//! Parties to ask about, and a bundle of one file.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use domain::grant::{Grant, GrantSource, GrantStatus, TargetSelector};
use domain::id::{Digest, GrantId, Index, Name, PolicyId};
use domain::job::Job;
use domain::operation::{Access, Effect, Operation, Protocol, Resource, Verb};
use domain::policy::{AtAdmission, OnOperation, Parties, Policy, Rules, Ruling};
use domain::principal::{Principal, PrincipalKind};
use domain::state::State;
use domain::target::{Target, UpstreamTls};
use domain::time::LogTime;
use policy::{Bundle, Engine};

pub(crate) fn name(text: &str) -> Name {
    text.parse().expect("a name")
}

/// A bundle of these files.
pub(crate) fn bundle(files: &[(&str, &str)]) -> Bundle {
    Bundle::new(files.iter().map(|(path, text)| ((*path).to_owned(), text.as_bytes().to_vec()))).expect("a bundle")
}

pub(crate) fn published(bundle: &Bundle) -> Policy {
    let packed = bundle.pack().expect("small");
    Policy {
        id: PolicyId(12),
        digest: Bundle::digest(&packed),
        bundle: packed,
        revision: "r1".into(),
        two_people: false,
        published_by: name("ana"),
        published: LogTime(1),
        version: Index(12),
    }
}

pub(crate) struct World {
    pub(crate) state: State,
    pub(crate) principal: Principal,
    pub(crate) target: Target,
    pub(crate) job: Job,
    pub(crate) grants: Vec<Grant>,
}

impl World {
    pub(crate) fn new(grants: u64) -> World {
        let nothing = (Index(1), Index(1));
        let principal = Principal {
            name: name("bot"),
            kind: PrincipalKind::Agent { owner: name("ana"), backup_owner: None, job: Some(name("reports")) },
            active: true,
            tokens: BTreeMap::new(),
            labels: BTreeMap::from([("team".into(), "billing".into())]),
            version: nothing.0,
            narrowed: nothing.1,
        };
        let target = Target {
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
            labels: BTreeMap::from([("env".into(), "prod".into())]),
            weak_cancel: false,
            version: nothing.0,
            narrowed: nothing.1,
        };
        let job = Job {
            name: name("reports"),
            purpose: "makes reports".into(),
            owner: name("ana"),
            backup_owner: None,
            permissions: "postgres:select on app.public.*".parse().expect("permissions"),
            roles: BTreeSet::new(),
            data_classes: BTreeSet::from(["personal".into()]),
            environments: BTreeSet::from(["prod".into()]),
            expires: None,
            version: nothing.0,
            narrowed: nothing.1,
        };
        let grant = |n: u64| Grant {
            id: GrantId(n),
            name: None,
            principal: name("bot"),
            target: TargetSelector::Name(name("orders")),
            permissions: format!("postgres:select,insert on app.public.table{n}(id,status)").parse().expect("permissions"),
            roles: BTreeSet::new(),
            valid_from: None,
            expires: Some(LogTime(1_800_000_000_000)),
            review_due: None,
            under_review: None,
            strict: false,
            source: GrantSource::Baseline,
            status: GrantStatus::Active,
            granted_by: name("ana"),
            granted: LogTime(1),
            version: Index(n),
            narrowed: Index(n),
        };
        World { state: State::default(), principal, target, job, grants: (1..=grants).map(grant).collect() }
    }

    fn parties(&self) -> Parties<'_> {
        Parties { state: &self.state, principal: &self.principal, on_behalf_of: None, target: &self.target, job: Some(&self.job) }
    }

    pub(crate) fn admission(&self, rules: &Engine, policy: &Policy) -> Ruling {
        let grants: Vec<&Grant> = self.grants.iter().collect();
        rules.at_admission(policy, &AtAdmission { parties: self.parties(), grants: &grants, dropped: &[] })
    }

    pub(crate) fn operation(&self, rules: &Engine, policy: &Policy, verb: Verb, now: LogTime) -> Ruling {
        let access = Access { protocol: Protocol::Postgres, verb, resource: Resource::new(["app", "public", "salaries"]) };
        let operation = Operation { tag: Arc::from("TEST"), accesses: [access].into(), effect: Effect::Lasting };
        let grants: Vec<&Grant> = self.grants.iter().take(1).collect();
        let digest = Digest([7; 32]);
        let question = OnOperation { parties: self.parties(), grants: &grants, operation: &operation, digest: &digest, missing: &[], now };
        rules.on_operation(policy, &question)
    }
}

/// What one file with the package `assize.operation` says to an insert.
pub(crate) fn said(rego: &str) -> Ruling {
    let policy = published(&bundle(&[("operation.rego", &format!("package assize.operation\n\n{rego}\n"))]));
    World::new(1).operation(&Engine::default(), &policy, Verb::Insert, LogTime(1_795_392_000_000))
}
