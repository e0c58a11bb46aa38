//! After the last leaf: roots and signatures.

use std::collections::{BTreeMap, BTreeSet};

use super::{Failure, Log, LogReport, PrunedBy, Report, Verifier, VerifyError, Vouched};
use crate::audit::checkpoint::{self, CONTROL_LOG, CheckSignature, Checkpoint, Note, Voters};
use crate::audit::cosignature::WitnessKey;
use crate::audit::history::VoterHistory;
use crate::id::{Index, NodeId};

/// Checkpoints of one log, judged.
#[derive(Default)]
struct Judged {
    signed_size: u64,
    signers: BTreeSet<NodeId>,
    verified: u64,
    incomplete: u64,
    /// Lines that were changed: how many leaves the checkpoint has, and whose line it is.
    falsified: Vec<(u64, NodeId)>,
    /// The control index that the last verified checkpoint names. It never goes back as a log grows: voters of long
    /// ago, whose keys may be lost by now, sign nothing new.
    named: Index,
}

impl Judged {
    /// One more checkpoint, larger than those before: signed as it must be, or not.
    fn take(&mut self, checkpoint: &Checkpoint, signers: Option<BTreeSet<NodeId>>) -> bool {
        match signers {
            Some(signers) if checkpoint.control_index >= self.named => {
                self.verified += 1;
                self.signed_size = checkpoint.size;
                self.signers = signers;
                self.named = checkpoint.control_index;
                true
            }
            Some(_) | None => {
                self.incomplete += 1;
                false
            }
        }
    }

    /// Who of these voters signed it, if they are a majority. Lines that were changed are noted.
    fn signers(&mut self, checkpoint: &Checkpoint, note: &Note, voters: &Voters, check: CheckSignature<'_>) -> Option<BTreeSet<NodeId>> {
        let signed = checkpoint::signed(note, &checkpoint.origin, voters, check);
        self.falsified.extend(signed.falsely_by.iter().map(|node| (checkpoint.size, *node)));
        signed.by_majority(voters).ok()
    }
}

impl Verifier {
    /// What the two readings show.
    ///
    /// # Errors
    /// If the second reading had fewer leaves than the first.
    pub fn finish(self, check: CheckSignature<'_>) -> Result<Report, VerifyError> {
        self.finish_with_witnesses(&[], check)
    }

    /// As [`Verifier::finish`], and who of these outside witnesses vouches for how much.
    ///
    /// # Errors
    /// If the second reading had fewer leaves than the first.
    pub fn finish_with_witnesses(mut self, witnesses: &[WitnessKey], check: CheckSignature<'_>) -> Result<Report, VerifyError> {
        if self.leaves > 0 {
            return Err(VerifyError::Changed);
        }
        self.failures.extend(std::mem::take(&mut self.strangers).into_iter().map(Failure::Stranger));
        self.check_genesis();
        let mut logs = std::mem::take(&mut self.logs);
        let control = logs.remove(CONTROL_LOG).unwrap_or_default();
        self.check_roots(CONTROL_LOG, &control);
        let (judged, voters) = self.judge_control(&control, check);
        let by_witnesses = vouched(&control, witnesses, check);
        let signed = judged.signed_size;
        let mut reports = BTreeMap::from([(CONTROL_LOG.to_owned(), self.report(CONTROL_LOG, control, judged, by_witnesses))]);
        for (name, log) in logs {
            self.check_roots(&name, &log);
            let pruned = self.check_pruned(&name, &log, signed);
            let judged = judge(&log, &voters, check);
            let by_witnesses = vouched(&log, witnesses, check);
            let report = LogReport { pruned, ..self.report(&name, log, judged, by_witnesses) };
            reports.insert(name, report);
        }
        Ok(Report { cluster: self.cluster, incarnation: self.incarnation, logs: reports, failures: self.failures, voters })
    }

    fn check_genesis(&mut self) {
        let found = self.history.genesis();
        if found.as_ref() != Some(&self.genesis) {
            self.failures.push(Failure::OtherGenesis { pinned: self.genesis.clone(), found });
        }
        let header = format!("{} (incarnation {})", self.cluster, self.incarnation);
        let found =
            self.history.founded().map_or("none".to_owned(), |(cluster, incarnation)| format!("{cluster} (incarnation {incarnation})"));
        if header != found {
            self.failures.push(Failure::OtherCluster { header, found });
        }
    }

    /// Every checkpoint, complete or not, must have the root of these leaves: one that has not shows another log.
    fn check_roots(&mut self, name: &str, log: &Log) {
        for (checkpoint, _) in &log.notes {
            let (size, leaves) = (checkpoint.size, log.frontier.size());
            match log.roots.get(&size) {
                None => self.failures.push(Failure::Missing { log: name.to_owned(), size, leaves }),
                Some(root) if *root != checkpoint.root => self.failures.push(Failure::OtherRoot { log: name.to_owned(), size }),
                Some(_) => {}
            }
        }
    }

    /// A body may be missing only where a command under a signed head of the control log let it go.
    fn check_pruned(&mut self, name: &str, log: &Log, signed: u64) -> BTreeMap<Index, PrunedBy> {
        let mut pruned = BTreeMap::new();
        for (index, numbers) in &log.pruned {
            let plan = self.plans.get(index).filter(|plan| plan.number < signed);
            let strange: Vec<u64> = match plan {
                Some(plan) => plan.leaves.missing(numbers),
                None => numbers.clone(),
            };
            if let Some(first) = strange.first() {
                let count = strange.len() as u64;
                self.failures.push(Failure::Unauthorized { log: name.to_owned(), plan: *index, first: *first, count });
            }
            if let Some(plan) = plan {
                let bodies = (numbers.len() - strange.len()) as u64;
                pruned.insert(*index, PrunedBy { class: plan.class, at: plan.at, bodies });
            }
        }
        pruned
    }

    /// Follows the voters from the genesis. Gives the history as far as it is proved.
    fn judge_control(&mut self, log: &Log, check: CheckSignature<'_>) -> (Judged, VoterHistory) {
        let mut judged = Judged::default();
        let mut believed =
            self.history.first_voters().filter(|_| self.history.genesis().as_ref() == Some(&self.genesis)).unwrap_or_default();
        for (checkpoint, note) in log.notes.iter().filter(|(checkpoint, _)| log.roots.get(&checkpoint.size) == Some(&checkpoint.root)) {
            // What is under the checkpoint says who must sign it; those believed so far must have signed it too.
            let last = last_index(&self.control, checkpoint.size);
            let history = self.history.until(last);
            let named = history.voters_at(checkpoint.control_index);
            let are_believed = || checkpoint::verify(note, &checkpoint.origin, &believed, check).is_ok();
            let signers = named.and_then(|voters| judged.signers(checkpoint, note, voters, check)).filter(|_| are_believed());
            if judged.take(checkpoint, signers)
                && let Some(named) = named
            {
                believed.clone_from(named);
            }
        }
        let proved = if judged.signed_size > 0 {
            self.history.until(last_index(&self.control, judged.signed_size))
        } else {
            VoterHistory::default()
        };
        (judged, proved)
    }

    fn report(&mut self, name: &str, log: Log, judged: Judged, witnesses: BTreeMap<String, Vouched>) -> LogReport {
        let leaves = log.frontier.size();
        let falsified = |(size, node)| Failure::Falsified { log: name.to_owned(), size, node };
        self.failures.extend(judged.falsified.into_iter().map(falsified));
        if leaves > 0 && judged.verified == 0 {
            self.failures.push(Failure::NoCheckpoint { log: name.to_owned() });
        }
        LogReport {
            leaves,
            root: log.frontier.root(),
            signed_size: judged.signed_size,
            signers: judged.signers,
            verified: judged.verified,
            incomplete: judged.incomplete,
            kinds: log.kinds,
            pruned: BTreeMap::new(),
            witnesses,
        }
    }
}

/// Control index of the last of the first `size` leaves.
fn last_index(control: &[Index], size: u64) -> Index {
    let last = usize::try_from(size).ok().and_then(|size| control.get(..size)).and_then(<[Index]>::last);
    last.copied().unwrap_or_default()
}

/// The largest head of these leaves that each witness co-signed. It had seen all its heads before continue each other.
fn vouched(log: &Log, witnesses: &[WitnessKey], check: CheckSignature<'_>) -> BTreeMap<String, Vouched> {
    let mut vouched = BTreeMap::new();
    for (checkpoint, note) in log.notes.iter().filter(|(checkpoint, _)| log.roots.get(&checkpoint.size) == Some(&checkpoint.root)) {
        for witness in witnesses {
            if let Some(time) = witness.vouches(note, check) {
                vouched.insert(witness.to_string(), Vouched { name: witness.name.clone(), size: checkpoint.size, time });
            }
        }
    }
    vouched
}

fn judge(log: &Log, voters: &VoterHistory, check: CheckSignature<'_>) -> Judged {
    let mut judged = Judged::default();
    for (checkpoint, note) in log.notes.iter().filter(|(checkpoint, _)| log.roots.get(&checkpoint.size) == Some(&checkpoint.root)) {
        let named = voters.voters_at(checkpoint.control_index);
        let signers = named.and_then(|voters| judged.signers(checkpoint, note, voters, check));
        judged.take(checkpoint, signers);
    }
    judged
}
