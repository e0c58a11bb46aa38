//! What the classifier calls read-only, held against a real PostgreSQL: it leaves the database as it was, and runs
//! where the server enforces read-only.

use protocol_postgres::operation::{Classified, Context, classify};

use domain::operation::Effect;

use crate::server::Server;

const FIXTURE: &str = "
    create table customers (id int primary key, name text);
    create table orders (id serial primary key, status text, total numeric, customer_id int);
    create table archive (id int);
    create table \"Orders\" (\"ID\" int);
    create table x (id int); create table t (a int); create table q (a int);
    create view open_orders as select id from orders where status = 'new';
    create type mood as enum ('new');
    create schema secret; create schema other;
    create table secret.salaries (id int, body tsvector);
    create sequence secret.s;
    create function refund(int) returns int language plpgsql as 'begin delete from archive; return $1; end';
    insert into customers select n, 'c' || n from generate_series(1, 9) n;
    insert into orders (status, total, customer_id) select 'new', n * 10, n from generate_series(1, 9) n;
    insert into archive values (1); insert into \"Orders\" values (1); insert into secret.salaries values (1, 'a');";

/// Everything that a statement could have changed, in one hash.
const STATE: &str = "
    select md5(string_agg(s, '|' order by s)) from (
        select 'o' || o::text from orders o union all select 'c' || c::text from customers c
        union all select 'a' || a::text from archive a union all select 'O' || o::text from \"Orders\" o
        union all select 's' || s::text from secret.salaries s
        union all select 'q' || last_value || is_called from orders_id_seq
        union all select 'p' || last_value || is_called from secret.s
        union all select 'r' || oid || relname || relfilenode || coalesce(relacl::text, '') from pg_class
        union all select 'f' || oid || proname from pg_proc union all select 't' || oid || typname from pg_type
        union all select 'n' || oid || nspname || coalesce(nspacl::text, '') from pg_namespace
        union all select 'u' || oid || rolname || coalesce(rolconfig::text, '') from pg_roles
        union all select 'l' || oid from pg_largeobject_metadata union all select 'd' || oid || datname from pg_database
        union all select 'x' || setdatabase || setrole || setconfig::text from pg_db_role_setting
        union all select 'e' || oid || extname from pg_extension union all select 'v' || slot_name from pg_replication_slots
    ) all_of_it (s)";

/// Judged read-only, yet refused by the server for a reason that has nothing to do with writing: the corpus has them
/// for what the parser makes of them.
const FAIL_FOR_OTHER_REASONS: &[&str] = &[
    "column \"secret_fn\" does not exist",
    "relation \"app.orders\" does not exist",
    "currval of sequence \"orders_id_seq\" is not yet defined in this session",
    "DECLARE CURSOR can only be used in transaction blocks",
    "there is no parameter $1",
    "relation \"pg_temp.scratch\" does not exist",
    "operator does not exist: text > integer",
];

fn read_only_statements() -> Vec<(&'static str, Classified)> {
    let context = Context::with_schemas("app", ["public"]);
    include_str!("../corpus.sql")
        .lines()
        .filter(|line| !line.starts_with('#') && !line.trim().is_empty())
        .map(|sql| (sql, classify(sql, &context)))
        .filter(|(_, judged)| judged.operation.effect == Effect::Read)
        .collect()
}

#[test]
fn what_is_judged_read_only_changes_nothing_and_runs_read_only() {
    let server = Server::start();
    server.run("postgres", &["create database app"]).expect("a database for the fixture");
    server.run("app", &[FIXTURE]).expect("the fixture");
    let state = || server.run("app", &[STATE]).expect("the state");
    let before = state();
    let statements = read_only_statements();
    assert!(statements.len() >= 70, "only {} statements of the corpus are read-only", statements.len());

    let mut failed = Vec::new();
    for (sql, _) in &statements {
        for run in [vec!["BEGIN READ ONLY", *sql, "ROLLBACK"], vec![*sql]] {
            if let Err(message) = server.run("app", &run) {
                assert!(!message.contains("read-only transaction"), "{sql}: {message}");
                failed.push(format!("{sql}: {message}"));
            }
        }
        assert_eq!(state(), before, "{sql} changed the database");
    }
    let unexpected: Vec<_> = failed.iter().filter(|f| !FAIL_FOR_OTHER_REASONS.iter().any(|reason| f.contains(reason))).collect();
    assert!(unexpected.is_empty(), "{unexpected:#?}");
}

/// The hash sees what it must: otherwise the test above would prove nothing.
#[test]
fn the_state_hash_sees_writes() {
    let server = Server::start();
    server.run("postgres", &["create database app"]).expect("a database for the fixture");
    server.run("app", &[FIXTURE]).expect("the fixture");
    let mut last = server.run("app", &[STATE]).expect("the state");
    for write in [
        "select refund(1)",
        "select nextval('orders_id_seq')",
        "select lo_create(0)",
        "update orders set total = 0 where id = 1",
        "create table made (a int)",
        "create role bob",
        "alter database app set work_mem = 4096",
        "grant select on orders to bob",
    ] {
        server.run("app", &[write]).expect(write);
        let now = server.run("app", &[STATE]).expect("the state");
        assert_ne!(now, last, "{write}");
        last = now;
    }
}

/// The row that the relay reads has the shape it expects, and says what the classifier needs.
#[test]
fn the_context_query_tells_what_names_mean() {
    let server = Server::start();
    server.run("postgres", &["create database app"]).expect("a database for the fixture");
    let overload = "create function lower(int) returns text language sql as 'select 1::text'; create function mine() returns int language sql as 'select 1'; create function pg_get_sequence_data(int) returns int language sql as 'select 1'";
    server.run("app", &[overload]).expect("the functions");
    let query = protocol_postgres::operation::CONTEXT_QUERY;
    assert_eq!(server.run("app", &[query]).expect("the context"), "app|{public}|{}|{lower,pg_get_sequence_data}");
    let unnamed = "create type mood as enum ('glad'); create function glad(int) returns mood language sql as $$ select 'glad'::mood $$; create cast (int as mood) with function glad(int); create function add(int, int) returns int language sql as 'select 1'; create operator ### (leftarg = int, rightarg = int, function = add); create operator #### (leftarg = int, rightarg = int, function = int4pl); create table t (a int); create function leak(t) returns int language sql as 'select 1'";
    server.run("app", &[unnamed]).expect("what runs functions without naming them");
    let told = server.run("app", &[query]).expect("the context");
    assert_eq!(told, "app|{public}|{}|{lower,pg_get_sequence_data,###,::mood,.leak}");
    let checked = "create function fine(int) returns boolean language sql as 'select true'; create domain checked as int check (fine(value)); create domain deeper as checked; create domain plain as int check (value > 0); create function any_leak(anyelement) returns int language sql as 'select 1'";
    server.run("app", &[checked]).expect("domains that run functions, and a function over anything");
    let told = server.run("app", &[query]).expect("the context");
    let mut unnamed: Vec<&str> =
        told.rsplit_once("sequence_data,").map(|(_, rest)| rest.trim_end_matches('}').split(',').collect()).expect("a list");
    unnamed.sort_unstable();
    assert_eq!(unnamed, ["###", ".any_leak", ".leak", "::checked", "::deeper", "::mood"]);
    let temporary = server
        .run(
            "app",
            &["drop domain deeper, checked", "drop function any_leak", "create temp table scratch (a int)", "set search_path = ''", query],
        )
        .expect("the context");
    assert_eq!(temporary.lines().last(), Some("app|{}|{scratch}|{###,::mood,.leak}"));
}
