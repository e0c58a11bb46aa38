//! protocol-postgres

pub mod client_set;
pub mod codec;
pub mod handshake;
pub mod operation;
pub mod refusal;
pub mod upstream;
pub mod protocol;
pub mod session;

use std::sync::Arc;

/// What a listener needs to serve PostgreSQL: hand it to `session::listener::serve`. Share one classifier among the
/// listeners of a node.
pub fn protocol(listening: handshake::Listening, classifier: Arc<operation::Classifier>) -> Arc<dyn ::session::protocol::Protocol> {
    protocol::Postgres::new(listening, classifier)
}
