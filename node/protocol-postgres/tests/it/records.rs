//! No effect without a record, no answer without a record, no forwarding without a lease.

use std::time::{Duration, Instant};

use domain::audit::record::decode;

use crate::harness::World;
use crate::road::{READ, WORK};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_recorded_does_not_reach_the_server() {
    let world = World::with(WORK).await;
    let client = world.client().await;
    client.execute("insert into orders values (10, 'ten')", &[]).await.expect("recorded");
    world.authority.set_committing(false);
    let begun = Instant::now();
    let error = client.execute("insert into orders values (11, 'eleven')", &[]).await.expect_err("no quorum");
    assert!(begun.elapsed() < Duration::from_secs(3), "told within 3 s");
    assert_eq!(World::sqlstate(&error), "57014");
    assert!(!world.server.log().contains("'eleven'), not"), "sanity");
    assert_eq!(world.count("orders where id = 11"), 0);
    world.authority.set_committing(true);
    client.execute("insert into orders values (12, 'twelve')", &[]).await.expect("the session goes on");
    assert_eq!(world.count("orders where id = 12"), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_simple_query_that_is_not_recorded_is_answered_here() {
    let world = World::with(WORK).await;
    let client = world.client().await;
    client.batch_execute("select 1").await.expect("warm");
    world.authority.set_committing(false);
    let error = client.batch_execute("delete from orders").await.expect_err("no quorum");
    assert_eq!(World::sqlstate(&error), "57014");
    assert!(!world.server.log().contains("delete from orders"), "the server never saw it");
    world.authority.set_committing(true);
    client.batch_execute("delete from orders where id = 1").await.expect("the session goes on");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_read_runs_at_once_and_its_answer_waits() {
    let world = World::with(READ).await;
    let client = world.client().await;
    client.simple_query("select id from orders").await.expect("warm");
    world.authority.set_committing(false);
    let asked = tokio::spawn(async move { client.simple_query("select note as waits_for_it from orders").await });
    world.until("the server has seen it", || world.server.log().contains("waits_for_it").then_some(())).await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(!asked.is_finished(), "no byte of the answer before the record");
    world.authority.set_committing(true);
    asked.await.expect("does not panic").expect("answered");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_that_wait_in_vain_are_thrown_away() {
    let world = World::with(READ).await;
    let client = world.client().await;
    client.simple_query("select id from orders").await.expect("warm");
    world.authority.set_committing(false);
    let error = client.simple_query("select note from orders").await.expect_err("no quorum");
    assert_eq!(World::sqlstate(&error), "57014");
    world.until("the session is over", || world.registry.is_empty().then_some(())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_lease_nothing_is_forwarded() {
    let world = World::with(WORK).await;
    let client = world.client().await;
    client.simple_query("select id from orders").await.expect("warm");
    world.authority.set_serving(false);
    let begun = Instant::now();
    let error = client.batch_execute("delete from orders").await.expect_err("no lease");
    assert!(begun.elapsed() < Duration::from_secs(3));
    assert_eq!(World::sqlstate(&error), "57014");
    assert_eq!(world.count("orders"), 2);
    let error = world.connect().await.expect_err("nobody is admitted");
    assert_eq!(World::sqlstate(&error), "57P03");
    world.authority.set_serving(true);
    client.batch_execute("delete from orders where id = 1").await.expect("the session goes on");
    assert_eq!(world.count("orders"), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_still_waits_for_its_record_when_the_lease_ends_did_certainly_not_happen() {
    let world = World::with(WORK).await;
    let client = world.client().await;
    client.simple_query("select id from orders").await.expect("warm");
    world.authority.set_committing(false);
    let waiting = tokio::spawn(async move {
        let error = client.batch_execute("delete from orders").await.expect_err("never recorded");
        (client, error)
    });
    world
        .until("its intent is queued", || {
            let records = world.authority.records();
            records.iter().any(|r| format!("{:?}", decode(r).expect("decodes")).contains("DELETE")).then_some(())
        })
        .await;
    world.authority.set_serving(false);
    let (client, error) = waiting.await.expect("does not panic");
    assert_eq!(World::sqlstate(&error), "57014");
    assert_eq!(world.count("orders"), 2);
    world.authority.set_committing(true);
    world.authority.set_serving(true);
    client.batch_execute("delete from orders where id = 1").await.expect("the session goes on");
    assert_eq!(world.count("orders"), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_operation_has_an_intent_and_an_outcome() {
    let world = World::with_hold(WORK, Duration::from_millis(50)).await;
    let client = world.client().await;
    client.execute("insert into orders values ($1, 'x')", &[&20i32]).await.expect("granted");
    client.query("select word from secrets", &[]).await.expect_err("not granted");
    client.batch_execute("insert into orders values (20, 'again')").await.expect_err("duplicate");
    drop(client);
    world.until("the session is over", || world.registry.is_empty().then_some(())).await;
    let records: Vec<String> = world.authority.records().iter().map(|bytes| format!("{:?}", decode(bytes).expect("decodes"))).collect();
    let has = |parts: &[&str]| records.iter().any(|r| parts.iter().all(|p| r.contains(p)));
    assert!(records[0].contains("Admission"), "{}", records[0]);
    let statement = format!("{:?}", b"insert into orders values ($1, 'x')");
    assert!(has(&["Intent", "tag: \"INSERT\"", "verdict: 1", &statement]), "{records:#?}");
    assert!(has(&["Outcome", "operation: 1, status: 1", "rows: 1"]), "{records:#?}");
    assert!(has(&["Intent", "secrets", "verdict: 4", "pending"]), "{records:#?}");
    assert!(has(&["Outcome", "23505"]), "{records:#?}");
    assert!(records.last().is_some_and(|r| r.contains("SessionEnd")), "{records:#?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commits_wait_for_records_and_statements_inside_do_not() {
    let world = World::with(WORK).await;
    let client = world.client().await;
    client.batch_execute("begin").await.expect("begins");
    world.authority.set_commit_delay(Duration::from_millis(300));
    let begun = Instant::now();
    client.batch_execute("insert into orders values (30, 'thirty')").await.expect("granted");
    assert!(begun.elapsed() >= Duration::from_millis(290), "its answer waited for its record");
    client.batch_execute("commit").await.expect("commits");
    assert_eq!(world.count("orders where id = 30"), 1);
}
