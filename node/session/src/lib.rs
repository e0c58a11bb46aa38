//! The road: listener → stage → admission → upstream → relay (judge → record → forward), the same for every protocol.
//!
//! What this crate must **not** know: Raft, RocksDB, gRPC, and the bytes of any one protocol.

pub mod authority;
