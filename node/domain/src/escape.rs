//! Canonical text for approvers, and for whoever is told of what happens: what is shown is all there is, and nothing in it can move, hide or reorder what a
//! person reads (THREATS: approval spoofing by control, bidirectional and zero-width characters).
//!
//! Escapes are `\n`, `\t`, `\\` and `\u{HEX}`; every other visible character stands for itself, so two different texts
//! never look the same by their escapes.

/// The text and what the reader should know about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    pub text: String,
    /// Something was escaped that could deceive.
    pub escaped: bool,
    pub non_ascii: bool,
}

pub fn show(raw: &str) -> Shown {
    let mut shown = Shown { text: String::with_capacity(raw.len()), escaped: false, non_ascii: !raw.is_ascii() };
    for c in raw.chars() {
        match c {
            // Line breaks and tabs are part of ordinary SQL; they are kept as escapes but are no reason for alarm.
            '\n' => shown.text.push_str("\\n"),
            '\t' => shown.text.push_str("\\t"),
            '\\' => shown.text.push_str("\\\\"),
            c if is_deceptive(c) => {
                shown.escaped = true;
                shown.text.push_str(&format!("\\u{{{:x}}}", u32::from(c)));
            }
            c => shown.text.push(c),
        }
    }
    shown
}

/// Characters that are invisible, change the order of what is read, or combine with their neighbours unseen.
fn is_deceptive(c: char) -> bool {
    c.is_control()
        || (c.is_whitespace() && c != ' ')
        || matches!(u32::from(c),
            0x00AD | 0x034F | 0x061C | 0x115F..=0x1160 | 0x17B4..=0x17B5 | 0x180B..=0x180F
            | 0x200B..=0x200F | 0x2028..=0x202E | 0x2060..=0x206F | 0x3164 | 0xFE00..=0xFE0F
            | 0xFEFF | 0xFFA0 | 0xFFF0..=0xFFFB | 0xE000..=0xF8FF | 0x1BCA0..=0x1BCA3 | 0x1D173..=0x1D17A
            | 0xE0000..=0xE0FFF | 0xF0000..=0x10FFFF)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(raw: &str, text: &str, escaped: bool, non_ascii: bool) {
        assert_eq!(show(raw), Shown { text: text.into(), escaped, non_ascii }, "{raw:?}");
    }

    #[test]
    fn ordinary_sql_stands_as_it_is() {
        check("SELECT 'x' FROM t", "SELECT 'x' FROM t", false, false);
        check("SELECT 1\n\tFROM t", "SELECT 1\\n\\tFROM t", false, false);
    }

    #[test]
    fn what_could_deceive_is_escaped() {
        check("a\u{202e}b", "a\\u{202e}b", true, true);
        check("a\u{200b}b", "a\\u{200b}b", true, true);
        check("a\u{2066}b\u{2069}", "a\\u{2066}b\\u{2069}", true, true);
        check("a\rb", "a\\u{d}b", true, false);
        check("a\u{1b}[2Kb", "a\\u{1b}[2Kb", true, false);
        check("a\u{a0}b", "a\\u{a0}b", true, true);
        check("a\u{e0041}b", "a\\u{e0041}b", true, true);
        check("a\u{0}b", "a\\u{0}b", true, false);
    }

    #[test]
    fn letters_beyond_ascii_are_marked() {
        check("SELECT * FROM \u{430}ccounts", "SELECT * FROM \u{430}ccounts", false, true);
    }

    #[test]
    fn an_escape_in_the_text_cannot_be_taken_for_ours() {
        check("a\\u{202e}b", "a\\\\u{202e}b", false, false);
        assert_ne!(show("a\\u{202e}b").text, show("a\u{202e}b").text);
    }
}
