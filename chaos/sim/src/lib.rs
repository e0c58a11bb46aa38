//! Two abstractions of the lease protocol (DESIGN §4), attacked millions of times: an exhaustive [`model`] with small
//! numbers, and a seeded [`simulation`] with the real figures, continuous time and the real decision core.
//!
//! What this crate must **not** know: tokio, sockets, threads of the thing tested, wall clocks. Time and chance come
//! from the checker or the seed, so that what failed once fails again. It knows nothing of the code above `cluster`
//! and `session`; what it says about their wiring is nothing, and `chaos` itself is there for that.

pub mod flaw;
pub mod model;
pub mod simulation;
