//! Refusals in PostgreSQL's words: severity, SQLSTATE, what, why, the id to ask about, and what to do (DESIGN §8).
//!
//! No SQLSTATE here is of a class that drivers repeat by themselves (40, and 08 only where nobody can know what
//! happened). What a peer may not learn looks the same: an unknown principal as a wrong secret, an unknown target as
//! one without a grant.

use std::time::Duration;

use domain::id::{PolicyId, RequestId};
use domain::refusal::Refusal;

use crate::codec::fields::{Response, Severity};

/// Access objects named in one message; more are counted. A message is for reading.
const MISSING_SHOWN: usize = 5;

/// The refusal of one operation, or of what ends a session: severity ERROR where the session goes on as PostgreSQL's
/// would, FATAL where it does not.
pub fn error(refusal: &Refusal) -> Response {
    match refusal {
        Refusal::NotGranted { .. }
        | Refusal::Unparseable { .. }
        | Refusal::Pinned { .. }
        | Refusal::Denied { .. }
        | Refusal::RequestExpired { .. }
        | Refusal::Pending { .. }
        | Refusal::PendingInTransaction { .. }
        | Refusal::TooManyRequests { .. }
        | Refusal::StatementTooLong { .. }
        | Refusal::NoLease
        | Refusal::NotRecorded
        | Refusal::Policy { .. } => worded(Severity::Error, refusal),
        Refusal::UnknownPrincipal
        | Refusal::WrongSecret
        | Refusal::PrincipalInactive
        | Refusal::OwnerInactive { .. }
        | Refusal::NoJob
        | Refusal::JobExpired
        | Refusal::UnknownTarget
        | Refusal::InvalidRun { .. }
        | Refusal::NoGrant
        | Refusal::ReviewOverdue
        | Refusal::GrantExpired
        | Refusal::Locked { .. }
        | Refusal::Protocol { .. }
        | Refusal::Revoked { .. }
        | Refusal::OutcomeUnknown
        | Refusal::Draining
        | Refusal::TooManySessions { .. } => worded(Severity::Fatal, refusal),
    }
}

/// The refusal of a whole session: always FATAL.
pub fn fatal(refusal: &Refusal) -> Response {
    worded(Severity::Fatal, refusal)
}

/// The refusal of a login: always FATAL, and a missing lease means "not now" rather than "cancelled".
pub fn login(refusal: &Refusal) -> Response {
    match refusal {
        Refusal::NoLease | Refusal::NotRecorded => {
            response(Severity::Fatal, "57P03", "this gateway node cannot admit anybody now: it has no lease or no quorum")
                .hint("Connect to another node, or try again in a few seconds.")
        }
        Refusal::Draining => response(Severity::Fatal, "57P03", "this gateway node is shutting down").hint("Connect to another node."),
        Refusal::PrincipalInactive
        | Refusal::OwnerInactive { .. }
        | Refusal::NoJob
        | Refusal::JobExpired
        | Refusal::UnknownTarget
        | Refusal::NoGrant
        | Refusal::ReviewOverdue
        | Refusal::GrantExpired
        | Refusal::Locked { .. }
        | Refusal::Revoked { .. } => admission(refusal, "28000", "login refused"),
        Refusal::Policy { policy, reason } => policy_says(Severity::Fatal, "28000", "login refused", *policy, reason),
        other => worded(Severity::Fatal, other),
    }
}

/// Tells a client whose statement is held that it waits for people, and for how long.
pub fn held_notice(request: RequestId, joined: bool, because: Option<&str>, hold: Duration) -> Response {
    let what = if joined { "this statement waits for approval, as one before it" } else { "this statement waits for approval" };
    let mut notice = response(Severity::Notice, "00000", format!("held: {what}: {request}"));
    notice.detail = because.map(|because| format!("Policy: {because}"));
    notice.hint(format!(
        "An approver can run: assize request approve {request}. After {} s without a decision the statement ends with \
         an error; the request stays open.",
        hold.as_secs()
    ))
}

/// The target did not let the gateway in, or broke off. `why` is safe to show: it names no secret and no address.
pub fn upstream_failed(target: &str, why: &str) -> Response {
    response(Severity::Fatal, "08001", format!("the gateway could not open a session at target \"{target}\": {why}"))
        .hint("This is not about your grants. An operator can run: assize target check.")
}

/// A message with text that is not UTF-8, the only client encoding there is here: the server's own words for it.
pub fn not_utf8() -> Response {
    response(Severity::Error, "22021", "invalid byte sequence for encoding \"UTF8\"")
}

fn response(severity: Severity, sqlstate: &'static str, message: impl Into<String>) -> Response {
    Response { severity, sqlstate, message: message.into(), detail: None, hint: None }
}

impl Response {
    fn hint(mut self, hint: impl Into<String>) -> Response {
        self.hint = Some(hint.into());
        self
    }

    fn detail(mut self, detail: impl Into<String>) -> Response {
        self.detail = Some(detail.into());
        self
    }
}

/// A policy's reason is written for whoever is refused.
fn policy_says(severity: Severity, sqlstate: &'static str, what: &str, policy: PolicyId, reason: &str) -> Response {
    response(severity, sqlstate, format!("{what}: {reason}"))
        .detail(format!("Refused by {policy}."))
        .hint("No grant or approval changes this; ask those who publish the policy.")
}

const REQUEST_HINT: &str = "Ask for it: run the statement alone, outside a transaction, and it waits for approval.";

fn worded(severity: Severity, refusal: &Refusal) -> Response {
    let say = |sqlstate, message: String| response(severity, sqlstate, message);
    match refusal {
        Refusal::UnknownPrincipal | Refusal::WrongSecret => {
            say("28P01", "authentication failed".into()).hint("The user name is the agent's, the password one of its live gateway tokens.")
        }
        Refusal::PrincipalInactive
        | Refusal::OwnerInactive { .. }
        | Refusal::NoJob
        | Refusal::JobExpired
        | Refusal::UnknownTarget
        | Refusal::NoGrant
        | Refusal::ReviewOverdue
        | Refusal::GrantExpired
        | Refusal::Locked { .. }
        | Refusal::Revoked { .. } => admission(refusal, "57P01", "session ended"),
        Refusal::Policy { policy, reason } => policy_says(severity, "42501", "permission denied", *policy, reason),
        Refusal::NotGranted { missing } => not_granted(severity, missing),
        Refusal::Unparseable { message } => {
            say("42601", message.clone()).detail("The gateway could not parse this statement and passed nothing on.")
        }
        Refusal::Pinned { setting } => say("42501", format!("permission denied: the gateway pins \"{setting}\""))
            .hint("This setting decides how statements are read or whose they are; it cannot be changed here."),
        Refusal::Denied { request, reason } => say("42501", format!("permission denied: {request} was denied"))
            .detail(format!("Reason: {reason}"))
            .hint(format!("Ask the approver about {request}; the same statement will open a new request.")),
        Refusal::RequestExpired { request } => say("42501", format!("permission denied: {request} expired without a decision"))
            .hint("The same statement will open a new request."),
        Refusal::Pending { request } => say("42501", format!("permission denied: {request} waits for approval"))
            .hint(format!("Once it is approved (assize request approve {request}), run the same statement again, on any node.")),
        Refusal::PendingInTransaction { request } => {
            say("42501", format!("permission denied inside a transaction: {request} waits for approval"))
                .detail("Nothing is held inside a transaction, because its locks would wait for people.")
                .hint(format!("Roll back; once {request} is approved, run the transaction again."))
        }
        Refusal::TooManyRequests { limit } => say("54000", format!("too many open access requests: at most {limit} may wait at a time"))
            .hint("Have some decided or withdrawn first: assize request list."),
        Refusal::StatementTooLong { limit } => {
            say("54000", format!("statement too long: at most {limit} bytes are taken")).hint("Pass large values as COPY data.")
        }
        Refusal::InvalidRun { message } => say("22023", format!("invalid run: {message}"))
            .hint("Name the run as application_name=run:ID, or with options=-c assize.run=ID."),
        Refusal::Protocol { message } => say("08P01", format!("protocol violation: {message}")),
        Refusal::NoLease => say("57014", "not done: this gateway node has lost its lease to decide".into())
            .detail("Nothing of this statement was passed on.")
            .hint("Connect to another node and run it again, or wait a few seconds."),
        Refusal::NotRecorded => say("57014", "not done: the record of this statement could not be committed".into())
            .detail("Nothing of this statement took effect.")
            .hint("Run it again when the cluster has a quorum."),
        Refusal::OutcomeUnknown => say("08007", "the outcome of the commit is unknown".into())
            .detail("The target may or may not have committed; the record says so.")
            .hint("Look at the data before you repeat it."),
        Refusal::Draining => {
            say("57P01", "session ended: this gateway node is shutting down".into()).hint("Connect again; another node will serve you.")
        }
        Refusal::TooManySessions { limit } => {
            say("53300", format!("too many sessions: at most {limit} at a time")).hint("Close sessions that are not in use, or use a pool.")
        }
    }
}

/// What admission says no to: at login, or when it is done again and ends a session.
fn admission(refusal: &Refusal, sqlstate: &'static str, what: &str) -> Response {
    let say = |why: &str| response(Severity::Fatal, sqlstate, format!("{what}: {why}"));
    match refusal {
        Refusal::PrincipalInactive => say("this agent is not active").hint("Its owner or an operator can activate it again."),
        Refusal::OwnerInactive { .. } => {
            say("the owner of this agent is not active").hint("An operator must give the agent an active owner.")
        }
        Refusal::NoJob => say("this agent has no job description").hint("Its owner must file one: assize job create."),
        Refusal::JobExpired => say("the job description of this agent has expired").hint("Its owner must renew it."),
        Refusal::ReviewOverdue => say("the grant is overdue for review")
            .hint("Once it was reviewed, an operator can issue it anew with a later date: assize grant create --review-due."),
        Refusal::GrantExpired => say("the grant has expired").hint("Ask for a new one: assize grant create."),
        Refusal::Locked { lock, reason } => {
            say(&format!("locked: {reason} ({lock})")).hint(format!("An operator set this emergency stop; ask about {lock}."))
        }
        Refusal::Revoked { revocation, reason } => say(&format!("access was revoked by {revocation}"))
            .detail(format!("Reason: {reason}"))
            .hint(format!("Ask the agent's owner about {revocation}.")),
        // All else, so that what is not known cannot be told from what is not allowed.
        _ => say("no such target, or no grant for it")
            .hint("Name the target as the database: TARGET or TARGET/DATABASE. A grant is given by: assize grant create."),
    }
}

fn not_granted(severity: Severity, missing: &[String]) -> Response {
    let shown = missing.iter().take(MISSING_SHOWN).map(String::as_str).collect::<Vec<_>>().join(", ");
    let more = missing.len().saturating_sub(MISSING_SHOWN);
    let what = match (missing.len(), more) {
        (0, _) => "permission denied: no grant covers this statement".to_owned(),
        (_, 0) => format!("permission denied: no grant covers {shown}"),
        (_, more) => format!("permission denied: no grant covers {shown} and {more} more"),
    };
    response(severity, "42501", what).hint(REQUEST_HINT)
}

#[cfg(test)]
mod tests;
