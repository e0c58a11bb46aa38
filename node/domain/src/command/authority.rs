//! May the actor do this? Checked where a command is applied: rights may have gone since it was proposed. The admin
//! API asks the same before it proposes, to answer sooner.
//!
//! `write` is the right to a noun. What gives power over the administration itself (people, their tokens, grants on
//! `assize` and the roles that may serve there) takes `operate`, so that whoever may write does not promote themselves.

use super::{Actor, Command, Rejection};
use crate::grant::TargetSelector;
use crate::id::Name;
use crate::lock::LockOn;
use crate::operation::{Protocol, Verb};
use crate::permission::PermissionSet;
use crate::principal::PrincipalKind;
use crate::state::State;

/// # Errors
/// [`Rejection::Forbidden`], with the permission that is missing.
pub fn authorize(state: &State, actor: &Actor, command: &Command) -> Result<(), Rejection> {
    match actor {
        Actor::Operator => operator(command),
        Actor::Node(_) => node(command),
        Actor::Principal(name) => principal(state, name, command),
    }
}

fn forbidden(message: impl Into<String>) -> Result<(), Rejection> {
    Err(Rejection::Forbidden { message: message.into() })
}

/// Whoever holds the machine may set up and repair, but is not a person: nothing is approved by it.
fn operator(command: &Command) -> Result<(), Rejection> {
    match command {
        Command::DecideRequest { .. } => forbidden("only a person decides on requests"),
        Command::DecideItems { .. } | Command::CloseReview { .. } => forbidden("only a person reviews access"),
        Command::BreakGlass { .. } => forbidden("only a person breaks glass"),
        Command::ReviewBreakGlass { .. } => forbidden("only a person reviews access"),
        Command::SpendApproval { .. } | Command::ReturnApproval { .. } => forbidden("only a node uses approvals"),
        Command::ReportUsage { .. } => forbidden("only a node tells what was used"),
        Command::ReportFindings { .. } => forbidden("only a node checks targets"),
        Command::PublishPolicy { .. }
        | Command::ActivatePolicy { .. }
        | Command::RollbackPolicy
        | Command::DeactivatePolicy
        | Command::SetPolicyRule { .. } => forbidden("only a principal makes policy"),
        Command::AdvanceSink(_) | Command::FileCosignature { .. } => forbidden("only a node delivers"),
        Command::SetRetention { .. } | Command::CreateHold { .. } | Command::ReleaseHold { .. } => {
            forbidden("only a principal says how long records are kept")
        }
        Command::PruneRecords { .. } => forbidden("only a node prunes"),
        Command::FoundCluster { .. }
        | Command::RegisterNode { .. }
        | Command::SetNodeRole { .. }
        | Command::SetServing { .. }
        | Command::RotateCheckpointKey { .. }
        | Command::MakeJoinToken { .. }
        | Command::RaiseFeatureLevel { .. }
        | Command::Tick
        | Command::FileReceipt { .. }
        | Command::PutPrincipal { .. }
        | Command::DeletePrincipal { .. }
        | Command::IssueToken { .. }
        | Command::RevokeToken { .. }
        | Command::PutTarget { .. }
        | Command::DeleteTarget { .. }
        | Command::PutCredential { .. }
        | Command::DeleteCredential { .. }
        | Command::PutRole { .. }
        | Command::DeleteRole { .. }
        | Command::PutJob { .. }
        | Command::DeleteJob { .. }
        | Command::IssueGrant { .. }
        | Command::RevokeGrant { .. }
        | Command::ConfirmGrant { .. }
        | Command::OpenRequest { .. }
        | Command::WithdrawRequest { .. }
        | Command::CreateLock { .. }
        | Command::DeleteLock { .. }
        | Command::OpenReview { .. }
        | Command::HandItems { .. }
        | Command::PutTrigger { .. }
        | Command::DeleteTrigger { .. }
        | Command::PutSink { .. }
        | Command::DeleteSink { .. }
        | Command::PutWitness { .. }
        | Command::DeleteWitness { .. } => Ok(()),
    }
}

/// A node acts for itself only: for membership, leases, receipts, and the requests and approvals of its sessions.
fn node(command: &Command) -> Result<(), Rejection> {
    match command {
        Command::RegisterNode { .. }
        | Command::SetNodeRole { .. }
        | Command::SetServing { .. }
        | Command::RotateCheckpointKey { .. }
        | Command::MakeJoinToken { .. }
        | Command::RaiseFeatureLevel { .. }
        | Command::Tick
        | Command::FileReceipt { .. }
        | Command::ReportUsage { .. }
        | Command::ReportFindings { .. }
        | Command::OpenRequest { .. }
        | Command::SpendApproval { .. }
        | Command::ReturnApproval { .. }
        | Command::AdvanceSink(_)
        | Command::PruneRecords { .. }
        | Command::FileCosignature { .. } => Ok(()),
        Command::PutRole { name, .. } if *name == super::found_cluster::client_role() => Ok(()),
        Command::FoundCluster { .. }
        | Command::PutPrincipal { .. }
        | Command::DeletePrincipal { .. }
        | Command::IssueToken { .. }
        | Command::RevokeToken { .. }
        | Command::PutTarget { .. }
        | Command::DeleteTarget { .. }
        | Command::PutCredential { .. }
        | Command::DeleteCredential { .. }
        | Command::PutRole { .. }
        | Command::DeleteRole { .. }
        | Command::PutJob { .. }
        | Command::DeleteJob { .. }
        | Command::IssueGrant { .. }
        | Command::RevokeGrant { .. }
        | Command::ConfirmGrant { .. }
        | Command::DecideRequest { .. }
        | Command::WithdrawRequest { .. }
        | Command::CreateLock { .. }
        | Command::DeleteLock { .. }
        | Command::OpenReview { .. }
        | Command::DecideItems { .. }
        | Command::HandItems { .. }
        | Command::CloseReview { .. }
        | Command::PutTrigger { .. }
        | Command::DeleteTrigger { .. }
        | Command::PublishPolicy { .. }
        | Command::ActivatePolicy { .. }
        | Command::RollbackPolicy
        | Command::DeactivatePolicy
        | Command::SetPolicyRule { .. }
        | Command::BreakGlass { .. }
        | Command::ReviewBreakGlass { .. }
        | Command::PutSink { .. }
        | Command::DeleteSink { .. }
        | Command::PutWitness { .. }
        | Command::SetRetention { .. }
        | Command::CreateHold { .. }
        | Command::ReleaseHold { .. }
        | Command::DeleteWitness { .. } => forbidden("a node does not administer"),
    }
}

fn principal(state: &State, actor: &Name, command: &Command) -> Result<(), Rejection> {
    let need = |verb: Verb, noun: &str, name: &str| {
        if state.may_administer(actor, verb, noun, name) {
            Ok(())
        } else {
            forbidden(format!("{actor} needs assize:{} on {noun}/{name}", verb.as_str()))
        }
    };
    let live = || match state.principals.get(actor) {
        Some(p) if p.active && state.live_lock(&LockOn::Principal(actor.clone()), state.now).is_none() => Ok(()),
        Some(_) | None => forbidden(format!("{actor} is not active")),
    };
    match command {
        Command::FoundCluster { .. } => forbidden("only cluster init and cluster recover found a cluster"),
        Command::RegisterNode { .. }
        | Command::SetServing { .. }
        | Command::RotateCheckpointKey { .. }
        | Command::FileReceipt { .. }
        | Command::ReportUsage { .. }
        | Command::ReportFindings { .. }
        | Command::Tick => forbidden("only a node reports about itself"),
        Command::SetNodeRole { .. } | Command::MakeJoinToken { .. } | Command::RaiseFeatureLevel { .. } => {
            need(Verb::Operate, "cluster", "*")
        }
        Command::PutPrincipal { name, kind, .. } => {
            let person = is_person(state, name) || matches!(kind, PrincipalKind::Person { .. });
            need(power(person), "principal", name.as_str())
        }
        Command::DeletePrincipal { name, .. } => need(power(is_person(state, name)), "principal", name.as_str()),
        Command::IssueToken { principal, .. } | Command::RevokeToken { principal, .. } if principal == actor => live(),
        Command::IssueToken { principal, .. } => need(power(administers(state, principal)), "token", principal.as_str()),
        Command::RevokeToken { principal, .. } => need(Verb::Write, "token", principal.as_str()),
        Command::PutTarget { name, .. } | Command::DeleteTarget { name, .. } => need(Verb::Write, "target", name.as_str()),
        Command::PutCredential { name, .. } | Command::DeleteCredential { name, .. } => need(Verb::Write, "credential", name.as_str()),
        Command::PutRole { name, permissions, .. } => {
            let powerful = on_assize(permissions) || state.roles.get(name).is_some_and(|old| on_assize(&old.permissions));
            need(power(powerful), "role", name.as_str())
        }
        Command::DeleteRole { name, .. } => need(Verb::Write, "role", name.as_str()),
        Command::PutJob { name, .. } | Command::DeleteJob { name, .. } => need(Verb::Write, "job", name.as_str()),
        Command::IssueGrant { target, .. } => need_for_grant(&need, target),
        Command::RevokeGrant { grant, .. } | Command::ConfirmGrant { grant } => match state.grants.get(grant) {
            Some(grant) => need_for_grant(&need, &grant.target),
            None => need(Verb::Write, "grant", "*"),
        },
        // For oneself and, in one's own name, for what one answers for.
        Command::OpenRequest { principal, target, .. } => {
            if answers_for(state, actor, principal) {
                live()
            } else {
                need(Verb::Write, "request", target.as_str())
            }
        }
        // Whether they may is the heart of the command: looked at there, with who must keep out.
        Command::DecideRequest { .. } => live(),
        Command::WithdrawRequest { request } => match state.requests.get(request) {
            Some(request) if answers_for(state, actor, &request.principal) || request.on_behalf_of.as_ref() == Some(actor) => live(),
            Some(request) => need(Verb::Write, "request", request.target.as_str()),
            None => live(),
        },
        // The node that runs its session proposes it in its name.
        Command::SpendApproval { request, .. } | Command::ReturnApproval { request, .. } => match state.requests.get(request) {
            Some(request) if request.principal != *actor => forbidden(format!("the approval is for {}", request.principal)),
            Some(_) | None => live(),
        },
        Command::CreateLock { on, .. } => need_for_lock(&need, on),
        Command::DeleteLock { lock } => match state.locks.get(lock) {
            Some(lock) => need_for_lock(&need, &lock.on),
            None => need(Verb::Write, "lock", "*"),
        },
        Command::OpenReview { name, .. } | Command::PutTrigger { name, .. } | Command::DeleteTrigger { name, .. } => {
            need(Verb::Write, "review", name.as_str())
        }
        // As with requests: whether they may, and on which items, is the heart of the command.
        Command::DecideItems { .. } | Command::HandItems { .. } => live(),
        Command::CloseReview { review, .. } => {
            need(Verb::Operate, "review", state.reviews.get(review).map_or("*", |review| review.name.as_str()))
        }
        Command::PublishPolicy { .. } | Command::ActivatePolicy { .. } | Command::RollbackPolicy | Command::DeactivatePolicy => {
            need(Verb::Write, "policy", "*")
        }
        Command::SetPolicyRule { .. } => need(Verb::Operate, "policy", "*"),
        // For whom, and whether a review is owed, is the heart of the command.
        Command::BreakGlass { target, .. } => need(Verb::Operate, "break-glass", target.as_str()),
        Command::ReviewBreakGlass { .. } => live(),
        // Whoever sends records somewhere could read them all there.
        Command::PutSink { name, terms, .. } => {
            let streams = !terms.selection.logs.is_empty();
            need(Verb::Write, "sink", name.as_str()).and_then(|()| if streams { need(Verb::Read, "audit", "*") } else { Ok(()) })
        }
        Command::DeleteSink { name, .. } => need(Verb::Write, "sink", name.as_str()),
        Command::PutWitness { witness, .. } => need(Verb::Write, "witness", witness.name.as_str()),
        Command::DeleteWitness { name, .. } => need(Verb::Write, "witness", name.as_str()),
        Command::AdvanceSink(_) | Command::FileCosignature { .. } => forbidden("only a node delivers"),
        // Evidence goes by it, and for good.
        Command::SetRetention { class, .. } => need(Verb::Operate, "retention", class.as_str()),
        Command::CreateHold { .. } => need(Verb::Write, "hold", "*"),
        Command::ReleaseHold { .. } => need(Verb::Operate, "hold", "*"),
        Command::PruneRecords { .. } => forbidden("only a node prunes"),
    }
}

fn power(over_administration: bool) -> Verb {
    if over_administration { Verb::Operate } else { Verb::Write }
}

fn is_person(state: &State, name: &Name) -> bool {
    state.principals.get(name).is_some_and(|p| p.is_person())
}

/// A person, or an agent that has rights on the gateway: whoever has its token has its rights.
fn administers(state: &State, name: &Name) -> bool {
    is_person(state, name) || state.grants_of(name).any(|grant| grant.target == TargetSelector::Assize)
}

fn on_assize(permissions: &PermissionSet) -> bool {
    permissions.iter().any(|permission| match permission.protocol {
        Protocol::Assize => true,
        Protocol::Postgres => false,
    })
}

fn answers_for(state: &State, actor: &Name, principal: &Name) -> bool {
    let mut who = std::collections::BTreeSet::new();
    state.add_conflicted(principal, &mut who);
    who.contains(actor)
}

fn need_for_grant(need: &dyn Fn(Verb, &str, &str) -> Result<(), Rejection>, target: &TargetSelector) -> Result<(), Rejection> {
    match target {
        TargetSelector::Name(name) => need(Verb::Write, "grant", name.as_str()),
        TargetSelector::Labels(_) => need(Verb::Write, "grant", "*"),
        TargetSelector::Assize => need(Verb::Operate, "grant", "assize"),
    }
}

fn need_for_lock(need: &dyn Fn(Verb, &str, &str) -> Result<(), Rejection>, on: &LockOn) -> Result<(), Rejection> {
    match on {
        LockOn::Principal(name) | LockOn::Target(name) | LockOn::Role(name) | LockOn::Credential(name) => {
            need(Verb::Write, "lock", name.as_str())
        }
        LockOn::Session(session) => {
            need(Verb::Write, "session", &session.to_string()).or_else(|_| need(Verb::Write, "lock", &session.to_string()))
        }
    }
}
