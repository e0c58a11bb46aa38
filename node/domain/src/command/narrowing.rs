//! Which commands may take something away, and so are answered only when every node enforces them (DESIGN §4).

use super::{Command, Expect};
use crate::grant::GrantSource;
use crate::review::Choice;

impl Command {
    /// Every command narrows, except those listed here as pure widenings.
    pub fn is_narrowing(&self) -> bool {
        match self {
            // Pure widenings: what was possible before stays possible.
            Command::FoundCluster { incarnation, .. } => *incarnation > 1,
            Command::RegisterNode { .. }
            | Command::RotateCheckpointKey { .. }
            | Command::MakeJoinToken { .. }
            | Command::RaiseFeatureLevel { .. }
            | Command::Tick
            | Command::FileReceipt { .. }
            | Command::ReportUsage { .. }
            | Command::IssueToken { .. }
            | Command::ConfirmGrant { .. }
            | Command::OpenRequest { .. }
            | Command::DeleteLock { .. } => false,
            // An approval counts only through the log, where it is compared and set: no node uses one it merely holds.
            Command::DecideRequest { .. }
            | Command::WithdrawRequest { .. }
            | Command::SpendApproval { .. }
            | Command::ReturnApproval { .. } => false,
            // What a review opens, hands on or signs off takes nothing; its due date is told by time, not by an entry.
            Command::OpenReview { .. } | Command::HandItems { .. } | Command::CloseReview { .. } => false,
            Command::PutTrigger { .. } | Command::DeleteTrigger { .. } | Command::ReportFindings { .. } => false,
            Command::DecideItems { decisions, .. } => decisions.iter().any(|decide| match decide.choice {
                Choice::Modify { .. } | Choice::Revoke => true,
                Choice::Approve | Choice::Abstain => false,
            }),
            // A bundle narrows when it is active; doing without one, or demanding a second person, takes no access away.
            Command::PublishPolicy { .. } | Command::DeactivatePolicy | Command::SetPolicyRule { .. } => false,
            Command::ActivatePolicy { .. } | Command::RollbackPolicy => true,
            // What is found not to have been justified loses its grant.
            Command::BreakGlass { .. } => false,
            Command::ReviewBreakGlass { justified, .. } => !justified,
            // What goes out takes no access away.
            Command::PutSink { .. }
            | Command::DeleteSink { .. }
            | Command::AdvanceSink(_)
            | Command::PutWitness { .. }
            | Command::DeleteWitness { .. }
            | Command::FileCosignature { .. } => false,
            // What is kept of the past decides no access.
            Command::SetRetention { .. } | Command::CreateHold { .. } | Command::ReleaseHold { .. } | Command::PruneRecords { .. } => false,
            Command::SetServing { serving, .. } => !serving,
            // What must not exist yet can only add.
            Command::PutPrincipal { expect, .. }
            | Command::PutTarget { expect, .. }
            | Command::PutCredential { expect, .. }
            | Command::PutRole { expect, .. }
            | Command::PutJob { expect, .. } => match expect {
                Expect::Absent => false,
                Expect::Any | Expect::Version(_) => true,
            },
            // Applying a declared grant again may replace it by less.
            Command::IssueGrant { source, .. } => match source {
                GrantSource::Declared => true,
                GrantSource::Baseline | GrantSource::Request(_) | GrantSource::Review(_) | GrantSource::BreakGlass(_) => false,
            },
            Command::SetNodeRole { .. }
            | Command::DeletePrincipal { .. }
            | Command::RevokeToken { .. }
            | Command::DeleteTarget { .. }
            | Command::DeleteCredential { .. }
            | Command::DeleteRole { .. }
            | Command::DeleteJob { .. }
            | Command::RevokeGrant { .. }
            | Command::CreateLock { .. } => true,
        }
    }
}
