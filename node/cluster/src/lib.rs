//! The cluster: hides openraft completely.
//!
//! What this crate must **not** know: protocols of agents, sessions, what a command means (that is `domain`), how the
//! logs lie on disk (that is `raft-store`). It brings commands into one order, tells when they are in force
//! everywhere, and carries records into the audit log.
//!
//! ```text
//!            propose ─► leader ─► control log ─► machine ─► publish ─► state, applied ─► enforce ─► enforced
//!   narrow:  propose, then receipt: every member of the serving set enforces it, or W has passed
//!   renewal: s; read index of a quorum round; enforced there and in the serving set ─► lease until s + D
//!   records: queue ─► batch ─► audit leader ─► audit log ─► recorded
//! ```

pub mod audit;
pub mod checkpoint;
mod clock;
mod cluster;
mod dead_man;
pub mod ground;
pub mod home;
pub mod join;
mod lease;
pub mod limits;
mod log_time;
mod machine;
mod membership;
mod node;
mod peer_client;
mod peer_server;
pub mod peer_transport;
pub mod pki;
mod propose;
mod publish;
mod raft;
mod receipt;
mod records;
pub mod recovery;
mod renewal;
pub mod secrets;
mod status;
mod tasks;
mod wire;

pub use audit::{Audit, LogName, SignedHead};
pub use cluster::{AdminPem, Cluster, NodeConfig, StartError, Unavailable};
pub use propose::{Committed, ProposeError};
pub use publish::{EnforceReport, Enforcer};
pub use records::Records;
pub use status::{LiveStatus, NodeStatus, Status};
