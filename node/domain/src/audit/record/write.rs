//! A protobuf writer that borrows all it writes. Fields are to be written in the order of their tags; a field that
//! holds the default (zero, empty) is left out, as proto3 has it: so there is one encoding of a record.

use prost::encoding::{WireType, encode_key, encode_varint};

use super::SHORT_TEXT_MAX;

pub(super) struct Writer<'a> {
    out: &'a mut Vec<u8>,
}

impl<'a> Writer<'a> {
    pub(super) fn new(out: &'a mut Vec<u8>) -> Self {
        Writer { out }
    }

    /// Bytes in the buffer so far, those of messages around this one included.
    pub(super) fn written(&self) -> usize {
        self.out.len()
    }

    pub(super) fn number(&mut self, tag: u32, value: u64) {
        if value != 0 {
            self.element(tag, value);
        }
    }

    /// There or not, zero included.
    pub(super) fn optional(&mut self, tag: u32, value: Option<u64>) {
        if let Some(value) = value {
            self.element(tag, value);
        }
    }

    /// One element of a repeated, not packed, number.
    pub(super) fn element(&mut self, tag: u32, value: u64) {
        encode_key(tag, WireType::Varint, self.out);
        encode_varint(value, self.out);
    }

    /// For numbers without a small value: drawn at random.
    pub(super) fn fixed(&mut self, tag: u32, value: u64) {
        if value != 0 {
            encode_key(tag, WireType::SixtyFourBit, self.out);
            self.out.extend_from_slice(&value.to_le_bytes());
        }
    }

    pub(super) fn bytes(&mut self, tag: u32, value: &[u8]) {
        if !value.is_empty() {
            encode_key(tag, WireType::LengthDelimited, self.out);
            encode_varint(value.len() as u64, self.out);
            self.out.extend_from_slice(value);
        }
    }

    /// One element of a repeated text, empty or not.
    pub(super) fn text(&mut self, tag: u32, value: &str) {
        encode_key(tag, WireType::LengthDelimited, self.out);
        encode_varint(value.len() as u64, self.out);
        self.out.extend_from_slice(value.as_bytes());
    }

    pub(super) fn cut(&mut self, tag: u32, value: &str, size_max: usize) {
        self.bytes(tag, cut(value, size_max).as_bytes());
    }

    pub(super) fn short(&mut self, tag: u32, value: &str) {
        self.cut(tag, value, SHORT_TEXT_MAX);
    }

    /// Fields that were encoded before.
    pub(super) fn raw(&mut self, encoded: &[u8]) {
        self.out.extend_from_slice(encoded);
    }

    /// A message within. Its length is known only afterwards and takes one byte more for every 7 bits: the body is
    /// moved by what a one-byte length does not hold, which costs less than measuring the body first.
    pub(super) fn message(&mut self, tag: u32, body: impl FnOnce(&mut Writer<'_>)) {
        encode_key(tag, WireType::LengthDelimited, self.out);
        let start = self.out.len();
        self.out.push(0);
        body(&mut Writer { out: self.out });
        let length = self.out.len() - start - 1;
        let mut prefix = [0_u8; 10];
        let mut rest = &mut prefix[..];
        encode_varint(length as u64, &mut rest);
        let prefix_length = 10 - rest.len();
        if prefix_length > 1 {
            let end = self.out.len();
            self.out.resize(end + prefix_length - 1, 0);
            self.out.copy_within(start + 1..end, start + prefix_length);
        }
        self.out[start..start + prefix_length].copy_from_slice(&prefix[..prefix_length]);
    }
}

/// At most `size_max` bytes of `text`, whole characters.
pub(super) fn cut(text: &str, size_max: usize) -> &str {
    &text[..text.floor_char_boundary(size_max)]
}
