//! Compares what is declared with what is there, and orders what must be done: what is referred to comes first, and goes
//! last.

use std::collections::BTreeMap;

use domain::command::PRUNED;
use domain::permission::{Permission, PermissionSet};
use jiff::Timestamp;
use proto::admin as pb;
use proto::admin::grant_source::{Declared as DeclaredSource, Source};
use proto::admin::grant_status::Status;
use proto::admin::principal::Kind;
use proto::admin::upstream_tls::{Mode, Off, RequireUnverified, VerifyFull};

use super::document::{Declared, Spec};
use super::spec::{CredentialSpec, GrantSpec, JobSpec, RetentionSpec, RoleSpec, TargetSpec, TlsMode, TlsSpec, span};
use super::{MANAGED_BY, diff};
use crate::client::{Client, rpc};
use crate::noun::credential::without_newline;
use crate::noun::review::trigger;
use crate::noun::{all_pages, grant};
use crate::outcome::Failure;
use crate::when::{self, When};

/// Between the clock of whoever applied and log time: a span that ends this close to what is there is the same span.
const SPAN_TOLERANCE_SECONDS: i64 = 300;

/// One entity, and what to do about it.
pub(crate) struct Change {
    pub(crate) kind: &'static str,
    pub(crate) name: String,
    pub(crate) action: Action,
    pub(crate) diff: Vec<String>,
}

pub(crate) enum Action {
    Create(Request),
    Update(Request),
    Prune(Request),
    Unchanged,
    /// Only a person can solve it.
    Conflict(String),
}

pub(crate) enum Request {
    CreatePrincipal(Box<pb::Principal>),
    UpdatePrincipal(Box<pb::Principal>),
    DeletePrincipal(pb::DeletePrincipalRequest),
    CreateTarget(Box<pb::Target>),
    UpdateTarget(Box<pb::Target>),
    DeleteTarget(pb::DeleteTargetRequest),
    CreateCredential(pb::CreateCredentialRequest),
    RotateCredential(pb::RotateCredentialRequest),
    CreateRole(Box<pb::Role>),
    UpdateRole(Box<pb::Role>),
    CreateJob(Box<pb::Job>),
    UpdateJob(Box<pb::Job>),
    /// A declared grant is made, or given new terms, by the same call.
    PutGrant(Box<pb::Grant>),
    RevokeGrant(pb::RevokeGrantRequest),
    SetRetention(Box<pb::RetentionRule>),
    PutTrigger(Box<pb::ReviewTrigger>),
}

/// What is there, by name.
#[derive(Default)]
struct There {
    principals: BTreeMap<String, pb::Principal>,
    targets: BTreeMap<String, pb::Target>,
    credentials: BTreeMap<String, pb::Credential>,
    roles: BTreeMap<String, pb::Role>,
    jobs: BTreeMap<String, pb::Job>,
    /// Named grants; of several with one name the latest.
    grants: BTreeMap<String, pb::Grant>,
    /// By class; there are always all.
    rules: BTreeMap<String, pb::RetentionRule>,
    triggers: BTreeMap<String, pb::ReviewTrigger>,
}

/// The order in which entities are made: each refers only to kinds before it.
const ORDER: [&str; 9] = ["Role", "Credential", "Person", "Job", "Agent", "Target", "Grant", "Retention", "Trigger"];

pub(crate) async fn make(client: &mut Client, mut declared: Vec<Declared>, prune: bool, rotate: bool) -> Result<Vec<Change>, Failure> {
    declared.sort_by_key(|d| ORDER.iter().position(|kind| *kind == d.spec.kind()));
    let needs = |kinds: &[&str]| prune || declared.iter().any(|d| kinds.contains(&d.spec.kind()));
    let there = look(client, &needs).await?;
    let mut plan = Vec::new();
    for d in &declared {
        plan.push(change(d, &there, rotate).map_err(|fault| at(d, fault))?);
    }
    if prune {
        plan.extend(pruned(&declared, there));
    }
    Ok(plan)
}

fn at(d: &Declared, fault: Failure) -> Failure {
    match fault {
        Failure::Usage(message) | Failure::Failed(message) => {
            Failure::usage(format!("{}: {} {}: {message}", d.place, d.spec.kind(), d.name))
        }
        Failure::Unknown { .. } | Failure::ReaderLeft => fault,
    }
}

/// Asks only for the kinds that are needed: an operator without a right to the others can still apply.
async fn look(client: &mut Client, needs: &(dyn Fn(&[&str]) -> bool + Sync)) -> Result<There, Failure> {
    let mut there = There::default();
    if needs(&["Agent", "Person"]) {
        let all =
            all_pages!(client, principals_client::PrincipalsClient, list_principals, pb::ListPrincipalsRequest::default(), principals);
        there.principals = all.into_iter().map(|p| (p.name.clone(), p)).collect();
    }
    if needs(&["Target"]) {
        let all = all_pages!(client, targets_client::TargetsClient, list_targets, pb::ListTargetsRequest::default(), targets);
        there.targets = all.into_iter().map(|t| (t.name.clone(), t)).collect();
    }
    if needs(&["Credential"]) {
        let all =
            all_pages!(client, credentials_client::CredentialsClient, list_credentials, pb::ListCredentialsRequest::default(), credentials);
        there.credentials = all.into_iter().map(|c| (c.name.clone(), c)).collect();
    }
    if needs(&["Role"]) {
        let all = all_pages!(client, roles_client::RolesClient, list_roles, pb::ListRolesRequest::default(), roles);
        there.roles = all.into_iter().map(|r| (r.name.clone(), r)).collect();
    }
    if needs(&["Job"]) {
        let all = all_pages!(client, jobs_client::JobsClient, list_jobs, pb::ListJobsRequest::default(), jobs);
        there.jobs = all.into_iter().map(|j| (j.name.clone(), j)).collect();
    }
    if needs(&["Grant"]) {
        let request = pb::ListGrantsRequest { all: true, ..Default::default() };
        let all = all_pages!(client, grants_client::GrantsClient, list_grants, request, grants);
        there.grants = all.into_iter().filter(|g| !g.name.is_empty()).map(|g| (g.name.clone(), g)).collect();
    }
    if needs(&["Retention"]) {
        let all = rpc!(client.ask, retention_client::RetentionClient, list_retention_rules, pb::ListRetentionRulesRequest {})?;
        there.rules = all.rules.into_iter().map(|rule| (rule.class.clone(), rule)).collect();
    }
    if needs(&["Trigger"]) {
        let all = rpc!(client.ask, reviews_client::ReviewsClient, list_review_triggers, pb::ListReviewTriggersRequest {})?;
        there.triggers = all.triggers.into_iter().map(|trigger| (trigger.name.clone(), trigger)).collect();
    }
    Ok(there)
}

fn change(d: &Declared, there: &There, rotate: bool) -> Result<Change, Failure> {
    let (action, diff) = match &d.spec {
        Spec::Agent(spec) => {
            let kind = Kind::Agent(pb::Agent { owner: spec.owner.clone(), backup_owner: spec.backup_owner.clone(), job: spec.job.clone() });
            principal(d, there, kind, spec.active, &spec.labels)
        }
        Spec::Person(spec) => {
            let kind =
                Kind::Person(pb::Person { email: spec.email.clone(), certificate: spec.certificate.to_lowercase().replace(':', "") });
            principal(d, there, kind, spec.active, &spec.labels)
        }
        Spec::Target(spec) => {
            let wanted = target(d, spec)?;
            put(
                there.targets.get(&d.name),
                wanted,
                |t, etag| t.etag = etag,
                |t| t.etag.clone(),
                Request::CreateTarget,
                Request::UpdateTarget,
            )
        }
        Spec::Role(spec) => put(
            there.roles.get(&d.name),
            role(d, spec)?,
            |r, etag| r.etag = etag,
            |r| r.etag.clone(),
            Request::CreateRole,
            Request::UpdateRole,
        ),
        Spec::Job(spec) => {
            put(there.jobs.get(&d.name), job(d, spec)?, |j, etag| j.etag = etag, |j| j.etag.clone(), Request::CreateJob, Request::UpdateJob)
        }
        Spec::Credential(spec) => credential(d, spec, there.credentials.get(&d.name), rotate)?,
        Spec::Grant(spec) => grant_change(d, spec, there.grants.get(&d.name))?,
        Spec::Retention(spec) => retention(d, spec, there.rules.get(&d.name))?,
        Spec::Trigger(spec) => put(
            there.triggers.get(&d.name),
            trigger::declared(&d.name, spec)?,
            |t, etag| t.etag = etag,
            |t| t.etag.clone(),
            Request::PutTrigger,
            Request::PutTrigger,
        ),
    };
    Ok(Change { kind: d.spec.kind(), name: d.name.clone(), action, diff })
}

type Planned = (Action, Vec<String>);

/// Create, update with the etag that was compared, or leave alone.
fn put<T: serde::Serialize>(
    there: Option<&T>,
    mut wanted: T,
    set_etag: fn(&mut T, String),
    etag: fn(&T) -> String,
    create: fn(Box<T>) -> Request,
    update: fn(Box<T>) -> Request,
) -> Planned {
    let diff = diff::lines(there, &wanted);
    match there {
        None => (Action::Create(create(Box::new(wanted))), diff),
        Some(_) if diff.is_empty() => (Action::Unchanged, diff),
        Some(old) => {
            set_etag(&mut wanted, etag(old));
            (Action::Update(update(Box::new(wanted))), diff)
        }
    }
}

/// Compared by what is kept for how long. A reason alone changes nothing.
fn retention(d: &Declared, spec: &RetentionSpec, there: Option<&pb::RetentionRule>) -> Result<Planned, Failure> {
    let keep = spec.keep.as_deref().map(|text| span("keep", text)).transpose()?;
    let of = |class: &str, keep| pb::RetentionRule { class: class.to_owned(), keep, ..Default::default() };
    let wanted = of(&d.name, keep.map(when::span_to_wire));
    let Some(there) = there else { return Err(Failure::usage(format!("{:?} is no class of records", d.name))) };
    let diff = diff::lines(Some(&of(&there.class, there.keep)), &wanted);
    if diff.is_empty() {
        return Ok((Action::Unchanged, diff));
    }
    let rule = pb::RetentionRule { reason: spec.reason.clone(), ..wanted };
    Ok((Action::Update(Request::SetRetention(Box::new(rule))), diff))
}

fn managed(labels: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    let mut labels = labels.clone();
    labels.insert(MANAGED_BY.0.into(), MANAGED_BY.1.into());
    labels
}

fn principal(d: &Declared, there: &There, kind: Kind, active: bool, labels: &BTreeMap<String, String>) -> Planned {
    let there = there.principals.get(&d.name);
    if let Some(old) = there.and_then(|p| p.kind.as_ref())
        && std::mem::discriminant(old) != std::mem::discriminant(&kind)
    {
        return (Action::Conflict(format!("{} {} exists, and is of the other kind of principal", d.spec.kind(), d.name)), vec![]);
    }
    let wanted =
        pb::Principal { name: d.name.clone(), kind: Some(kind), active: Some(active), labels: managed(labels), ..Default::default() };
    put(there, wanted, |p, etag| p.etag = etag, |p| p.etag.clone(), Request::CreatePrincipal, Request::UpdatePrincipal)
}

/// With the server's defaults filled in, so that leaving them out is no difference.
fn target(d: &Declared, spec: &TargetSpec) -> Result<pb::Target, Failure> {
    let span = |field: &str, text: &Option<String>, default: &str| {
        span(field, text.as_deref().unwrap_or(default)).map(|span| Some(when::span_to_wire(span)))
    };
    let super::spec::Protocol::Postgres = spec.protocol;
    Ok(pb::Target {
        name: d.name.clone(),
        protocol: pb::Protocol::Postgres.into(),
        address: spec.address.clone(),
        tls: Some(tls(d, &spec.tls)?),
        credential: spec.credential.clone(),
        default_database: spec.default_database.clone(),
        hold: span("hold", &spec.hold, "20s")?,
        request_expiry: span("requestExpiry", &spec.request_expiry, "24h")?,
        approvals_needed: spec.approvals_needed.unwrap_or(1),
        owner: spec.owner.clone(),
        labels: managed(&spec.labels),
        weak_cancel: spec.weak_cancel,
        ..Default::default()
    })
}

fn tls(d: &Declared, spec: &TlsSpec) -> Result<pb::UpstreamTls, Failure> {
    let only_verified = spec.roots_file.is_some() || !spec.server_name.is_empty();
    if only_verified && spec.mode != TlsMode::VerifyFull {
        return Err(Failure::usage("tls: rootsFile and serverName need mode verify-full"));
    }
    let mode = match spec.mode {
        TlsMode::VerifyFull => {
            let roots = spec.roots_file.as_ref().map(|file| crate::config::read(&d.folder.join(file))).transpose()?;
            Mode::VerifyFull(VerifyFull { roots_pem: roots.unwrap_or_default(), server_name: spec.server_name.clone() })
        }
        TlsMode::RequireUnverified => Mode::RequireUnverified(RequireUnverified {}),
        TlsMode::Off => Mode::Off(Off {}),
    };
    Ok(pb::UpstreamTls { mode: Some(mode) })
}

fn role(d: &Declared, spec: &RoleSpec) -> Result<pb::Role, Failure> {
    let permissions = canonical("permissions", &spec.permissions)?;
    Ok(pb::Role { name: d.name.clone(), description: spec.description.clone(), permissions, ..Default::default() })
}

fn job(d: &Declared, spec: &JobSpec) -> Result<pb::Job, Failure> {
    let expires = match spec.expires.as_deref().map(|text| moment("expires", text)).transpose()? {
        Some(When::In(_)) => {
            return Err(Failure::usage("expires: a job description needs a time, not a span: a span would begin anew with each apply"));
        }
        Some(When::At(at)) => Some(when::to_wire(at)),
        None => None,
    };
    Ok(pb::Job {
        name: d.name.clone(),
        purpose: spec.purpose.clone(),
        owner: spec.owner.clone(),
        backup_owner: spec.backup_owner.clone(),
        permissions: canonical("permissions", &spec.permissions)?,
        roles: spec.roles.clone(),
        data_classes: spec.data_classes.clone(),
        environments: spec.environments.clone(),
        expires,
        ..Default::default()
    })
}

/// As the cluster writes them, so that two spellings of one permission are no difference.
fn canonical(field: &str, texts: &[String]) -> Result<Vec<String>, Failure> {
    let parse = |(i, text): (usize, &String)| text.parse::<Permission>().map_err(|e| Failure::usage(format!("{field}[{i}]: {e}")));
    let set = PermissionSet::new(texts.iter().enumerate().map(parse).collect::<Result<Vec<_>, _>>()?);
    Ok(set.iter().map(ToString::to_string).collect())
}

fn moment(field: &str, text: &str) -> Result<When, Failure> {
    when::parse(text).map_err(|e| Failure::usage(format!("{field}: {e}")))
}

/// The secret is read only when it will be sent, so that a dry run and an unchanged apply need none.
fn credential(d: &Declared, spec: &CredentialSpec, there: Option<&pb::Credential>, rotate: bool) -> Result<Planned, Failure> {
    let wanted = pb::Credential { name: d.name.clone(), username: spec.username.clone(), ..Default::default() };
    let mut diff = diff::lines(there, &wanted);
    let (name, username) = (d.name.clone(), spec.username.clone());
    match there {
        None => {
            diff.push("+ password: [set]".into());
            Ok((
                Action::Create(Request::CreateCredential(pb::CreateCredentialRequest {
                    name,
                    username,
                    password: password(d, spec)?,
                    ..Default::default()
                })),
                diff,
            ))
        }
        Some(_) if diff.is_empty() && !rotate => Ok((Action::Unchanged, diff)),
        Some(old) => {
            diff.push("+ password: [set anew]".into());
            let request =
                pb::RotateCredentialRequest { name, username, password: password(d, spec)?, etag: old.etag.clone(), ..Default::default() };
            Ok((Action::Update(Request::RotateCredential(request)), diff))
        }
    }
}

fn password(d: &Declared, spec: &CredentialSpec) -> Result<String, Failure> {
    match (&spec.password_from.env, &spec.password_from.file) {
        (Some(name), None) => {
            std::env::var(name).map_err(|_| Failure::usage(format!("passwordFrom: the environment variable {name} is not set")))
        }
        (None, Some(file)) => crate::config::read(&d.folder.join(file)).map(without_newline),
        (Some(_), Some(_)) | (None, None) => Err(Failure::usage("passwordFrom: exactly one of env and file")),
    }
}

fn grant_change(d: &Declared, spec: &GrantSpec, there: Option<&pb::Grant>) -> Result<Planned, Failure> {
    // What has ended by its own time is declared anew; what a person or review ended is theirs.
    let status = there.and_then(|g| g.status.as_ref()).and_then(|s| s.status.as_ref());
    if let (Some(Status::Revoked(revoked)), Some(old)) = (status, there)
        && revoked.reason != PRUNED
    {
        let who = format!("{} was revoked by {} ({}): {}", old.id, revoked.by, revoked.revocation, revoked.reason);
        let text = format!("Grant {}: {who}; a person must issue a new version (`assize grant create --name {}`)", d.name, d.name);
        return Ok((Action::Conflict(text), vec![]));
    }
    let living = there.filter(|g| !matches!(status, Some(Status::Revoked(_))) && !is_over(g));
    let wanted = grant(d, spec, living)?;
    let diff = diff::lines(living, &wanted);
    if let Some(old) = living {
        let by_apply = matches!(old.source.as_ref().and_then(|s| s.source.as_ref()), Some(Source::Declared(_)));
        if diff.is_empty() {
            return Ok((Action::Unchanged, diff));
        }
        if !by_apply || old.principal != wanted.principal {
            let why = match old.source.as_ref().and_then(|s| s.source.as_ref()) {
                Some(Source::Declared(_)) => "is another principal's".to_owned(),
                Some(Source::Review(review)) => format!("was narrowed by {review}"),
                Some(Source::Baseline(_) | Source::Request(_) | Source::BreakGlass(_)) | None => "was not made by apply".to_owned(),
            };
            return Ok((Action::Conflict(format!("Grant {}: {} {why}, and differs", d.name, old.id)), diff));
        }
        return Ok((Action::Update(Request::PutGrant(Box::new(wanted))), diff));
    }
    Ok((Action::Create(Request::PutGrant(Box::new(wanted))), diff))
}

fn is_over(grant: &pb::Grant) -> bool {
    grant.expires.as_ref().and_then(when::from_wire).is_some_and(|end| end <= Timestamp::now())
}

fn grant(d: &Declared, spec: &GrantSpec, there: Option<&pb::Grant>) -> Result<pb::Grant, Failure> {
    if spec.target.is_some() != spec.target_labels.is_empty() {
        return Err(Failure::usage("exactly one of target and targetLabels"));
    }
    let granted = there.and_then(|g| g.granted.as_ref()).and_then(when::from_wire);
    let time = |field: &str, text: &Option<String>, old: Option<&proto::types::Timestamp>| {
        let Some(text) = text else { return Ok::<_, Failure>(None) };
        Ok(Some(match moment(field, text)? {
            When::At(at) => when::to_wire(at),
            When::In(span) => match (granted, old.and_then(when::from_wire)) {
                (Some(granted), Some(end)) if is_same_span(granted, end, span) => when::to_wire(end),
                _ => When::In(span).resolve(),
            },
        }))
    };
    Ok(pb::Grant {
        name: d.name.clone(),
        principal: spec.principal.clone(),
        target: Some(grant::selector(spec.target.clone(), spec.target_labels.clone())),
        permissions: canonical("permissions", &spec.permissions)?,
        roles: spec.roles.clone(),
        valid_from: time("validFrom", &spec.valid_from, there.and_then(|g| g.valid_from.as_ref()))?,
        expires: time("expires", &spec.expires, there.and_then(|g| g.expires.as_ref()))?,
        review_due: match there.filter(|g| !g.under_review.is_empty()) {
            Some(reviewed) => reviewed.review_due,
            None => time("reviewDue", &spec.review_due, there.and_then(|g| g.review_due.as_ref()))?,
        },
        strict: spec.strict,
        source: Some(pb::GrantSource { source: Some(Source::Declared(DeclaredSource {})) }),
        ..Default::default()
    })
}

fn is_same_span(granted: Timestamp, end: Timestamp, span: std::time::Duration) -> bool {
    let had = end.as_second() - granted.as_second();
    i64::try_from(span.as_secs()).is_ok_and(|wanted| (had - wanted).abs() <= SPAN_TOLERANCE_SECONDS)
}

/// What apply made and nobody declares any more; grants first, then what they were on.
fn pruned(declared: &[Declared], there: There) -> Vec<Change> {
    let keeps = |kinds: &[&str], name: &str| declared.iter().any(|d| kinds.contains(&d.spec.kind()) && d.name == name);
    let ours = |labels: &BTreeMap<String, String>| labels.get(MANAGED_BY.0).is_some_and(|by| by == MANAGED_BY.1);
    let prune = |kind: &'static str, name: String, request: Request| Change { kind, name, action: Action::Prune(request), diff: vec![] };
    let mut plan = Vec::new();
    for (name, grant) in there.grants {
        let by_apply = matches!(grant.source.as_ref().and_then(|s| s.source.as_ref()), Some(Source::Declared(_)));
        let revoked = matches!(grant.status.as_ref().and_then(|s| s.status.as_ref()), Some(Status::Revoked(_)));
        if by_apply && !revoked && !is_over(&grant) && !keeps(&["Grant"], &name) {
            plan.push(prune(
                "Grant",
                name,
                Request::RevokeGrant(pb::RevokeGrantRequest { id: grant.id, reason: PRUNED.into(), ..Default::default() }),
            ));
        }
    }
    let (agents, persons): (Vec<_>, Vec<_>) = there.principals.into_values().partition(|p| matches!(p.kind, Some(Kind::Agent(_))));
    let delete = |p: &pb::Principal| {
        Request::DeletePrincipal(pb::DeletePrincipalRequest { name: p.name.clone(), etag: p.etag.clone(), ..Default::default() })
    };
    for (kind, list) in [("Agent", agents), ("Person", persons)] {
        let unwanted = list.iter().filter(|p| ours(&p.labels) && !keeps(&["Agent", "Person"], &p.name));
        plan.extend(unwanted.map(|p| prune(kind, p.name.clone(), delete(p))));
    }
    for (name, target) in there.targets {
        if ours(&target.labels) && !keeps(&["Target"], &name) {
            plan.push(prune(
                "Target",
                name.clone(),
                Request::DeleteTarget(pb::DeleteTargetRequest { name, etag: target.etag, ..Default::default() }),
            ));
        }
    }
    plan
}

impl Change {
    pub(crate) fn conflict(&self) -> Option<String> {
        match &self.action {
            Action::Conflict(why) => Some(why.clone()),
            Action::Create(_) | Action::Update(_) | Action::Prune(_) | Action::Unchanged => None,
        }
    }

    pub(crate) async fn execute(self, client: &mut Client) -> Result<(), Failure> {
        let request = match self.action {
            Action::Create(request) | Action::Update(request) | Action::Prune(request) => request,
            Action::Unchanged | Action::Conflict(_) => return Ok(()),
        };
        client.next_change(&format!("{}/{}/{}", self.kind, self.name, self.diff.join("\n")));
        match request {
            Request::CreatePrincipal(principal) => {
                let request = pb::CreatePrincipalRequest { principal: Some(*principal), ..Default::default() };
                rpc!(client.change, principals_client::PrincipalsClient, create_principal, request).map(drop)
            }
            Request::UpdatePrincipal(principal) => {
                let request = pb::UpdatePrincipalRequest { principal: Some(*principal), ..Default::default() };
                rpc!(client.change, principals_client::PrincipalsClient, update_principal, request).map(drop)
            }
            Request::DeletePrincipal(request) => {
                rpc!(client.change, principals_client::PrincipalsClient, delete_principal, request).map(drop)
            }
            Request::CreateTarget(target) => {
                let request = pb::CreateTargetRequest { target: Some(*target), ..Default::default() };
                rpc!(client.change, targets_client::TargetsClient, create_target, request).map(drop)
            }
            Request::UpdateTarget(target) => {
                let request = pb::UpdateTargetRequest { target: Some(*target), ..Default::default() };
                rpc!(client.change, targets_client::TargetsClient, update_target, request).map(drop)
            }
            Request::DeleteTarget(request) => rpc!(client.change, targets_client::TargetsClient, delete_target, request).map(drop),
            Request::CreateCredential(request) => {
                rpc!(client.change, credentials_client::CredentialsClient, create_credential, request).map(drop)
            }
            Request::RotateCredential(request) => {
                rpc!(client.change, credentials_client::CredentialsClient, rotate_credential, request).map(drop)
            }
            Request::CreateRole(role) => {
                let request = pb::CreateRoleRequest { role: Some(*role), ..Default::default() };
                rpc!(client.change, roles_client::RolesClient, create_role, request).map(drop)
            }
            Request::UpdateRole(role) => {
                let request = pb::UpdateRoleRequest { role: Some(*role), ..Default::default() };
                rpc!(client.change, roles_client::RolesClient, update_role, request).map(drop)
            }
            Request::CreateJob(job) => {
                let request = pb::CreateJobRequest { job: Some(*job), ..Default::default() };
                rpc!(client.change, jobs_client::JobsClient, create_job, request).map(drop)
            }
            Request::UpdateJob(job) => {
                let request = pb::UpdateJobRequest { job: Some(*job), ..Default::default() };
                rpc!(client.change, jobs_client::JobsClient, update_job, request).map(drop)
            }
            Request::PutGrant(grant) => {
                let request = pb::CreateGrantRequest { grant: Some(*grant), ..Default::default() };
                rpc!(client.change, grants_client::GrantsClient, create_grant, request).map(drop)
            }
            Request::SetRetention(rule) => {
                let request = pb::SetRetentionRuleRequest { rule: Some(*rule), ..Default::default() };
                rpc!(client.change, retention_client::RetentionClient, set_retention_rule, request).map(drop)
            }
            Request::PutTrigger(trigger) => {
                let etag = trigger.etag.clone();
                let request = pb::PutReviewTriggerRequest { trigger: Some(*trigger), etag, ..Default::default() };
                rpc!(client.change, reviews_client::ReviewsClient, put_review_trigger, request).map(drop)
            }
            Request::RevokeGrant(request) => rpc!(client.change, grants_client::GrantsClient, revoke_grant, request).map(drop),
        }
    }
}
