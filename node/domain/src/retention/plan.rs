//! Which bodies go, told from the state and a reading of the audit log. Whoever plans proposes it as a command, which is
//! refused if a rule or a hold changed meanwhile.

use std::collections::BTreeMap;

use super::{LegalHold, RecordClass, Runs, Whose};
use crate::audit::record;
use crate::audit::record::stored::{Kind, Record};
use crate::id::{Index, SessionId};
use crate::limits::{PRUNED_PER_PLAN_MAX, PRUNED_RUNS_MAX};
use crate::state::State;
use crate::time::LogTime;

/// Reads leaves in their order, from where the class stands.
#[derive(Debug)]
pub struct Planner {
    pub class: RecordClass,
    /// The rules and holds that it is planned under.
    pub seen: Index,
    /// Records up to this time go.
    pub before: LogTime,
    /// Leaves looked at, and those of them that go.
    pub through: u64,
    pub leaves: Runs,
    holds: Vec<LegalHold>,
    /// Whose the sessions are that were seen.
    sessions: BTreeMap<SessionId, Whose>,
}

impl Planner {
    /// `None` where the class is kept for ever, or longer than there is time. `now` is that of the state: a plan that is
    /// ahead of the log would be refused.
    pub fn new(state: &State, class: RecordClass) -> Option<Planner> {
        let keep = state.retention_rules.get(&class)?.keep?;
        let keep = u64::try_from(keep.as_millis()).ok()?;
        let before = LogTime(state.now.0.checked_sub(keep)?);
        let through = state.retention.progress.get(&class).map_or(0, |progress| progress.through);
        let holds = state.holds.values().cloned().collect();
        let seen = state.retention.changed;
        Some(Planner { class, seen, before, through, leaves: Runs::default(), holds, sessions: BTreeMap::new() })
    }

    /// Looks at leaf [`Planner::through`]. `false` when the plan ends before it: it is too young, or the plan is full.
    pub fn look(&mut self, leaf: &[u8]) -> bool {
        // What cannot be read is not known to be of the class.
        if let Ok(record) = record::decode(leaf) {
            let whose = self.whose(&record);
            if LogTime(record.time) > self.before {
                return false;
            }
            let due = RecordClass::of(&record) == Some(self.class);
            if due && !self.holds.iter().any(|hold| hold.on.covers(&record, whose.as_ref())) {
                let joins = self.leaves.end() == self.through && !self.leaves.is_empty();
                if self.leaves.count() >= PRUNED_PER_PLAN_MAX || (!joins && self.leaves.as_pairs().len() / 2 >= PRUNED_RUNS_MAX) {
                    return false;
                }
                self.leaves.push(self.through);
            }
        }
        self.through += 1;
        true
    }

    fn whose(&mut self, record: &Record) -> Option<Whose> {
        let session = record.session.as_ref().map(record::stored::Session::id);
        let of = |principal: &str, on_behalf_of: &str, target: &str| Whose {
            principal: principal.to_owned(),
            on_behalf_of: on_behalf_of.to_owned(),
            target: target.to_owned(),
        };
        let said = match record.kind.as_ref()? {
            Kind::Admission(admission) => Some(of(&admission.principal, &admission.on_behalf_of, &admission.target)),
            Kind::Intent(intent) => Some(of(&intent.principal, &intent.on_behalf_of, &intent.target)),
            Kind::TargetCheck(check) => Some(of(&check.principal, "", &check.target)),
            Kind::Connection(connection) => Some(of(&connection.principal, &connection.on_behalf_of, &connection.target)),
            Kind::Outcome(_)
            | Kind::Enforcement(_)
            | Kind::LateSend(_)
            | Kind::Termination(_)
            | Kind::SessionEnd(_)
            | Kind::StatementText(_)
            | Kind::Pruned(_) => None,
        };
        // Nobody asks whose it is where nothing is held.
        if self.holds.is_empty() {
            return said;
        }
        match (said, session) {
            (Some(said), Some(session)) => Some(self.sessions.entry(session).or_insert(said).clone()),
            (Some(said), None) => Some(said),
            (None, Some(session)) => {
                let known = self.sessions.get(&session).cloned();
                if let Some(Kind::SessionEnd(_)) = record.kind {
                    self.sessions.remove(&session);
                }
                known
            }
            (None, None) => None,
        }
    }
}
