//! Review: a campaign in which people recertify grants and the credentials that principals hold.
//!
//! What is under review is fixed at one index of the log, the review's id. Each item goes through up to three stages of
//! reviewers; what takes access away counts at once, what keeps it when the last stage has said so. An item that nobody
//! decided on by the due date is kept, suspended or revoked, as the review says; log time tells, no job has to run.

mod report;
mod scope;
pub mod trigger;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use crate::grant::Grant;
use crate::id::{Digest, Index, Name, ReviewId, TokenId};
use crate::permission::PermissionSet;
use crate::principal::{Token, TokenUse};
use crate::time::LogTime;
pub use report::{REPORT_HEADER, report};
pub use scope::Scope;
pub(crate) use scope::{population, risk_of_grant};
use trigger::Triggered;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Review {
    pub id: ReviewId,
    /// Not unique: reviews that repeat share it.
    pub name: Name,
    pub terms: Terms,
    pub opened_by: Name,
    pub opened: LogTime,
    /// How many items there are; they are numbered from 0.
    pub items: u32,
    /// Items whose last stage has not decided yet.
    pub undecided: u32,
    /// Items that carry the due date, or what came of it, so far. A large review takes several entries for that.
    pub worked: u32,
    /// When the next review under the same terms opens.
    pub repeats_at: Option<LogTime>,
    pub status: ReviewStatus,
    pub version: Index,
    /// What opened it, unless a person or its series did. Shared: it is cloned with every decision.
    pub trigger: Option<Arc<Triggered>>,
}

/// What a review is opened with. A review that repeats is opened with the same again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Terms {
    /// Why it is held and how often: the policy, risk analysis or ticket an auditor will ask for.
    pub basis: String,
    pub scope: Scope,
    /// Who decides, stage by stage.
    pub stages: Vec<Reviewers>,
    /// Who decides as well once `escalates` has passed since the opening.
    pub fallback: BTreeSet<Name>,
    pub escalates: Option<Duration>,
    /// From the opening to the due date.
    pub length: Duration,
    pub overdue: Overdue,
    /// How long a decision to keep counts: the review due date it sets.
    pub certifies: Duration,
    /// From this risk on, keeping access needs a rationale too. Taking it away always does.
    pub rationale_from: Option<Risk>,
    pub repeats: Option<Duration>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reviewers {
    Named(BTreeSet<Name>),
    /// The owner of the target that a grant is for.
    TargetOwner,
    /// Whoever has `assize:decide on review/NAME`.
    ByRight,
}

/// What becomes of an item without a decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Overdue {
    Keep,
    /// It admits nothing until somebody decides.
    Suspend,
    Revoke,
}

/// Of a grant: high where it may change structure, rights or the gateway itself, medium where it may change data, low
/// where it only reads. Of a token: high for the admin API, medium for targets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Risk {
    Low,
    Medium,
    High,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReviewStatus {
    Open,
    /// The due date has passed: what nobody decided on has had its default.
    Due,
    Closed {
        by: Name,
        at: LogTime,
        index: Index,
        /// SHA-256 of [`report`] as it was signed off.
        digest: Digest,
        statement: String,
    },
}

/// One thing to decide on, as it was when the review was opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    pub subject: Subject,
    /// Whose access it is.
    pub principal: Name,
    /// Who must not decide: the principal, those who answer for it, and who granted it, at the opening. Those at the
    /// time of the decision come on top.
    pub conflicted: BTreeSet<Name>,
    pub risk: Risk,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subject {
    Grant(Box<Grant>),
    Token { id: TokenId, usage: TokenUse, label: String, issued_by: Name, issued: LogTime, expires: Option<LogTime> },
}

/// What happened to one item: only ever appended to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct History {
    pub decisions: Vec<ItemDecision>,
    pub handed: Vec<Handed>,
    /// It was gone by other means before anybody decided: seen at this entry.
    pub ended: Option<Index>,
}

/// Some items of one review, by their numbers: the rows the population is stored in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chunk {
    pub review: ReviewId,
    pub number: u32,
    pub items: Vec<Item>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ItemDecision {
    pub by: Name,
    pub at: LogTime,
    pub index: Index,
    pub stage: u32,
    /// The version of the grant, or the id of the token, that was decided on.
    pub seen: Index,
    pub choice: Choice,
    /// What a modification replaced.
    pub before: Option<Access>,
    pub rationale: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Choice {
    Approve,
    /// Keep less: `access` lies within what the grant gives.
    Modify {
        access: Access,
        expires: Option<LogTime>,
    },
    Revoke,
    /// On record; somebody else has to decide.
    Abstain,
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Access {
    pub permissions: PermissionSet,
    pub roles: BTreeSet<Name>,
}

/// An item was given to another reviewer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Handed {
    /// The stage it counts for.
    pub stage: u32,
    pub to: Name,
    pub by: Name,
    pub at: LogTime,
    pub index: Index,
    pub reason: String,
}

/// Where an item stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// Waits for the reviewers of this stage, counted from 0.
    Waits {
        stage: u32,
    },
    Decided(Outcome),
    /// By default at the due date.
    Defaulted(Overdue),
    /// Gone by other means before anybody decided.
    Ended,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    Approved,
    Modified,
    Revoked,
}

impl Review {
    pub fn due(&self) -> LogTime {
        self.opened.after(self.terms.length)
    }

    pub fn is_closed(&self) -> bool {
        match self.status {
            ReviewStatus::Closed { .. } => true,
            ReviewStatus::Open | ReviewStatus::Due => false,
        }
    }

    /// From when on the fallback reviewers decide too.
    pub fn escalates_at(&self) -> Option<LogTime> {
        self.terms.escalates.map(|after| self.opened.after(after))
    }

    /// The fallback reviewers decide too.
    pub fn is_escalated(&self, now: LogTime) -> bool {
        self.escalates_at().is_some_and(|at| at <= now)
    }

    /// Something is to be done to its items that no single entry can do to all of them.
    pub(crate) fn has_work(&self) -> bool {
        match (&self.status, self.terms.overdue) {
            (ReviewStatus::Open, Overdue::Keep) | (ReviewStatus::Closed { .. }, _) => false,
            (ReviewStatus::Open, Overdue::Suspend | Overdue::Revoke) | (ReviewStatus::Due, _) => self.worked < self.items,
        }
    }

    /// Where an item with this history stands, by the review alone; see [`crate::state::State::standing`].
    pub fn standing(&self, history: Option<&History>) -> Standing {
        let mut stage = 0;
        let mut outcome = None;
        let mut modified = false;
        for decision in history.map_or(&[][..], |history| &history.decisions) {
            match decision.choice {
                Choice::Abstain => {}
                Choice::Revoke => return Standing::Decided(Outcome::Revoked),
                Choice::Approve | Choice::Modify { .. } => {
                    modified |= matches!(decision.choice, Choice::Modify { .. });
                    stage = decision.stage + 1;
                    if stage as usize >= self.terms.stages.len() {
                        outcome = Some(if modified { Outcome::Modified } else { Outcome::Approved });
                    }
                }
            }
        }
        let ended = history.is_some_and(|history| history.ended.is_some());
        match (outcome, &self.status) {
            (Some(outcome), _) => Standing::Decided(outcome),
            (None, _) if ended => Standing::Ended,
            (None, ReviewStatus::Open) => Standing::Waits { stage },
            (None, ReviewStatus::Due | ReviewStatus::Closed { .. }) => Standing::Defaulted(self.terms.overdue),
        }
    }

    /// The stage whose reviewers decide next: also after the due date, and on what was decided already, where a
    /// correction is possible as long as the review is open.
    pub fn stage(&self, history: Option<&History>) -> u32 {
        let decided = history.map_or(&[][..], |history| &history.decisions);
        let passed = decided.iter().filter(|d| !matches!(d.choice, Choice::Abstain)).map(|d| d.stage + 1).max().unwrap_or(0);
        let last = u32::try_from(self.terms.stages.len().saturating_sub(1)).unwrap_or(u32::MAX);
        passed.min(last)
    }
}

impl Item {
    /// The version a decision cites: of the grant, or the id of the token, which never changes.
    pub fn version(&self) -> Index {
        match &self.subject {
            Subject::Grant(grant) => grant.version,
            Subject::Token { id, .. } => Index(id.0),
        }
    }

    /// `grant-12` or `token-13`.
    pub fn subject_id(&self) -> String {
        match &self.subject {
            Subject::Grant(grant) => grant.id.to_string(),
            Subject::Token { id, .. } => id.to_string(),
        }
    }
}

impl Subject {
    pub(crate) fn of_token(token: &Token) -> Subject {
        Subject::Token {
            id: token.id,
            usage: token.usage,
            label: token.label.clone(),
            issued_by: token.issued_by.clone(),
            issued: token.issued,
            expires: token.expires,
        }
    }
}

impl Risk {
    pub fn in_words(self) -> &'static str {
        match self {
            Risk::Low => "low",
            Risk::Medium => "medium",
            Risk::High => "high",
        }
    }
}

impl Overdue {
    pub fn in_words(self) -> &'static str {
        match self {
            Overdue::Keep => "kept",
            Overdue::Suspend => "suspended",
            Overdue::Revoke => "revoked",
        }
    }
}

impl Standing {
    /// Its last stage has not spoken, whatever became of it at the due date.
    pub fn is_undecided(self) -> bool {
        match self {
            Standing::Waits { .. } | Standing::Defaulted(_) => true,
            Standing::Decided(_) | Standing::Ended => false,
        }
    }

    pub fn in_words(self) -> String {
        match self {
            Standing::Waits { .. } => "undecided".to_owned(),
            Standing::Decided(outcome) => outcome.in_words().to_owned(),
            Standing::Defaulted(default) => format!("{} by default", default.in_words()),
            Standing::Ended => "ended".to_owned(),
        }
    }
}

impl Outcome {
    pub fn in_words(self) -> &'static str {
        match self {
            Outcome::Approved => "approved",
            Outcome::Modified => "modified",
            Outcome::Revoked => "revoked",
        }
    }
}

impl Choice {
    pub fn in_words(&self) -> &'static str {
        match self {
            Choice::Approve => "approved",
            Choice::Modify { .. } => "modified",
            Choice::Revoke => "revoked",
            Choice::Abstain => "abstained",
        }
    }
}
