//! The fields of ErrorResponse and NoticeResponse: a letter and a text each.

use bytes::{BufMut, BytesMut};

use super::CodecError;
use super::cursor::Cursor;
use super::write;

/// A borrowed view of the fields, checked when it is parsed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ErrorFields<'a>(&'a [u8]);

impl<'a> ErrorFields<'a> {
    pub(super) fn parse(cursor: &mut Cursor<'a>) -> Result<ErrorFields<'a>, CodecError> {
        let all = cursor.remainder();
        let mut walk = Cursor::new("ErrorResponse", all);
        while walk.u8()? != 0 {
            walk.cstr_bytes()?;
        }
        walk.end()?;
        Ok(ErrorFields(all))
    }

    /// Letter and text of every field, in order. Text of a server in another encoding may not be UTF-8.
    pub fn iter(&self) -> impl Iterator<Item = (u8, &'a [u8])> + use<'a> {
        let mut cursor = Cursor::new("ErrorResponse", self.0);
        std::iter::from_fn(move || match cursor.u8() {
            Ok(letter) if letter != 0 => cursor.cstr_bytes().ok().map(|text| (letter, text)),
            Ok(_) | Err(_) => None,
        })
    }

    /// The text of one field, e.g. `b'C'` for the SQLSTATE; `None` if absent or not UTF-8.
    pub fn field(&self, letter: u8) -> Option<&'a str> {
        self.iter().find(|(found, _)| *found == letter).and_then(|(_, text)| std::str::from_utf8(text).ok())
    }

    pub fn severity(&self) -> Option<&'a str> {
        self.field(b'V').or_else(|| self.field(b'S'))
    }

    pub fn sqlstate(&self) -> Option<&'a str> {
        self.field(b'C')
    }

    pub fn message(&self) -> Option<&'a str> {
        self.field(b'M')
    }

    /// The session cannot go on after it.
    pub fn is_fatal(&self) -> bool {
        matches!(self.severity(), Some("FATAL" | "PANIC"))
    }

    pub(super) fn write(&self, out: &mut BytesMut) {
        out.put_slice(self.0);
    }
}

/// An error or notice of our own, to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    pub severity: Severity,
    /// Five characters.
    pub sqlstate: &'static str,
    pub message: String,
    pub detail: Option<String>,
    pub hint: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    Notice,
    Warning,
    Error,
    Fatal,
}

impl Severity {
    pub fn as_str(self) -> &'static str {
        match self {
            Severity::Notice => "NOTICE",
            Severity::Warning => "WARNING",
            Severity::Error => "ERROR",
            Severity::Fatal => "FATAL",
        }
    }

    fn tag(self) -> u8 {
        match self {
            Severity::Notice | Severity::Warning => b'N',
            Severity::Error | Severity::Fatal => b'E',
        }
    }
}

impl Response {
    /// As ErrorResponse or NoticeResponse, by its severity. Both severity fields are sent, as PostgreSQL has done
    /// since 9.6, so that drivers need not guess at translations.
    pub fn write(&self, out: &mut BytesMut) {
        write::message(out, self.severity.tag(), |out| {
            let optional = [(b'D', self.detail.as_deref()), (b'H', self.hint.as_deref())];
            let fixed = [(b'S', self.severity.as_str()), (b'V', self.severity.as_str()), (b'C', self.sqlstate)];
            let fields = fixed.into_iter().chain([(b'M', self.message.as_str())]);
            for (letter, text) in fields.chain(optional.into_iter().filter_map(|(l, t)| t.map(|t| (l, t)))) {
                out.put_u8(letter);
                write::cstr(out, text);
            }
            out.put_u8(0);
        });
    }
}
