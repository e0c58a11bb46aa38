//! Lock: an emergency stop.

use crate::id::{Index, LockId, Name, SessionId};
use crate::refusal::Refusal;
use crate::time::LogTime;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lock {
    pub id: LockId,
    pub on: LockOn,
    pub reason: String,
    pub by: Name,
    pub created: LogTime,
    pub expires: Option<LogTime>,
    pub version: Index,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum LockOn {
    Principal(Name),
    Target(Name),
    Role(Name),
    Credential(Name),
    Session(SessionId),
}

impl Lock {
    /// What it says to whom it stops.
    pub fn refusal(&self) -> Refusal {
        Refusal::Locked { lock: self.id, reason: self.reason.clone() }
    }

    pub fn is_live(&self, now: LogTime) -> bool {
        self.expires.is_none_or(|end| now < end)
    }
}
