//! Reads fields of a request and collects what is wrong with them, so that a caller sees every fault at once.

use std::collections::BTreeSet;
use std::fmt::Display;
use std::str::FromStr;
use std::time::Duration;

use domain::command::Expect;
use domain::id::{Digest, Index, Name};
use domain::permission::{Permission, PermissionSet};
use domain::time::LogTime;
use proto::error::FieldError;
use proto::types;
use tonic::Status;

use crate::failure;

/// Faults found so far. Each reader returns `None` exactly when it has noted a fault.
#[derive(Debug, Default)]
pub(crate) struct Fields(Vec<FieldError>);

/// Runs `read`; its `None` means that a fault was noted.
pub(crate) fn collect<T>(read: impl FnOnce(&mut Fields) -> Option<T>) -> Result<T, Status> {
    let mut fields = Fields::default();
    match read(&mut fields) {
        Some(value) if fields.0.is_empty() => Ok(value),
        Some(_) | None => Err(failure::invalid(&fields.0)),
    }
}

impl Fields {
    pub(crate) fn fault<T>(&mut self, field: &str, message: impl Into<String>) -> Option<T> {
        self.0.push(FieldError { field: field.into(), message: message.into() });
        None
    }

    pub(crate) fn present<T>(&mut self, field: &str, value: Option<T>) -> Option<T> {
        value.or_else(|| self.fault(field, "is needed"))
    }

    pub(crate) fn parse<T: FromStr<Err: Display>>(&mut self, field: &str, text: &str) -> Option<T> {
        if text.is_empty() {
            return self.fault(field, "is needed");
        }
        text.parse().map_err(|e: T::Err| self.fault::<()>(field, e.to_string())).ok()
    }

    pub(crate) fn parse_optional<T: FromStr<Err: Display>>(&mut self, field: &str, text: &str) -> Option<Option<T>> {
        if text.is_empty() { Some(None) } else { self.parse(field, text).map(Some) }
    }

    pub(crate) fn filled<'a>(&mut self, field: &str, text: &'a str) -> Option<&'a str> {
        if text.is_empty() { self.fault(field, "is needed") } else { Some(text) }
    }

    pub(crate) fn names(&mut self, field: &str, texts: &[String]) -> Option<BTreeSet<Name>> {
        let read: Vec<_> = texts.iter().enumerate().map(|(i, text)| self.parse(&format!("{field}[{i}]"), text)).collect();
        read.into_iter().collect()
    }

    pub(crate) fn permissions(&mut self, field: &str, texts: &[String]) -> Option<PermissionSet> {
        let read: Vec<Option<Permission>> = texts.iter().enumerate().map(|(i, text)| self.parse(&format!("{field}[{i}]"), text)).collect();
        read.into_iter().collect::<Option<Vec<_>>>().map(PermissionSet::new)
    }

    pub(crate) fn time(&mut self, field: &str, time: Option<&types::Timestamp>) -> Option<Option<LogTime>> {
        let Some(time) = time else { return Some(None) };
        let whole = u64::try_from(time.seconds).ok().and_then(|s| s.checked_mul(1000));
        let part = u64::try_from(time.nanos).ok().filter(|n| *n < 1_000_000_000).map(|n| n / 1_000_000);
        match whole.zip(part) {
            Some((whole, part)) => Some(Some(LogTime(whole.saturating_add(part)))),
            None => self.fault(field, "is not a time after 1970"),
        }
    }

    pub(crate) fn span(&mut self, field: &str, span: Option<&types::Duration>) -> Option<Option<Duration>> {
        let Some(span) = span else { return Some(None) };
        match u64::try_from(span.seconds).ok().zip(u32::try_from(span.nanos).ok().filter(|n| *n < 1_000_000_000)) {
            Some((seconds, nanos)) => Some(Some(Duration::new(seconds, nanos))),
            None => self.fault(field, "is not a positive duration"),
        }
    }

    /// 64 hexadecimal digits, or nothing.
    pub(crate) fn digest(&mut self, field: &str, text: &str) -> Option<Option<Digest>> {
        if text.is_empty() {
            return Some(None);
        }
        let plain: String = text.chars().filter(|c| *c != ':').collect::<String>().to_ascii_lowercase();
        match data_encoding::HEXLOWER.decode(plain.as_bytes()).ok().and_then(|bytes| bytes.try_into().ok()) {
            Some(bytes) => Some(Some(Digest(bytes))),
            None => self.fault(field, "is not a SHA-256 of 64 hexadecimal digits"),
        }
    }

    /// The etag an update must carry.
    pub(crate) fn etag(&mut self, field: &str, text: &str) -> Option<Expect> {
        match text.parse() {
            Ok(version) => Some(Expect::Version(Index(version))),
            Err(_) if text.is_empty() => self.fault(field, "is needed: read the entity first, and send the etag it had"),
            Err(_) => self.fault(field, "is not an etag"),
        }
    }

    /// The etag a delete may carry.
    pub(crate) fn etag_optional(&mut self, field: &str, text: &str) -> Option<Expect> {
        if text.is_empty() { Some(Expect::Any) } else { self.etag(field, text) }
    }
}
