//! The shape of a text: itself, with every plain constant replaced by its kind.
//!
//! Two texts of one shape have the same parse tree but for the values of those constants, so where no constant has a
//! say ([`super::Classified::constants_free`]) the judgement of one is that of the other. Unlike the grammar's own
//! fingerprint, a shape keeps every name, alias and order, is compared whole rather than by a hash, and costs no parse.
//! The scan is narrower than the grammar: whatever it is not sure of has no shape.

use std::ops::Range;

/// Bytes that stand for a constant; a text that contains one of them itself has no shape.
const INTEGER: u8 = 1;
const NUMBER: u8 = 2;
const STRING: u8 = 3;

/// Constants up to this have the kind "integer" in the grammar; longer ones are numeric.
const INTEGER_MAX: u64 = i32::MAX as u64;

/// `None`: comments, dollar quotes, backslashes, prefixed strings or anything else out of the ordinary.
pub(super) fn of(sql: &str) -> Option<Box<[u8]>> {
    let text = sql.as_bytes();
    let mut shape = Vec::with_capacity(text.len());
    let mut at = 0;
    let mut replaced = false;
    while let Some(&byte) = text.get(at) {
        let range = match byte {
            b'\'' => {
                let end = quoted(text, at, b'\'')?;
                // A string right after a word or `&` has a prefix that changes how it is read.
                if at > 0 && (is_word(text[at - 1]) || text[at - 1] == b'&') {
                    return None;
                }
                shape.push(STRING);
                replaced = true;
                at = end;
                continue;
            }
            b'"' => at..quoted(text, at, b'"')?,
            b'0'..=b'9' => {
                let (kind, end) = number(text, at)?;
                shape.push(kind);
                replaced = true;
                at = end;
                continue;
            }
            // A parameter; any other dollar may open a dollar quote.
            b'$' => at..digits(text, at + 1)?,
            _ if is_word(byte) => at..word(text, at),
            b'\\' | 0..=3 => return None,
            b'-' if text.get(at + 1) == Some(&b'-') => return None,
            b'/' if text.get(at + 1) == Some(&b'*') => return None,
            // `.5` and `1..2` are left to the grammar.
            b'.' if text.get(at + 1).is_some_and(|b| b.is_ascii_digit() || *b == b'.') => return None,
            _ => at..at + 1,
        };
        at = range.end;
        shape.extend_from_slice(&text[range]);
    }
    replaced.then(|| shape.into())
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte >= 0x80
}

/// The end of a word that starts at `at`; a dollar may stand inside one.
fn word(text: &[u8], at: usize) -> usize {
    at + text[at..].iter().take_while(|b| is_word(**b) || **b == b'$').count()
}

fn digits(text: &[u8], at: usize) -> Option<usize> {
    let count = text.get(at..)?.iter().take_while(|b| b.is_ascii_digit()).count();
    let end = at + count;
    (count > 0 && !text.get(end).is_some_and(|b| is_word(*b) || *b == b'$')).then_some(end)
}

/// The end of a quoted piece without backslashes or control bytes of ours.
fn quoted(text: &[u8], start: usize, quote: u8) -> Option<usize> {
    let mut at = start + 1;
    loop {
        match text.get(at)? {
            b'\\' | 0..=3 => return None,
            b if *b == quote => {
                if text.get(at + 1) != Some(&quote) {
                    return Some(at + 1);
                }
                at += 2;
            }
            _ => at += 1,
        }
    }
}

/// A number that ends where a word cannot go on.
fn number(text: &[u8], start: usize) -> Option<(u8, usize)> {
    let Range { end: mut at, .. } = start..start + text[start..].iter().take_while(|b| b.is_ascii_digit()).count();
    let mut kind = match std::str::from_utf8(&text[start..at]).ok()?.parse::<u64>() {
        Ok(value) if value <= INTEGER_MAX => INTEGER,
        _ => NUMBER,
    };
    if text.get(at) == Some(&b'.') && text.get(at + 1).is_some_and(u8::is_ascii_digit) {
        at += 1 + text[at + 1..].iter().take_while(|b| b.is_ascii_digit()).count();
        kind = NUMBER;
    }
    match text.get(at) {
        Some(b) if is_word(*b) || matches!(b, b'.' | b'$' | b'\'' | b'"') => None,
        _ => Some((kind, at)),
    }
}

#[cfg(test)]
mod tests {
    use super::of;

    fn shape(sql: &str) -> Option<String> {
        of(sql).map(|s| {
            s.iter()
                .map(|b| match b {
                    1 => 'ⁱ',
                    2 => 'ⁿ',
                    3 => 'ˢ',
                    b => *b as char,
                })
                .collect()
        })
    }

    #[test]
    fn constants_are_replaced_by_their_kind() {
        assert_eq!(
            shape("SELECT a1 FROM t WHERE id = 42 AND n = 'it''s' LIMIT 10").as_deref(),
            Some("SELECT a1 FROM t WHERE id = ⁱ AND n = ˢ LIMIT ⁱ")
        );
        assert_eq!(shape("SELECT 1.5, 3000000000, $1, \"we\"\"ird 7\", 2").as_deref(), Some("SELECT ⁿ, ⁿ, $1, \"we\"\"ird 7\", ⁱ"));
    }

    #[test]
    fn what_is_out_of_the_ordinary_has_no_shape() {
        for sql in [
            "SELECT 1 -- x",
            "SELECT 1 /* x */",
            "SELECT $$a$$, 1",
            "SELECT $a$b$a$, 1",
            "SELECT E'a', 1",
            "SELECT U&'a', 1",
            "SELECT N'a'",
            "SELECT 'a\\'",
            "SELECT 1e5",
            "SELECT 0x1F",
            "SELECT 1_000",
            "SELECT 1a",
            "SELECT .5",
            "SELECT 1.",
            "SELECT 1..2",
            "SELECT 'open",
            "SELECT \"open 1",
            "SELECT 1\u{1}",
            "SELECT a FROM t",
            "SELECT B'1', 1",
            "SELECT 1'a'",
            "SELECT $1a, 1",
        ] {
            assert_eq!(shape(sql), None, "{sql}");
        }
    }
}
