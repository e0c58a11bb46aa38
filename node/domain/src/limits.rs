//! Every bound of the replicated state: with its unit and its reason.

use std::time::Duration;

/// How far one entry may move log time ahead of the entry before it, unless an operator proposes it. One wrong clock
/// can then not expire everything at once; after a longer stop of the cluster, ticks (five a second) catch up.
pub const LOG_TIME_JUMP_MAX: Duration = Duration::from_secs(10 * 60);

/// How long, and how many, replies are remembered for repeated proposals: longer than any client retries.
pub const PROPOSAL_KEPT: Duration = Duration::from_secs(24 * 3600);
pub const PROPOSALS_KEPT_MAX: usize = 100_000;

/// Requests that wait for a decision. An agent that loops must not bury the approvers.
pub const PENDING_PER_PRINCIPAL_MAX: u32 = 32;
pub const PENDING_PER_TARGET_MAX: u32 = 256;

/// How long a request stays listed after it expired.
pub const REQUEST_KEPT: Duration = Duration::from_secs(30 * 24 * 3600);
/// How long a grant that has ended stays listed. Named ones stay: they keep `assize apply` from reviving them.
pub const GRANT_KEPT: Duration = Duration::from_secs(400 * 24 * 3600);
/// A lock on a session ends it at once; it need not outlive the memory of the session.
pub const SESSION_LOCK_KEPT: Duration = Duration::from_secs(24 * 3600);

/// The longest access that glass is broken for. What takes longer has time for an approval.
pub const BREAK_GLASS_LENGTH_MAX: Duration = Duration::from_secs(4 * 3600);
/// Until when somebody else must have reviewed it, at the latest.
pub const BREAK_GLASS_REVIEW_MAX: Duration = Duration::from_secs(72 * 3600);
/// How often one person may break glass before anybody has reviewed the first: an incident, not a habit.
pub const BREAK_GLASS_UNREVIEWED_MAX: usize = 8;
/// Kept in the state; older ones that were reviewed are in the log.
pub const BREAK_GLASS_KEPT_MAX: usize = 4096;

/// The longest window that may be asked for. Longer access is a grant, which is reviewed.
pub const WINDOW_LENGTH_MAX: Duration = Duration::from_secs(30 * 24 * 3600);
pub const REQUEST_EXPIRY_MAX: Duration = Duration::from_secs(30 * 24 * 3600);
/// No client waits longer for an answer on an open connection.
pub const HOLD_MAX: Duration = Duration::from_secs(10 * 60);
pub const APPROVALS_NEEDED_MAX: u32 = 10;
pub const JOIN_TOKEN_VALID_MAX: Duration = Duration::from_secs(24 * 3600);

/// Tokens a principal may have at a time, expired ones not counted: enough to rotate.
pub const TOKENS_PER_PRINCIPAL_MAX: usize = 16;
/// Enough to name every table of a large database. The algebra compares all with all where they hold wildcards.
pub const PERMISSIONS_PER_SET_MAX: usize = 4096;
pub const ROLES_PER_SET_MAX: usize = 64;
pub const LABELS_MAX: usize = 64;
/// Bytes of a label's key or value, a tag, an address, a user name.
pub const SHORT_TEXT_MAX: usize = 256;
/// Bytes of a reason, a purpose, a description.
pub const LONG_TEXT_MAX: usize = 4096;
/// Bytes of a PEM bundle or a sealed secret.
pub const BLOB_MAX: usize = 256 * 1024;
/// Bytes of rendered parameters and of context that a request carries for the approver.
pub const REQUEST_DETAIL_MAX: usize = 64 * 1024;
pub const MISSING_ACCESSES_MAX: usize = 1024;

/// Bytes of a policy bundle: hundreds of rules, and it travels in one entry of the log.
pub const POLICY_BUNDLE_MAX: usize = 256 * 1024;
/// Bundles kept; a new one takes the place of the oldest that is neither active nor to go back to.
pub const POLICIES_KEPT_MAX: usize = 32;
/// How many steps back there are.
pub const POLICY_ROLLBACKS_MAX: usize = 8;
/// Approvers a policy may name for one operation.
pub const POLICY_APPROVERS_MAX: usize = 64;

/// Grants and denials in one report of use.
pub const USAGE_LINES_MAX: usize = 512;
/// Accesses in one report: with their paths it fits into one proposal.
pub const USAGE_ACCESSES_MAX: usize = 2048;
/// Objects, by verb, that one grant's use is told apart by.
pub const SEEN_MAX: usize = 64;
/// Columns of one of them; when more were touched, all count as touched.
pub const SEEN_COLUMNS_MAX: usize = 64;
/// The same over all grants: some tens of MiB. What comes later is counted and not told apart.
pub const USAGE_SEEN_MAX: usize = 200_000;
/// Pairs of principal and target whose denials are counted.
pub const DENIALS_MAX: usize = 20_000;

/// Sinks, and witnesses: each is a task of the node that delivers.
pub const SINKS_MAX: usize = 64;
pub const WITNESSES_MAX: usize = 16;
/// Bytes of an address that is called.
pub const URL_MAX: usize = 2048;
/// Mailboxes of one sink; more is a list of the mail server's.
pub const RECIPIENTS_MAX: usize = 32;
/// The shortest time in which a receiver is given up: longer than it takes to restart one.
pub const GIVE_UP_MIN: Duration = Duration::from_secs(60);
/// How often a witness is asked: no auditor needs it by the second, and all want it by the day.
pub const WITNESS_INTERVAL_MIN: Duration = Duration::from_secs(1);
pub const WITNESS_INTERVAL_MAX: Duration = Duration::from_secs(24 * 3600);
/// Co-signed heads kept of each witness and log. What matters is the newest; exports made meanwhile keep theirs.
pub const COSIGNED_KEPT_MAX: usize = 16;
/// Bytes of a co-signed note: a signature of every voter and one more need a tenth.
pub const COSIGNED_NOTE_MAX: usize = 16 * 1024;

/// Times of people are in days.
pub const DAY: Duration = Duration::from_secs(24 * 3600);
/// The longest that a rule keeps records: longer is for ever.
pub const RETENTION_MAX: Duration = Duration::from_secs(100 * 366 * 24 * 3600);
pub const HOLDS_MAX: usize = 1024;
/// Bodies that one plan lets go. Each replica reads and replaces them between two batches of records.
pub const PRUNED_PER_PLAN_MAX: u64 = 4096;
/// Runs of neighbours in it: about 8 KiB in the control log, where plans stay.
pub const PRUNED_RUNS_MAX: usize = 2048;

/// Receipts kept in the state; older ones are in the log.
pub const RECEIPTS_KEPT_MAX: usize = 4096;
/// Sessions listed in one receipt.
pub const RECEIPT_SESSIONS_MAX: usize = 100_000;
pub const MEMBERS_MAX: usize = 256;

/// Reviews that are open at a time. Each keeps its whole population in the state.
pub const REVIEWS_OPEN_MAX: usize = 64;
/// What opens reviews by itself. Each looks at everything that happens.
pub const TRIGGERS_MAX: usize = 32;
/// Principals or targets that one trigger gathers by name.
pub const TRIGGER_PENDING_MAX: usize = REVIEW_NAMES_MAX;
/// The longest that a trigger gathers.
pub const TRIGGER_GATHER_MAX: Duration = Duration::from_secs(30 * 24 * 3600);
/// How often a trigger looks for what only time tells: it reads every grant, and makes a leaf of the control log.
pub const TRIGGER_LOOK_MIN: Duration = Duration::from_secs(1);
pub const TRIGGER_LOOK_MAX: Duration = Duration::from_secs(3600);
/// Pairs of trigger and principal whose rows are counted.
pub const VOLUMES_MAX: usize = 20_000;
/// Earlier windows that say what is usual, and how few of them say nothing yet.
pub const VOLUME_PAST_MAX: usize = 24;
pub const VOLUME_PAST_MIN: usize = 4;
/// Findings of one check that are kept.
pub const FINDINGS_MAX: usize = 256;
/// Items of one review: twice the grants that one cluster is made for.
pub const REVIEW_ITEMS_MAX: usize = 200_000;
/// Items that are stored together. A row of them is some tens of KiB.
pub const REVIEW_CHUNK: u32 = 64;
/// Decisions in one command: it must fit into one proposal with a rationale each.
pub const REVIEW_DECISIONS_MAX: usize = 1000;
/// Decisions on one item, and how often it is handed on.
pub const ITEM_DECISIONS_MAX: usize = 32;
pub const REVIEW_STAGES_MAX: usize = 3;
/// Names in one list of a scope or of reviewers.
pub const REVIEW_NAMES_MAX: usize = 1024;
pub const REVIEW_LENGTH_MIN: Duration = Duration::from_secs(1);
pub const REVIEW_LENGTH_MAX: Duration = Duration::from_secs(366 * 24 * 3600);
/// The longest that a decision to keep access counts. Standards ask for a review at least every year.
pub const REVIEW_CERTIFIES_MAX: Duration = Duration::from_secs(400 * 24 * 3600);
/// Items that one entry gives the due date, or what came of it: a large review must not delay a revocation.
pub const REVIEW_WORK_PER_ENTRY: u32 = 512;
/// How long a closed review stays listed.
pub const REVIEW_KEPT: Duration = Duration::from_secs(800 * 24 * 3600);

/// Grants of a principal that have ended, looked at to say why it has none or what a session lost: the latest of them are
/// what is asked about.
pub const ENDED_LOOKED_AT_MAX: usize = 256;
