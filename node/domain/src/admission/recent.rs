//! Reviews done lately: a second session of the same parties is admitted by comparing versions (DESIGN §5).

use std::collections::BTreeMap;

use super::{Admission, Attempt, admit};
use crate::id::Name;
use crate::lock::LockOn;
use crate::policy::Rules;
use crate::state::State;
use crate::time::LogTime;

/// Parties remembered; more begin anew.
const PARTIES_MAX: usize = 1024;

#[derive(Debug, Default)]
pub struct Recent(BTreeMap<Parties, Admission>);

/// Who, for whom, with what.
type Parties = (Name, Option<Name>, Name);

impl Recent {
    /// What [`super::admit`] would say, if it has said so for another session of these parties and nothing that it read
    /// has changed since.
    pub fn find(&self, state: &State, attempt: &Attempt, now: LogTime) -> Option<Admission> {
        let known = self.0.get(&parties(attempt))?;
        let permit = known.permit.as_ref().filter(|permit| permit.is_current(state) && !permit.is_over(now))?;
        if state.live_lock(&LockOn::Session(attempt.session), now).is_some() {
            return None;
        }
        let mut again = Admission { permit: Some(permit.for_session(attempt.session)), ..known.clone() };
        again.cited.state = state.applied;
        Some(again)
    }

    /// As [`super::admit`], which is asked only if nothing is known.
    pub fn review(&mut self, state: &State, attempt: &Attempt, now: LogTime, rules: &dyn Rules) -> Admission {
        self.find(state, attempt, now).unwrap_or_else(|| {
            let admission = admit(state, attempt, now, rules);
            self.keep(attempt, &admission);
            admission
        })
    }

    /// Remembers what was said, if that was yes.
    pub fn keep(&mut self, attempt: &Attempt, admission: &Admission) {
        if admission.permit.is_none() {
            return;
        }
        if self.0.len() >= PARTIES_MAX {
            self.0.clear();
        }
        self.0.insert(parties(attempt), admission.clone());
    }
}

fn parties(attempt: &Attempt) -> Parties {
    (attempt.principal.clone(), attempt.on_behalf_of.clone(), attempt.target.clone())
}
