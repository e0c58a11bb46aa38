//! How long the bodies of audit records are kept: a rule per class, and legal holds, which always win. What goes is
//! planned from these and a reading of the log ([`plan`]), decided by a command of the control log, and carried out by
//! an entry of the audit log: hashes stay, so every proof does ([`crate::audit::pruned`]).

pub mod plan;

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use crate::audit::record::stored::{Kind, Record};
use crate::id::{HoldId, Index, Name, RunId};
use crate::limits::{DAY, PRUNED_RUNS_MAX};
use crate::time::LogTime;

/// Records that are kept for the same time. The control log is no class: administration is kept as long as the cluster,
/// because who voted, granted and decided is what all else is verified against.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RecordClass {
    /// Intents, outcomes, late sends.
    Operations,
    /// Texts of statements too long for their record.
    Statements,
    /// Admissions, and how sessions ended.
    Sessions,
    /// What each node enforced of a revocation.
    Decisions,
    /// What operators were told about targets.
    Checks,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a record class is one of operations, statements, sessions, decisions, checks; got {0:?}")]
pub struct InvalidClass(pub String);

impl RecordClass {
    pub const ALL: [RecordClass; 5] =
        [RecordClass::Operations, RecordClass::Statements, RecordClass::Sessions, RecordClass::Decisions, RecordClass::Checks];

    pub fn as_str(self) -> &'static str {
        match self {
            RecordClass::Operations => "operations",
            RecordClass::Statements => "statements",
            RecordClass::Sessions => "sessions",
            RecordClass::Decisions => "decisions",
            RecordClass::Checks => "checks",
        }
    }

    /// The class of a record; `None` of what is pruned already.
    pub fn of(record: &Record) -> Option<RecordClass> {
        match record.kind.as_ref()? {
            Kind::Intent(_) | Kind::Outcome(_) | Kind::LateSend(_) => Some(RecordClass::Operations),
            Kind::StatementText(_) => Some(RecordClass::Statements),
            Kind::Admission(_) | Kind::Connection(_) | Kind::SessionEnd(_) => Some(RecordClass::Sessions),
            Kind::Enforcement(_) | Kind::Termination(_) => Some(RecordClass::Decisions),
            Kind::TargetCheck(_) => Some(RecordClass::Checks),
            Kind::Pruned(_) => None,
        }
    }

    /// The shortest time a rule may name: evidence that somebody could shorten to nothing is none.
    pub fn keep_min(self) -> Duration {
        match self {
            // A text may hold data that must be erasable soon; its hash stays in the intent.
            RecordClass::Statements => DAY,
            RecordClass::Operations | RecordClass::Checks => 30 * DAY,
            // PCI DSS 10.5.1 keeps the trail of access for a year.
            RecordClass::Sessions | RecordClass::Decisions => 365 * DAY,
        }
    }
}

impl fmt::Display for RecordClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for RecordClass {
    type Err = InvalidClass;

    fn from_str(text: &str) -> Result<Self, InvalidClass> {
        RecordClass::ALL.into_iter().find(|class| class.as_str() == text).ok_or_else(|| InvalidClass(text.chars().take(128).collect()))
    }
}

/// How long the records of a class are kept. Without a rule they are kept for ever.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    pub class: RecordClass,
    /// `None`: for ever, after all.
    pub keep: Option<Duration>,
    pub reason: String,
    pub by: Name,
    pub at: LogTime,
    pub version: Index,
}

/// Records that no rule prunes while this stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LegalHold {
    pub id: HoldId,
    pub on: Held,
    pub reason: String,
    pub by: Name,
    pub at: LogTime,
    /// Only somebody else than `by` may release it.
    pub two_people: bool,
}

/// What a hold is on: all that is named must fit. Nothing named: every record.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Held {
    /// Who acted, or for whom.
    pub principal: Option<Name>,
    pub target: Option<Name>,
    pub run: Option<RunId>,
    /// Log time of the record, the end excluded.
    pub from: Option<LogTime>,
    pub until: Option<LogTime>,
}

/// Whose a record is, as far as it is known: records of a session say less than its admission did.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Whose {
    pub principal: String,
    pub on_behalf_of: String,
    pub target: String,
}

impl Held {
    /// A record of which it is not known whose it is counts as held.
    pub fn covers(&self, record: &Record, whose: Option<&Whose>) -> bool {
        let time = LogTime(record.time);
        let named = |name: &Option<Name>, is: &dyn Fn(&Whose, &str) -> bool| {
            name.as_ref().is_none_or(|name| whose.is_none_or(|whose| is(whose, name.as_str())))
        };
        self.from.is_none_or(|from| time >= from)
            && self.until.is_none_or(|until| time < until)
            && self.run.as_ref().is_none_or(|run| record.run == run.as_str())
            && named(&self.principal, &|whose, name| whose.principal == name || whose.on_behalf_of == name)
            && named(&self.target, &|whose, name| whose.target == name)
    }
}

/// What is true of pruning as a whole.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RetentionFacts {
    /// When a rule or a hold changed last. A plan made before is refused.
    pub changed: Index,
    pub progress: BTreeMap<RecordClass, Pruning>,
}

/// How far the rule of one class has been carried out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pruning {
    pub class: RecordClass,
    /// Leaves of the audit log that were looked at under the rules and holds of now.
    pub through: u64,
    /// Bodies that went, since ever.
    pub pruned: u64,
    /// The last plan that prunes something: carried out again until it is known to be done.
    pub last: Option<Plan>,
}

/// What one command prunes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// The entry that decided it.
    pub index: Index,
    pub at: LogTime,
    /// Nothing younger goes.
    pub before: LogTime,
    pub leaves: Runs,
}

/// Numbers of leaves, rising: runs of neighbours as pairs of a gap since the last run and a length.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Runs {
    pairs: Vec<u64>,
    end: u64,
    count: u64,
}

impl Runs {
    /// `None` unless the pairs are whole, few enough, and as they are written here.
    pub fn from_pairs(pairs: Vec<u64>) -> Option<Runs> {
        let (mut end, mut count) = (0_u64, 0_u64);
        if !pairs.len().is_multiple_of(2) || pairs.len() / 2 > PRUNED_RUNS_MAX {
            return None;
        }
        for (place, pair) in pairs.chunks_exact(2).enumerate() {
            let [gap, length] = pair else { return None };
            if *length == 0 || (place > 0 && *gap == 0) {
                return None;
            }
            end = end.checked_add(*gap)?.checked_add(*length)?;
            count += length;
        }
        Some(Runs { pairs, end, count })
    }

    /// Appends a number that is beyond the last.
    ///
    /// # Panics
    /// If it is not.
    pub fn push(&mut self, number: u64) {
        assert!(number >= self.end, "leaf {number} comes after {}", self.end);
        if number == self.end && !self.pairs.is_empty() {
            *self.pairs.last_mut().expect("there is a pair") += 1;
        } else {
            self.pairs.extend([number - self.end, 1]);
        }
        self.end = number + 1;
        self.count += 1;
    }

    pub fn as_pairs(&self) -> &[u64] {
        &self.pairs
    }

    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// How many leaves.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// One after the last of them.
    pub fn end(&self) -> u64 {
        self.end
    }

    pub fn ranges(&self) -> impl Iterator<Item = std::ops::Range<u64>> + '_ {
        self.pairs.chunks_exact(2).scan(0, |end, pair| {
            let from = *end + pair[0];
            *end = from + pair[1];
            Some(from..*end)
        })
    }

    /// Those of `numbers`, which rise, that are not among these.
    pub fn missing(&self, numbers: &[u64]) -> Vec<u64> {
        let mut ranges = self.ranges().peekable();
        let mut is_missing = |number: u64| {
            while ranges.next_if(|range| range.end <= number).is_some() {}
            ranges.peek().is_none_or(|range| number < range.start)
        };
        numbers.iter().copied().filter(|number| is_missing(*number)).collect()
    }
}

#[cfg(test)]
mod tests;
