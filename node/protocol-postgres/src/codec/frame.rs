//! One whole message with its header, sliced out of the read buffer without copying.

use bytes::{Bytes, BytesMut};

use super::CodecError;

/// Largest message taken whole, in bytes, header included. PostgreSQL itself takes 1 GiB; statements and parameters
/// beyond 64 MiB belong into COPY, which is passed on in pieces.
pub const FRAME_SIZE_MAX: u32 = 64 << 20;
/// Tag and length.
pub const HEADER_SIZE: usize = 5;

/// A message: tag, length, body. `bytes` holds all three, exactly as they were read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    pub tag: u8,
    pub bytes: Bytes,
}

impl Frame {
    pub fn body(&self) -> &[u8] {
        self.bytes.get(HEADER_SIZE..).unwrap_or_default()
    }
}

/// A header whose length was checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    pub tag: u8,
    /// The whole message: tag, length and body. At most `limit`, so it fits every `usize`.
    pub total: usize,
}

/// Reads the header at the start of `buffer`, if it is there.
///
/// # Errors
/// Lengths below 4, and messages above `limit` bytes in all. The length is read as unsigned: 2³¹ and above are simply
/// too long and never wrap.
pub fn header(buffer: &[u8], limit: u32) -> Result<Option<Header>, CodecError> {
    let Some(&[tag, a, b, c, d]) = buffer.first_chunk::<HEADER_SIZE>() else {
        return Ok(None);
    };
    let length = u32::from_be_bytes([a, b, c, d]);
    if length < 4 {
        return Err(CodecError::LengthTooSmall { tag, length });
    }
    // `limit` counts the tag, `length` does not.
    if length >= limit {
        return Err(CodecError::TooLong { tag, length, limit });
    }
    let total = usize::try_from(length).map_err(|_| CodecError::TooLong { tag, length, limit })? + 1;
    Ok(Some(Header { tag, total }))
}

/// Takes the next whole message out of `buffer`; `None` until all of it is there.
///
/// # Errors
/// As [`header`].
pub fn next(buffer: &mut BytesMut, limit: u32) -> Result<Option<Frame>, CodecError> {
    match header(buffer, limit)? {
        Some(Header { tag, total }) if buffer.len() >= total => Ok(Some(Frame { tag, bytes: buffer.split_to(total).freeze() })),
        Some(_) | None => Ok(None),
    }
}
