//! Consumers of the logs with a replicated cursor: notifications for people, streams for log collectors, and the heads
//! that outside witnesses co-sign.
//!
//! What this crate must **not** know: Raft, RocksDB, gRPC, sessions, protocols of agents. It asks the node through
//! [`Source`], never decides anything about access, and is never in the path of an operation.
//!
//! ```text
//!  leader: for each sink   scan from the cursor ─► messages ─► deliver ─► AdvanceSink (compared and set)
//!                              ▲                                  │ failed: wait, longer each time
//!                              └──────────────────────────────────┘
//! ```
//! A message is delivered at least once, and has the same id each time. What a leader sent without having it noted is
//! sent again by the next one, marked as possibly sent before.
//!
//! What a notification holds: names, ids, times, the reasons that people and agents gave (escaped, cut) and the command
//! that answers it. Never a statement, a parameter, a row or a secret: those are seen by `assize request get`, by
//! whoever may. A stream holds what the record holds.

pub mod address;
mod connect;
mod event;
mod http;
pub mod limits;
mod message;
mod metrics;
mod run;
mod scan;
mod sink;
mod source;
mod test;
mod url;
mod witness;
mod work;

pub use run::run;
pub use sink::webhook::secret as webhook_secret;
pub use source::{Head, Source};
pub use test::test;
