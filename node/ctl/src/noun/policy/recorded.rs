//! A bundle against what is on record, and what is on record in OPA's format.

use std::collections::{BTreeMap, VecDeque};
use std::path::PathBuf;

use clap::Args;
use domain::audit::record::{self, stored::Kind, stored::Record};
use domain::id::PolicyId;
use policy::recorded::Known;
use policy::{Compiled, check};
use proto::admin as pb;
use proto::admin::principal::Kind as Who;
use serde_json::{Value, json};

use super::{read, told};
use crate::client::{Client, rpc};
use crate::outcome::{Failure, refused};
use crate::output::Output;
use crate::text::plain;
use crate::when::{self, When};

/// Records one command reads at most: the node stops there too.
const READ_MAX: u32 = 5_000_000;

#[derive(Debug, Clone, Args)]
pub struct DryRunArgs {
    /// A directory in OPA's layout, or a bundle.tar.gz.
    #[arg(value_name = "DIR|TAR.GZ")]
    path: PathBuf,
    /// Decisions since a time, or a span back from now.
    #[arg(long, value_parser = when::parse, value_name = "TIME")]
    since: Option<When>,
    /// The last so many decisions.
    #[arg(long, default_value_t = 1000, value_name = "COUNT")]
    last: usize,
    #[arg(long, default_value = "audit/0")]
    log: String,
}

#[derive(Debug, Clone, Args)]
pub struct DecisionsArgs {
    #[arg(long, value_parser = when::parse, value_name = "TIME")]
    since: Option<When>,
    #[arg(long, default_value = "audit/0")]
    log: String,
    /// At most so many.
    #[arg(long, default_value_t = 1000, value_name = "COUNT")]
    limit: usize,
}

struct Found {
    number: u64,
    at: String,
    record: Record,
}

/// Decisions, oldest first: `keep` looks at each and says whether to go on.
async fn decisions_since(client: &mut Client, log: &str, since: Option<When>, mut keep: impl FnMut(Found) -> bool) -> Result<(), Failure> {
    let request = pb::QueryRecordsRequest {
        log: log.to_owned(),
        limit: READ_MAX,
        since: since.map(When::back),
        with_leaf: true,
        ..Default::default()
    };
    let mut stream = rpc!(client.stream, audit_client::AuditClient, query_records, request)?;
    while let Some(item) = stream.message().await.map_err(|status| refused(&status))? {
        // Records of a kind this version does not know are no decisions it could judge.
        let Ok(record) = record::decode(&item.leaf) else { continue };
        if !matches!(record.kind, Some(Kind::Admission(_) | Kind::Intent(_))) {
            continue;
        }
        let found = Found { number: item.number, at: when::show(item.at.as_ref()), record };
        if !keep(found) {
            break;
        }
    }
    Ok(())
}

pub(crate) async fn decisions(client: &mut Client, out: &mut Output<'_>, args: DecisionsArgs) -> Result<(), Failure> {
    let request = pb::ListPoliciesRequest { page_size: 1000, ..Default::default() };
    let all = rpc!(client.ask, policies_client::PoliciesClient, list_policies, request)?;
    let revisions: BTreeMap<String, String> = all.policies.into_iter().map(|p| (p.id, p.revision)).collect();
    let revision = |id: PolicyId| revisions.get(&id.to_string()).cloned().unwrap_or_default();
    let mut printed = Vec::new();
    decisions_since(client, &args.log, args.since, |found| {
        printed.extend(policy::recorded::decision(&found.record, &args.log, found.number, revision));
        printed.len() < args.limit
    })
    .await?;
    for decision in &printed {
        out.item(decision, |d| {
            let text = |path: &str| plain(d.pointer(path).and_then(Value::as_str).unwrap_or("-"));
            format!(
                "{}  {}  {}  {} at {}: {} {}",
                text("/labels/number"),
                text("/timestamp"),
                text("/path"),
                text("/input/subject/name"),
                text("/input/target/name"),
                text("/result/outcome"),
                text("/result/reason")
            )
        })?;
    }
    Ok(())
}

pub(crate) async fn dry_run(client: &mut Client, out: &mut Output<'_>, args: DryRunArgs) -> Result<(), Failure> {
    let bundle = read(&args.path)?;
    check(&bundle).map_err(|faults| told(&faults))?;
    let compiled = Compiled::new(&bundle).map_err(|faults| told(&faults))?;
    let mut kept = VecDeque::new();
    decisions_since(client, &args.log, args.since, |found| {
        if kept.len() == args.last {
            kept.pop_front();
        }
        kept.push_back(found);
        true
    })
    .await?;
    let mut world = World::default();
    let mut all = Tally::default();
    let mut lines = Vec::new();
    for found in &kept {
        let known = world.known(client, &found.record).await?;
        let Some(question) = policy::recorded::question(&found.record, &known) else { continue };
        all.asked += 1;
        let (verdict, reason) = match compiled.evaluate_json(&question) {
            Ok(ruling) => match (ruling.refuse, ruling.hold) {
                (Some(reason), _) => ("refused", reason),
                (None, Some(hold)) => ("held", hold.reason),
                (None, None) => continue,
            },
            Err(failure) => ("refused", format!("it could not be evaluated: {failure}")),
        };
        all.count(verdict);
        lines.push(json!({
            "number": found.number,
            "at": found.at,
            "session": found.record.session.map(|session| session.id().to_string()),
            "principal": question.pointer("/subject/name"),
            "target": question.pointer("/target/name"),
            "what": what(&question),
            "verdict": verdict,
            "reason": reason,
        }));
    }
    let report = json!({ "asked": all.asked, "refused": all.refused, "held": all.held, "decisions": lines });
    out.show(&report, |report| {
        let mut text =
            format!("of {} recorded decisions {} would have been refused, {} held for people\n", all.asked, all.refused, all.held);
        for line in report["decisions"].as_array().into_iter().flatten() {
            let field = |name: &str| plain(line[name].as_str().unwrap_or("-"));
            let [at, who, target, what, verdict, reason] = ["at", "principal", "target", "what", "verdict", "reason"].map(field);
            text.push_str(&format!("  {}  {at}  {who} at {target}: {what}: {verdict}: {reason}\n", line["number"]));
        }
        text.push_str("labels, jobs and grants are taken as they are now, not as they were\n");
        text
    })
}

fn what(question: &Value) -> String {
    let list = question.pointer("/operation/accesses").and_then(Value::as_array);
    let Some(accesses) = list else { return "a session".to_owned() };
    let shown =
        accesses.iter().take(3).map(|a| format!("{} on {}", a["verb"].as_str().unwrap_or("?"), a["object"].as_str().unwrap_or("?")));
    shown.collect::<Vec<_>>().join(", ")
}

#[derive(Default)]
struct Tally {
    asked: usize,
    refused: usize,
    held: usize,
}

impl Tally {
    fn count(&mut self, verdict: &str) {
        match verdict {
            "held" => self.held += 1,
            _ => self.refused += 1,
        }
    }
}

/// What records name, as it is now; each looked up once.
#[derive(Default)]
struct World {
    cluster: Option<(String, u64)>,
    known: BTreeMap<(String, String, String), Known>,
}

impl World {
    async fn known(&mut self, client: &mut Client, record: &Record) -> Result<Known, Failure> {
        let (principal, delegator, target) = match &record.kind {
            Some(Kind::Admission(a)) => (&a.principal, &a.on_behalf_of, &a.target),
            Some(Kind::Intent(i)) => (&i.principal, &i.on_behalf_of, &i.target),
            _ => return Ok(Known::default()),
        };
        let key = (principal.clone(), delegator.clone(), target.clone());
        if let Some(known) = self.known.get(&key) {
            return Ok(known.clone());
        }
        if self.cluster.is_none() {
            let status = rpc!(client.ask, cluster_client::ClusterClient, get_status, pb::GetStatusRequest::default())?;
            self.cluster = Some((status.id, status.incarnation));
        }
        let (cluster, incarnation) = self.cluster.clone().unwrap_or_default();
        let (subject, job) = subject(client, principal).await?;
        let on_behalf_of = if delegator.is_empty() { Value::Null } else { self::subject(client, delegator).await?.0 };
        let request = pb::ListGrantsRequest { principal: principal.clone(), target: target.clone(), ..Default::default() };
        let grants = super::super::all_pages!(client, grants_client::GrantsClient, list_grants, request, grants);
        let grants = grants.iter().filter(|grant| grant.live).map(grant).collect();
        let target = protected(client, target).await?;
        let job = match job {
            Some(job) => description(client, &job).await?,
            None => Value::Null,
        };
        let known = Known { subject, on_behalf_of, target, job, grants, cluster, incarnation };
        self.known.insert(key, known.clone());
        Ok(known)
    }
}

/// `None` for what is not there any more.
fn still_there<T>(found: Result<T, Failure>) -> Result<Option<T>, Failure> {
    match found {
        Ok(found) => Ok(Some(found)),
        Err(failure) if failure.to_string().contains("does not exist") => Ok(None),
        Err(failure) => Err(failure),
    }
}

async fn subject(client: &mut Client, name: &str) -> Result<(Value, Option<String>), Failure> {
    let request = pb::GetPrincipalRequest { name: name.to_owned() };
    let found = still_there(rpc!(client.ask, principals_client::PrincipalsClient, get_principal, request))?;
    let Some(found) = found else { return Ok((json!({ "name": name, "type": null }), None)) };
    let or_null = |text: &str| if text.is_empty() { Value::Null } else { text.into() };
    let (kind, owner, backup, job) = match &found.kind {
        Some(Who::Agent(agent)) => ("agent", or_null(&agent.owner), or_null(&agent.backup_owner), Some(agent.job.clone())),
        Some(Who::Person(_)) | None => ("person", Value::Null, Value::Null, None),
    };
    let shown = json!({ "name": name, "type": kind, "owner": owner, "backup_owner": backup, "labels": found.labels });
    Ok((shown, job.filter(|job| !job.is_empty())))
}

async fn protected(client: &mut Client, name: &str) -> Result<Value, Failure> {
    let request = pb::GetTargetRequest { name: name.to_owned() };
    let found = still_there(rpc!(client.ask, targets_client::TargetsClient, get_target, request))?;
    Ok(found.map_or_else(
        || json!({ "name": name, "labels": {} }),
        |t| {
            let owner = if t.owner.is_empty() { Value::Null } else { t.owner.into() };
            json!({ "name": name, "protocol": "postgres", "labels": t.labels, "owner": owner, "default_database": t.default_database })
        },
    ))
}

async fn description(client: &mut Client, name: &str) -> Result<Value, Failure> {
    let request = pb::GetJobRequest { name: name.to_owned() };
    let found = still_there(rpc!(client.ask, jobs_client::JobsClient, get_job, request))?;
    Ok(found.map_or(Value::Null, |job| {
        json!({
            "name": job.name,
            "purpose": job.purpose,
            "owner": job.owner,
            "permissions": job.permissions,
            "roles": job.roles,
            "data_classes": job.data_classes,
            "environments": job.environments,
            "expires_ns": job.expires.as_ref().map(ns),
            "version": job.etag.parse::<u64>().unwrap_or_default(),
        })
    }))
}

fn grant(grant: &pb::Grant) -> Value {
    json!({
        "id": grant.id,
        "name": if grant.name.is_empty() { Value::Null } else { grant.name.clone().into() },
        "permissions": grant.permissions,
        "roles": grant.roles,
        "source": source(grant),
        "granted_by": grant.granted_by,
        "strict": grant.strict,
        "expires_ns": grant.expires.as_ref().map(ns),
        "review_due_ns": grant.review_due.as_ref().map(ns),
        "version": grant.etag.parse::<u64>().unwrap_or_default(),
    })
}

fn source(grant: &pb::Grant) -> &'static str {
    use proto::admin::grant_source::Source;
    match grant.source.as_ref().and_then(|source| source.source.as_ref()) {
        Some(Source::Declared(_)) => "declared",
        Some(Source::Request(_)) => "request",
        Some(Source::Review(_)) => "review",
        Some(Source::BreakGlass(_)) => "break-glass",
        Some(Source::Baseline(_)) | None => "baseline",
    }
}

fn ns(at: &proto::types::Timestamp) -> i64 {
    at.seconds.saturating_mul(1_000_000_000).saturating_add(at.nanos.into())
}
