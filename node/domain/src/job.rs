//! Job description: what an agent is for. Access outside it is never admitted, whatever the grants say.

use std::collections::BTreeSet;

use crate::id::{Index, Name};
use crate::permission::PermissionSet;
use crate::time::LogTime;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Job {
    pub name: Name,
    pub purpose: String,
    pub owner: Name,
    pub backup_owner: Option<Name>,
    /// Everything the job needs, inline and by role; its union bounds every grant of the agents that have it.
    pub permissions: PermissionSet,
    pub roles: BTreeSet<Name>,
    pub data_classes: BTreeSet<String>,
    pub environments: BTreeSet<String>,
    pub expires: Option<LogTime>,
    pub version: Index,
    pub narrowed: Index,
}

impl Job {
    pub fn is_live(&self, now: LogTime) -> bool {
        self.expires.is_none_or(|end| now < end)
    }
}
