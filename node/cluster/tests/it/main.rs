//! Nodes in one process, over loopback QUIC through UDP relays that tests can cut.

mod barrier;
mod basics;
mod membership;
mod recording;
mod recovery;
mod support;
