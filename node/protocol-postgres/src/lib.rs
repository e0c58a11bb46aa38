//! The PostgreSQL wire protocol and its SQL: six rooms, of which only [`handshake`] and [`upstream`] await.
//!
//! What this crate must **not** know: the cluster, its storage, the admin API. What it may ask stands in
//! `session::authority`; dialling takes a `Permit`, which only `domain`'s admission can issue.
//!
//! Reading order: [`codec`] cuts bytes into messages; [`handshake`] finds out who is there; [`upstream`] logs in at the
//! target; [`operation`] says what a statement needs; [`session`] is the machine between client and server, no sockets
//! in it; [`refusal`] words what was refused; [`protocol`] hands all that to the road.

pub mod client_set;
pub mod codec;
pub mod handshake;
pub mod operation;
pub mod protocol;
pub mod refusal;
pub mod session;
pub mod upstream;

use std::sync::Arc;

/// What a listener needs to serve PostgreSQL: hand it to `session::listener::serve`. Share one classifier among the
/// listeners of a node.
pub fn protocol(listening: handshake::Listening, classifier: Arc<operation::Classifier>) -> Arc<dyn ::session::protocol::Protocol> {
    protocol::Postgres::new(listening, classifier)
}
