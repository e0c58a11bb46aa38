//! A named, versioned set of permissions.

use crate::id::{Index, Name};
use crate::permission::PermissionSet;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Role {
    pub name: Name,
    pub description: String,
    pub permissions: PermissionSet,
    pub version: Index,
    pub narrowed: Index,
}
