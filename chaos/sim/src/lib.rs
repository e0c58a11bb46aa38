//! Three attacks on the lease protocol (DESIGN §4), each repeatable: an exhaustive [`model`] with small numbers, a seeded
//! [`simulation`] of the protocol with the real figures and continuous time, and [`real`]: the code of `cluster` and
//! `raft-store` itself, with openraft, on a network, disks, clocks and chance that a seed decides.
//!
//! What this crate must **not** know: sockets, threads of the thing tested, wall clocks. Time and chance come from the
//! checker or the seed, so that what failed once fails again. It knows nothing of the code above `cluster`; what it says
//! about that wiring is nothing, and `chaos` itself is there for it.

pub mod flaw;
pub mod linear;
pub mod model;
pub mod real;
pub mod simulation;
