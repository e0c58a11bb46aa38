//! Messages from a client, as borrowed views of a [`Frame`]'s body.

use bytes::{BufMut, BytesMut};

use super::CodecError;
use super::cursor::Cursor;
use super::frame::Frame;
use super::values::{Formats, Oids, Values};
use super::write;

/// What a Describe or Close is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subject {
    Statement,
    Portal,
}

/// Every message a client may send after start-up. `p` is read by [`password`], [`sasl_initial`] or [`sasl`], as what
/// it means depends on what was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Frontend<'a> {
    Query {
        text: &'a str,
    },
    Parse {
        statement: &'a str,
        text: &'a str,
        types: Oids<'a>,
    },
    Bind {
        portal: &'a str,
        statement: &'a str,
        formats: Formats<'a>,
        values: Values<'a>,
        results: Formats<'a>,
    },
    Describe {
        subject: Subject,
        name: &'a str,
    },
    /// `rows` 0 means all.
    Execute {
        portal: &'a str,
        rows: u32,
    },
    Close {
        subject: Subject,
        name: &'a str,
    },
    Sync,
    Flush,
    CopyData {
        data: &'a [u8],
    },
    CopyDone,
    CopyFail {
        reason: &'a str,
    },
    FunctionCall {
        function: u32,
        formats: Formats<'a>,
        values: Values<'a>,
        result: u16,
    },
    Terminate,
    /// An answer to an authentication request, not looked into.
    Password {
        body: &'a [u8],
    },
}

impl<'a> Frontend<'a> {
    /// # Errors
    /// [`CodecError`] for an unknown tag, or a body that is not exactly what its kind has: cut short, strings without
    /// terminator or not UTF-8, bytes left over.
    pub fn parse(frame: &'a Frame) -> Result<Frontend<'a>, CodecError> {
        Frontend::parse_parts(frame.tag, frame.body())
    }

    /// As [`Self::parse`], from a tag and a body.
    ///
    /// # Errors
    /// As [`Self::parse`].
    pub fn parse_parts(tag: u8, body: &'a [u8]) -> Result<Frontend<'a>, CodecError> {
        let mut at = Cursor::new(name(tag)?, body);
        let message = match tag {
            b'Q' => Frontend::Query { text: at.cstr()? },
            b'P' => Frontend::Parse { statement: at.cstr()?, text: at.cstr()?, types: Oids::parse(&mut at)? },
            b'B' => bind(&mut at)?,
            b'D' => Frontend::Describe { subject: subject(&mut at)?, name: at.cstr()? },
            b'E' => Frontend::Execute { portal: at.cstr()?, rows: rows(&mut at)? },
            b'C' => Frontend::Close { subject: subject(&mut at)?, name: at.cstr()? },
            b'S' => Frontend::Sync,
            b'H' => Frontend::Flush,
            b'd' => Frontend::CopyData { data: at.remainder() },
            b'c' => Frontend::CopyDone,
            b'f' => Frontend::CopyFail { reason: at.cstr()? },
            b'F' => function_call(&mut at)?,
            b'X' => Frontend::Terminate,
            b'p' => Frontend::Password { body: at.remainder() },
            _ => return Err(CodecError::UnknownTag { tag }),
        };
        at.end().map(|()| message)
    }

    /// Appends the message as it stands on the wire. Writing what was parsed gives the same bytes.
    ///
    /// # Errors
    /// [`CodecError::Malformed`] when a list is longer than the protocol can count.
    pub fn write(&self, out: &mut BytesMut) -> Result<(), CodecError> {
        match *self {
            Frontend::Query { text } => write::message(out, b'Q', |out| write::cstr(out, text)),
            Frontend::Parse { statement, text, types } => {
                let count = write::count("Parse", types.len())?;
                write::message(out, b'P', |out| {
                    write::cstr(out, statement);
                    write::cstr(out, text);
                    out.put_u16(count);
                    out.put_slice(types.0);
                });
            }
            Frontend::Bind { portal, statement, formats, values, results } => {
                let (given, wanted) = (write::count("Bind", formats.len())?, write::count("Bind", results.len())?);
                write::message(out, b'B', |out| {
                    write::cstr(out, portal);
                    write::cstr(out, statement);
                    out.put_u16(given);
                    out.put_slice(formats.0);
                    out.put_u16(values.count);
                    out.put_slice(values.bytes);
                    out.put_u16(wanted);
                    out.put_slice(results.0);
                });
            }
            Frontend::Describe { subject, name } => named(out, b'D', subject, name),
            Frontend::Execute { portal, rows } => write::message(out, b'E', |out| {
                write::cstr(out, portal);
                out.put_u32(rows);
            }),
            Frontend::Close { subject, name } => named(out, b'C', subject, name),
            Frontend::Sync => write::message(out, b'S', |_| {}),
            Frontend::Flush => write::message(out, b'H', |_| {}),
            Frontend::CopyData { data } => write::message(out, b'd', |out| out.put_slice(data)),
            Frontend::CopyDone => write::message(out, b'c', |_| {}),
            Frontend::CopyFail { reason } => write::message(out, b'f', |out| write::cstr(out, reason)),
            Frontend::FunctionCall { function, formats, values, result } => {
                let given = write::count("FunctionCall", formats.len())?;
                write::message(out, b'F', |out| {
                    out.put_u32(function);
                    out.put_u16(given);
                    out.put_slice(formats.0);
                    out.put_u16(values.count);
                    out.put_slice(values.bytes);
                    out.put_u16(result);
                });
            }
            Frontend::Terminate => write::message(out, b'X', |_| {}),
            Frontend::Password { body } => write::message(out, b'p', |out| out.put_slice(body)),
        }
        Ok(())
    }
}

fn name(tag: u8) -> Result<&'static str, CodecError> {
    Ok(match tag {
        b'Q' => "Query",
        b'P' => "Parse",
        b'B' => "Bind",
        b'D' => "Describe",
        b'E' => "Execute",
        b'C' => "Close",
        b'S' => "Sync",
        b'H' => "Flush",
        b'd' => "CopyData",
        b'c' => "CopyDone",
        b'f' => "CopyFail",
        b'F' => "FunctionCall",
        b'X' => "Terminate",
        b'p' => "password",
        _ => return Err(CodecError::UnknownTag { tag }),
    })
}

fn bind<'a>(at: &mut Cursor<'a>) -> Result<Frontend<'a>, CodecError> {
    let (portal, statement) = (at.cstr()?, at.cstr()?);
    let (formats, values, results) = (Formats::parse(at)?, Values::parse(at)?, Formats::parse(at)?);
    if formats.len() > 1 && formats.len() != values.len() {
        return Err(at.malformed("as many format codes as values, one, or none"));
    }
    Ok(Frontend::Bind { portal, statement, formats, values, results })
}

fn function_call<'a>(at: &mut Cursor<'a>) -> Result<Frontend<'a>, CodecError> {
    let function = at.u32()?;
    let (formats, values, result) = (Formats::parse(at)?, Values::parse(at)?, at.u16()?);
    if result > 1 {
        return Err(at.malformed("a format code other than 0 or 1"));
    }
    Ok(Frontend::FunctionCall { function, formats, values, result })
}

fn subject(at: &mut Cursor<'_>) -> Result<Subject, CodecError> {
    match at.u8()? {
        b'S' => Ok(Subject::Statement),
        b'P' => Ok(Subject::Portal),
        _ => Err(at.malformed("a subject other than statement or portal")),
    }
}

/// PostgreSQL takes a negative count as "all"; so that nobody has to know, it is refused here.
fn rows(at: &mut Cursor<'_>) -> Result<u32, CodecError> {
    u32::try_from(at.i32()?).map_err(|_| at.malformed("a negative row count"))
}

fn named(out: &mut BytesMut, tag: u8, subject: Subject, name: &str) {
    write::message(out, tag, |out| {
        out.put_u8(match subject {
            Subject::Statement => b'S',
            Subject::Portal => b'P',
        });
        write::cstr(out, name);
    });
}

/// The body of `p` in answer to a cleartext or MD5 request.
///
/// # Errors
/// [`CodecError::Malformed`]; an empty password is one, as PostgreSQL has it.
pub fn password(body: &[u8]) -> Result<&[u8], CodecError> {
    let mut at = Cursor::new("password", body);
    let password = at.cstr_bytes()?;
    if password.is_empty() {
        return Err(at.malformed("an empty password"));
    }
    at.end().map(|()| password)
}

/// The body of `p` in answer to AuthenticationSASL: mechanism and client-first.
///
/// # Errors
/// [`CodecError::Malformed`].
pub fn sasl_initial(body: &[u8]) -> Result<(&str, &[u8]), CodecError> {
    let mut at = Cursor::new("SASLInitialResponse", body);
    let mechanism = at.cstr()?;
    let response = at.value()?.ok_or_else(|| at.malformed("no initial response"))?;
    at.end().map(|()| (mechanism, response))
}

/// The body of `p` in answer to AuthenticationSASLContinue: all of it.
pub fn sasl(body: &[u8]) -> &[u8] {
    body
}
