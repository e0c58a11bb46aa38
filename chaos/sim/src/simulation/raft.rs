//! A small Raft: pre-vote, elections, log replication, read index. It is here so that deposed leaders, one-way cuts and
//! lagging followers are what they are, not what an abstraction thinks of.

use super::event::{Event, Message, Timer};
use super::figures::{ELECTION, HEARTBEAT, MS};
use super::history::Fact;
use super::{NODES_MAX, Quirk, Sim, figures};
use crate::flaw::Flaw;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Role {
    #[default]
    Follower,
    Candidate,
    Leader,
}

/// Somebody waits for a quorum round.
struct Read {
    asker: usize,
    request: u64,
    place: usize,
    round: u64,
}

#[derive(Default)]
pub(super) struct Raft {
    // Synced before it counts.
    term: u32,
    voted: Option<usize>,
    pub(super) log: Vec<(u32, u32)>,
    // Volatile.
    role: Role,
    pub(super) leader: Option<usize>,
    pub(super) commit: usize,
    heard_at: u64,
    epoch: u64,
    votes: u8,
    next: [usize; NODES_MAX],
    matched: [usize; NODES_MAX],
    round: u64,
    /// What was committed when the current round began, for [`Flaw::RoundShared`].
    round_began_with: usize,
    answered: [u64; NODES_MAX],
    reads: Vec<Read>,
    /// Who proposed what this leader appended: place, asker, ticket.
    waiting: Vec<(usize, usize, u64)>,
}

impl Raft {
    pub(super) fn leads(&self) -> bool {
        self.role == Role::Leader
    }

    pub(super) fn lose_volatile(&mut self) {
        (self.role, self.leader, self.commit, self.votes) = (Role::Follower, None, 0, 0);
        self.reads.clear();
        self.waiting.clear();
    }

    fn last(&self) -> (u32, usize) {
        (self.log.last().map_or(0, |e| e.0), self.log.len())
    }

    fn term_at(&self, place: usize) -> u32 {
        if place == 0 { 0 } else { self.log[place - 1].0 }
    }
}

impl Sim {
    fn majority(&self) -> usize {
        self.count / 2 + 1
    }

    pub(super) fn start_raft(&mut self, node: usize) {
        self.nodes[node].raft.heard_at = self.now;
        self.wait_for_leader(node);
    }

    fn wait_for_leader(&mut self, node: usize) {
        let delay = ELECTION.1 + self.rng.range(ELECTION.0, ELECTION.1);
        let raft = &mut self.nodes[node].raft;
        raft.epoch += 1;
        let epoch = raft.epoch;
        self.timer(node, delay, Timer::Election { epoch });
    }

    pub(super) fn election_timeout(&mut self, node: usize, epoch: u64) {
        let raft = &mut self.nodes[node].raft;
        if raft.epoch != epoch || raft.role == Role::Leader {
            return;
        }
        if self.now < raft.heard_at + ELECTION.1 {
            return self.wait_for_leader(node);
        }
        (raft.role, raft.leader, raft.votes) = (Role::Follower, None, 1 << node);
        let (term, last) = (raft.term + 1, raft.last());
        self.broadcast(node, |_| Message::Vote { term, last, pre: true });
        self.wait_for_leader(node);
    }

    /// Begins an election at once, as a leader's transfer makes a follower do.
    pub(super) fn stand_for_election(&mut self, node: usize) {
        let raft = &mut self.nodes[node].raft;
        raft.term += 1;
        (raft.role, raft.leader, raft.voted, raft.votes) = (Role::Candidate, None, Some(node), 1 << node);
        let (term, last) = (raft.term, raft.last());
        self.broadcast(node, |_| Message::Vote { term, last, pre: false });
        self.wait_for_leader(node);
    }

    fn broadcast(&mut self, node: usize, message: impl Fn(usize) -> Message) {
        for other in 0..self.count {
            if other != node {
                self.send(node, other, message(other));
            }
        }
    }

    fn adopt(&mut self, node: usize, term: u32) {
        let raft = &mut self.nodes[node].raft;
        if term > raft.term {
            (raft.term, raft.voted) = (term, None);
            self.step_down(node);
        }
    }

    fn step_down(&mut self, node: usize) {
        let raft = &mut self.nodes[node].raft;
        let led = raft.role == Role::Leader;
        (raft.role, raft.leader) = (Role::Follower, None);
        let reads = std::mem::take(&mut raft.reads);
        let waiting = std::mem::take(&mut raft.waiting);
        for read in reads {
            self.send(node, read.asker, Message::Renewed { request: read.request, answer: None });
        }
        for (_, asker, ticket) in waiting {
            self.send(node, asker, Message::Proposed { ticket, place: None });
        }
        if led {
            self.nodes[node].leading = Default::default();
            self.wait_for_leader(node);
        }
    }

    pub(super) fn receive(&mut self, node: usize, from: usize, message: Message) {
        match message {
            Message::Vote { term, last, pre } => self.vote(node, from, term, last, pre),
            Message::VoteReply { term, granted, pre } => self.count_vote(node, from, term, granted, pre),
            Message::Append { term, previous, entries, commit, round } => {
                self.adopt(node, term);
                let raft = &mut self.nodes[node].raft;
                if term < raft.term {
                    let (term, round) = (raft.term, 0);
                    return self.send(node, from, Message::AppendReply { term, matched: None, round });
                }
                (raft.role, raft.leader, raft.heard_at) = (Role::Follower, Some(from), self.now);
                let matched = self.append(node, previous, &entries, commit);
                self.send(node, from, Message::AppendReply { term, matched, round });
            }
            Message::AppendReply { term, matched, round } => self.appended(node, from, term, matched, round),
            Message::Renew { request, enforced, wall_ms } => self.answer_renewal(node, from, request, enforced, wall_ms),
            Message::Renewed { request, answer } => self.renewed(node, request, answer),
            Message::Propose { ticket, number } => self.propose_here(node, from, ticket, number),
            Message::Proposed { ticket, place } => self.proposed(node, ticket, place),
            Message::AwaitEnforced { barrier, asker, node: about, place } => self.await_enforced(node, from, barrier, asker, about, place),
            Message::Enforces { barrier, asker, node: about } => self.enforces(node, barrier, asker, about),
            Message::Suspect { node: about, place } => self.suspect(node, about, place),
        }
    }

    fn vote(&mut self, node: usize, from: usize, term: u32, last: (u32, usize), pre: bool) {
        let raft = &self.nodes[node].raft;
        let behind = raft.last() <= last;
        if pre {
            let lonely = self.now >= raft.heard_at + ELECTION.0 && raft.role != Role::Leader;
            let granted = term > raft.term && behind && lonely;
            // Who is refused learns the term, or one with a longer log and a lower term would ask for ever.
            let term = if granted { term } else { raft.term };
            return self.send(node, from, Message::VoteReply { term, granted, pre });
        }
        self.adopt(node, term);
        let raft = &mut self.nodes[node].raft;
        let granted = term == raft.term && behind && raft.voted.is_none_or(|voted| voted == from) && raft.role == Role::Follower;
        if granted {
            raft.voted = Some(from);
            raft.heard_at = self.now;
        }
        let term = raft.term;
        self.send(node, from, Message::VoteReply { term, granted, pre });
    }

    fn count_vote(&mut self, node: usize, from: usize, term: u32, granted: bool, pre: bool) {
        if !pre || !granted {
            self.adopt(node, term);
        }
        let majority = self.majority();
        let raft = &mut self.nodes[node].raft;
        let counts = if pre {
            raft.role == Role::Follower && raft.leader.is_none() && term == raft.term + 1
        } else {
            raft.role == Role::Candidate && term == raft.term
        };
        if !granted || !counts {
            return;
        }
        raft.votes |= 1 << from;
        if (raft.votes.count_ones() as usize) < majority {
            return;
        }
        if pre {
            return self.stand_for_election(node);
        }
        raft.role = Role::Leader;
        raft.leader = Some(node);
        raft.next = [raft.log.len() + 1; NODES_MAX];
        raft.matched = [0; NODES_MAX];
        raft.answered = [0; NODES_MAX];
        let term = raft.term;
        raft.log.push((term, 0));
        self.nodes[node].leading = Default::default();
        self.fact(Fact::Leads { node });
        self.heartbeat(node, term);
    }

    pub(super) fn heartbeat(&mut self, node: usize, term: u32) {
        let raft = &self.nodes[node].raft;
        if raft.role != Role::Leader || raft.term != term {
            return;
        }
        self.begin_round(node);
        self.timer(node, HEARTBEAT, Timer::Heartbeat { term });
    }

    fn begin_round(&mut self, node: usize) {
        let raft = &mut self.nodes[node].raft;
        raft.round += 1;
        raft.round_began_with = raft.commit;
        for other in 0..self.count {
            if other != node {
                self.send_entries(node, other);
            }
        }
        self.try_commit(node);
    }

    fn send_entries(&mut self, node: usize, other: usize) {
        let raft = &mut self.nodes[node].raft;
        let previous = raft.next[other] - 1;
        let end = raft.log.len().min(previous + 64);
        let entries = raft.log[previous..end].to_vec();
        // Pipelined: what was lost comes back with a reply that does not match.
        raft.next[other] = end + 1;
        let message = Message::Append {
            term: raft.term,
            previous: (previous, raft.term_at(previous)),
            entries,
            commit: raft.commit,
            round: raft.round,
        };
        self.send(node, other, message);
    }

    fn append(&mut self, node: usize, previous: (usize, u32), entries: &[(u32, u32)], commit: usize) -> Option<usize> {
        let raft = &mut self.nodes[node].raft;
        let (place, term) = previous;
        if place > raft.log.len() || raft.term_at(place) != term {
            return None;
        }
        for (at, entry) in entries.iter().enumerate() {
            let at = place + at;
            if raft.log.get(at).is_some_and(|own| own.0 != entry.0) {
                raft.log.truncate(at);
            }
            if at == raft.log.len() {
                raft.log.push(*entry);
            }
        }
        let matched = place + entries.len();
        let commit = commit.min(matched);
        if commit > raft.commit {
            raft.commit = commit;
            self.wake_apply(node);
        }
        Some(matched)
    }

    fn appended(&mut self, node: usize, from: usize, term: u32, matched: Option<usize>, round: u64) {
        self.adopt(node, term);
        let raft = &mut self.nodes[node].raft;
        if raft.role != Role::Leader || raft.term != term {
            return;
        }
        match matched {
            Some(place) => {
                raft.matched[from] = raft.matched[from].max(place);
                raft.answered[from] = raft.answered[from].max(round);
                if raft.next[from] <= raft.matched[from] {
                    raft.next[from] = raft.matched[from] + 1;
                }
                if raft.next[from] <= raft.log.len() {
                    self.send_entries(node, from);
                }
            }
            None => {
                // Back to what is known to match: logs are short here.
                raft.next[from] = raft.matched[from] + 1;
                self.send_entries(node, from);
            }
        }
        self.try_commit(node);
        self.answer_reads(node);
    }

    fn try_commit(&mut self, node: usize) {
        let majority = self.majority();
        let count = self.count;
        let raft = &mut self.nodes[node].raft;
        raft.matched[node] = raft.log.len();
        let mut matched = raft.matched;
        matched[..count].sort_unstable();
        let place = matched[count - majority];
        if place > raft.commit && raft.term_at(place) == raft.term {
            raft.commit = place;
            self.wake_apply(node);
        }
    }

    /// A read index for `asker`: confirmed by a round that begins now.
    pub(super) fn read_index(&mut self, node: usize, asker: usize, request: u64) {
        if !self.nodes[node].raft.leads() {
            return self.send(node, asker, Message::Renewed { request, answer: None });
        }
        if self.is(Flaw::LeaseRead) {
            let place = self.nodes[node].raft.commit;
            return self.answer_read(node, asker, request, place);
        }
        let raft = &mut self.nodes[node].raft;
        let (term, began_with) = (raft.term, raft.round_began_with);
        // Until an entry of its own term is committed, a leader does not know what is.
        let own = raft.log.iter().rposition(|e| e.0 < term).map_or(1, |at| at + 2);
        if self.is(Flaw::RoundShared) {
            let raft = &mut self.nodes[node].raft;
            let round = raft.round;
            raft.reads.push(Read { asker, request, place: began_with, round });
            return self.answer_reads(node);
        }
        self.begin_round(node);
        let raft = &mut self.nodes[node].raft;
        let (place, round) = (raft.commit.max(own), raft.round);
        raft.reads.push(Read { asker, request, place, round });
    }

    fn answer_reads(&mut self, node: usize) {
        let (count, majority) = (self.count, self.majority());
        let raft = &mut self.nodes[node].raft;
        let mut answered = raft.answered;
        answered[node] = raft.round;
        answered[..count].sort_unstable();
        let confirmed = answered[count - majority];
        let (done, left): (Vec<Read>, Vec<Read>) = std::mem::take(&mut raft.reads).into_iter().partition(|read| read.round <= confirmed);
        raft.reads = left;
        for read in done {
            self.answer_read(node, read.asker, read.request, read.place);
        }
    }

    fn answer_read(&mut self, node: usize, asker: usize, request: u64, place: usize) {
        let log_time = self.stamp(node).0;
        let (local, count) = (self.local(node), self.count);
        // With too few clocks, what it would say may lie as far back as the last entry took to be committed.
        let known = self.nodes[node].leading.clocks.knows(count, local) || self.has(Quirk::LogTimeWithoutClocks);
        self.send(node, asker, Message::Renewed { request, answer: known.then_some((place, log_time)) });
    }

    /// The leader's part of a proposal.
    pub(super) fn propose_here(&mut self, node: usize, asker: usize, ticket: u64, number: u32) {
        if !self.nodes[node].raft.leads() {
            return self.send(node, asker, Message::Proposed { ticket, place: None });
        }
        let stamp = self.stamp(node);
        // Stamped anew by each leader that appends it; the number stays what tells proposals apart.
        let number = match &self.proposals[number as usize] {
            Some(proposal) if proposal.stamp != stamp => {
                let mut stamped = proposal.clone();
                stamped.stamp = stamp;
                self.proposals.push(Some(stamped));
                self.proposals.len() as u32 - 1
            }
            _ => number,
        };
        let raft = &mut self.nodes[node].raft;
        raft.log.push((raft.term, number));
        let place = raft.log.len();
        raft.waiting.push((place, asker, ticket));
        for other in 0..self.count {
            if other != node {
                self.send_entries(node, other);
            }
        }
        self.try_commit(node);
    }

    pub(super) fn wake_apply(&mut self, node: usize) {
        if !self.nodes[node].applying {
            self.nodes[node].applying = true;
            let delay = self.rng.range(50, 600);
            self.timer(node, delay, Timer::Apply);
        }
    }

    /// `Publisher::publish`: what is committed becomes the state that this node decides from.
    pub(super) fn apply_committed(&mut self, node: usize) {
        self.nodes[node].applying = false;
        if self.nodes[node].stalled_until > self.now {
            self.nodes[node].applying = true;
            let left = self.nodes[node].stalled_until - self.now;
            return self.timer(node, left, Timer::Apply);
        }
        let local = self.local(node);
        let mut changed = false;
        while self.nodes[node].applied < self.nodes[node].raft.commit {
            let place = self.nodes[node].applied + 1;
            let entry = self.nodes[node].raft.log[place - 1];
            match self.committed.get(place - 1) {
                Some(known) if *known != entry => self.fact(Fact::Forked { node, place }),
                Some(_) => {}
                None => self.committed.push(entry),
            }
            if self.world.len() < place {
                self.world.apply(self.proposals[entry.1 as usize].as_ref());
                self.applied_first.push(self.now);
            }
            // A blank entry makes no new state, and log time stands where it stood.
            changed |= entry.1 > 0;
            let it = &mut self.nodes[node];
            it.applied = place;
            if self.world.is_narrowing(place) {
                it.narrowed = place;
            }
        }
        let applied = self.nodes[node].applied;
        if changed {
            self.nodes[node].stamped = local;
        }
        self.note_departures(node, applied);
        let raft = &mut self.nodes[node].raft;
        if raft.role == Role::Leader {
            let (done, left): (Vec<_>, Vec<_>) = std::mem::take(&mut raft.waiting).into_iter().partition(|w| w.0 <= applied);
            raft.waiting = left;
            for (place, asker, ticket) in done {
                self.send(node, asker, Message::Proposed { ticket, place: Some(place) });
            }
        }
        self.after_apply(node);
    }

    /// `Publisher::note_departures`.
    pub(super) fn note_departures(&mut self, node: usize, applied: usize) {
        let local = self.local(node);
        let again = self.has(Quirk::DepartureNotedAgain);
        for other in 0..self.count {
            let left_at = match self.world.state(applied).members.get(&super::world::node_id(other)).map(|m| m.serving) {
                Some(domain::member::Serving::No { left }) => Some(self.world.place(left)),
                Some(domain::member::Serving::Yes { .. }) | None => None,
            };
            let known = &mut self.nodes[node].left[other];
            if let Some(left_at) = left_at
                && known.is_none_or(|(at, _)| at < left_at)
            {
                *known = Some((left_at, local));
            }
            if again && known.is_some_and(|(_, learned)| local.saturating_sub(learned) > figures::barrier_wait() * 2) {
                *known = None;
            }
        }
    }

    /// What an entry set in motion on this node.
    fn after_apply(&mut self, node: usize) {
        self.follow_own_proposals(node);
        if self.nodes[node].enforcing.is_none() {
            let boot = self.nodes[node].boot;
            self.after(MS / 50, Event::Timer { node, boot, timer: Timer::Enforce });
        }
    }
}
