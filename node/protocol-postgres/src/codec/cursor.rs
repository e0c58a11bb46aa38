//! Reads a message's body field by field; every step is checked, and [`Cursor::end`] refuses what is left over.

use super::CodecError;

/// A position in one message's body. Errors name the message.
#[derive(Debug, Clone)]
pub struct Cursor<'a> {
    message: &'static str,
    rest: &'a [u8],
}

impl<'a> Cursor<'a> {
    pub fn new(message: &'static str, body: &'a [u8]) -> Cursor<'a> {
        Cursor { message, rest: body }
    }

    pub fn malformed(&self, problem: &'static str) -> CodecError {
        CodecError::Malformed { message: self.message, problem }
    }

    pub fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    pub fn bytes(&mut self, count: usize) -> Result<&'a [u8], CodecError> {
        let (taken, rest) = self.rest.split_at_checked(count).ok_or_else(|| self.malformed("cut short"))?;
        self.rest = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], CodecError> {
        let (taken, rest) = self.rest.split_first_chunk().ok_or_else(|| self.malformed("cut short"))?;
        self.rest = rest;
        Ok(*taken)
    }

    pub fn u8(&mut self) -> Result<u8, CodecError> {
        self.array::<1>().map(|[byte]| byte)
    }

    pub fn u16(&mut self) -> Result<u16, CodecError> {
        self.array().map(u16::from_be_bytes)
    }

    pub fn i16(&mut self) -> Result<i16, CodecError> {
        self.array().map(i16::from_be_bytes)
    }

    pub fn u32(&mut self) -> Result<u32, CodecError> {
        self.array().map(u32::from_be_bytes)
    }

    pub fn i32(&mut self) -> Result<i32, CodecError> {
        self.array().map(i32::from_be_bytes)
    }

    /// Bytes up to a NUL, which is consumed and not returned.
    pub fn cstr_bytes(&mut self) -> Result<&'a [u8], CodecError> {
        let at = memchr::memchr(0, self.rest).ok_or_else(|| self.malformed("a string without its terminator"))?;
        let (text, rest) = self.rest.split_at(at);
        self.rest = rest.get(1..).unwrap_or_default();
        Ok(text)
    }

    /// As [`Self::cstr_bytes`], which must be UTF-8: the only client encoding that the gateway speaks.
    pub fn cstr(&mut self) -> Result<&'a str, CodecError> {
        let bytes = self.cstr_bytes()?;
        std::str::from_utf8(bytes).map_err(|_| CodecError::NotUtf8 { message: self.message })
    }

    /// A value with its length before it; −1 is NULL, any other negative length is an error.
    pub fn value(&mut self) -> Result<Option<&'a [u8]>, CodecError> {
        match self.i32()? {
            -1 => Ok(None),
            length => {
                let length = usize::try_from(length).map_err(|_| self.malformed("a negative length"))?;
                self.bytes(length).map(Some)
            }
        }
    }

    /// All that is left.
    pub fn remainder(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.rest)
    }

    /// # Errors
    /// [`CodecError::Malformed`] if anything is left: bytes that one side reads and the other skips are how two
    /// parsers come to disagree.
    pub fn end(self) -> Result<(), CodecError> {
        if self.rest.is_empty() { Ok(()) } else { Err(self.malformed("bytes after its end")) }
    }
}
