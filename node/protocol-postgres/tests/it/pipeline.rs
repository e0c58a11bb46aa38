//! The extended protocol in detail: order, errors, skipping, names; and bounds.

use std::time::Duration;

use bytes::{BufMut, BytesMut};
use domain::audit::record::decode;
use domain::audit::record::stored::Kind;
use postgres_protocol::message::frontend;

use crate::harness::World;
use crate::raw::Raw;
use crate::road::{READ, WORK};

/// The code of [`domain::audit::record::Status::NotForwarded`] in a stored record.
const NOT_FORWARDED: u32 = 4;
const SOON: Duration = Duration::from_millis(50);

/// Runs `test` on a thread of its own: the raw client blocks.
async fn with_raw<T: Send + 'static>(world: &World, test: impl FnOnce(Raw) -> T + Send + 'static) -> T {
    let raw = {
        let world_address = world;
        tokio::task::block_in_place(|| Raw::connect(world_address))
    };
    tokio::task::spawn_blocking(move || test(raw)).await.expect("does not panic")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refusal_in_a_pipeline_stands_where_its_answer_would_and_undoes_the_implicit_transaction() {
    let world = World::with_hold(WORK, SOON).await;
    let seen = with_raw(&world, |mut raw| {
        raw.send(|out| {
            Raw::run(out, "insert into orders values (40, 'forty')");
            Raw::run(out, "truncate orders");
            Raw::run(out, "insert into orders values (41, 'forty-one')");
            frontend::sync(out);
            Raw::run(out, "select id from orders where id = 1");
            frontend::sync(out);
        });
        raw.until_ready(2)
    })
    .await;
    assert_eq!(seen, "1 2 C(INSERT 0 1) 1 2 E(42501) Z(I) 1 2 D C(SELECT 1) Z(I)");
    assert_eq!(world.count("orders"), 2, "the first insert was rolled back with the pipeline, as PostgreSQL does");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_error_of_the_server_skips_to_the_sync_and_so_do_records() {
    let world = World::with_hold(WORK, SOON).await;
    let seen = with_raw(&world, |mut raw| {
        raw.send(|out| {
            Raw::run(out, "insert into orders values (1, 'duplicate')");
            Raw::run(out, "delete from orders");
            frontend::sync(out);
            frontend::query("select id from orders order by id", out).expect("short");
        });
        raw.until_ready(2)
    })
    .await;
    assert_eq!(seen, "1 2 E(23505) Z(I) T D D C(SELECT 2) Z(I)");
    let skipped = |r: &Vec<u8>| matches!(decode(r).expect("decodes").kind, Some(Kind::Outcome(outcome)) if outcome.status == NOT_FORWARDED);
    let not_forwarded = world.authority.records().iter().filter(|r| skipped(r)).count();
    assert_eq!(not_forwarded, 1, "no record says that the skipped statement ran");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failed_parse_leaves_the_old_statement_standing_and_it_is_the_old_one_that_is_judged() {
    let world = World::with_hold(WORK, SOON).await;
    let (first, second, third) = with_raw(&world, |mut raw| {
        raw.send(|out| {
            frontend::parse("s", "truncate orders", [], out).expect("short");
            frontend::sync(out);
        });
        let first = raw.until_ready(1);
        // 42P05: the name is taken. Were the gateway to believe the new text, TRUNCATE would pass as SELECT.
        raw.send(|out| {
            frontend::parse("s", "select id from orders", [], out).expect("short");
            frontend::sync(out);
        });
        let second = raw.until_ready(1);
        raw.send(|out| {
            Raw::bind("", "s", out);
            frontend::execute("", 0, out).expect("short");
            frontend::sync(out);
        });
        (first, second, raw.until_ready(1))
    })
    .await;
    assert_eq!((first.as_str(), second.as_str(), third.as_str()), ("1 Z(I)", "E(42P05) Z(I)", "2 E(42501) Z(I)"));
    assert_eq!(world.count("orders"), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_portal_is_resumed_and_judged_each_time() {
    let world = World::with(READ).await;
    let seen = with_raw(&world, |mut raw| {
        raw.send(|out| {
            frontend::parse("", "select id from orders order by id", [], out).expect("short");
            Raw::bind("p", "", out);
            frontend::execute("p", 1, out).expect("short");
            frontend::execute("p", 1, out).expect("short");
            frontend::execute("p", 1, out).expect("short");
            frontend::sync(out);
        });
        raw.until_ready(1)
    })
    .await;
    assert_eq!(seen, "1 2 D s D s C(SELECT 0) Z(I)");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pipeline_that_changes_the_search_path_is_judged_by_the_new_one() {
    let world = World::with_hold(&format!("{READ}\npostgres:session on postgres.setting.search_path"), SOON).await;
    world.server.psql("create schema other; create table other.orders (id int)").expect("made");
    let seen = with_raw(&world, |mut raw| {
        raw.send(|out| {
            Raw::run(out, "select id from orders");
            Raw::run(out, "set search_path = other");
            Raw::run(out, "select id from orders");
            frontend::sync(out);
            Raw::run(out, "select id from orders");
            frontend::sync(out);
        });
        raw.until_ready(2)
    })
    .await;
    // The refusal undoes the SET, which stood in the same implicit transaction.
    assert_eq!(seen, "1 2 D D C(SELECT 2) 1 2 C(SET) 1 2 E(42501) Z(I) 1 2 D D C(SELECT 2) Z(I)");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_fastpath_is_refused() {
    let world = World::with_hold(WORK, SOON).await;
    let seen = with_raw(&world, |mut raw| {
        raw.send(|out| {
            // lo_unlink(oid), by number.
            out.put_u8(b'F');
            out.put_u32(4 + 4 + 2 + 2 + 4 + 4 + 2);
            out.put_u32(964);
            out.put_u16(0);
            out.put_u16(1);
            out.put_i32(4);
            out.put_u32(1);
            out.put_u16(0);
        });
        let refused = raw.until_ready(1);
        raw.send(|out| frontend::query("select id from orders where id = 1", out).expect("short"));
        (refused, raw.until_ready(1))
    })
    .await;
    assert_eq!((seen.0.as_str(), seen.1.as_str()), ("E(42501) Z(I)", "T D C(SELECT 1) Z(I)"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_too_long_to_be_judged_is_refused_and_the_session_goes_on() {
    let world = World::with_hold(WORK, SOON).await;
    let seen = with_raw(&world, |mut raw| {
        let long = format!("select id from orders -- {}", "x".repeat(2 << 20));
        raw.send(|out| frontend::query(&long, out).expect("long"));
        let refused = raw.until_ready(1);
        raw.send(|out| frontend::query("select id from orders where id = 1", out).expect("short"));
        (refused, raw.until_ready(1))
    })
    .await;
    assert_eq!((seen.0.as_str(), seen.1.as_str()), ("E(54000) Z(I)", "T D C(SELECT 1) Z(I)"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn text_that_is_not_utf_8_is_refused_as_the_server_would_and_the_session_goes_on() {
    let world = World::with(WORK).await;
    let seen = with_raw(&world, |mut raw| {
        raw.send(|out| {
            not_utf_8(out, b'Q', b"select '\xff'\0");
            frontend::query("select id from orders where id = 1", out).expect("short");
            // In a pipeline the messages up to the Sync are skipped, and what went before is rolled back.
            Raw::run(out, "insert into orders values (50, 'fifty')");
            not_utf_8(out, b'P', b"\0select '\xc3('\0\0\0");
            Raw::run(out, "insert into orders values (51, 'fifty-one')");
            frontend::sync(out);
            // In a transaction it is failed by it.
            frontend::query("begin", out).expect("short");
            not_utf_8(out, b'Q', b"select '\xff'\0");
            frontend::query("select id from orders where id = 1", out).expect("short");
            frontend::query("rollback", out).expect("short");
        });
        raw.until_ready(7)
    })
    .await;
    let expected =
        "E(22021) Z(I) T D C(SELECT 1) Z(I) 1 2 C(INSERT 0 1) E(22021) Z(I) C(BEGIN) Z(T) E(22021) Z(E) E(25P02) Z(E) C(ROLLBACK) Z(I)";
    assert_eq!(seen, expected);
    assert_eq!(world.count("orders"), 2);
}

fn not_utf_8(out: &mut BytesMut, tag: u8, body: &[u8]) {
    out.put_u8(tag);
    out.put_u32(u32::try_from(body.len() + 4).expect("short"));
    out.put_slice(body);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_query_in_the_middle_of_a_copy_ends_the_session() {
    let world = World::with(&format!("{WORK}\npostgres:copy on postgres.public.orders")).await;
    let closed = with_raw(&world, |mut raw| {
        raw.send(|out| frontend::query("copy orders from stdin", out).expect("short"));
        std::thread::sleep(Duration::from_millis(300));
        raw.send(|out| frontend::query("delete from orders", out).expect("short"));
        raw.is_closed()
    })
    .await;
    assert!(closed);
    assert_eq!(world.count("orders"), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_reader_of_a_large_result_holds_no_memory_here() {
    let world = World::with(&format!("{READ}\npostgres:call on *.pg_catalog.*")).await;
    world.server.psql("create table big as select repeat('x', 1000) as filler from generate_series(1, 60000)").expect("made");
    world.grant("postgres:select on postgres.public.big");
    let before = resident();
    let (mut raw, most) = {
        let raw = tokio::task::block_in_place(|| Raw::connect(&world));
        tokio::task::spawn_blocking(move || {
            let mut raw = raw;
            raw.send(|out| frontend::query("select filler from big", out).expect("short"));
            let mut most = 0;
            for _ in 0..20 {
                std::thread::sleep(Duration::from_millis(50));
                most = most.max(resident());
            }
            (raw, most)
        })
        .await
        .expect("does not panic")
    };
    assert!(most.saturating_sub(before) < 16 << 20, "{} KiB more while 60 MB wait", (most - before) / 1024);
    let taken = tokio::task::spawn_blocking(move || raw.read_slowly(60_000_000)).await.expect("does not panic");
    assert!(taken >= 60_000_000, "all of it arrives: {taken}");
}

/// Resident memory of this process, the gateway in it, in bytes.
fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").expect("Linux");
    statm.split_whitespace().nth(1).and_then(|pages| pages.parse::<usize>().ok()).expect("a number") * 4096
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn idle_strangers_do_not_keep_a_newcomer_out() {
    let world = World::with(READ).await;
    let mut strangers = Vec::new();
    for index in 0..400 {
        let mut stream = tokio::net::TcpStream::connect(world.address).await.expect("accepted");
        if index % 2 == 0 {
            // Half of them stop in the middle of their first message.
            tokio::io::AsyncWriteExt::write_all(&mut stream, &[0, 0, 0]).await.expect("sent");
        }
        strangers.push(stream);
    }
    assert_eq!(world.psql(&["-c", "select 1"]).await.as_deref(), Ok("1"));
    drop(strangers);
    world.until("all strangers are gone", || world.parts.handshakes.is_empty().then_some(())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_pipeline_takes_back_is_taken_back_before_the_next_statement_is_judged() {
    let world = World::with_hold(WORK, SOON).await;
    // What the set `client` has of it.
    world.grant("postgres:* on postgres.pg_temp.*");
    world.grant("postgres:session on postgres.setting.*");
    let ended = with_raw(&world, |mut raw| {
        raw.send(|out| {
            Raw::run(out, "begin");
            Raw::run(out, "create temp table secrets (word text)");
            Raw::run(out, "rollback");
            Raw::run(out, "select word from secrets");
            frontend::sync(out);
        });
        raw.until_ready(1)
    })
    .await;
    assert!(ended.ends_with("C(ROLLBACK) 1 2 E(42501) Z(I)"), "{ended}");
    let dropped = with_raw(&world, |mut raw| {
        raw.send(|out| {
            Raw::run(out, "create temp table secrets (word text) on commit drop");
            Raw::run(out, "select word from secrets");
            frontend::sync(out);
            Raw::run(out, "select word from secrets");
            frontend::sync(out);
        });
        raw.until_ready(2)
    })
    .await;
    assert!(dropped.ends_with("C(SELECT 0) Z(I) 1 2 E(42501) Z(I)"), "{dropped}");
}
