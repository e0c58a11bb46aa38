//! Outside witnesses: others, elsewhere, who co-sign the heads of our logs (C2SP `tlog-witness`). Whoever wants to show two
//! auditors two different logs would need them too.

use std::time::Duration;

use crate::id::{Index, Name};
use crate::time::LogTime;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Witness {
    pub name: Name,
    /// The submission prefix: `add-checkpoint` follows it.
    pub url: String,
    /// Its key, as [`crate::audit::cosignature::WitnessKey`] is written.
    pub key: String,
    /// PEM; empty means the system's roots.
    pub roots_pem: String,
    /// How often it is asked at most.
    pub interval: Duration,
    pub version: Index,
}

/// What a witness co-signed of one log, newest last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cosigned {
    pub witness: Name,
    pub log: String,
    pub heads: Vec<CosignedHead>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CosignedHead {
    /// Leaves.
    pub size: u64,
    /// The checkpoint as a signed note: the nodes' lines, then the witness's.
    pub note: String,
    pub filed: LogTime,
}
