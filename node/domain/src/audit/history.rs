//! Who was a voter, with which key, at which control index: read from the control log's leaves.
//!
//! A verifier starts from a pinned genesis and follows the changes. A change of the voters is believed only when a
//! majority of those believed so far has signed a checkpoint of the log that holds it; so a forger would need the keys
//! of a majority of real voters at some time, not only keys that the forged log itself introduces.

use std::collections::BTreeMap;

use super::checkpoint::{Origin, VerifierKey, Voters};
use super::leaf::ControlLeaf;
use crate::command::{Actor, Command, Reply};
use crate::id::{Index, NodeId};
use crate::member::MemberRole;
use crate::state::State;

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct VoterHistory {
    members: BTreeMap<NodeId, Known>,
    /// The voters from this index on.
    from: BTreeMap<Index, Voters>,
    founded: Option<(String, u64)>,
    /// The first voter of the incarnation.
    genesis: Option<(NodeId, [u8; 32])>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Known {
    role: MemberRole,
    key: [u8; 32],
}

impl VoterHistory {
    /// A history that knows only now: to check signatures on a node, where the state itself is trusted.
    pub fn of_state(state: &State) -> VoterHistory {
        let voters = state.members.values().filter(|member| member.role == MemberRole::Voter);
        let keyed = voters.filter_map(|member| member.checkpoint_keys.last_key_value().map(|(_, key)| (member.id, *key)));
        VoterHistory { from: BTreeMap::from([(Index(0), keyed.collect())]), ..VoterHistory::default() }
    }

    /// Voters and keys that somebody vouches for, whatever the index.
    pub fn pinned(voters: Voters) -> VoterHistory {
        VoterHistory { from: BTreeMap::from([(Index(0), voters)]), ..VoterHistory::default() }
    }

    /// Takes in the next leaf of the control log.
    pub fn follow(&mut self, leaf: &ControlLeaf) {
        // A refused command changed nothing; a repeated one answers with the index of the first time.
        if leaf.reply != (Reply::Done { version: leaf.index }) {
            return;
        }
        match &leaf.proposal.command {
            Command::FoundCluster { id, incarnation, .. } => {
                if self.founded.is_some() {
                    self.members.clear();
                    self.genesis = None;
                }
                self.founded = Some((id.clone(), *incarnation));
            }
            Command::RegisterNode { node, checkpoint_key, role, .. } => {
                let known = self.members.get(node);
                let reports_itself = leaf.proposal.actor == Actor::Node(*node);
                let role = known.filter(|_| reports_itself).map_or(*role, |known| known.role);
                self.members.insert(*node, Known { role, key: *checkpoint_key });
            }
            Command::SetNodeRole { node, role } => {
                if let Some(known) = self.members.get_mut(node) {
                    known.role = *role;
                }
            }
            Command::RotateCheckpointKey { node, key } => {
                if let Some(known) = self.members.get_mut(node) {
                    known.key = *key;
                }
            }
            Command::SetServing { .. }
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
            | Command::DecideRequest { .. }
            | Command::WithdrawRequest { .. }
            | Command::SpendApproval { .. }
            | Command::ReturnApproval { .. }
            | Command::PublishPolicy { .. }
            | Command::ActivatePolicy { .. }
            | Command::RollbackPolicy
            | Command::DeactivatePolicy
            | Command::SetPolicyRule { .. }
            | Command::ReportUsage { .. }
            | Command::BreakGlass { .. }
            | Command::ReviewBreakGlass { .. }
            | Command::CreateLock { .. }
            | Command::DeleteLock { .. }
            | Command::OpenReview { .. }
            | Command::DecideItems { .. }
            | Command::HandItems { .. }
            | Command::CloseReview { .. }
            | Command::PutTrigger { .. }
            | Command::DeleteTrigger { .. }
            | Command::ReportFindings { .. }
            | Command::PutSink { .. }
            | Command::DeleteSink { .. }
            | Command::AdvanceSink(_)
            | Command::PutWitness { .. }
            | Command::DeleteWitness { .. }
            | Command::SetRetention { .. }
            | Command::CreateHold { .. }
            | Command::ReleaseHold { .. }
            | Command::PruneRecords { .. }
            | Command::FileCosignature { .. } => return,
        }
        let voters: Voters =
            self.members.iter().filter(|(_, known)| known.role == MemberRole::Voter).map(|(node, known)| (*node, known.key)).collect();
        if self.genesis.is_none() {
            self.genesis = voters.first_key_value().map(|(node, key)| (*node, *key));
        }
        if self.from.last_key_value().is_none_or(|(_, before)| *before != voters) {
            self.from.insert(leaf.index, voters);
        }
    }

    /// The voters at this index; none before the first.
    pub fn voters_at(&self, index: Index) -> Option<&Voters> {
        self.from.range(..=index).next_back().map(|(_, voters)| voters).filter(|voters| !voters.is_empty())
    }

    /// Cluster id and incarnation, once founded.
    pub fn founded(&self) -> Option<(&str, u64)> {
        self.founded.as_ref().map(|(id, incarnation)| (id.as_str(), *incarnation))
    }

    /// The key a verifier pins: of the first voter of the incarnation, named as in signature lines.
    pub fn genesis(&self) -> Option<VerifierKey> {
        let (node, key) = self.genesis?;
        let (cluster, incarnation) = self.founded.clone()?;
        let origin = Origin { cluster, incarnation, log: String::new() };
        Some(VerifierKey { name: origin.signer(node), key })
    }

    /// The first voters, to begin following with.
    pub(super) fn first_voters(&self) -> Option<Voters> {
        self.genesis.map(|genesis| Voters::from([genesis]))
    }

    /// Forgets what came after `index`.
    pub(super) fn until(&self, index: Index) -> VoterHistory {
        VoterHistory { from: self.from.range(..=index).map(|(from, voters)| (*from, voters.clone())).collect(), ..self.clone() }
    }
}
