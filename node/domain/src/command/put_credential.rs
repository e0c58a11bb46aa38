//! Stores or rotates a sealed secret. A new secret for the same user ends no session; another user does.

use super::check::{expected, invalid, not_empty};
use super::step::Step;
use super::{Expect, Rejection, Reply};
use crate::credential::Credential;
use crate::limits::BLOB_MAX;

pub(super) fn apply(step: &mut Step<'_>, put: Credential, expect: Expect) -> Result<Reply, Rejection> {
    let old = step.state.credentials.get(&put.name);
    expected(expect, old.map(|c| c.version), || format!("credential {}", put.name))?;
    not_empty("username", &put.username)?;
    if put.sealed.ciphertext.len().saturating_add(put.sealed.wrapped_key.len()) > BLOB_MAX {
        return Err(invalid("secret", format!("is longer than {BLOB_MAX} bytes")));
    }
    let narrowed = old.filter(|old| old.username == put.username).map_or(step.index, |old| old.narrowed);
    match old {
        Some(old) if old.username == put.username && old.sealed == put.sealed => Ok(Reply::Done { version: old.version }),
        Some(_) | None => {
            step.put_credential(Credential { version: step.index, narrowed, ..put });
            Ok(step.done())
        }
    }
}
