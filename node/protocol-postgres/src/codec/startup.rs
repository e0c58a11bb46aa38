//! What a client may say before there is a session: packets without a tag.

use std::fmt;

use bytes::{BufMut, Bytes, BytesMut};

use super::CodecError;
use super::cursor::Cursor;
use super::write;

/// Bytes; PostgreSQL's own limit (`MAX_STARTUP_PACKET_LENGTH`).
pub const STARTUP_SIZE_MAX: u32 = 10_000;
/// Bytes of a cancel key in 3.2; always 4 in 3.0.
pub const CANCEL_KEY_SIZE_MAX: usize = 256;
const CANCEL: u32 = 80_877_102;
const SSL: u32 = 80_877_103;
const GSSENC: u32 = 80_877_104;

/// Major and minor. Ordered, so that `version >= V3_2` reads as it should.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProtocolVersion {
    pub major: u16,
    pub minor: u16,
}

impl ProtocolVersion {
    pub const V3_0: ProtocolVersion = ProtocolVersion { major: 3, minor: 0 };
    pub const V3_2: ProtocolVersion = ProtocolVersion { major: 3, minor: 2 };

    pub fn from_code(code: u32) -> ProtocolVersion {
        let [a, b, c, d] = code.to_be_bytes();
        ProtocolVersion { major: u16::from_be_bytes([a, b]), minor: u16::from_be_bytes([c, d]) }
    }

    pub fn code(self) -> u32 {
        u32::from(self.major) << 16 | u32::from(self.minor)
    }
}

impl fmt::Display for ProtocolVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

/// Process id and secret: what BackendKeyData gave and CancelRequest shows. `Debug` hides the secret, since whoever
/// holds it can cancel.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct CancelKey {
    pub pid: u32,
    pub secret: Bytes,
}

impl fmt::Debug for CancelKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CancelKey {{ pid: {}, secret: [redacted] }}", self.pid)
    }
}

/// One start-up packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Startup {
    Session { version: ProtocolVersion, parameters: Vec<(String, String)> },
    SslRequest,
    GssEncRequest,
    Cancel(CancelKey),
}

/// Takes the next start-up packet out of `buffer`; `None` until all of it is there.
///
/// # Errors
/// Lengths outside 8 to [`STARTUP_SIZE_MAX`], protocol versions other than 3, bytes that do not end as they must.
pub fn next(buffer: &mut BytesMut) -> Result<Option<Startup>, CodecError> {
    let Some(length) = buffer.first_chunk::<4>().map(|bytes| u32::from_be_bytes(*bytes)) else {
        return Ok(None);
    };
    let too_long = || CodecError::StartupLength { length, limit: STARTUP_SIZE_MAX };
    if !(8..=STARTUP_SIZE_MAX).contains(&length) {
        return Err(too_long());
    }
    let total = usize::try_from(length).map_err(|_| too_long())?;
    if buffer.len() < total {
        return Ok(None);
    }
    let packet = buffer.split_to(total).freeze();
    parse(&packet).map(Some)
}

fn parse(packet: &Bytes) -> Result<Startup, CodecError> {
    let mut cursor = Cursor::new("start-up", packet.get(4..).unwrap_or_default());
    match cursor.u32()? {
        SSL => cursor.end().map(|()| Startup::SslRequest),
        GSSENC => cursor.end().map(|()| Startup::GssEncRequest),
        CANCEL => {
            let pid = cursor.u32()?;
            let secret = cursor.remainder();
            if secret.is_empty() || secret.len() > CANCEL_KEY_SIZE_MAX {
                return Err(cursor.malformed("a cancel key that is not 1 to 256 bytes long"));
            }
            Ok(Startup::Cancel(CancelKey { pid, secret: Bytes::copy_from_slice(secret) }))
        }
        code => {
            let version = ProtocolVersion::from_code(code);
            if version.major != 3 {
                return Err(CodecError::Version { major: version.major, minor: version.minor });
            }
            Ok(Startup::Session { version, parameters: parameters(cursor)? })
        }
    }
}

/// Names and values up to an empty name, which must be the end.
fn parameters(mut cursor: Cursor<'_>) -> Result<Vec<(String, String)>, CodecError> {
    let mut parameters = Vec::new();
    loop {
        let name = cursor.cstr()?;
        if name.is_empty() {
            return cursor.end().map(|()| parameters);
        }
        parameters.push((name.to_owned(), cursor.cstr()?.to_owned()));
    }
}

impl Startup {
    pub fn write(&self, out: &mut BytesMut) {
        write::untagged(out, |out| match self {
            Startup::SslRequest => out.put_u32(SSL),
            Startup::GssEncRequest => out.put_u32(GSSENC),
            Startup::Cancel(key) => {
                out.put_u32(CANCEL);
                out.put_u32(key.pid);
                out.put_slice(&key.secret);
            }
            Startup::Session { version, parameters } => {
                out.put_u32(version.code());
                for (name, value) in parameters {
                    write::cstr(out, name);
                    write::cstr(out, value);
                }
                out.put_u8(0);
            }
        });
    }
}
