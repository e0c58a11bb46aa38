//! A connection and what secures it, the same towards agents, targets and receivers: TCP or TLS over it, whom to trust,
//! how we show ourselves, what the kernel still holds.
//!
//! What this crate must **not** know: any protocol, addresses that may be called, the cluster, what bytes mean.

mod stream;
mod tls;

pub use stream::{Stream, unacknowledged};
pub use tls::{BadCertificate, provider, roots, server_config};
