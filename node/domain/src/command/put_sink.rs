//! Makes or changes a sink. A new one is sent what happens from then on; a changed one goes on where it was.

use super::check::{address, expected, invalid, not_empty, short, url};
use super::step::Step;
use super::{Expect, Rejection, Reply};
use crate::credential::Sealed;
use crate::id::Name;
use crate::limits::{BLOB_MAX, GIVE_UP_MIN, RECIPIENTS_MAX, SINKS_MAX};
use crate::sink::{Cursor, Destination, Progress, Sink, Terms};

pub(super) fn apply(
    step: &mut Step<'_>,
    name: Name,
    terms: Terms,
    sealed: Option<Sealed>,
    start: Cursor,
    expect: Expect,
) -> Result<Reply, Rejection> {
    let old = step.state.sinks.get(&name).cloned();
    expected(expect, old.as_ref().map(|sink| sink.version), || format!("sink {name}"))?;
    check(&terms)?;
    if sealed.as_ref().is_some_and(|sealed| sealed.ciphertext.len().saturating_add(sealed.wrapped_key.len()) > BLOB_MAX) {
        return Err(invalid("secret", format!("is longer than {BLOB_MAX} bytes")));
    }
    let Some(old) = old else {
        if step.state.sinks.len() >= SINKS_MAX {
            return Err(Rejection::TooMany { limit: SINKS_MAX as u32, scope: "sinks".into() });
        }
        needs_secret(&terms, sealed.is_some())?;
        let created = step.index;
        step.put_progress(Progress {
            sink: name.clone(),
            created,
            cursor: Cursor { time: step.now, ..start },
            delivered: 0,
            abandoned: 0,
            last_delivered: None,
            failing: None,
        });
        step.put_sink(Sink { name, terms, sealed, created, version: created });
        return Ok(step.done());
    };
    if sealed.is_none() && old.sealed.is_some() && old.terms.sends_secret_elsewhere(&terms) {
        return Err(invalid("secret", "must be given again: it would go to another place than it was given for"));
    }
    let sealed = sealed.or(old.sealed.clone());
    needs_secret(&terms, sealed.is_some())?;
    if (&old.terms, &old.sealed) == (&terms, &sealed) {
        return Ok(Reply::Done { version: old.version });
    }
    step.put_sink(Sink { terms, sealed, version: step.index, ..old });
    Ok(step.done())
}

fn needs_secret(terms: &Terms, given: bool) -> Result<(), Rejection> {
    let needed = match &terms.destination {
        Destination::Webhook { .. } => Some("messages are signed with it"),
        Destination::Slack | Destination::Teams => Some("it is the address that messages go to"),
        Destination::Mail { username, .. } if !username.is_empty() => Some("a user name needs a password"),
        Destination::Mail { .. } | Destination::Otlp { .. } | Destination::Syslog { .. } => None,
    };
    match needed {
        Some(why) if !given => Err(invalid("secret", format!("is needed: {why}"))),
        Some(_) | None => Ok(()),
    }
}

fn check(terms: &Terms) -> Result<(), Rejection> {
    match &terms.destination {
        Destination::Webhook { url: to } | Destination::Otlp { url: to } => url("url", to)?,
        Destination::Syslog { address: to, server_name, .. } => {
            address("address", to)?;
            server_name.iter().try_for_each(|name| not_empty("server_name", name))?;
        }
        Destination::Slack | Destination::Teams => {}
        Destination::Mail { address: to, tls: _, from, to: recipients, username } => {
            address("address", to)?;
            mailbox("from", from)?;
            if recipients.is_empty() || recipients.len() > RECIPIENTS_MAX {
                return Err(invalid("to", format!("must be 1 to {RECIPIENTS_MAX} mailboxes")));
            }
            recipients.iter().try_for_each(|to| mailbox("to", to))?;
            short("username", username)?;
        }
    }
    let (selection, destination) = (&terms.selection, &terms.destination);
    if selection.events.is_empty() && selection.logs.is_empty() {
        return Err(invalid("selection", "must name events or logs"));
    }
    if destination.is_for_people() && !selection.logs.is_empty() {
        return Err(invalid("logs", format!("{} takes events only", destination.as_str())));
    }
    if destination.is_collector() && !selection.events.is_empty() {
        return Err(invalid("events", format!("{} takes whole logs only", destination.as_str())));
    }
    if terms.roots_pem.len() > BLOB_MAX {
        return Err(invalid("roots_pem", format!("is longer than {BLOB_MAX} bytes")));
    }
    match terms.give_up {
        Some(_) if !selection.logs.is_empty() => Err(invalid("give_up", "records are never passed over")),
        Some(after) if after < GIVE_UP_MIN => Err(invalid("give_up", format!("is less than {} s", GIVE_UP_MIN.as_secs()))),
        Some(_) | None => Ok(()),
    }
}

/// One plain address: what stands in the envelope and the header of a mail, where a line break or a bracket would be
/// a command.
fn mailbox(field: &str, text: &str) -> Result<(), Rejection> {
    let plain = |c: char| c.is_ascii_graphic() && !"<>()[],;:\\\"".contains(c);
    let good = text.split_once('@').is_some_and(|(user, host)| !user.is_empty() && !host.is_empty() && !host.contains('@'));
    if good && text.chars().all(plain) { short(field, text) } else { Err(invalid(field, "must be a plain mailbox, user@host")) }
}
