//! What is granted works, what is not is refused, and the session goes on where PostgreSQL's would.

use crate::harness::World;

pub(crate) const READ: &str = "postgres:select on postgres.public.orders";
pub(crate) const WORK: &str = "postgres:select,insert,update,delete on postgres.public.orders";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn psql_reads_what_is_granted_and_the_server_never_sees_the_rest() {
    let world = World::with_hold(READ, std::time::Duration::from_millis(100)).await;
    assert_eq!(world.psql(&["-c", "select note from orders order by id"]).await.as_deref(), Ok("one\ntwo"));
    let refused = world.psql(&["-c", "select word from secrets"]).await.expect_err("not granted");
    assert!(refused.contains("permission denied"), "{refused}");
    let refused = world.psql(&["-c", "select 1; delete from orders"]).await.expect_err("the strictest statement wins");
    assert!(refused.contains("permission denied"), "{refused}");
    assert_eq!(world.count("orders"), 2);
    assert!(!world.server.log().contains("from secrets"), "the refused text never reached the server");
    assert!(!world.server.log().contains("delete from orders"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_permit_without_writes_is_enforced_by_the_server_too() {
    let world = World::with(READ).await;
    assert_eq!(world.psql(&["-c", "show transaction_read_only"]).await.as_deref().unwrap_or("on"), "on");
    let client = world.client().await;
    let rows = client.query("select id from orders where id = $1", &[&1i32]).await.expect("granted");
    assert_eq!(rows[0].get::<_, i32>(0), 1);
    let error = client.batch_execute("begin read write").await.expect_err("pinned");
    assert_eq!(World::sqlstate(&error), "42501");
    client.batch_execute("begin; select id from orders; commit").await.expect("the session goes on");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writes_go_through_and_a_refusal_in_a_transaction_fails_it() {
    let world = World::with(WORK).await;
    let mut client = world.client().await;
    client.execute("insert into orders values ($1, $2)", &[&3i32, &"three"]).await.expect("granted");
    assert_eq!(world.count("orders"), 3);

    let transaction = client.transaction().await.expect("begins");
    transaction.execute("insert into orders values (4, 'four')", &[]).await.expect("granted");
    let error = transaction.query("select word from secrets", &[]).await.expect_err("held never inside a transaction");
    assert_eq!(World::sqlstate(&error), "42501");
    let error = transaction.query("select id from orders", &[]).await.expect_err("the transaction is failed");
    assert_eq!(World::sqlstate(&error), "25P02");
    let error = transaction.batch_execute("update orders set note = 'x'").await.expect_err("by either protocol");
    assert_eq!(World::sqlstate(&error), "25P02");
    transaction.rollback().await.expect("rolls back");
    assert_eq!(world.count("orders"), 3, "what the transaction did is gone");

    client.batch_execute("begin; insert into orders values (5, 'five'); commit").await.expect("the session goes on");
    assert_eq!(world.count("orders"), 4);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_simple_query_in_a_transaction_fails_it_as_postgresql_would() {
    let world = World::with(WORK).await;
    let client = world.client().await;
    client.batch_execute("begin").await.expect("begins");
    client.batch_execute("insert into orders values (6, 'six')").await.expect("granted");
    let error = client.batch_execute("drop table orders").await.expect_err("not granted");
    assert_eq!(World::sqlstate(&error), "42501");
    let error = client.batch_execute("select id from orders").await.expect_err("failed");
    assert_eq!(World::sqlstate(&error), "25P02");
    client.batch_execute("commit").await.expect("is a rollback");
    assert_eq!(world.count("orders"), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn names_mean_what_the_session_makes_of_them() {
    let world = World::with_hold(
        "postgres:select on postgres.public.orders\npostgres:session on postgres.setting.search_path",
        std::time::Duration::from_millis(100),
    )
    .await;
    world.server.psql("create schema other; create table other.orders (id int); insert into other.orders values (99)").expect("made");
    let client = world.client().await;
    client.query("select id from orders", &[]).await.expect("public.orders is granted");
    let prepared = client.prepare("select id from orders").await.expect("prepares");
    client.batch_execute("set search_path = other").await.expect("harmless");
    let error = client.query("select id from orders", &[]).await.expect_err("other.orders is not");
    assert_eq!(World::sqlstate(&error), "42501");
    let error = client.query(&prepared, &[]).await.expect_err("nor by a statement prepared before");
    assert_eq!(World::sqlstate(&error), "42501");
    client.batch_execute("begin; set local search_path = public").await.expect("for the transaction");
    client.query("select id from orders", &[]).await.expect("public again");
    client.batch_execute("rollback").await.expect("and back");
    let error = client.query("select id from orders", &[]).await.expect_err("other.orders once more");
    assert_eq!(World::sqlstate(&error), "42501");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sql_prepared_statements_are_judged_when_executed() {
    let world = World::with_hold(&format!("{WORK}\npostgres:session on postgres.*.*"), std::time::Duration::from_millis(100)).await;
    let client = world.client().await;
    client.batch_execute("prepare mine as select id from orders").await.expect("granted");
    client.batch_execute("execute mine").await.expect("granted");
    let outcome = client.batch_execute("prepare theirs as select word from secrets").await;
    if outcome.is_ok() {
        let error = client.batch_execute("execute theirs").await.expect_err("not granted");
        assert_eq!(World::sqlstate(&error), "42501");
    }
    let error = client.batch_execute("execute nobody_knows").await.expect_err("needs the widest class");
    assert_eq!(World::sqlstate(&error), "42501");
    client.batch_execute("execute mine").await.expect("still there");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn copy_goes_both_ways() {
    use futures_util::{SinkExt, TryStreamExt};
    let world = World::with(&format!("{WORK}\npostgres:copy on postgres.public.orders")).await;
    let client = world.client().await;
    let sink = client.copy_in("copy orders from stdin").await.expect("granted");
    futures_util::pin_mut!(sink);
    for id in 100..1100 {
        sink.send(bytes::Bytes::from(format!("{id}\tnote {id}\n"))).await.expect("taken");
    }
    assert_eq!(sink.finish().await.expect("copied"), 1000);
    assert_eq!(world.count("orders"), 1002);

    let out: Vec<bytes::Bytes> = client.copy_out("copy orders to stdout").await.expect("granted").try_collect().await.expect("copied");
    assert_eq!(out.iter().map(|b| b.iter().filter(|c| **c == b'\n').count()).sum::<usize>(), 1002);

    let sink = client.copy_in("copy orders from stdin").await.expect("granted");
    futures_util::pin_mut!(sink);
    sink.send(bytes::Bytes::from("not a number\tx\n")).await.expect("taken");
    assert!(sink.finish().await.is_err(), "the server refuses the row");
    client.query("select id from orders limit 1", &[]).await.expect("the session goes on");

    let piped = world.psql(&["-c", "\\copy (select id from orders order by id limit 2) to stdout"]).await;
    assert_eq!(piped.as_deref(), Ok("1\n2"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_cannot_prove_itself_or_has_no_grant_is_refused_at_login() {
    let world = World::with(READ).await;
    let mut config: tokio_postgres::Config = world.url().parse().expect("a url");
    let error = config.password("assize_gwrong").connect(tokio_postgres::NoTls).await.err().expect("refused");
    assert_eq!(World::sqlstate(&error), "28P01");
    let url = world.url().replace("/shop", "/nowhere");
    let mut config: tokio_postgres::Config = url.parse().expect("a url");
    let error = config.password(world.token()).connect(tokio_postgres::NoTls).await.err().expect("refused");
    assert_eq!(World::sqlstate(&error), "28000");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn notifications_and_cursors_pass() {
    let world = World::with(&format!("{WORK}\npostgres:session on postgres.*.*")).await;
    let out = world.psql(&["-c", "listen news", "-c", "notify news, 'hello'", "-c", "select 1"]).await.expect("granted");
    assert!(out.contains("hello"), "{out}");
    let out = world
        .psql(&[
            "-c",
            "begin",
            "-c",
            "declare c cursor for select note from orders order by id",
            "-c",
            "fetch 1 from c",
            "-c",
            "fetch 1 from c",
            "-c",
            "commit",
        ])
        .await
        .expect("granted");
    assert!(out.contains("one\nFETCH 1\ntwo") || out.contains("one\ntwo"), "{out}");
}

/// A temporary table of the name must not stand for the real one where it does not hide it, or no longer does.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_temporary_table_never_lends_its_permission_to_the_real_one() {
    let world = World::with_hold(WORK, std::time::Duration::from_millis(50)).await;
    // What the set `client` has of it.
    world.grant("postgres:* on postgres.pg_temp.*");
    world.grant("postgres:session on postgres.setting.*");
    let made = "create temp table secrets (word text)";
    let ways: [&[&str]; 9] = [
        &[made, "set search_path = public, pg_temp"],
        &[made, "set search_path = public, PG_TEMP"],
        &[made, "select set_config('search_path', 'public, pg_temp', false)"],
        &[made, "begin", "set local search_path = public, pg_temp"],
        &["begin", "savepoint s", made, "rollback to s"],
        &["begin", "savepoint s", "select 'x' as word into temp secrets", "rollback to savepoint s"],
        &["begin", "create temp table secrets (word text) on commit drop", "commit and chain"],
        &["begin", made, "rollback and chain"],
        &["begin", made, "rollback"],
    ];
    for way in ways {
        let client = world.client().await;
        for step in way {
            client.batch_execute(step).await.unwrap_or_else(|e| panic!("{way:?}: {step}: {e}"));
        }
        let error = client.batch_execute("select word from secrets").await.expect_err(way[way.len() - 1]);
        assert_eq!(World::sqlstate(&error), "42501", "{way:?}");
    }
    let client = world.client().await;
    client.batch_execute(made).await.expect("its own");
    client.batch_execute("select word from secrets").await.expect("the temporary one");
    let error = client.batch_execute("set search_path = public, pg_temp; select word from secrets").await.expect_err("in one string");
    assert_eq!(World::sqlstate(&error), "42501");
    assert!(!world.server.log().contains("search_path = public, pg_temp; select"), "it never reached the server");
}
