//! Where the cluster sends what happens: notifications for people and their tools, streams for log collectors.
//!
//! A sink is delivered to by one node at a time from a cursor that is replicated: whoever leads next goes on there. What
//! was sent and not yet noted is sent once more, under the same id.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use crate::credential::Sealed;
use crate::id::{Index, Name};
use crate::time::LogTime;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sink {
    pub name: Name,
    pub terms: Terms,
    /// What proves us to the receiver: the key of signatures, a password, an `Authorization` header; for Slack and Teams
    /// the address itself.
    pub sealed: Option<Sealed>,
    /// Tells a sink from an earlier one of its name.
    pub created: Index,
    pub version: Index,
}

/// What people choose of a sink.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Terms {
    pub destination: Destination,
    pub selection: Selection,
    /// PEM; empty means the system's roots.
    pub roots_pem: String,
    /// What cannot be delivered for so long is passed over, and counted. Never, if `None`: all that follows waits.
    pub give_up: Option<Duration>,
    pub active: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Destination {
    /// A POST for each message, in the form of Standard Webhooks.
    Webhook {
        url: String,
    },
    /// RFC 5424 over TLS (RFC 5425). `address` is `host:port`.
    Syslog {
        address: String,
        server_name: Option<String>,
        format: RecordFormat,
    },
    /// OTLP over HTTP, in JSON; `url` is the whole one, `…/v1/logs`.
    Otlp {
        url: String,
    },
    /// Incoming webhooks of Slack and Teams: their address is the secret.
    Slack,
    Teams,
    /// SMTP submission. `address` is `host:port`.
    Mail {
        address: String,
        tls: MailTls,
        from: String,
        to: Vec<String>,
        username: String,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MailTls {
    /// From the first byte (port 465).
    Implicit,
    /// STARTTLS, and nothing without it (port 587).
    Starttls,
}

/// How a record is written for a collector.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RecordFormat {
    Ocsf,
    Cef,
    Json,
}

/// What a sink is sent: notifications of these events, every record of these logs.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Selection {
    pub events: BTreeSet<EventKind>,
    pub logs: BTreeSet<StreamedLog>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum StreamedLog {
    Control,
    Audit,
}

impl StreamedLog {
    pub const ALL: [StreamedLog; 2] = [StreamedLog::Control, StreamedLog::Audit];

    /// As the log is named elsewhere.
    pub fn as_str(self) -> &'static str {
        match self {
            StreamedLog::Control => "control",
            StreamedLog::Audit => "audit/0",
        }
    }
}

macro_rules! event_kinds {
    ($($(#[$doc:meta])* $variant:ident = $name:literal),* $(,)?) => {
        /// What people are told of.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub enum EventKind {
            $($(#[$doc])* $variant,)*
        }

        impl EventKind {
            pub const ALL: &[EventKind] = &[$(EventKind::$variant),*];

            /// `request.opened`, …: as receivers see it.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(EventKind::$variant => $name,)*
                }
            }
        }
    };
}

event_kinds! {
    RequestOpened = "request.opened",
    RequestDecided = "request.decided",
    RequestWithdrawn = "request.withdrawn",
    RequestExpired = "request.expired",
    ReviewOpened = "review.opened",
    /// The due date comes near.
    ReviewReminder = "review.reminder",
    ReviewDue = "review.due",
    ReviewDecided = "review.decided",
    ReviewClosed = "review.closed",
    GrantIssued = "grant.issued",
    GrantRevoked = "grant.revoked",
    TokenRevoked = "token.revoked",
    LockCreated = "lock.created",
    LockDeleted = "lock.deleted",
    BreakGlassOpened = "break-glass.opened",
    BreakGlassReviewed = "break-glass.reviewed",
    PolicyChanged = "policy.changed",
    /// Nodes, and keys of the cluster.
    ClusterChanged = "cluster.changed",
    /// Sinks and witnesses: whoever is told of things is told when that changes.
    SinkChanged = "sink.changed",
    /// Persons, agents, and the tokens they get.
    AccountChanged = "account.changed",
    /// Targets and their credentials, roles, jobs, and what opens reviews by itself.
    ConfigurationChanged = "configuration.changed",
    /// How long records are kept, legal holds, and what was pruned.
    RetentionChanged = "retention.changed",
}

impl EventKind {
    /// The feature level from which on every node knows it.
    pub(crate) fn since_level(self) -> u32 {
        match self {
            EventKind::AccountChanged | EventKind::ConfigurationChanged | EventKind::RetentionChanged => 4,
            EventKind::RequestOpened
            | EventKind::RequestDecided
            | EventKind::RequestWithdrawn
            | EventKind::RequestExpired
            | EventKind::ReviewOpened
            | EventKind::ReviewReminder
            | EventKind::ReviewDue
            | EventKind::ReviewDecided
            | EventKind::ReviewClosed
            | EventKind::GrantIssued
            | EventKind::GrantRevoked
            | EventKind::TokenRevoked
            | EventKind::LockCreated
            | EventKind::LockDeleted
            | EventKind::BreakGlassOpened
            | EventKind::BreakGlassReviewed
            | EventKind::PolicyChanged
            | EventKind::ClusterChanged
            | EventKind::SinkChanged => 3,
        }
    }
}

impl fmt::Display for EventKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no event {0:?}; there are {known}", known = known())]
pub struct UnknownEvent(String);

fn known() -> String {
    EventKind::ALL.iter().map(|kind| kind.as_str()).collect::<Vec<_>>().join(", ")
}

impl FromStr for EventKind {
    type Err = UnknownEvent;

    fn from_str(text: &str) -> Result<Self, UnknownEvent> {
        EventKind::ALL.iter().copied().find(|kind| kind.as_str() == text).ok_or_else(|| UnknownEvent(text.chars().take(64).collect()))
    }
}

/// How far a sink was delivered to: leaves of each log, and the log time until which what happens by time alone was told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Cursor {
    pub control: u64,
    pub audit: u64,
    pub time: LogTime,
}

impl Cursor {
    /// Nowhere behind `earlier`.
    pub fn is_beyond(&self, earlier: &Cursor) -> bool {
        self.control >= earlier.control && self.audit >= earlier.audit && self.time >= earlier.time
    }
}

/// What became of delivering to a sink so far.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress {
    pub sink: Name,
    /// Of the sink.
    pub created: Index,
    pub cursor: Cursor,
    /// Messages, and those passed over.
    pub delivered: u64,
    pub abandoned: u64,
    pub last_delivered: Option<LogTime>,
    pub failing: Option<Failing>,
}

/// The message at the cursor cannot be delivered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failing {
    pub since: LogTime,
    pub attempts: u32,
    pub error: String,
}

impl Destination {
    pub fn as_str(&self) -> &'static str {
        match self {
            Destination::Webhook { .. } => "webhook",
            Destination::Syslog { .. } => "syslog",
            Destination::Otlp { .. } => "otlp",
            Destination::Slack => "slack",
            Destination::Teams => "teams",
            Destination::Mail { .. } => "mail",
        }
    }

    /// For people to read, not for machines to parse: these take events only.
    pub fn is_for_people(&self) -> bool {
        match self {
            Destination::Slack | Destination::Teams | Destination::Mail { .. } => true,
            Destination::Webhook { .. } | Destination::Syslog { .. } | Destination::Otlp { .. } => false,
        }
    }

    /// For log collectors: these take records only.
    pub fn is_collector(&self) -> bool {
        match self {
            Destination::Syslog { .. } | Destination::Otlp { .. } => true,
            Destination::Webhook { .. } | Destination::Slack | Destination::Teams | Destination::Mail { .. } => false,
        }
    }
}

impl Terms {
    /// Whether a secret that stays as it is would be sent to another place, or be seen by another, than it was given for.
    pub fn sends_secret_elsewhere(&self, new: &Terms) -> bool {
        let sent = |terms: &Terms| match &terms.destination {
            Destination::Otlp { .. } | Destination::Mail { .. } => true,
            // The key of a signature is not sent; what is sent to Slack and Teams is where it goes.
            Destination::Webhook { .. } | Destination::Syslog { .. } | Destination::Slack | Destination::Teams => false,
        };
        let place = |terms: &Terms| match &terms.destination {
            Destination::Mail { address, tls, .. } => (address.clone(), Some(*tls)),
            Destination::Otlp { url } | Destination::Webhook { url } => (url.clone(), None),
            Destination::Syslog { address, .. } => (address.clone(), None),
            Destination::Slack | Destination::Teams => (String::new(), None),
        };
        let kind_changes = self.destination.as_str() != new.destination.as_str();
        kind_changes || (sent(new) && (place(self), &self.roots_pem) != (place(new), &new.roots_pem))
    }
}
