//! What a protocol supplies. The road does the steps in their order; a protocol words them.
//!
//! ```text
//!  Protocol::handshake ──► Handshake::Identified { claim, door }
//!                               │ admission, record committed, registered
//!                               ├─ refused ──► Door::refuse
//!                               └─ admitted ─► Door::connect(&Ticket) ──► Connected { client, upstream, machine }
//!                                                                             │
//!                                                     relay: Machine::{on_client, on_upstream, on_answer, …}
//! ```
//! Two implementors: PostgreSQL, and the line protocol of this crate's tests.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::BytesMut;
use domain::admission::Permit;
use domain::audit::record::Backend;
use domain::credential::Credential;
use domain::id::{Name, NodeId, RunId, SessionId};
use domain::refusal::Refusal;
use domain::target::Target;
use domain::time::LogTime;
use futures_util::future::BoxFuture;
use tokio::net::TcpStream;

use crate::authority::Authority;
use crate::road::{Answer, Road};
use socket::Stream;

/// One protocol of the gateway, with its own settings (TLS, listener binding) inside.
pub trait Protocol: Send + Sync + 'static {
    fn name(&self) -> &'static str;

    /// Brings a stranger to say and prove who it is. Called under [`crate::limits::HANDSHAKE_DEADLINE`]; dropped
    /// when that is over. Tells a peer it turns away why, itself.
    fn handshake(self: Arc<Self>, arrived: Arrived) -> BoxFuture<'static, Handshake>;

    /// Tells a peer that cannot even be identified that the node is full or draining, without waiting for it.
    fn turn_away(&self, stream: TcpStream, refusal: &Refusal);
}

/// A connection nobody has vouched for.
pub struct Arrived {
    pub stream: TcpStream,
    pub peer: SocketAddr,
    pub authority: Arc<dyn Authority>,
}

/// How a handshake ended.
pub enum Handshake {
    /// Proved: who wants what. Admission decides.
    Identified { claim: Claim, door: Box<dyn Door> },
    /// Not a session: asks to cancel what one is doing.
    Cancel { stream: Stream, key: CancelKey },
    /// Turned away and told so, with the reason for the record if the peer claimed to be somebody.
    TurnedAway { claim: Option<Claim>, refusal: Refusal },
    /// Gone, or spoke no sense.
    Gone,
}

/// Who wants a session with what. Proved, not yet admitted.
#[derive(Debug, Clone)]
pub struct Claim {
    pub principal: Name,
    pub on_behalf_of: Option<Name>,
    pub target: Name,
    /// Which database of the target; empty: the target's own default, or the protocol has none.
    pub database: String,
    /// What the client calls itself, for the record; at most 64 characters, not trusted.
    pub application: String,
    /// The run of the agent's loop, where the client names one.
    pub run: Option<RunId>,
    /// When the proof ends, and every session opened with it.
    pub expires: Option<LogTime>,
    /// How many bytes of secret this client's cancel key can have; at most 32 are used.
    pub cancel_secret_length: usize,
}

/// An identified client that waits for an answer.
pub trait Door: Send {
    /// Tells the client why not, in its own words, and closes.
    fn refuse(self: Box<Self>, refusal: Refusal) -> BoxFuture<'static, ()>;

    /// Dials and logs in at the target. The client learns of success by what [`Machine`] says first; of failure by
    /// this method, which words it itself.
    fn connect(self: Box<Self>, ticket: Ticket) -> BoxFuture<'static, Result<Connected, DialFailed>>;
}

/// All a dial needs, and the proof that it may.
pub struct Ticket {
    pub session: SessionId,
    pub permit: Arc<Permit>,
    pub target: Target,
    pub credential: Credential,
    pub authority: Arc<dyn Authority>,
    /// The gateway's own key for cancelling this session: the client gets this one, never the target's.
    pub cancel_key: CancelKey,
}

/// The target could not be reached or did not let the gateway in. Said to the client already.
#[derive(Debug, thiserror::Error)]
#[error("the target cannot be reached: {0}")]
pub struct DialFailed(pub String);

/// Both legs, ready to relay.
pub struct Connected {
    pub client: Stream,
    /// What the client sent beyond its handshake.
    pub client_read: BytesMut,
    pub upstream: Stream,
    pub upstream_read: BytesMut,
    pub machine: Box<dyn Machine>,
    pub canceller: Arc<dyn Canceller>,
    /// What serves the session at the target, where that can be told and ended from elsewhere.
    pub backend: Option<Backend>,
}

/// Cancels whatever the session runs at the target, with the target's own key. Ends by itself within
/// [`crate::limits::CANCEL_DEADLINE`] times one; the caller bounds it too.
pub trait Canceller: Send + Sync {
    fn cancel(&self) -> BoxFuture<'static, Result<(), std::io::Error>>;
}

/// Bits of a session's number that a cancel key carries: PostgreSQL has 31 bits for node and number. More sessions
/// than that live at once on no node, and the secret tells apart two that share them.
pub const CANCEL_NUMBER_BITS: u32 = 21;

/// Names a session to be cancelled: node and number are found in what the client sends, the secret must match.
#[derive(Clone, PartialEq, Eq)]
pub struct CancelKey {
    pub node: NodeId,
    /// The low [`CANCEL_NUMBER_BITS`] of the session's number.
    pub number: u64,
    /// Drawn at random; as long as the protocol version allows. One sent must equal it in length too.
    pub secret: Vec<u8>,
}

impl std::fmt::Debug for CancelKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "CancelKey(node {}, {}, [redacted])", self.node, self.number)
    }
}

/// How busy a session is at the target. Decides what a lost lease and a receipt do with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Activity {
    Idle = 0,
    InTransaction = 1,
    Busy = 2,
}

/// The state machine of one session: bytes and values only, no sockets, no waiting. It takes bytes from
/// `road.client_in` and `road.upstream_in`, and puts bytes into `road.outward` and `road.homeward`.
pub trait Machine: Send {
    /// The first thing said to the client: yes.
    fn greet(&mut self, road: &mut Road);
    /// More bytes may be in `road.client_in`; also called when it may go on after it had stopped by itself.
    fn on_client(&mut self, road: &mut Road);
    fn on_upstream(&mut self, road: &mut Road);
    /// What [`Road`] was asked to find out is there.
    fn on_answer(&mut self, answer: Answer, road: &mut Road);
    /// The client asks to cancel. `true` if that ended something that waits here, so that the target need not be asked.
    fn on_cancel(&mut self, road: &mut Road) -> bool;
    /// What was judged but not forwarded never will be: `road.outward` was emptied. If the session can go on, the
    /// client gets an error and this says `true`.
    fn on_not_forwarded(&mut self, refusal: &Refusal, road: &mut Road) -> bool;
    /// The client's stream ended.
    fn on_client_end(&mut self, road: &mut Road);
    /// The target is gone. What was forwarded may or may not have happened: the client is told, if it was not yet.
    fn on_upstream_lost(&mut self, road: &mut Road);
    /// The session is over: the last words, put into `road.homeward`, which ends with a whole message.
    fn farewell(&mut self, refusal: &Refusal, road: &mut Road);
    /// Operations without an outcome get one: unknown. Called once, last.
    fn close(&mut self, road: &mut Road);
    /// What the target does for this session. `forwarded`: stream offset one past the last byte of `road.outward` that
    /// was written; what lies behind it is no work of the target's yet.
    fn activity(&self, forwarded: u64) -> Activity;
    /// Said its last word to the target on the client's wish; the relay ends when the target closes.
    fn is_parting(&self) -> bool;
}
