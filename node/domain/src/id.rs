//! Identifiers. Names are chosen by people and checked here once; the other ids come from the log.

use std::fmt;
use std::str::FromStr;

/// A name a person chose for an agent, person, target, role, job, credential or policy.
///
/// 1–63 characters of `a-z 0-9 . _ -`, the first a letter or digit. Lower case only, so that two spellings
/// never mean one thing and one spelling never means two.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(std::sync::Arc<str>);

/// Why a string is not a [`Name`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a name has 1 to 63 characters of a-z, 0-9, '.', '_' or '-' and starts with a letter or digit; got {0:?}")]
pub struct InvalidName(pub String);

pub const NAME_LENGTH_MAX: usize = 63;

impl FromStr for Name {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        let bytes = text.as_bytes();
        let first_ok = bytes.first().is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
        let rest_ok = bytes.iter().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'.' | b'_' | b'-'));
        if first_ok && rest_ok && bytes.len() <= NAME_LENGTH_MAX {
            Ok(Name(text.into()))
        } else {
            Err(InvalidName(text.chars().take(128).collect()))
        }
    }
}

impl Name {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The run of an agent's loop, as its client names it: all sessions of one principal that name the same run share it,
/// on whatever nodes.
///
/// 1–64 characters of `A-Z a-z 0-9 . _ -`, the first a letter or digit: a UUID, a trace id or the number of a CI job
/// fits. It is a part of the principal's own namespace. Two principals that name the same run have two runs, so nobody
/// joins, blocks or learns of another's, and no node has to ask another before it admits.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RunId(std::sync::Arc<str>);

/// Why a string is not a [`RunId`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a run has 1 to 64 characters of A-Z, a-z, 0-9, '.', '_' or '-' and starts with a letter or digit; got {0:?}")]
pub struct InvalidRun(pub String);

pub const RUN_LENGTH_MAX: usize = 64;

impl FromStr for RunId {
    type Err = InvalidRun;

    fn from_str(text: &str) -> Result<Self, InvalidRun> {
        let bytes = text.as_bytes();
        let first_ok = bytes.first().is_some_and(u8::is_ascii_alphanumeric);
        let rest_ok = bytes.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'));
        if first_ok && rest_ok && bytes.len() <= RUN_LENGTH_MAX {
            Ok(RunId(text.into()))
        } else {
            Err(InvalidRun(text.chars().take(128).collect()))
        }
    }
}

impl RunId {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The position of an entry in the control log. Also serves as version: an entity's version is the index of the
/// entry that last changed it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Index(pub u64);

impl fmt::Display for Index {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Ids that the log hands out: the index of the entry that made the thing, with a prefix that tells people what it is.
macro_rules! log_id {
    ($(#[$doc:meta])* $name:ident, $prefix:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub u64);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($prefix, "-{}"), self.0)
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;

            fn from_str(text: &str) -> Result<Self, InvalidId> {
                text.strip_prefix(concat!($prefix, "-"))
                    .and_then(|n| n.parse().ok())
                    .map($name)
                    .ok_or_else(|| InvalidId { expected: concat!($prefix, "-NUMBER"), got: text.chars().take(128).collect() })
            }
        }
    };
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected an id like {expected}, got {got:?}")]
pub struct InvalidId {
    pub expected: &'static str,
    pub got: String,
}

log_id!(
    /// A grant, e.g. `grant-1042`.
    GrantId, "grant");
log_id!(
    /// An access request, e.g. `request-1043`.
    RequestId, "request");
log_id!(
    /// A lock, e.g. `lock-1044`.
    LockId, "lock");
log_id!(
    /// A review of access, e.g. `review-1047`: the index at which its population was fixed.
    ReviewId, "review");
log_id!(
    /// A token an agent or person authenticates with, e.g. `token-1045`. The id is public, the secret is not kept.
    TokenId, "token");
log_id!(
    /// Access that was opened without an approval, e.g. `break-glass-1048`.
    BreakGlassId, "break-glass");
log_id!(
    /// A legal hold on records, e.g. `hold-1049`.
    HoldId, "hold");
log_id!(
    /// A published policy bundle, e.g. `policy-1047`.
    PolicyId, "policy");
log_id!(
    /// A revocation: the index of the narrowing command, e.g. `revocation-1046`. Receipts are filed under it.
    RevocationId, "revocation");

/// A node of the cluster: 1, 2, 3, … An id is never given twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub u64);

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// One start of one node's process: drawn at random at start, so that nothing of an earlier run is taken for this one's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BootId(pub u64);

/// A session: the node, its boot, and a counter there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId {
    pub node: NodeId,
    pub boot: BootId,
    pub number: u64,
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "session-{}-{:016x}-{}", self.node.0, self.boot.0, self.number)
    }
}

impl FromStr for SessionId {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let parse = || {
            let mut parts = text.strip_prefix("session-")?.splitn(3, '-');
            let node = NodeId(parts.next()?.parse().ok()?);
            let boot = BootId(u64::from_str_radix(parts.next()?, 16).ok()?);
            let number = parts.next()?.parse().ok()?;
            Some(SessionId { node, boot, number })
        };
        parse().ok_or_else(|| InvalidId { expected: "session-NODE-BOOT-NUMBER", got: text.chars().take(128).collect() })
    }
}

/// One operation: its session and its place in it. Spending an approval stores this as `spent_by`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OperationId {
    pub session: SessionId,
    pub sequence: u64,
}

/// SHA-256.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest(pub [u8; 32]);

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|b| write!(f, "{b:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Chosen by whoever proposes a command, so that repeating it after an unknown outcome changes nothing twice.
/// 1–64 printable ASCII characters without spaces.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProposalId(std::sync::Arc<str>);

impl FromStr for ProposalId {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        if (1..=64).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic()) {
            Ok(ProposalId(text.into()))
        } else {
            Err(InvalidId { expected: "1 to 64 printable ASCII characters", got: text.chars().take(128).collect() })
        }
    }
}

impl ProposalId {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}
