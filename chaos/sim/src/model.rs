//! The lease protocol in small numbers, for a checker that tries every order of events.
//!
//! Up to two gateways serve one session each under one grant. A third node, the *answering* one, revokes the grant and
//! acknowledges that. Time goes in ticks. What is abstracted, and why nothing is lost by it:
//!
//! * Raft is a log that grows and is never wrong (that is openraft's and `raft-store`'s to show). A read index still
//!   takes a quorum round that begins after the request and ends under the same leader.
//! * Every message may take for ever, which is loss, and overtake every other.
//! * Nothing that a process does is forced, so one that is stopped is one that does nothing: only time, its timer and
//!   its kernel act. That covers SIGSTOP, starvation, and a watch task that is late.
//! * The answering node applies, learns and acknowledges at once: everything later only makes it wait longer.
//! * Clocks: the answering node's is the fastest, the worst for it; a gateway's may lose a bounded number of ticks.
//!
//! ```text
//! read index:   Asked ─ round starts ─► Round ─ same leader still ─► Answered ─ enforced here ─► lease
//! forwarding:   Idle ─ permit, lease ─► Checked ─ write ─► Written ─ lease again ─► Idle      (the gate is held between)
//! kernel:       queued ─► delivered        or dropped: reset by the gateway, or by the death of its process
//! ```

mod act;
mod state;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use stateright::{Checker as _, HasDiscoveries, Model, Property};

use crate::flaw::Flaw;
pub use act::Act;
pub use state::{Cluster, Entry, GATEWAYS, Gateway, Renewal, Writing};

/// What may happen how often. The figures of `cluster::limits` are hours of model time; their order is kept:
/// `W` is `D + k` and what clocks may lose meanwhile.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// Gateways that take part.
    pub gateways: usize,
    /// Ticks of the fastest clock.
    pub ticks: u8,
    /// `D`, in ticks.
    pub lease: u8,
    /// `k`, in ticks.
    pub margin: u8,
    /// Ticks a gateway's clock may lose, all in all: `ε`.
    pub drift: u8,
    /// Renewals a gateway may ask for.
    pub renewals: u8,
    /// Operations a gateway may forward.
    pub operations: u8,
    /// Of all gateways together, besides what timers kill.
    pub kills: u8,
    /// Restarts of the answering node.
    pub answering_restarts: u8,
    pub leader_changes: u8,
    /// Gateways taken out of the serving set, all in all, and how many of them join again.
    pub departures: u8,
    pub rejoins: u8,
}

impl Bounds {
    const ONE: Bounds = Bounds {
        gateways: 1,
        ticks: 7,
        lease: 2,
        margin: 1,
        drift: 1,
        renewals: 2,
        operations: 1,
        kills: 0,
        answering_restarts: 0,
        leader_changes: 0,
        departures: 0,
        rejoins: 0,
    };
    /// The leader changes, the gateway is killed and taken out.
    pub const LEADERS: Bounds = Bounds { kills: 1, leader_changes: 1, departures: 1, ..Bounds::ONE };
    /// The gateway is taken out and joins again, the answering node restarts.
    pub const MEMBERS: Bounds = Bounds { answering_restarts: 1, departures: 1, rejoins: 1, ..Bounds::ONE };
    /// Two gateways, one lease each.
    pub const PAIR: Bounds = Bounds { gateways: 2, ticks: 6, renewals: 1, ..Bounds::ONE };

    /// Small, with what the flaw needs to show.
    pub fn for_flaw(flaw: Flaw) -> Bounds {
        let small = Bounds { ticks: 8, ..Bounds::ONE };
        match flaw {
            Flaw::LeaseRead => Bounds { leader_changes: 1, ..small },
            Flaw::RejoinWithoutIndex | Flaw::LeftNotAwaited => Bounds { departures: 1, ..small },
            Flaw::LeftForgottenAtRestart => Bounds { departures: 1, answering_restarts: 1, ..small },
            Flaw::LeaseSurvivesRestart | Flaw::NoLinger => Bounds { kills: 1, ..small },
            Flaw::NoBarrier
            | Flaw::LeaseNotChecked
            | Flaw::RoundShared
            | Flaw::CountedFromAnswer
            | Flaw::NotedAfterSending
            | Flaw::UsedBeforeEnforced
            | Flaw::WaitFromProposal
            | Flaw::NoDriftFactor
            | Flaw::NoFenceMargin
            | Flaw::NoDeadMan
            | Flaw::DeadManLate
            | Flaw::NotDrained
            | Flaw::GateNotTaken
            | Flaw::FrozenNotAborted => small,
        }
    }
}

pub const REVOKED_MEANS_OUT: &str = "nothing is delivered under a revoked grant after the acknowledgement";

/// What must be seen on the way, or the model proves nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seen {
    Delivered,
    AcknowledgedByReports,
    AcknowledgedInSilence,
    KilledByTimer,
    KilledWithBytesQueued,
    FrozenAlive,
    LateSendReset,
    ServedAfterRevocation,
    RejoinedAndServed,
    DepartedAwaited,
    RoundLost,
}

impl Seen {
    pub const ALL: [Seen; 11] = [
        Seen::Delivered,
        Seen::AcknowledgedByReports,
        Seen::AcknowledgedInSilence,
        Seen::KilledByTimer,
        Seen::KilledWithBytesQueued,
        Seen::FrozenAlive,
        Seen::LateSendReset,
        Seen::ServedAfterRevocation,
        Seen::RejoinedAndServed,
        Seen::DepartedAwaited,
        Seen::RoundLost,
    ];
}

/// The protocol, whole or without one of its ingredients.
#[derive(Debug, Clone)]
pub struct Protocol {
    pub bounds: Bounds,
    pub flaw: Option<Flaw>,
    /// Beside the states, not in them: what was seen must not tell two states apart.
    seen: Arc<[AtomicBool; Seen::ALL.len()]>,
}

impl Model for Protocol {
    type State = Cluster;
    type Action = Act;

    fn init_states(&self) -> Vec<Cluster> {
        vec![Cluster::default()]
    }

    fn actions(&self, state: &Cluster, actions: &mut Vec<Act>) {
        act::possible(self, state, actions);
    }

    fn next_state(&self, state: &Cluster, action: Act) -> Option<Cluster> {
        let mut next = state.clone();
        act::perform(self, &mut next, action);
        Some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![Property::always(REVOKED_MEANS_OUT, |_: &Protocol, state: &Cluster| !state.violated)]
    }
}

/// What one run of the checker found.
#[derive(Debug)]
pub struct Found {
    /// Distinct states.
    pub states: usize,
    /// Transitions tried.
    pub visited: usize,
    pub took: Duration,
    /// A way to a violation, breadth first.
    pub counterexample: Option<Vec<Act>>,
    pub seen: Vec<Seen>,
}

impl Protocol {
    pub fn new(bounds: Bounds, flaw: Option<Flaw>) -> Protocol {
        Protocol { bounds, flaw, seen: Arc::default() }
    }

    /// Tries everything; stops at the first violation.
    pub fn check(self, threads: usize) -> Found {
        let started = Instant::now();
        let seen = self.seen.clone();
        let checker = self.checker().threads(threads).finish_when(HasDiscoveries::AnyFailures).spawn_bfs().join();
        Found {
            states: checker.unique_state_count(),
            visited: checker.state_count(),
            took: started.elapsed(),
            counterexample: checker.discovery(REVOKED_MEANS_OUT).map(stateright::Path::into_actions),
            seen: Seen::ALL.into_iter().filter(|what| seen[*what as usize].load(Ordering::Relaxed)).collect(),
        }
    }

    fn is(&self, flaw: Flaw) -> bool {
        self.flaw == Some(flaw)
    }

    fn saw(&self, what: Seen, really: bool) {
        if really {
            self.seen[what as usize].store(true, Ordering::Relaxed);
        }
    }

    /// `W`, in ticks.
    fn wait(&self) -> u8 {
        let margin = if self.is(Flaw::NoFenceMargin) { 0 } else { self.bounds.margin };
        let drift = if self.is(Flaw::NoDriftFactor) { 0 } else { self.bounds.drift };
        self.bounds.lease + margin + drift
    }

    /// How long after the end of a lease a timer kills.
    fn patience(&self) -> u8 {
        self.bounds.margin + u8::from(self.is(Flaw::DeadManLate))
    }
}
