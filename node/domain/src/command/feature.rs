//! The feature level: no replica applies a command that another one does not know yet (DESIGN §3).

use super::{Command, Rejection};
use crate::state::State;

/// What this build can apply. Whoever asks what this *process* knows asks [`feature_level_max`].
pub const FEATURE_LEVEL_MAX: u32 = 4;

/// Clusters whose founding does not say so were founded at this level.
pub(super) const FOUNDED_AT: u32 = 3;

/// What this process can apply: what its build does, but where a test makes it an older release.
#[must_use]
pub fn feature_level_max() -> u32 {
    planted::at_most(FEATURE_LEVEL_MAX)
}

/// The level a command needs. 0 is a cluster that has not been founded. A new command, or a change of what `apply`
/// does, takes the next level.
fn needed(command: &Command) -> u32 {
    match command {
        Command::FoundCluster { .. }
        | Command::RegisterNode { .. }
        | Command::SetNodeRole { .. }
        | Command::SetServing { .. }
        | Command::Tick => 0,
        Command::RotateCheckpointKey { .. }
        | Command::MakeJoinToken { .. }
        | Command::RaiseFeatureLevel { .. }
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
        | Command::DecideRequest { .. }
        | Command::WithdrawRequest { .. }
        | Command::SpendApproval { .. }
        | Command::ReturnApproval { .. }
        | Command::CreateLock { .. }
        | Command::DeleteLock { .. } => 1,
        Command::ReportUsage { .. } => 3,
        Command::OpenReview { terms, .. } if terms.scope.unused_for.is_some() => 3,
        Command::OpenReview { .. } | Command::DecideItems { .. } | Command::HandItems { .. } | Command::CloseReview { .. } => 2,
        Command::PublishPolicy { .. }
        | Command::ActivatePolicy { .. }
        | Command::RollbackPolicy
        | Command::DeactivatePolicy
        | Command::SetPolicyRule { .. } => 2,
        Command::BreakGlass { .. } | Command::ReviewBreakGlass { .. } => 3,
        Command::PutSink { terms, .. } => terms.selection.events.iter().map(|event| event.since_level()).fold(3, u32::max),
        Command::DeleteSink { .. }
        | Command::PutWitness { .. }
        | Command::DeleteWitness { .. }
        | Command::AdvanceSink(_)
        | Command::FileCosignature { .. } => 3,
        Command::SetRetention { .. } | Command::CreateHold { .. } | Command::ReleaseHold { .. } | Command::PruneRecords { .. } => 4,
        Command::PutTrigger { .. } | Command::DeleteTrigger { .. } | Command::ReportFindings { .. } => 4,
    }
}

/// Whether every member of the cluster knows this command.
pub fn is_known(state: &State, command: &Command) -> bool {
    check(state, command).is_ok()
}

pub(super) fn check(state: &State, command: &Command) -> Result<(), Rejection> {
    let (level, needed) = (state.cluster.feature_level, needed(command));
    if level < needed { Err(Rejection::FeatureLevel { level, needed }) } else { Ok(()) }
}
