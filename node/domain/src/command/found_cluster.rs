//! `cluster init`, and `cluster recover` with a higher incarnation.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::check::{invalid, not_empty};
use super::step::Step;
use super::{Rejection, Reply};
use crate::grant::{Grant, GrantSource, GrantStatus, TargetSelector};
use crate::id::{GrantId, Name};
use crate::operation::{Protocol, Verb};
use crate::permission::{Pattern, Permission, PermissionSet, Segment};
use crate::principal::{Principal, PrincipalKind};
use crate::request::RequestStatus;
use crate::role::Role;
use crate::state::rows::RowKey;

/// Roles of the administration, made at founding and changed by nobody.
pub const BUILT_IN_ROLES: [&str; 4] = ["admin", "operator", "reviewer", "auditor"];
/// What ordinary clients send around their real work; its contents are the PostgreSQL side's, put by the node.
pub const CLIENT_ROLE: &str = "client";

pub(super) fn client_role() -> Name {
    name(CLIENT_ROLE)
}

fn name(text: &str) -> Name {
    text.parse().expect("a valid name")
}

pub(super) fn apply(
    step: &mut Step<'_>,
    id: String,
    incarnation: u64,
    recovery_key: [u8; 32],
    first_admin: &Name,
    feature_level: u32,
) -> Result<Reply, Rejection> {
    not_empty("id", &id)?;
    let facts = &step.state.cluster;
    let recovery = !facts.id.is_empty();
    if recovery && (facts.id != id || incarnation <= facts.incarnation) {
        return Err(Rejection::Exists { what: format!("cluster {} (incarnation {})", facts.id, facts.incarnation) });
    }
    if incarnation == 0 {
        return Err(invalid("incarnation", "counts from 1"));
    }
    if step.state.principals.get(first_admin).is_some_and(|p| !p.is_person()) {
        return Err(invalid("first_admin", "is an agent"));
    }
    let facts = &mut step.state.cluster;
    facts.id = id;
    facts.incarnation = incarnation;
    facts.recovery_key = recovery_key;
    let founded_at = if feature_level == 0 { super::feature::FOUNDED_AT } else { feature_level };
    facts.feature_level = facts.feature_level.max(founded_at);
    step.touched.insert(RowKey::Cluster);
    if recovery {
        suspend_all(step, first_admin);
    }
    put_built_in_roles(step);
    put_first_admin(step, first_admin);
    Ok(step.done())
}

fn put_first_admin(step: &mut Step<'_>, first_admin: &Name) {
    let mut person = step.state.principals.get(first_admin).cloned().unwrap_or_else(|| Principal {
        name: first_admin.clone(),
        kind: PrincipalKind::Person { email: None, certificate: None },
        active: true,
        tokens: Default::default(),
        labels: Default::default(),
        version: step.index,
        narrowed: step.index,
    });
    person.active = true;
    person.version = step.index;
    step.put_principal(person);
    step.put_grant(Grant {
        id: GrantId(step.index.0),
        name: None,
        principal: first_admin.clone(),
        target: TargetSelector::Assize,
        permissions: PermissionSet::new([on_assize(&[Verb::Read, Verb::Write, Verb::Decide, Verb::Operate], None)]),
        roles: BTreeSet::from([name("admin")]),
        valid_from: None,
        expires: None,
        review_due: None,
        under_review: None,
        strict: false,
        source: GrantSource::Baseline,
        status: GrantStatus::Active,
        granted_by: step.actor_name(),
        granted: step.now,
        version: step.index,
        narrowed: step.index,
    });
}

fn put_built_in_roles(step: &mut Step<'_>) {
    use Verb::{Decide, Operate, Read, Write};
    let sets: [(&str, &str, Vec<Permission>); 4] = [
        ("admin", "everything, including who may do what to the gateway", vec![on_assize(&[Read, Write, Decide, Operate], None)]),
        (
            "operator",
            "agents, targets, credentials, grants on targets, locks and the cluster; not people, and no decisions",
            vec![on_assize(&[Read, Write], None), on_assize(&[Operate], Some("cluster"))],
        ),
        (
            "reviewer",
            "sees everything, decides on requests and in reviews",
            vec![on_assize(&[Read], None), on_assize(&[Decide], Some("request")), on_assize(&[Decide], Some("review"))],
        ),
        ("auditor", "sees everything", vec![on_assize(&[Read], None)]),
    ];
    for (role, description, permissions) in sets {
        step.put_role(Role {
            name: name(role),
            description: description.to_owned(),
            permissions: PermissionSet::new(permissions),
            version: step.index,
            narrowed: step.index,
        });
    }
}

/// Verbs on one noun of the gateway, or on all.
fn on_assize(verbs: &[Verb], noun: Option<&str>) -> Permission {
    let first = noun.map_or(Segment::Any, |noun| Segment::Exact(Arc::from(noun)));
    let on = Pattern { segments: vec![first, Segment::Any], columns: None };
    Permission { protocol: Protocol::Assize, verbs: verbs.iter().copied().collect(), on, except: Vec::new() }
}

/// A new incarnation: grants wait for a person's confirmation, approvals are void, old nodes and join tokens are out.
fn suspend_all(step: &mut Step<'_>, first_admin: &Name) {
    let grants: Vec<Grant> =
        step.state.grants.values().filter(|g| g.status == GrantStatus::Active && !g.has_ended(step.now)).cloned().collect();
    for mut grant in grants {
        if grant.principal == *first_admin && grant.target == TargetSelector::Assize {
            continue;
        }
        let reason = format!("the cluster was recovered as incarnation {}", step.state.cluster.incarnation);
        grant.status = GrantStatus::Suspended { reason };
        grant.version = step.index;
        grant.narrowed = step.index;
        step.put_grant(grant);
    }
    let voided: Vec<_> = step.state.requests.values().filter(|r| r.status.is_open() || r.is_spendable()).cloned().collect();
    for mut request in voided {
        request.approvals.clear();
        request.status = RequestStatus::Reopened;
        request.version = step.index;
        step.put_request(request);
    }
    // Ids start anew with the incarnation; the old nodes' keys stay in the log that was forked.
    let members: Vec<_> = step.state.members.keys().copied().collect();
    for member in members {
        step.remove_member(member);
    }
    let tokens: Vec<_> = step.state.join_tokens.keys().copied().collect();
    for token in tokens {
        step.remove_join_token(&token);
    }
}
