//! The only door into the replicated state.

use std::collections::BTreeSet;

use planted::{Bug, planted};

use super::step::Step;
use super::{Actor, Command, Proposal, Rejection, Reply, authority, feature, notice, sweep};
use super::{
    activate_policy, advance_sink, break_glass, close_review, confirm_grant, create_hold, create_lock, decide_items, decide_request,
    delete_credential, delete_job, delete_lock, delete_principal, delete_role, delete_sink, delete_target, delete_trigger, delete_witness,
    file_cosignature, file_receipt, found_cluster, hand_items, issue_grant, issue_token, make_join_token, open_request, open_review,
    prune_records, publish_policy, put_credential, put_job, put_principal, put_role, put_sink, put_target, put_trigger, put_witness,
    raise_feature_level, register_node, release_hold, report_findings, report_usage, return_approval, review_break_glass, revoke_grant,
    revoke_token, rotate_checkpoint_key, set_node_role, set_retention, set_serving, spend_approval, withdraw_request,
};
use crate::credential::Credential;
use crate::id::Index;
use crate::job::Job;
use crate::limits::LOG_TIME_JUMP_MAX;
use crate::principal::Principal;
use crate::role::Role;
use crate::state::State;
use crate::state::rows::RowKey;
use crate::target::Target;
use crate::time::LogTime;

/// What one entry did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Applied {
    pub reply: Reply,
    pub changes: Changes,
}

/// What must be written and enforced because of one entry.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Changes {
    /// Rows that changed, appeared or went; the store encodes them with [`crate::encoding::encode_row`].
    pub touched: BTreeSet<RowKey>,
    /// Something may have been taken away: the answer waits for every node (DESIGN §4).
    pub narrowing: bool,
}

/// Applies the entry at `index`. The same entries in the same order give the same state everywhere: time and chance
/// come with the entry. Clone the state before (it is cheap) to keep the one that readers see.
///
/// # Panics
/// If `index` is not beyond the last applied one: the log is broken, and going on would fork this replica.
pub fn apply(state: &mut State, index: Index, proposal: &Proposal) -> Applied {
    assert!(index > state.applied, "entry {index} was applied already: the state is at {}", state.applied);
    let now = log_time(state.now, proposal);
    state.applied = index;
    state.now = now;
    let mut step = Step::new(state, index, now, &proposal.actor);
    step.touched.insert(RowKey::Clock);
    sweep::sweep(&mut step, matches!(proposal.command, Command::Tick));

    if let Some(remembered) = step.state.proposals.get(&proposal.id).filter(|_| !planted(Bug::ProposalRepeated)) {
        let reply = remembered.reply.clone();
        return Applied { reply, changes: Changes { touched: step.touched, narrowing: false } };
    }
    let before = (!step.state.triggers.is_empty()).then(|| step.state.clone());
    let reply = perform(&mut step, &proposal.command).unwrap_or_else(Reply::Rejected);
    sweep::work(&mut step);
    if let Some(before) = before {
        notice::notice(&mut step, &before);
    }
    let rejected = matches!(reply, Reply::Rejected(_));
    let narrowing = step.took_away || (!rejected && proposal.command.is_narrowing());
    if narrowing {
        step.state.cluster.narrowed = index;
        step.touched.insert(RowKey::Cluster);
    }
    // These are the same whether they are repeated or not (the last two are compared and set), and there are many.
    if !matches!(proposal.command, Command::Tick | Command::AdvanceSink(_) | Command::FileCosignature { .. }) {
        step.remember(&proposal.id, reply.clone());
    }
    Applied { reply, changes: Changes { touched: step.touched, narrowing } }
}

/// An entry without an act of its own at `index`: log time passes to `now`, and open reviews go on. `false` when it left
/// nothing to do for another one.
pub(crate) fn pass(state: &mut State, index: Index, now: LogTime) -> bool {
    let now = state.now.max(now);
    state.applied = index;
    state.now = now;
    let actor = Actor::Operator;
    let mut step = Step::new(state, index, now, &actor);
    sweep::sweep(&mut step, false);
    sweep::work(&mut step)
}

/// Log time never goes back, and only an operator moves it far ahead at once. The first stamp of all is taken as it is.
fn log_time(before: LogTime, proposal: &Proposal) -> LogTime {
    let bound = match proposal.actor {
        Actor::Operator => LogTime(u64::MAX),
        Actor::Principal(_) | Actor::Node(_) if before == LogTime::default() => LogTime(u64::MAX),
        Actor::Principal(_) | Actor::Node(_) => before.after(LOG_TIME_JUMP_MAX),
    };
    before.max(proposal.stamp.min(bound))
}

fn perform(step: &mut Step<'_>, command: &Command) -> Result<Reply, Rejection> {
    feature::check(step.state, command)?;
    authority::authorize(step.state, step.actor, command)?;
    // A new entity's version and narrowing are the step's to set.
    let (version, narrowed) = (Index::default(), Index::default());
    match command.clone() {
        Command::FoundCluster { id, incarnation, recovery_key, first_admin, feature_level } => {
            found_cluster::apply(step, id, incarnation, recovery_key, &first_admin, feature_level)
        }
        Command::RegisterNode { node, address, admin_address, checkpoint_key, sealing_key, role, feature_level_max, join_token } => {
            let asked = register_node::Registration { node, address, admin_address, checkpoint_key, sealing_key, role, feature_level_max };
            register_node::apply(step, asked, join_token)
        }
        Command::SetNodeRole { node, role } => set_node_role::apply(step, node, role),
        Command::SetServing { node, serving } => set_serving::apply(step, node, serving),
        Command::RotateCheckpointKey { node, key } => rotate_checkpoint_key::apply(step, node, key),
        Command::MakeJoinToken { lookup, valid } => make_join_token::apply(step, lookup, valid),
        Command::RaiseFeatureLevel { level } => raise_feature_level::apply(step, level),
        Command::Tick => Ok(step.done()),
        Command::ReportUsage { grants, denials } => report_usage::apply(step, grants, denials),
        Command::FileReceipt { revocation, nodes } => file_receipt::apply(step, revocation, nodes),

        Command::PutPrincipal { name, kind, active, labels, expect } => {
            let principal = Principal { name, kind, active, tokens: Default::default(), labels, version, narrowed };
            put_principal::apply(step, principal, expect)
        }
        Command::DeletePrincipal { name, expect } => delete_principal::apply(step, &name, expect),
        Command::IssueToken { principal, usage, lookup, scram, label, expires } => {
            issue_token::apply(step, &principal, usage, lookup, scram, label, expires)
        }
        Command::RevokeToken { principal, token } => revoke_token::apply(step, &principal, token),
        Command::PutTarget {
            name,
            protocol,
            address,
            tls,
            credential,
            default_database,
            hold,
            request_expiry,
            approvals_needed,
            owner,
            labels,
            weak_cancel,
            expect,
        } => {
            let target = Target {
                name,
                protocol,
                address,
                tls,
                credential,
                default_database,
                hold,
                request_expiry,
                approvals_needed,
                owner,
                labels,
                weak_cancel,
                version,
                narrowed,
            };
            put_target::apply(step, target, expect)
        }
        Command::DeleteTarget { name, expect } => delete_target::apply(step, &name, expect),
        Command::PutCredential { name, username, sealed, expect } => {
            put_credential::apply(step, Credential { name, username, sealed, version, narrowed }, expect)
        }
        Command::DeleteCredential { name, expect } => delete_credential::apply(step, &name, expect),
        Command::PutRole { name, description, permissions, expect } => {
            put_role::apply(step, Role { name, description, permissions, version, narrowed }, expect)
        }
        Command::DeleteRole { name, expect } => delete_role::apply(step, &name, expect),
        Command::PutJob { name, purpose, owner, backup_owner, permissions, roles, data_classes, environments, expires, expect } => {
            let job =
                Job { name, purpose, owner, backup_owner, permissions, roles, data_classes, environments, expires, version, narrowed };
            put_job::apply(step, job, expect)
        }
        Command::DeleteJob { name, expect } => delete_job::apply(step, &name, expect),

        Command::IssueGrant { name, principal, target, permissions, roles, valid_from, expires, review_due, strict, source } => {
            let terms = issue_grant::Terms { name, principal, target, permissions, roles, valid_from, expires, review_due, strict, source };
            issue_grant::apply(step, terms)
        }
        Command::RevokeGrant { grant, reason } => revoke_grant::apply(step, grant, reason),
        Command::ConfirmGrant { grant } => confirm_grant::apply(step, grant),
        Command::OpenRequest { principal, on_behalf_of, target, ask, reason } => {
            open_request::apply(step, principal, on_behalf_of, target, ask, reason)
        }
        Command::DecideRequest { request, approve, reason } => decide_request::apply(step, request, approve, reason),
        Command::WithdrawRequest { request } => withdraw_request::apply(step, request),
        Command::SpendApproval { request, digest, by } => spend_approval::apply(step, request, digest, by),
        Command::ReturnApproval { request, by } => return_approval::apply(step, request, by),
        Command::CreateLock { on, reason, expires } => create_lock::apply(step, on, reason, expires),
        Command::DeleteLock { lock } => delete_lock::apply(step, lock),

        Command::OpenReview { name, terms } => open_review::apply(step, name, terms),
        Command::DecideItems { review, decisions } => decide_items::apply(step, review, decisions),
        Command::HandItems { review, items, to, reason } => hand_items::apply(step, review, items, to, reason),
        Command::CloseReview { review, digest, statement, ends_series } => {
            close_review::apply(step, review, digest, statement, ends_series)
        }
        Command::PutTrigger { name, event, terms, gather, expect } => put_trigger::apply(step, name, event, terms, gather, expect),
        Command::DeleteTrigger { name, expect } => delete_trigger::apply(step, &name, expect),
        Command::ReportFindings { target, findings } => report_findings::apply(step, target, findings),

        Command::SetRetention { class, keep, reason } => set_retention::apply(step, class, keep, reason),
        Command::CreateHold { on, reason, two_people } => create_hold::apply(step, on, reason, two_people),
        Command::ReleaseHold { hold, reason } => release_hold::apply(step, hold, &reason),
        Command::PruneRecords { class, seen, before, through, leaves } => prune_records::apply(step, class, seen, before, through, leaves),

        Command::PublishPolicy { bundle, digest, revision, two_people } => {
            publish_policy::apply(step, bundle, digest, revision, two_people)
        }
        Command::ActivatePolicy { policy } => activate_policy::activate(step, policy),
        Command::RollbackPolicy => activate_policy::rollback(step),
        Command::DeactivatePolicy => activate_policy::deactivate(step),
        Command::SetPolicyRule { two_people } => activate_policy::set_rule(step, two_people),

        Command::BreakGlass { principal, target, permissions, length, review_within, reason, ticket } => {
            let opening = break_glass::Opening { principal, target, permissions, length, review_within, reason, ticket };
            break_glass::apply(step, opening)
        }
        Command::ReviewBreakGlass { id, justified, note } => review_break_glass::apply(step, id, justified, note),
        Command::PutSink { name, terms, sealed, start, expect } => put_sink::apply(step, name, terms, sealed, start, expect),
        Command::DeleteSink { name, expect } => delete_sink::apply(step, &name, expect),
        Command::AdvanceSink(advance) => advance_sink::apply(step, advance),
        Command::PutWitness { witness, expect } => put_witness::apply(step, witness, expect),
        Command::DeleteWitness { name, expect } => delete_witness::apply(step, &name, expect),
        Command::FileCosignature { witness, note } => file_cosignature::apply(step, witness, note),
    }
}
