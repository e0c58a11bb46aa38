//! The permission set `client`: what psql, drivers, ORMs, migration tools, monitoring and pg_dump send around their
//! real work. A target that grants it lets ordinary clients connect and look around; it gives no table, no function
//! of a user and no identity.
//!
//! It holds:
//! - reading the catalogue and the standard's views, but for what shows rows of user tables (statistics), secrets or
//!   server files;
//! - a list of settings that change how results look or how long things take, never what a statement means, with
//!   `search_path` (the relay judges names anew after it); RESET ALL and DISCARD;
//! - advisory locks; snapshots for parallel dumps; listening on channels. Notifying is the same verb on a channel, so
//!   it is held here too: a channel carries no data of the database;
//! - the session's own temporary tables.

use std::sync::{Arc, LazyLock};

use domain::operation::{Protocol, Verb};
use domain::permission::{Pattern, Permission, PermissionSet, Segment};

/// The name it is granted under.
pub const CLIENT_SET_NAME: &str = "client";

/// Rises with every change of what the set holds; records cite it.
pub const CLIENT_SET_VERSION: u64 = 2;

/// Catalogue relations that show more than the catalogue: values of user columns, secrets, files.
const WITHHELD: &[&str] = &[
    "pg_authid",
    "pg_file_settings",
    "pg_hba_file_rules",
    "pg_ident_file_mappings",
    "pg_largeobject",
    "pg_shadow",
    "pg_statistic",
    "pg_statistic_ext_data",
    "pg_stats",
    "pg_stats_ext",
    "pg_stats_ext_exprs",
    "pg_subscription",
    "pg_user_mapping",
    "pg_user_mappings",
];

/// What everybody may read of a subscription: all but how to connect to its publisher. `datname` is no column of it, but
/// pg_dump counts subscriptions with a subquery that has this word, and a bare word in a subquery may mean a column of
/// the relation around it.
const SUBSCRIPTION_COLUMNS: &[&str] = &["datname", "oid", "subdbid", "subenabled", "subname", "subowner", "subpublications", "subslotname"];

/// Settings of a session that decide neither what a text means nor who runs it.
pub const HARMLESS_SETTINGS: &[&str] = &[
    "all",
    "application_name",
    "array_nulls",
    "backslash_quote",
    "bytea_output",
    "check_function_bodies",
    "client_connection_check_interval",
    "client_encoding",
    "client_min_messages",
    "constraint_exclusion",
    "cpu_index_tuple_cost",
    "cpu_operator_cost",
    "cpu_tuple_cost",
    "cursor_tuple_fraction",
    "datestyle",
    "debug_parallel_query",
    "default_statistics_target",
    "default_table_access_method",
    "default_tablespace",
    "default_text_search_config",
    "default_toast_compression",
    "default_transaction_deferrable",
    "default_transaction_isolation",
    "default_transaction_read_only",
    "default_with_oids",
    "effective_cache_size",
    "escape_string_warning",
    "exit_on_error",
    "extra_float_digits",
    "force_parallel_mode",
    "from_collapse_limit",
    "geqo",
    "geqo_threshold",
    "gin_fuzzy_search_limit",
    "idle_in_transaction_session_timeout",
    "idle_session_timeout",
    "intervalstyle",
    "jit",
    "join_collapse_limit",
    "lc_messages",
    "lc_monetary",
    "lc_numeric",
    "lc_time",
    "lock_timeout",
    "maintenance_work_mem",
    "max_parallel_maintenance_workers",
    "max_parallel_workers",
    "max_parallel_workers_per_gather",
    "parallel_setup_cost",
    "parallel_tuple_cost",
    "plan_cache_mode",
    "quote_all_identifiers",
    "random_page_cost",
    "restrict_nonsystem_relation_kind",
    "row_security",
    "search_path",
    "seq_page_cost",
    "standard_conforming_strings",
    "statement_timeout",
    "synchronize_seqscans",
    "tcp_keepalives_count",
    "tcp_keepalives_idle",
    "tcp_keepalives_interval",
    "tcp_user_timeout",
    "temp_buffers",
    "temp_tablespaces",
    "timezone",
    "timezone_abbreviations",
    "transaction_deferrable",
    "transaction_isolation",
    "transaction_read_only",
    "transaction_timeout",
    "transform_null_equals",
    "work_mem",
    "xmlbinary",
    "xmloption",
];

static CLIENT_SET: LazyLock<PermissionSet> = LazyLock::new(make);

/// The set, for any database.
pub fn client_set() -> PermissionSet {
    CLIENT_SET.clone()
}

fn make() -> PermissionSet {
    let exact = |text: &str| Segment::Exact(Arc::from(text));
    let pattern = |schema: &str, object: Segment| Pattern { segments: vec![Segment::Any, exact(schema), object], columns: None };
    let permission = |verbs: &[Verb], on: Pattern, except: Vec<Pattern>| Permission {
        protocol: Protocol::Postgres,
        verbs: verbs.iter().copied().collect(),
        on,
        except,
    };
    let withheld = WITHHELD.iter().map(|name| pattern("pg_catalog", exact(name))).collect();
    let subscription = Pattern {
        columns: Some(SUBSCRIPTION_COLUMNS.iter().map(|column| Arc::from(*column)).collect()),
        ..pattern("pg_catalog", exact("pg_subscription"))
    };
    let session = |kind: &str, object: Segment| permission(&[Verb::Session], pattern(kind, object), Vec::new());
    let mut permissions = vec![
        permission(&[Verb::Select, Verb::Copy], pattern("pg_catalog", Segment::Any), withheld),
        permission(&[Verb::Select], subscription, Vec::new()),
        permission(&[Verb::Select, Verb::Copy], pattern("information_schema", Segment::Any), Vec::new()),
        permission(
            &[Verb::Select, Verb::Insert, Verb::Update, Verb::Delete, Verb::Truncate, Verb::Merge, Verb::Copy, Verb::Ddl],
            pattern("pg_temp", Segment::Any),
            Vec::new(),
        ),
        session("setting", Segment::Prefix("enable_".into())),
        session("discard", Segment::Any),
        session("lock", exact("advisory")),
        session("snapshot", Segment::Any),
        session("channel", Segment::Any),
    ];
    permissions.extend(HARMLESS_SETTINGS.iter().map(|name| session("setting", exact(name))));
    PermissionSet::new(permissions)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operation::{Context, classify};

    fn check(sql: &str, allowed: bool) {
        let context = Context::with_schemas("app", ["public"]);
        let judged = classify(sql, &context);
        let set = client_set();
        let refused: Vec<_> = judged.operation.accesses.iter().filter(|a| !set.iter().any(|p| p.allows(a))).collect();
        assert_eq!(refused.is_empty(), allowed, "{sql}: {refused:?}");
    }

    #[test]
    fn clients_may_look_around_and_set_themselves_up() {
        for sql in [
            "SELECT version()",
            "SELECT current_schema(), session_user",
            "SELECT pg_catalog.set_config('search_path', '', false)",
            "SELECT set_config(name, 'view, foreign-table', false) FROM pg_settings WHERE name = 'restrict_nonsystem_relation_kind'",
            "SELECT count(*) FROM pg_subscription WHERE subdbid = (SELECT oid FROM pg_database                 WHERE datname = current_database())",
            "SELECT seqrelid, last_value, is_called FROM pg_catalog.pg_sequence, pg_get_sequence_data(seqrelid) ORDER BY seqrelid",
            "SELECT n.nspname, c.relname FROM pg_catalog.pg_class c LEFT JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
             WHERE c.relkind IN ('r','p','') AND n.nspname <> 'pg_catalog' AND pg_catalog.pg_table_is_visible(c.oid) ORDER BY 1,2",
            "SELECT typname FROM pg_type WHERE oid = 25",
            "SELECT table_name FROM information_schema.tables",
            "SET client_encoding TO 'UTF8'",
            "SET standard_conforming_strings = on",
            "SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY",
            "BEGIN; SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY; COMMIT",
            "SHOW transaction_isolation",
            "RESET ALL",
            "DISCARD ALL",
            "SELECT pg_advisory_lock(1)",
            "SELECT pg_advisory_unlock_all(); CLOSE ALL; UNLISTEN *; RESET ALL;",
            "LISTEN jobs",
            "CREATE TEMP TABLE scratch (a int); INSERT INTO scratch VALUES (1); SELECT * FROM scratch",
            "SET enable_seqscan = off",
            "SELECT pg_export_snapshot()",
        ] {
            check(sql, true);
        }
    }

    #[test]
    fn it_gives_no_data_no_code_and_no_identity() {
        for sql in [
            "SELECT * FROM orders",
            "SELECT * FROM pg_stats",
            "SELECT rolpassword FROM pg_authid",
            "SELECT * FROM pg_shadow",
            "SELECT subconninfo FROM pg_subscription",
            "SELECT count(*) FROM pg_subscription WHERE EXISTS (SELECT FROM pg_class WHERE subconninfo LIKE 'a%')",
            "SELECT refund(1)",
            "SET ROLE postgres",
            "RESET ROLE",
            "SET SESSION AUTHORIZATION postgres",
            "SELECT set_config('role', 'postgres', false)",
            "SET session_replication_role = replica",
            "SELECT pg_read_file('/etc/passwd')",
            "SELECT pg_terminate_backend(1)",
            "SELECT query_to_xml('select 1', true, true, '')",
            "SELECT nextval('orders_id_seq')",
            "CREATE TABLE t (a int)",
            "UPDATE pg_settings SET setting = 'off'",
            "COPY pg_class TO PROGRAM 'sh'",
            "DO $$ begin end $$",
            "SELECT lo_get(1)",
            "SET app.user = '1'",
        ] {
            check(sql, false);
        }
    }
}
