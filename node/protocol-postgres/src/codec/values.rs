//! Lists inside messages, checked once when the message is parsed and then walked without errors.

use super::CodecError;
use super::cursor::Cursor;

/// Format codes: 0 text, 1 binary.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Formats<'a>(pub(super) &'a [u8]);

impl<'a> Formats<'a> {
    pub(super) fn parse(cursor: &mut Cursor<'a>) -> Result<Formats<'a>, CodecError> {
        let count = usize::from(cursor.u16()?);
        let formats = Formats(cursor.bytes(count * 2)?);
        if formats.iter().all(|code| code == 0 || code == 1) {
            Ok(formats)
        } else {
            Err(cursor.malformed("a format code other than 0 or 1"))
        }
    }

    pub fn len(&self) -> usize {
        self.0.len() / 2
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn iter(&self) -> impl Iterator<Item = u16> + use<'a> {
        self.0.as_chunks::<2>().0.iter().map(|pair| u16::from_be_bytes(*pair))
    }

    /// The format of value `index`: none given means all text, one given means it for all.
    pub fn of(&self, index: usize) -> u16 {
        match self.len() {
            0 => 0,
            1 => self.iter().next().unwrap_or(0),
            _ => self.iter().nth(index).unwrap_or(0),
        }
    }
}

/// Type OIDs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Oids<'a>(pub(super) &'a [u8]);

impl<'a> Oids<'a> {
    pub(super) fn parse(cursor: &mut Cursor<'a>) -> Result<Oids<'a>, CodecError> {
        let count = usize::from(cursor.u16()?);
        cursor.bytes(count * 4).map(Oids)
    }

    pub fn len(&self) -> usize {
        self.0.len() / 4
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn iter(&self) -> impl Iterator<Item = u32> + use<'a> {
        self.0.as_chunks::<4>().0.iter().map(|four| u32::from_be_bytes(*four))
    }
}

/// Values of a Bind, a FunctionCall or a row: bytes, or NULL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Values<'a> {
    pub(super) count: u16,
    pub(super) bytes: &'a [u8],
}

impl<'a> Values<'a> {
    pub(super) fn parse(cursor: &mut Cursor<'a>) -> Result<Values<'a>, CodecError> {
        let count = cursor.u16()?;
        let mut ahead = cursor.clone();
        let before = ahead.clone().remainder().len();
        for _ in 0..count {
            ahead.value()?;
        }
        let used = before - ahead.remainder().len();
        Ok(Values { count, bytes: cursor.bytes(used)? })
    }

    pub fn len(&self) -> usize {
        usize::from(self.count)
    }

    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    pub fn iter(&self) -> impl Iterator<Item = Option<&'a [u8]>> + use<'a> {
        let mut cursor = Cursor::new("values", self.bytes);
        (0..self.count).map_while(move |_| cursor.value().ok())
    }
}
