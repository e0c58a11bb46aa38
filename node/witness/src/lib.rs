//! A witness of other people's logs, to be run where those who run the logs cannot reach: C2SP `tlog-witness`.
//!
//! What this crate must **not** know: anything of a cluster but its signed checkpoints. It holds one key, and for each log
//! the head it co-signed last; it signs a head only when that continues the last one, and keeps it first.
//!
//! It makes one promise: it never signs two heads of one log that do not continue each other. That holds as long as its
//! state is kept; a witness whose state is lost is retired with its key, not started anew.

mod key;
mod serve;
mod state;

pub use key::{Key, KeyError};
pub use serve::{Witness, serve};
pub use state::{State, StateError};
