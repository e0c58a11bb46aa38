//! The server's own grammar, guarded: what is too long or too deep for it is refused before it runs.

use pg_query::protobuf::ParseResult;

/// Bytes. A longer text is judged as the widest class without being parsed: a parse tree takes many times its size.
pub const STATEMENT_SIZE_MAX: usize = 1 << 20;

/// Levels of parentheses and brackets, counted without regard to quoting. The grammar's own stack check stands behind
/// it; the tree's decoder takes 100 levels of messages, which is about 45 of nested expressions.
pub const NESTING_MAX: usize = 256;

pub(super) fn parse(sql: &str) -> Result<ParseResult, Box<str>> {
    if sql.len() > STATEMENT_SIZE_MAX {
        return Err(format!("the statement has {} bytes; the gateway judges up to {STATEMENT_SIZE_MAX}", sql.len()).into());
    }
    if sql.bytes().any(|b| b == 0) {
        return Err("the statement contains a zero byte".into());
    }
    if nesting(sql) > NESTING_MAX {
        return Err(format!("the statement is nested deeper than {NESTING_MAX} levels").into());
    }
    match pg_query::parse(sql, 0) {
        Ok(parsed) => Ok(parsed.protobuf),
        Err(pg_query::Error::Parse(message)) => Err(message.into()),
        Err(pg_query::Error::Decode(_)) => Err("the statement is nested too deeply for the gateway to judge".into()),
        Err(error) => Err(error.to_string().into()),
    }
}

/// The nesting of brackets, counted without regard to quotes: a cheap first guard before the grammar's own.
fn nesting(sql: &str) -> usize {
    let (mut depth, mut deepest) = (0usize, 0usize);
    for byte in sql.bytes() {
        match byte {
            b'(' | b'[' => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b')' | b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}
