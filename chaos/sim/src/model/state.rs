//! What the checker distinguishes. Small: millions of these are held at once.

/// Gateways there is room for.
pub const GATEWAYS: usize = 2;

/// One entry of the control log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Entry {
    /// The grant is revoked.
    Revoke,
    /// A gateway leaves the serving set.
    Leave(u8),
    /// A gateway joins it.
    Join(u8),
}

/// A question for a read index, on its way. `asked` is what the lease will count from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Renewal {
    Asked {
        asked: Option<u8>,
    },
    /// A quorum round is under way; it counts if the leader of `term` still leads when it ends.
    Round {
        asked: Option<u8>,
        index: u8,
        term: u8,
    },
    Answered {
        asked: Option<u8>,
        index: u8,
    },
}

/// Where a session's thread stands. It holds the gate unless idle.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Writing {
    Idle,
    Checked,
    Written,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Gateway {
    pub alive: bool,
    /// Ticks its clock has lost.
    pub lost: u8,
    /// Entries applied, and enforced.
    pub applied: u8,
    pub enforced: u8,
    /// End of the lease by its own clock; 0 without one.
    pub lease_end: u8,
    /// When its timer kills it, by its own clock; 0 disarmed.
    pub deadline: u8,
    pub writing: Writing,
    /// Its kernel holds bytes for the target.
    pub queued: bool,
    /// On their way, sorted.
    pub renewals: Vec<Renewal>,
    pub renewals_asked: u8,
    pub operations: u8,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Cluster {
    /// The fastest clock, which is the answering node's: the worst for it.
    pub now: u8,
    pub log: Vec<Entry>,
    pub term: u8,
    pub gateways: [Gateway; GATEWAYS],
    /// When the answering node learned that a gateway had left.
    pub left: [Option<u8>; GATEWAYS],
    /// Since the commit: until when each gateway's silence is waited for; 0 when it need not be, or has reported.
    pub barrier: Option<[u8; GATEWAYS]>,
    pub acknowledged: bool,
    pub violated: bool,
    pub kills: u8,
    pub answering_restarts: u8,
    /// [`crate::flaw::Flaw::LeaseRead`]: what the leader that was deposed last knows to be committed.
    pub deposed_knows: u8,
    /// [`crate::flaw::Flaw::WaitFromProposal`]: when the answering node proposed.
    pub proposed: Option<u8>,
}

impl Default for Gateway {
    fn default() -> Gateway {
        Gateway {
            alive: true,
            lost: 0,
            applied: 0,
            enforced: 0,
            lease_end: 0,
            deadline: 0,
            writing: Writing::Idle,
            queued: false,
            renewals: Vec::new(),
            renewals_asked: 0,
            operations: 0,
        }
    }
}

impl Renewal {
    pub fn asked(&self) -> Option<u8> {
        let (Renewal::Asked { asked } | Renewal::Round { asked, .. } | Renewal::Answered { asked, .. }) = self;
        *asked
    }

    pub fn note(&mut self, clock: u8) {
        let (Renewal::Asked { asked } | Renewal::Round { asked, .. } | Renewal::Answered { asked, .. }) = self;
        asked.get_or_insert(clock);
    }
}

impl Gateway {
    pub fn clock(&self, now: u8) -> u8 {
        now - self.lost
    }

    pub fn holds_lease(&self, now: u8) -> bool {
        self.clock(now) < self.lease_end
    }
}

impl Cluster {
    /// The index of the revocation, once it is committed. Indexes count from 1.
    pub fn revocation(&self) -> Option<u8> {
        self.log.iter().position(|entry| *entry == Entry::Revoke).map(|at| at as u8 + 1)
    }

    pub fn revoked_in(&self, applied: u8) -> bool {
        self.revocation().is_some_and(|index| index <= applied)
    }

    /// In the serving set, as a state with `applied` entries says; all are at first.
    pub fn serves_in(&self, gateway: usize, applied: u8) -> bool {
        let told = self.log[..applied as usize].iter().rev().find_map(|entry| match entry {
            Entry::Leave(who) if *who as usize == gateway => Some(false),
            Entry::Join(who) if *who as usize == gateway => Some(true),
            Entry::Revoke | Entry::Leave(_) | Entry::Join(_) => None,
        });
        told.unwrap_or(true)
    }

    pub fn count(&self, which: fn(&Entry) -> bool) -> u8 {
        self.log.iter().filter(|entry| which(entry)).count() as u8
    }
}
