//! Puts messages together. The length is filled in when the body is known.

use bytes::{BufMut, BytesMut};

use super::CodecError;

/// Writes one tagged message; `body` appends its fields.
///
/// # Panics
/// When our own message passes 4 GiB, which no caller can reach: what is written is bounded by what was read.
pub fn message(out: &mut BytesMut, tag: u8, body: impl FnOnce(&mut BytesMut)) {
    out.put_u8(tag);
    untagged(out, body);
}

/// As [`message`], for the start-up packets, which have no tag.
pub fn untagged(out: &mut BytesMut, body: impl FnOnce(&mut BytesMut)) {
    let start = out.len();
    out.put_u32(0);
    body(out);
    let length = u32::try_from(out.len() - start).expect("a message we write is far below 4 GiB");
    if let Some(place) = out.get_mut(start..start + 4) {
        place.copy_from_slice(&length.to_be_bytes());
    }
}

/// A string and its terminator. A NUL inside would end it early and shift all that follows, so it is left out; text
/// that was read from the protocol has none.
pub fn cstr(out: &mut BytesMut, text: &str) {
    match memchr::memchr(0, text.as_bytes()) {
        None => out.put_slice(text.as_bytes()),
        Some(_) => text.bytes().filter(|byte| *byte != 0).for_each(|byte| out.put_u8(byte)),
    }
    out.put_u8(0);
}

/// A value with its length before it; NULL is −1.
pub fn value(out: &mut BytesMut, value: Option<&[u8]>) {
    match value {
        None => out.put_i32(-1),
        Some(bytes) => {
            out.put_i32(i32::try_from(bytes.len()).expect("a value we write is far below 2 GiB"));
            out.put_slice(bytes);
        }
    }
}

/// # Errors
/// [`CodecError::Malformed`] when there are more than 65 535 of something that is counted in 16 bits.
pub fn count(message: &'static str, count: usize) -> Result<u16, CodecError> {
    u16::try_from(count).map_err(|_| CodecError::Malformed { message, problem: "more than 65535 items" })
}
