//! Every bound of the admin API: with its unit and its reason.

use std::time::Duration;

/// Bytes of one request: `apply` sends one entity at a time, the largest a role of 4096 permissions.
pub const MESSAGE_MAX: usize = 4 << 20;
/// From the first byte of a connection until TLS is done.
pub const HANDSHAKE_DEADLINE: Duration = Duration::from_secs(10);
/// Connections at a time, from the first byte of their handshake on; the next wait in the kernel's backlog. So strangers
/// cannot use up the file descriptors of the node's sessions.
pub const CONNECTIONS_MAX: usize = 1024;
/// After this a connection takes no new calls: idle ones give their place back.
pub const CONNECTION_AGE_MAX: Duration = Duration::from_secs(600);
/// Calls at a time on one connection.
pub const STREAMS_PER_CONNECTION_MAX: u32 = 128;
/// Bytes of header lists: a bearer token and a few metadata.
pub const HEADERS_MAX: u32 = 16 << 10;
/// How long a drain waits for running calls.
pub const DRAIN_DEADLINE: Duration = Duration::from_secs(5);

pub const PAGE_DEFAULT: usize = 100;
pub const PAGE_MAX: usize = 1000;

/// How long a call waits for a node to reach the index the caller asks for.
pub const MIN_INDEX_WAIT: Duration = Duration::from_secs(5);

/// Bytes of a target's password.
pub const PASSWORD_MAX: usize = 1024;

/// Records read from the log at a time while streaming.
pub const AUDIT_BATCH: usize = 256;
pub const QUERY_LIMIT_DEFAULT: u32 = 1000;
/// Records looked at for one query that does not follow, so that a filter that matches nothing ends.
pub const QUERY_SCAN_MAX: u64 = 5_000_000;
/// Replays of the control log at once on one node: each holds a second control state.
pub const REPLAYS_AT_ONCE: usize = 1;
/// Items a slow reader may be behind before the node waits for it.
pub const STREAM_BACKLOG: usize = 64;
/// How often a following query looks for new records.
pub const FOLLOW_INTERVAL: Duration = Duration::from_millis(250);

/// How long dialling a target may take in `CheckTarget`.
pub const CHECK_DEADLINE: Duration = Duration::from_secs(15);

/// Bytes of one AuthZEN request: a statement as long as an approver is shown, and what stands around it as JSON.
pub const AUTHZEN_BODY_MAX: usize = 192 << 10;
/// From the first byte of an AuthZEN request until its answer: a commit, and a wait for the state.
pub const AUTHZEN_DEADLINE: Duration = Duration::from_secs(10);
/// AuthZEN requests a principal may make a second, cluster-wide, and at once: a loop that polls is fine, one that
/// spins is not.
pub const AUTHZEN_PER_SECOND: f64 = 15.0;
pub const AUTHZEN_BURST: f64 = 90.0;
/// How long a denial can be asked about: as long as what it was judged by stays on an agent's mind.
pub const DENIAL_VALID: Duration = Duration::from_secs(600);
/// How long access is opened by break-glass that does not say.
pub const BREAK_GLASS_LENGTH_DEFAULT: Duration = Duration::from_secs(3600);
/// How long a window is that does not say.
pub const WINDOW_DEFAULT: Duration = Duration::from_secs(3600);
/// How long an agent should wait before it asks again after a task that is pending.
pub const POLL_AFTER: Duration = Duration::from_secs(2);
/// Characters of a Host header.
pub const HOST_MAX: usize = 255;
/// An AuthZEN connection is over then, whatever it waits for: one that says nothing gives its place back.
pub const AUTHZEN_CONNECTION_AGE_MAX: Duration = Duration::from_secs(60);

/// Bytes of a review's report in one message of its stream.
pub const REPORT_PART: usize = 256 * 1024;

/// Characters of a finding that the cluster keeps.
pub(crate) const FINDING_TEXT_MAX: usize = 500;

/// What recommendations look back on unless it is said: the quarter in which access is reviewed at the latest.
pub(crate) const RECOMMENDATION_WINDOW: Duration = Duration::from_secs(90 * 24 * 3600);
