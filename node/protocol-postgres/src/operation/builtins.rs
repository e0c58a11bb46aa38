//! The committed lists of PostgreSQL's own names. The scripts beside them make them and say how they were reviewed.

use std::collections::HashSet;
use std::sync::LazyLock;

static FUNCTIONS: LazyLock<HashSet<&'static str>> = LazyLock::new(|| include_str!("builtins/functions.txt").lines().collect());
static NAMES: LazyLock<HashSet<&'static str>> = LazyLock::new(|| include_str!("builtins/names.txt").lines().collect());
static RELATIONS: LazyLock<HashSet<&'static str>> = LazyLock::new(|| include_str!("builtins/relations.txt").lines().collect());

/// A function of `pg_catalog` without side effects: needs no permission and leaves a statement [`domain::operation::Effect::Read`].
pub(super) fn is_harmless_function(name: &str) -> bool {
    FUNCTIONS.contains(name)
}

/// The name may be one of `pg_catalog`: it is in the oldest supported version, or has a prefix that later versions use
/// for theirs.
pub(super) fn may_be_catalog_function(name: &str) -> bool {
    NAMES.contains(name) || name.starts_with("pg_") || name.starts_with("lo_") || name.starts_with("binary_upgrade_")
}

pub(super) fn is_catalog_relation(name: &str) -> bool {
    RELATIONS.contains(name)
}

/// Forms of the grammar that are built in where the server knows them, and calls of a function where it is older:
/// harmless unless the search path has a function of that name.
pub(super) const GRAMMAR_FUNCTIONS: &[&str] = &[
    "json_object",
    "json_array",
    "json_objectagg",
    "json_arrayagg",
    "json_scalar",
    "json_serialize",
    "json",
    "json_exists",
    "json_value",
    "json_query",
    "json_table",
    "merge_action",
];
