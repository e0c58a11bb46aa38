//! The text form of permissions and accesses: what people write and read.
//!
//! ```text
//! PROTOCOL:VERBS on PATTERN [except PATTERN, PATTERN …]
//! ```
//!
//! Verbs are `*` or a list with commas. A pattern has as many segments as the protocol's paths (three with `.` for
//! `postgres`, two with `/` for `assize`), and may end with a list of columns. A segment is `*`, a name, or a name
//! followed by `*` for everything that begins with it. A name that holds a separator, a space or other punctuation
//! stands in double quotes, with quotes inside doubled.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use super::{Pattern, Permission, PermissionSet, Segment};
use crate::limits::PERMISSIONS_PER_SET_MAX;
use crate::operation::{Access, Protocol, Verb};

/// Bytes of one permission as text. Long enough for a table with PostgreSQL's 1600 columns.
pub const PERMISSION_TEXT_MAX: usize = 128 * 1024;
/// Exceptions of one permission.
pub const EXCEPTIONS_MAX: usize = 1024;

/// Why a text is not a permission.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}, at character {position} of {excerpt:?}")]
pub struct InvalidPermission {
    pub message: String,
    /// Counted from 1.
    pub position: usize,
    /// The text, cut at 200 characters.
    pub excerpt: String,
}

impl Protocol {
    pub fn as_str(self) -> &'static str {
        match self {
            Protocol::Assize => "assize",
            Protocol::Postgres => "postgres",
        }
    }

    /// How many segments its paths have, and what stands between them.
    pub fn path_shape(self) -> (usize, char) {
        match self {
            Protocol::Assize => (2, '/'),
            Protocol::Postgres => (3, '.'),
        }
    }

    fn path_example(self) -> &'static str {
        match self {
            Protocol::Assize => "noun/name",
            Protocol::Postgres => "database.schema.object",
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Must stand in quotes to be read as one name.
fn is_special(c: char) -> bool {
    c.is_whitespace() || c.is_control() || matches!(c, '.' | '/' | '"' | '*' | ',' | '(' | ')')
}

/// In `assize` paths a dot is part of names.
fn needs_quotes(name: &str, separator: char) -> bool {
    name.is_empty() || name.chars().any(|c| is_special(c) && (c != '.' || separator == '.'))
}

fn write_name(f: &mut fmt::Formatter<'_>, name: &str, separator: char) -> fmt::Result {
    use fmt::Write as _;
    if !needs_quotes(name, separator) {
        return f.write_str(name);
    }
    f.write_char('"')?;
    for c in name.chars() {
        if c == '"' {
            f.write_char('"')?;
        }
        f.write_char(c)?;
    }
    f.write_char('"')
}

fn write_columns(f: &mut fmt::Formatter<'_>, columns: Option<&BTreeSet<Arc<str>>>, separator: char) -> fmt::Result {
    let Some(columns) = columns else { return Ok(()) };
    f.write_str("(")?;
    for (i, column) in columns.iter().enumerate() {
        if i > 0 {
            f.write_str(",")?;
        }
        write_name(f, column, separator)?;
    }
    f.write_str(")")
}

fn write_pattern(f: &mut fmt::Formatter<'_>, pattern: &Pattern, separator: char) -> fmt::Result {
    use fmt::Write as _;
    for (i, segment) in pattern.segments.iter().enumerate() {
        if i > 0 {
            f.write_char(separator)?;
        }
        match segment {
            Segment::Any => f.write_char('*')?,
            Segment::Exact(name) => write_name(f, name, separator)?,
            Segment::Prefix(name) => {
                write_name(f, name, separator)?;
                f.write_char('*')?;
            }
        }
    }
    write_columns(f, pattern.columns.as_ref(), separator)
}

impl fmt::Display for Permission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (_, separator) = self.protocol.path_shape();
        write!(f, "{}:", self.protocol)?;
        if Verb::of(self.protocol).iter().all(|verb| self.verbs.contains(verb)) {
            f.write_str("*")?;
        } else {
            for (i, verb) in self.verbs.iter().enumerate() {
                if i > 0 {
                    f.write_str(",")?;
                }
                f.write_str(verb.as_str())?;
            }
        }
        f.write_str(" on ")?;
        write_pattern(f, &self.on, separator)?;
        for (i, pattern) in self.except.iter().enumerate() {
            f.write_str(if i == 0 { " except " } else { ", " })?;
            write_pattern(f, pattern, separator)?;
        }
        Ok(())
    }
}

/// One permission a line.
impl fmt::Display for PermissionSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, permission) in self.iter().enumerate() {
            if i > 0 {
                f.write_str("\n")?;
            }
            permission.fmt(f)?;
        }
        Ok(())
    }
}

/// Like the permission that allows just this.
impl fmt::Display for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use fmt::Write as _;
        let (_, separator) = self.protocol.path_shape();
        write!(f, "{}:{} on ", self.protocol, self.verb.as_str())?;
        for (i, segment) in self.resource.path.iter().enumerate() {
            if i > 0 {
                f.write_char(separator)?;
            }
            if segment.as_ref() == "*" {
                f.write_char('*')?;
            } else {
                write_name(f, segment, separator)?;
            }
        }
        write_columns(f, self.resource.columns.as_ref(), separator)
    }
}

impl FromStr for Permission {
    type Err = InvalidPermission;

    fn from_str(text: &str) -> Result<Self, InvalidPermission> {
        let mut parser = Parser { text, at: 0 };
        if text.len() > PERMISSION_TEXT_MAX {
            return Err(parser.error(format!("a permission has at most {PERMISSION_TEXT_MAX} bytes, not {}", text.len())));
        }
        parser.permission()
    }
}

/// One permission a line; empty lines and lines that begin with `#` are passed over. The result is canonical.
impl FromStr for PermissionSet {
    type Err = InvalidPermission;

    fn from_str(text: &str) -> Result<Self, InvalidPermission> {
        let mut permissions = Vec::new();
        let mut rest = text;
        while let Some((line, after)) = split_line(rest) {
            rest = after;
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            if permissions.len() == PERMISSIONS_PER_SET_MAX {
                return Err(Parser { text: line, at: 0 }.error(format!("at most {PERMISSIONS_PER_SET_MAX} permissions in a set")));
            }
            permissions.push(line.parse()?);
        }
        Ok(PermissionSet::new(permissions))
    }
}

/// The first line, trimmed, and what follows it. A line feed within quotes belongs to a name; comments have no quotes.
fn split_line(text: &str) -> Option<(&str, &str)> {
    if text.is_empty() {
        return None;
    }
    let comment = text.trim_start_matches([' ', '\t']).starts_with('#');
    let mut quoted = false;
    let end = text.find(|c| {
        quoted ^= c == '"' && !comment;
        c == '\n' && !quoted
    });
    let (line, after) = end.map_or((text, ""), |end| (&text[..end], &text[end + 1..]));
    Some((line.trim(), after))
}

struct Parser<'a> {
    text: &'a str,
    /// Byte position.
    at: usize,
}

impl<'a> Parser<'a> {
    fn error(&self, message: impl Into<String>) -> InvalidPermission {
        InvalidPermission {
            message: message.into(),
            position: self.text[..self.at].chars().count() + 1,
            excerpt: self.text.chars().take(200).collect(),
        }
    }

    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn take(&mut self, c: char) -> bool {
        let found = self.peek() == Some(c);
        if found {
            self.at += c.len_utf8();
        }
        found
    }

    fn skip_spaces(&mut self) {
        self.at += self.rest().len() - self.rest().trim_start().len();
    }

    /// A keyword with space on both sides; does not move where it is not there.
    fn keyword(&mut self, word: &str) -> bool {
        let trimmed = self.rest().trim_start();
        let spaced = trimmed.len() < self.rest().len();
        match trimmed.strip_prefix(word) {
            Some(after) if spaced && after.starts_with(char::is_whitespace) => {
                self.at = self.text.len() - after.trim_start().len();
                true
            }
            _ => false,
        }
    }

    fn permission(&mut self) -> Result<Permission, InvalidPermission> {
        self.skip_spaces();
        let protocol = self.protocol()?;
        let verbs = self.verbs(protocol)?;
        if !self.keyword("on") {
            return Err(self.error(format!("\"on {}\" is expected after the verbs", protocol.path_example())));
        }
        let on = self.pattern(protocol)?;
        let mut except = Vec::new();
        if self.keyword("except") {
            loop {
                if except.len() == EXCEPTIONS_MAX {
                    return Err(self.error(format!("at most {EXCEPTIONS_MAX} exceptions in a permission")));
                }
                except.push(self.pattern(protocol)?);
                self.skip_spaces();
                if !self.take(',') {
                    break;
                }
                self.skip_spaces();
            }
        }
        self.skip_spaces();
        if self.at < self.text.len() {
            return Err(self.error("the permission should end here, or go on with \"except\""));
        }
        Ok(Permission { protocol, verbs, on, except })
    }

    fn protocol(&mut self) -> Result<Protocol, InvalidPermission> {
        let Some((name, _)) = self.rest().split_once(':') else {
            return Err(self.error("a permission begins with a protocol and a colon, like \"postgres:\""));
        };
        let protocol = match name {
            "assize" => Protocol::Assize,
            "postgres" => Protocol::Postgres,
            other => {
                let other: String = other.chars().take(40).collect();
                return Err(self.error(format!("{other:?} is no protocol; there are \"postgres\" and \"assize\"")));
            }
        };
        self.at += name.len() + 1;
        Ok(protocol)
    }

    fn verbs(&mut self, protocol: Protocol) -> Result<BTreeSet<Verb>, InvalidPermission> {
        self.skip_spaces();
        if self.take('*') {
            return Ok(Verb::of(protocol).iter().copied().collect());
        }
        let mut verbs = BTreeSet::new();
        loop {
            let end = self.rest().find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(self.rest().len());
            let word = &self.rest()[..end];
            let verb = Verb::of(protocol).iter().copied().find(|verb| verb.as_str() == word);
            let Some(verb) = verb else {
                let known: Vec<&str> = Verb::of(protocol).iter().map(|verb| verb.as_str()).collect();
                return Err(self.error(format!("{word:?} is no verb of {protocol}; it has {}, or * for all", known.join(", "))));
            };
            verbs.insert(verb);
            self.at += end;
            if !self.take(',') {
                return Ok(verbs);
            }
            self.skip_spaces();
        }
    }

    fn pattern(&mut self, protocol: Protocol) -> Result<Pattern, InvalidPermission> {
        let (length, separator) = protocol.path_shape();
        let mut segments = vec![self.segment(separator)?];
        while self.take(separator) {
            segments.push(self.segment(separator)?);
        }
        if segments.len() != length {
            let plural = if segments.len() == 1 { "" } else { "s" };
            return Err(self.error(format!(
                "paths of {protocol} have {length} segments ({}), not {} segment{plural}",
                protocol.path_example(),
                segments.len()
            )));
        }
        let columns = if self.take('(') { Some(self.columns(separator)?) } else { None };
        Ok(Pattern { segments, columns })
    }

    fn segment(&mut self, separator: char) -> Result<Segment, InvalidPermission> {
        if self.take('*') {
            return Ok(Segment::Any);
        }
        let name = self.name(separator)?;
        if !self.take('*') {
            return Ok(Segment::Exact(name));
        }
        if name.is_empty() {
            return Err(self.error("an empty name before * says nothing; write * alone"));
        }
        Ok(Segment::Prefix(name))
    }

    fn columns(&mut self, separator: char) -> Result<BTreeSet<Arc<str>>, InvalidPermission> {
        let mut columns = BTreeSet::new();
        self.skip_spaces();
        if self.take(')') {
            return Ok(columns);
        }
        loop {
            self.skip_spaces();
            if self.peek() == Some('*') {
                return Err(self.error("columns are named one by one; leave the list out to mean all"));
            }
            columns.insert(self.name(separator)?);
            self.skip_spaces();
            if self.take(')') {
                return Ok(columns);
            }
            if !self.take(',') {
                return Err(self.error("a comma or a closing bracket is expected in the list of columns"));
            }
        }
    }

    fn name(&mut self, separator: char) -> Result<Arc<str>, InvalidPermission> {
        if self.take('"') {
            return self.quoted();
        }
        let end = self.rest().find(|c| is_special(c) && (c != '.' || separator == '.')).unwrap_or(self.rest().len());
        if end == 0 {
            return Err(match self.peek() {
                Some(c) => self.error(format!("a name is expected, not {c:?}; names with punctuation stand in double quotes")),
                None => self.error("a name is expected here"),
            });
        }
        let name = &self.rest()[..end];
        self.at += end;
        Ok(name.into())
    }

    /// After the opening quote.
    fn quoted(&mut self) -> Result<Arc<str>, InvalidPermission> {
        let mut name = String::new();
        loop {
            let Some(end) = self.rest().find('"') else {
                return Err(self.error("the closing double quote is missing"));
            };
            name.push_str(&self.rest()[..end]);
            self.at += end + 1;
            if !self.take('"') {
                return Ok(name.into());
            }
            name.push('"');
        }
    }
}
