//! SCRAM-SHA-256 (RFC 5802, RFC 7677) from the server's side, without I/O.
//!
//! ```text
//!   client                                        server
//!   client-first   n,,n=,r=NONCE          ──►  Exchange::start
//!                                         ◄──  server-first  r=NONCE+OURS,s=SALT,i=ITERATIONS
//!   client-final   c=…,r=…,p=PROOF        ──►  Challenged::finish
//!                                         ◄──  server-final  v=SIGNATURE
//! ```
//!
//! A principal may have several live tokens. They share one salt and iteration count, so one server-first message
//! fits them all, and the proof is checked against each.

pub mod message;
pub mod server;
pub mod verifier;

pub use server::{Binding, Challenged, Exchange, Proven};
pub use verifier::{ITERATIONS_DEFAULT, MockKey, SALT_LENGTH, Verifiers};

/// Mechanism names as they stand in AuthenticationSASL.
pub const SCRAM_SHA_256: &str = "SCRAM-SHA-256";
pub const SCRAM_SHA_256_PLUS: &str = "SCRAM-SHA-256-PLUS";

/// Why an exchange failed. The peer sees the same refusal for all but [`ScramError::Malformed`]; the record keeps this.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ScramError {
    #[error("malformed SCRAM message: {0}")]
    Malformed(&'static str),
    #[error("the client asked for a mechanism that was not offered")]
    Mechanism,
    #[error("channel binding does not fit this connection")]
    ChannelBinding,
    #[error("the nonce is not the one of this exchange")]
    Nonce,
    #[error("the proof fits no live token")]
    Proof,
}

#[cfg(test)]
pub(crate) mod tests;
