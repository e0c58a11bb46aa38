//! What a statement does: its accesses, how lasting its effect is, and what it does to the session.
//!
//! The text is parsed by PostgreSQL's own grammar (libpg_query) and the whole tree is walked; nothing is judged by
//! words. What is not known is the widest class: `admin` on `database.*.*`, [`Effect::Lasting`]. A second, typeless
//! count of the tree checks that the walk has seen every relation, call and query in it ([`tally`]).
//!
//! This module takes texts and values; it knows no socket, no clock and no grants.
//!
//! What a text cannot show, and what stands against it: operators, casts, views, rules, triggers, defaults, row
//! security and columns in functional notation can run functions that were put there by somebody with `ddl`. A
//! statement judged [`Effect::Read`] must therefore run where the server enforces read-only. A chain of more than
//! about 45 binary operators is nested too deeply for the tree's decoder, and is judged unparseable.

mod builtins;
mod cache;
mod classified;
mod context;
mod ddl;
mod expression;
mod function;
mod parse;
mod query;
mod relation;
pub mod settings;
mod shape;
mod statement;
mod tag;
mod tally;
mod walk;

#[cfg(test)]
mod tests;

use domain::operation::{Effect, Operation};

pub use cache::{CACHE_SIZE_MAX, CACHED_TEXT_SIZE_MAX, CacheCounts, Classifier};
pub use classified::{Classified, CopyKind, Cursor, Prepared, SettingChange, SettingValue, Statement, Step, TransactionStep};
pub use context::{CONTEXT_QUERY, Context};
pub use parse::{NESTING_MAX, STATEMENT_SIZE_MAX};

use tally::Tally;
use walk::Walk;

/// What pg_dump sends since its releases of August 2024, and what it does: the row is there only where the server knows
/// the setting, so the name it sets can be no other. Judged in the second form, which says so by a constant.
const DUMP_RESTRICTS: &str =
    "SELECT set_config(name, 'view, foreign-table', false) FROM pg_settings WHERE name = 'restrict_nonsystem_relation_kind'";
const DUMP_RESTRICTS_PLAINLY: &str = "SELECT set_config('restrict_nonsystem_relation_kind', 'view, foreign-table', false) FROM pg_settings";

/// Judges the whole string of a simple Query, or the text of a Parse.
pub fn classify(sql: &str, context: &Context) -> Classified {
    // A temporary relation of that name could name any setting.
    let certain = context.schemas_known && !context.temporary.contains("pg_settings");
    let sql = if certain && sql == DUMP_RESTRICTS { DUMP_RESTRICTS_PLAINLY } else { sql };
    match parse::parse(sql) {
        Ok(parsed) => judge(sql, &parsed.stmts, context),
        Err(message) => unparseable(message, context),
    }
}

fn judge(sql: &str, parsed: &[pg_query::protobuf::RawStmt], context: &Context) -> Classified {
    let mut walk = Walk::new(context);
    let mut statements = Vec::with_capacity(parsed.len());
    let mut strictest = Effect::Read;
    for raw in parsed {
        let start = usize::try_from(raw.stmt_location).unwrap_or(0).min(sql.len());
        let end = match usize::try_from(raw.stmt_len).unwrap_or(0) {
            0 => sql.len(),
            length => (start + length).min(sql.len()),
        };
        let text = sql.get(start..end).unwrap_or(sql);
        walk.effect = Effect::Read;
        walk.seen = Tally::default();
        walk.opaque = false;
        walk.levels.clear();
        walk.ctes.clear();
        let node = raw.stmt.as_ref().and_then(|s| s.node.as_ref());
        match node {
            Some(node) => walk.statement(node, text),
            None => walk.widest(),
        }
        if !walk.opaque && Tally::of(&raw.stmt) != Some(walk.seen) {
            walk.widest();
        }
        walk.path_uncertain |= std::mem::take(&mut walk.changes_path);
        strictest = strictest.max(walk.effect);
        statements.push(Statement { tag: node.map_or("UNKNOWN", tag::of), effect: walk.effect });
    }
    let tag = match statements.as_slice() {
        [] => "EMPTY",
        [one] => one.tag,
        _ => "multi",
    };
    let certain = Operation { tag: tag.into(), accesses: walk.accesses.iter().cloned().collect(), effect: strictest };
    let operation = if walk.unresolved { widest(tag, context) } else { certain.clone() };
    Classified {
        operation,
        certain,
        constants_free: !walk.constants_matter && walk.steps.is_empty() && !statements.is_empty(),
        statements: statements.into(),
        steps: walk.steps.into(),
        changes_context: walk.changes_context,
        copy: walk.copy,
        unparseable: None,
    }
}

fn widest(tag: &str, context: &Context) -> Operation {
    let mut walk = Walk::new(context);
    walk.widest();
    Operation { tag: tag.into(), accesses: walk.accesses.into_iter().collect(), effect: walk.effect }
}

fn unparseable(message: Box<str>, context: &Context) -> Classified {
    let operation = widest("UNPARSEABLE", context);
    Classified {
        certain: operation.clone(),
        operation,
        statements: [].into(),
        steps: [].into(),
        changes_context: true,
        copy: None,
        unparseable: Some(message),
        constants_free: false,
    }
}
