//! What the protocol would be without one of its ingredients. Each must be caught by the model and by the simulation:
//! a harness that lets one pass proves nothing about the rest.

/// One ingredient left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Flaw {
    /// A revocation is acknowledged when it is committed; nodes hear of it in time.
    NoBarrier,
    /// Forwarding looks at the permit, never at the lease.
    LeaseNotChecked,
    /// A renewal is answered by who believes to lead, without a quorum.
    LeaseRead,
    /// A renewal is answered by a quorum round that was under way when it arrived.
    RoundShared,
    /// The lease counts from when the answer came.
    CountedFromAnswer,
    /// The lease counts from a moment noted after the request had left.
    NotedAfterSending,
    /// A lease is used before the node enforces the index it was confirmed at.
    UsedBeforeEnforced,
    /// A node renews its lease without looking whether it is in the serving set.
    RejoinWithoutIndex,
    /// A barrier does not wait for a node that was taken out.
    LeftNotAwaited,
    /// An answering node that restarted believes that who is out has been out for long.
    LeftForgottenAtRestart,
    /// The wait is counted from the proposal, before the commit was learned.
    WaitFromProposal,
    /// Clocks are taken to run at the same rate.
    NoDriftFactor,
    /// The wait ends with the lease: no time for the fences.
    NoFenceMargin,
    /// Nothing kills a stopped process.
    NoDeadMan,
    /// The dead-man timer is armed for the end of the margin, so that the kill itself comes after it.
    DeadManLate,
    /// The sockets of a killed process close politely: its kernel goes on delivering.
    NoLinger,
    /// An index counts as enforced although bytes are still on their way.
    NotDrained,
    /// An index counts as enforced although somebody stands between check and write.
    GateNotTaken,
    /// At the end of a lease sessions freeze, but what is on its way stays on its way.
    FrozenNotAborted,
    /// A restarted process goes on with the lease its last one had.
    LeaseSurvivesRestart,
}

impl Flaw {
    pub const ALL: [Flaw; 20] = [
        Flaw::NoBarrier,
        Flaw::LeaseNotChecked,
        Flaw::LeaseRead,
        Flaw::RoundShared,
        Flaw::CountedFromAnswer,
        Flaw::NotedAfterSending,
        Flaw::UsedBeforeEnforced,
        Flaw::RejoinWithoutIndex,
        Flaw::LeftNotAwaited,
        Flaw::LeftForgottenAtRestart,
        Flaw::WaitFromProposal,
        Flaw::NoDriftFactor,
        Flaw::NoFenceMargin,
        Flaw::NoDeadMan,
        Flaw::DeadManLate,
        Flaw::NoLinger,
        Flaw::NotDrained,
        Flaw::GateNotTaken,
        Flaw::FrozenNotAborted,
        Flaw::LeaseSurvivesRestart,
    ];
}
