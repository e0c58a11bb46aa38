//! Every bound of the road, with unit and reason. None is a wish: each is checked where its name appears.

use std::time::Duration;

/// From accept to the end of authentication, TLS included (THREATS 113). Generous for a slow TLS client, short
/// enough that idle strangers free their slot.
pub const HANDSHAKE_DEADLINE: Duration = Duration::from_secs(10);

/// Connections in handshake at once. When one more arrives, the oldest stranger gives way, so idle strangers
/// never keep a newcomer out.
pub const HANDSHAKES_MAX: usize = 8_192;

/// Live sessions on this node; three file descriptors each.
pub const SESSIONS_MAX: usize = 20_000;

/// Live sessions of one principal on this node: one agent that runs wild leaves room for the others.
pub const SESSIONS_PER_PRINCIPAL_MAX: usize = 10_000;

/// Connections the kernel queues before accept.
pub const LISTEN_BACKLOG: i32 = 4_096;

/// Pause after an accept error (no file descriptor left, mostly): others must be able to close first.
pub const ACCEPT_PAUSE: Duration = Duration::from_millis(20);

/// Connecting and logging in at the target, after the admission is on record.
pub const DIAL_DEADLINE: Duration = Duration::from_secs(10);

/// How long a record may take to be committed by a quorum. Beyond, nothing is forwarded and the client gets an
/// error, so that it has one within 3 s.
pub const RECORD_DEADLINE: Duration = Duration::from_secs(2);

/// How long a statement waits for a lost lease to come back, for the same 3 s.
pub const LEASE_DEADLINE: Duration = Duration::from_secs(2);

/// How long sessions stay frozen without a lease before they are closed: a cluster that comes back by itself does so
/// within an election and a lease.
pub const LEASE_GRACE: Duration = Duration::from_secs(10);

/// Bytes of client messages buffered: unparsed, and judged but not yet forwarded.
pub const TOWARDS_UPSTREAM_MAX: usize = 704 * 1024;

/// Bytes of responses buffered: unparsed, held for a record, or not yet taken by a slow client. With
/// [`TOWARDS_UPSTREAM_MAX`] and one [`READ_CHUNK_MAX`] each way this stays under 1 MiB a session.
pub const TOWARDS_CLIENT_MAX: usize = 192 * 1024;

/// The largest message that must be seen whole to be judged.
pub const MESSAGE_MAX: usize = 512 * 1024;

/// First and largest size of one read. It grows while reads fill it and shrinks when the session idles.
pub const READ_CHUNK_MIN: usize = 8 * 1024;
pub const READ_CHUNK_MAX: usize = 48 * 1024;
/// The largest buffer an idle session keeps for what it may have to send.
pub const KEPT_WHEN_IDLE: usize = 512;

/// Operations in flight in one session's pipeline; more stay unread in the socket.
pub const PIPELINE_MAX: usize = 4_096;

/// Enforcing: how long an upstream socket may take to drain before it is reset (DESIGN §4).
pub const DRAIN_DEADLINE: Duration = Duration::from_millis(50);

/// How often a draining socket is looked at.
pub const DRAIN_POLL: Duration = Duration::from_millis(1);

/// Cancelling at the target: connect, send, see it closed.
pub const CANCEL_DEADLINE: Duration = Duration::from_secs(2);

/// Telling a client why its session ends. A client that does not read is not waited for longer.
pub const FAREWELL_DEADLINE: Duration = Duration::from_millis(500);

/// After a client left politely: how long its last statement's outcome is waited for.
pub const PARTING_DEADLINE: Duration = Duration::from_secs(5);

/// How often expired permits are looked for: with the 200 ms tick of log time this keeps R5.
pub const EXPIRY_POLL: Duration = Duration::from_millis(25);

/// Undelivered data resets an upstream socket after this long, which is under the lease length (DESIGN §4).
pub const UPSTREAM_USER_TIMEOUT: Duration = Duration::from_millis(1_500);

/// Cancel requests served at once; more are dropped (a cancel is advisory), which slows guessing (THREATS 82).
pub const CANCELS_MAX: usize = 64;

/// Repeats of a proposal whose outcome stayed unknown, before the client is told so.
pub const PROPOSE_ATTEMPTS_MAX: u32 = 3;
