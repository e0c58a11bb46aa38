use domain::admission::{Admission, Attempt, Judgement, Outcome, explain};
use domain::id::{BootId, Index, Name, SessionId};
use domain::operation::{Access, Effect, Operation, Resource};
use domain::permission::{Permission, Segment};
use domain::verdict::Verdict;
use proto::admin as pb;
use tonic::{Request, Response, Status};

use super::Api;
use crate::convert::fields::{Fields, collect};
use crate::convert::refusal::in_words;
use crate::failure;

#[tonic::async_trait]
impl pb::explain_server::Explain for Api {
    async fn explain_access(&self, request: Request<pb::ExplainAccessRequest>) -> Result<Response<pb::ExplainAccessResponse>, Status> {
        let (call, message) = self.enter(request)?;
        let state = call.may(&message.principal)?;
        let (principal, on_behalf_of, target, mut accesses) = collect(|f| {
            let principal = f.parse::<Name>("principal", &message.principal);
            let on_behalf_of = f.parse_optional::<Name>("on_behalf_of", &message.on_behalf_of);
            let target = f.parse::<Name>("target", &message.target);
            let accesses = read_accesses(f, &message.accesses);
            Some((principal?, on_behalf_of?, target?, accesses?))
        })?;
        if !state.principals.contains_key(&principal) {
            return Err(failure::not_found(&format!("principal {principal}")));
        }
        let known = state.targets.get(&target).ok_or_else(|| failure::not_found(&format!("target {target}")))?;
        let mut impossible = None;
        if !message.statement.is_empty() {
            let database = if message.database.is_empty() { &known.default_database } else { &message.database };
            let needed = self.0.classify.needs(database, &message.statement);
            accesses.extend(needed.accesses);
            impossible = needed.impossible;
        }
        // A session that no node has: nothing is locked by it, and nothing spent.
        let session = SessionId { node: call.control().node(), boot: BootId(0), number: 0 };
        let attempt = Attempt { session, principal, on_behalf_of, target };
        let asked = !accesses.is_empty() || impossible.is_some();
        let operation = Operation { tag: "EXPLAIN".into(), accesses: accesses.into(), effect: Effect::Lasting };
        let found = explain(&state, &attempt, &operation, call.now(), call.control().rules());
        let (outcome, reasons) = match &found.admission.outcome {
            Outcome::Approved => ("approved", vec![]),
            Outcome::Modified { dropped } => {
                ("modified", dropped.iter().map(|what| format!("granted, but outside the job: {what}")).collect())
            }
            Outcome::Revoked(refusal) => ("revoked", vec![in_words(refusal)]),
        };
        let judgement = found.judgement.as_ref().filter(|_| asked);
        let policy_says = policy_says(&found.admission, judgement);
        let verdict = match judgement.map(|judgement| &judgement.verdict) {
            Some(_) if impossible.is_some() => "refuse",
            Some(Verdict::Allow { .. } | Verdict::AllowByApproval { .. }) => "allow",
            Some(Verdict::Hold { .. }) => "hold",
            Some(Verdict::Refuse(_) | Verdict::EndSession(_)) => "refuse",
            None => "",
        };
        let answers = found.accesses.iter().map(|(access, grant)| pb::AccessAnswer {
            access: access.to_string(),
            allowed: grant.is_some(),
            grant: grant.map(|g| g.to_string()).unwrap_or_default(),
        });
        let cited = &found.admission.cited;
        let named = [
            ("principal", Some(cited.principal)),
            ("owner", cited.owner),
            ("target", Some(cited.target)),
            ("job", cited.job),
            ("policy", cited.policy.map(|policy| Index(policy.0))),
        ];
        let named = named.into_iter().filter_map(|(what, version)| Some((what.to_owned(), version?)));
        let grants = cited.grants.iter().map(|(grant, version)| (grant.to_string(), *version));
        let cited = named.chain(grants).filter(|(_, v)| v.0 != 0).map(|(what, v)| pb::CitedVersion { what, version: v.0 }).collect();
        let answer = pb::ExplainAccessResponse {
            outcome: outcome.into(),
            reasons,
            verdict: verdict.into(),
            accesses: answers.collect(),
            index: found.admission.cited.state.0,
            cited,
            impossible: impossible.as_ref().map(in_words).unwrap_or_default(),
            policy: found.admission.cited.policy.map(|policy| policy.to_string()).unwrap_or_default(),
            policy_says,
        };
        call.answer(&state, answer)
    }

    async fn list_access(&self, request: Request<pb::ListAccessRequest>) -> Result<Response<pb::ListAccessResponse>, Status> {
        self.access_at(request).await
    }
}

/// What the active policy takes away, a line each. Its refusal of an admission stands among the reasons.
fn policy_says(admission: &Admission, judgement: Option<&Judgement>) -> Vec<String> {
    let mut lines: Vec<String> = admission.notes.iter().map(|note| format!("at admission, for the record: {note}")).collect();
    let Some(judgement) = judgement else { return lines };
    if let Verdict::Refuse(refusal) = &judgement.verdict {
        lines.push(in_words(refusal));
    }
    if let Some(hold) = judgement.under.as_ref().and_then(|under| under.hold.as_ref()) {
        let by = hold.approvers.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        let by = if by.is_empty() { String::new() } else { format!(", by {by} only") };
        lines.push(format!("held: {} ({} or more approvals{by})", hold.reason, hold.approvals));
    }
    lines.extend(judgement.notes.iter().map(|note| format!("for the record: {note}")));
    lines
}

/// Accesses in the text form of permissions: each verb on exactly one resource, `*` standing for "any".
fn read_accesses(f: &mut Fields, texts: &[String]) -> Option<Vec<Access>> {
    let mut all = Vec::new();
    let mut good = true;
    for (i, text) in texts.iter().enumerate() {
        let field = format!("accesses[{i}]");
        match f.parse::<Permission>(&field, text).and_then(|permission| accesses_of(f, &field, permission)) {
            Some(accesses) => all.extend(accesses),
            None => good = false,
        }
    }
    good.then_some(all)
}

fn accesses_of(f: &mut Fields, field: &str, permission: Permission) -> Option<Vec<Access>> {
    if !permission.except.is_empty() {
        return f.fault(field, "an access has no exceptions");
    }
    let segment = |segment: &Segment| match segment {
        Segment::Any => Some("*".into()),
        Segment::Exact(text) => Some(text.clone()),
        Segment::Prefix(_) => None,
    };
    let Some(path) = permission.on.segments.iter().map(segment).collect::<Option<Vec<_>>>() else {
        return f.fault(field, "an access is to one resource: no prefix*");
    };
    let resource = Resource { path, columns: permission.on.columns };
    Some(permission.verbs.into_iter().map(|verb| Access { protocol: permission.protocol, verb, resource: resource.clone() }).collect())
}
