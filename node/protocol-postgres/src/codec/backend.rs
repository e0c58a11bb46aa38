//! Messages from a server, as borrowed views of a [`Frame`]'s body, and their writer.

use bytes::{BufMut, BytesMut};

use super::CodecError;
use super::cursor::Cursor;
use super::fields::ErrorFields;
use super::frame::Frame;
use super::startup::CANCEL_KEY_SIZE_MAX;
use super::values::{Formats, Oids, Values};
use super::write;

/// What ReadyForQuery says of the transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TransactionStatus {
    Idle,
    InTransaction,
    Failed,
}

impl TransactionStatus {
    pub fn letter(self) -> u8 {
        match self {
            TransactionStatus::Idle => b'I',
            TransactionStatus::InTransaction => b'T',
            TransactionStatus::Failed => b'E',
        }
    }
}

/// What a server asks for, or grants, at login.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Authentication<'a> {
    Ok,
    CleartextPassword,
    Md5Password {
        salt: [u8; 4],
    },
    Sasl {
        mechanisms: Mechanisms<'a>,
    },
    SaslContinue {
        data: &'a [u8],
    },
    SaslFinal {
        data: &'a [u8],
    },
    /// Kerberos, GSSAPI, SSPI and what may come; the gateway does none of them.
    Other {
        code: u32,
        data: &'a [u8],
    },
}

/// SASL mechanism names, as they stand on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mechanisms<'a>(&'a [u8]);

impl<'a> Mechanisms<'a> {
    pub fn iter(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        self.0.split(|byte| *byte == 0).filter_map(|name| std::str::from_utf8(name).ok()).filter(|name| !name.is_empty())
    }
}

/// One column of a row description.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Column<'a> {
    pub name: &'a [u8],
    /// Zero if the column is not one of a table.
    pub table: u32,
    pub attribute: i16,
    pub type_oid: u32,
    pub type_size: i16,
    pub type_modifier: i32,
    pub format: u16,
}

/// The columns of a row description, checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Columns<'a> {
    count: u16,
    bytes: &'a [u8],
}

impl<'a> Columns<'a> {
    fn parse(at: &mut Cursor<'a>) -> Result<Columns<'a>, CodecError> {
        let count = at.u16()?;
        let bytes = at.remainder();
        let mut walk = Cursor::new("RowDescription", bytes);
        for _ in 0..count {
            column(&mut walk)?;
        }
        walk.end()?;
        Ok(Columns { count, bytes })
    }

    pub fn len(&self) -> usize {
        usize::from(self.count)
    }

    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    pub fn iter(&self) -> impl Iterator<Item = Column<'a>> + use<'a> {
        let mut at = Cursor::new("RowDescription", self.bytes);
        (0..self.count).map_while(move |_| column(&mut at).ok())
    }
}

fn column<'a>(at: &mut Cursor<'a>) -> Result<Column<'a>, CodecError> {
    Ok(Column {
        name: at.cstr_bytes()?,
        table: at.u32()?,
        attribute: at.i16()?,
        type_oid: at.u32()?,
        type_size: at.i16()?,
        type_modifier: at.i32()?,
        format: at.u16()?,
    })
}

/// The format of a COPY and of its columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CopyFormat<'a> {
    pub overall: u8,
    pub columns: Formats<'a>,
}

impl<'a> CopyFormat<'a> {
    fn parse(at: &mut Cursor<'a>) -> Result<CopyFormat<'a>, CodecError> {
        Ok(CopyFormat { overall: at.u8()?, columns: Formats::parse(at)? })
    }
}

/// Every message a server may send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Backend<'a> {
    Authentication(Authentication<'a>),
    ParameterStatus { name: &'a str, value: &'a str },
    BackendKeyData { pid: u32, secret: &'a [u8] },
    NegotiateProtocolVersion { newest: u32, unrecognized: Unrecognized<'a> },
    ReadyForQuery(TransactionStatus),
    RowDescription(Columns<'a>),
    DataRow(Values<'a>),
    CommandComplete { tag: &'a str },
    EmptyQueryResponse,
    ErrorResponse(ErrorFields<'a>),
    NoticeResponse(ErrorFields<'a>),
    NotificationResponse { pid: u32, channel: &'a str, payload: &'a [u8] },
    ParseComplete,
    BindComplete,
    CloseComplete,
    NoData,
    ParameterDescription(Oids<'a>),
    PortalSuspended,
    CopyInResponse(CopyFormat<'a>),
    CopyOutResponse(CopyFormat<'a>),
    CopyBothResponse(CopyFormat<'a>),
    CopyData { data: &'a [u8] },
    CopyDone,
    FunctionCallResponse { value: Option<&'a [u8]> },
}

/// Start-up parameters a server did not know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unrecognized<'a> {
    pub(super) count: u32,
    pub(super) bytes: &'a [u8],
}

impl<'a> Unrecognized<'a> {
    fn parse(at: &mut Cursor<'a>) -> Result<Unrecognized<'a>, CodecError> {
        let count = at.u32()?;
        let bytes = at.remainder();
        let mut walk = Cursor::new("NegotiateProtocolVersion", bytes);
        for _ in 0..count {
            walk.cstr()?;
        }
        walk.end().map(|()| Unrecognized { count, bytes })
    }

    pub fn iter(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        let mut at = Cursor::new("NegotiateProtocolVersion", self.bytes);
        (0..self.count).map_while(move |_| at.cstr().ok())
    }
}

impl<'a> Backend<'a> {
    /// # Errors
    /// [`CodecError`] for an unknown tag or a body that is not exactly what its kind has.
    pub fn parse(frame: &'a Frame) -> Result<Backend<'a>, CodecError> {
        Backend::parse_parts(frame.tag, frame.body())
    }

    /// As [`Self::parse`], from a tag and a body.
    ///
    /// # Errors
    /// As [`Self::parse`].
    pub fn parse_parts(tag: u8, body: &'a [u8]) -> Result<Backend<'a>, CodecError> {
        let mut at = Cursor::new(name(tag)?, body);
        let message = match tag {
            b'R' => Backend::Authentication(authentication(&mut at)?),
            b'S' => Backend::ParameterStatus { name: at.cstr()?, value: at.cstr()? },
            b'K' => key_data(&mut at)?,
            b'v' => Backend::NegotiateProtocolVersion { newest: at.u32()?, unrecognized: Unrecognized::parse(&mut at)? },
            b'Z' => Backend::ReadyForQuery(status(&mut at)?),
            b'T' => Backend::RowDescription(Columns::parse(&mut at)?),
            b'D' => Backend::DataRow(Values::parse(&mut at)?),
            b'C' => Backend::CommandComplete { tag: at.cstr()? },
            b'I' => Backend::EmptyQueryResponse,
            b'E' => Backend::ErrorResponse(ErrorFields::parse(&mut at)?),
            b'N' => Backend::NoticeResponse(ErrorFields::parse(&mut at)?),
            b'A' => Backend::NotificationResponse { pid: at.u32()?, channel: at.cstr()?, payload: at.cstr_bytes()? },
            b'1' => Backend::ParseComplete,
            b'2' => Backend::BindComplete,
            b'3' => Backend::CloseComplete,
            b'n' => Backend::NoData,
            b't' => Backend::ParameterDescription(Oids::parse(&mut at)?),
            b's' => Backend::PortalSuspended,
            b'G' => Backend::CopyInResponse(CopyFormat::parse(&mut at)?),
            b'H' => Backend::CopyOutResponse(CopyFormat::parse(&mut at)?),
            b'W' => Backend::CopyBothResponse(CopyFormat::parse(&mut at)?),
            b'd' => Backend::CopyData { data: at.remainder() },
            b'c' => Backend::CopyDone,
            b'V' => Backend::FunctionCallResponse { value: at.value()? },
            _ => return Err(CodecError::UnknownTag { tag }),
        };
        at.end().map(|()| message)
    }

    /// Appends the message as it stands on the wire. Writing what was parsed gives the same bytes.
    ///
    /// # Errors
    /// [`CodecError::Malformed`] when a list is longer than the protocol can count.
    pub fn write(&self, out: &mut BytesMut) -> Result<(), CodecError> {
        let tag = self.tag();
        match *self {
            Backend::Authentication(what) => write::message(out, tag, |out| write_authentication(out, what)),
            Backend::ParameterStatus { name, value } => write::message(out, tag, |out| {
                write::cstr(out, name);
                write::cstr(out, value);
            }),
            Backend::BackendKeyData { pid, secret } => write::message(out, tag, |out| {
                out.put_u32(pid);
                out.put_slice(secret);
            }),
            Backend::NegotiateProtocolVersion { newest, unrecognized } => write::message(out, tag, |out| {
                out.put_u32(newest);
                out.put_u32(unrecognized.count);
                out.put_slice(unrecognized.bytes);
            }),
            Backend::ReadyForQuery(status) => write::message(out, tag, |out| out.put_u8(status.letter())),
            Backend::RowDescription(columns) => write::message(out, tag, |out| {
                out.put_u16(columns.count);
                out.put_slice(columns.bytes);
            }),
            Backend::DataRow(values) => write::message(out, tag, |out| {
                out.put_u16(values.count);
                out.put_slice(values.bytes);
            }),
            Backend::CommandComplete { tag: text } => write::message(out, tag, |out| write::cstr(out, text)),
            Backend::ErrorResponse(fields) | Backend::NoticeResponse(fields) => {
                write::message(out, tag, |out| fields.write(out));
            }
            Backend::NotificationResponse { pid, channel, payload } => write::message(out, tag, |out| {
                out.put_u32(pid);
                write::cstr(out, channel);
                out.put_slice(payload);
                out.put_u8(0);
            }),
            Backend::ParameterDescription(oids) => {
                let count = write::count("ParameterDescription", oids.len())?;
                write::message(out, tag, |out| {
                    out.put_u16(count);
                    out.put_slice(oids.0);
                });
            }
            Backend::CopyInResponse(format) | Backend::CopyOutResponse(format) | Backend::CopyBothResponse(format) => {
                let count = write::count("CopyResponse", format.columns.len())?;
                write::message(out, tag, |out| {
                    out.put_u8(format.overall);
                    out.put_u16(count);
                    out.put_slice(format.columns.0);
                });
            }
            Backend::CopyData { data } => write::message(out, tag, |out| out.put_slice(data)),
            Backend::FunctionCallResponse { value } => write::message(out, tag, |out| write::value(out, value)),
            Backend::EmptyQueryResponse
            | Backend::ParseComplete
            | Backend::BindComplete
            | Backend::CloseComplete
            | Backend::NoData
            | Backend::PortalSuspended
            | Backend::CopyDone => write::message(out, tag, |_| {}),
        }
        Ok(())
    }

    pub fn tag(&self) -> u8 {
        match self {
            Backend::Authentication(_) => b'R',
            Backend::ParameterStatus { .. } => b'S',
            Backend::BackendKeyData { .. } => b'K',
            Backend::NegotiateProtocolVersion { .. } => b'v',
            Backend::ReadyForQuery(_) => b'Z',
            Backend::RowDescription(_) => b'T',
            Backend::DataRow(_) => b'D',
            Backend::CommandComplete { .. } => b'C',
            Backend::EmptyQueryResponse => b'I',
            Backend::ErrorResponse(_) => b'E',
            Backend::NoticeResponse(_) => b'N',
            Backend::NotificationResponse { .. } => b'A',
            Backend::ParseComplete => b'1',
            Backend::BindComplete => b'2',
            Backend::CloseComplete => b'3',
            Backend::NoData => b'n',
            Backend::ParameterDescription(_) => b't',
            Backend::PortalSuspended => b's',
            Backend::CopyInResponse(_) => b'G',
            Backend::CopyOutResponse(_) => b'H',
            Backend::CopyBothResponse(_) => b'W',
            Backend::CopyData { .. } => b'd',
            Backend::CopyDone => b'c',
            Backend::FunctionCallResponse { .. } => b'V',
        }
    }
}

fn name(tag: u8) -> Result<&'static str, CodecError> {
    Ok(match tag {
        b'R' => "Authentication",
        b'S' => "ParameterStatus",
        b'K' => "BackendKeyData",
        b'v' => "NegotiateProtocolVersion",
        b'Z' => "ReadyForQuery",
        b'T' => "RowDescription",
        b'D' => "DataRow",
        b'C' => "CommandComplete",
        b'I' => "EmptyQueryResponse",
        b'E' => "ErrorResponse",
        b'N' => "NoticeResponse",
        b'A' => "NotificationResponse",
        b'1' => "ParseComplete",
        b'2' => "BindComplete",
        b'3' => "CloseComplete",
        b'n' => "NoData",
        b't' => "ParameterDescription",
        b's' => "PortalSuspended",
        b'G' => "CopyInResponse",
        b'H' => "CopyOutResponse",
        b'W' => "CopyBothResponse",
        b'd' => "CopyData",
        b'c' => "CopyDone",
        b'V' => "FunctionCallResponse",
        _ => return Err(CodecError::UnknownTag { tag }),
    })
}

fn authentication<'a>(at: &mut Cursor<'a>) -> Result<Authentication<'a>, CodecError> {
    Ok(match at.u32()? {
        0 => Authentication::Ok,
        3 => Authentication::CleartextPassword,
        5 => {
            let salt = at.bytes(4)?.try_into().map_err(|_| at.malformed("salt"))?;
            Authentication::Md5Password { salt }
        }
        10 => {
            let bytes = at.remainder();
            let mut walk = Cursor::new("AuthenticationSASL", bytes);
            while !walk.cstr()?.is_empty() {}
            walk.end()?;
            Authentication::Sasl { mechanisms: Mechanisms(bytes) }
        }
        11 => Authentication::SaslContinue { data: at.remainder() },
        12 => Authentication::SaslFinal { data: at.remainder() },
        code => Authentication::Other { code, data: at.remainder() },
    })
}

fn write_authentication(out: &mut BytesMut, what: Authentication<'_>) {
    let (code, data): (u32, &[u8]) = match &what {
        Authentication::Ok => (0, &[]),
        Authentication::CleartextPassword => (3, &[]),
        Authentication::Md5Password { salt } => (5, salt),
        Authentication::Sasl { mechanisms } => (10, mechanisms.0),
        Authentication::SaslContinue { data } => (11, data),
        Authentication::SaslFinal { data } => (12, data),
        Authentication::Other { code, data } => (*code, data),
    };
    out.put_u32(code);
    out.put_slice(data);
}

fn key_data<'a>(at: &mut Cursor<'a>) -> Result<Backend<'a>, CodecError> {
    let pid = at.u32()?;
    let secret = at.remainder();
    if (4..=CANCEL_KEY_SIZE_MAX).contains(&secret.len()) {
        Ok(Backend::BackendKeyData { pid, secret })
    } else {
        Err(at.malformed("a cancel key that is not 4 to 256 bytes long"))
    }
}

fn status(at: &mut Cursor<'_>) -> Result<TransactionStatus, CodecError> {
    match at.u8()? {
        b'I' => Ok(TransactionStatus::Idle),
        b'T' => Ok(TransactionStatus::InTransaction),
        b'E' => Ok(TransactionStatus::Failed),
        _ => Err(at.malformed("a transaction status other than I, T or E")),
    }
}

/// AuthenticationSASL with these mechanisms.
pub fn write_sasl(out: &mut BytesMut, mechanisms: &[&str]) {
    write::message(out, b'R', |out| {
        out.put_u32(10);
        mechanisms.iter().for_each(|name| write::cstr(out, name));
        out.put_u8(0);
    });
}

/// NegotiateProtocolVersion: the newest we speak, and the `_pq_.` parameters we do not know.
pub fn write_negotiate(out: &mut BytesMut, newest: u32, unrecognized: &[String]) {
    write::message(out, b'v', |out| {
        out.put_u32(newest);
        out.put_u32(u32::try_from(unrecognized.len()).unwrap_or(0));
        unrecognized.iter().for_each(|name| write::cstr(out, name));
    });
}
