//! Beyond the permit: held, approved, denied, left and come back.

use std::time::Duration;

use domain::request::RequestStatus;

use crate::harness::World;
use crate::road::READ;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_held_statement_continues_when_it_is_approved_once() {
    let world = World::with_hold(&format!("{READ}\npostgres:insert on postgres.public.nothing"), Duration::from_secs(15)).await;
    let client = world.client().await;
    let held = tokio::spawn(async move {
        let outcome = client.query("select word from secrets", &[]).await;
        (client, outcome)
    });
    let request = world.open_request().await;
    assert!(!held.is_finished());
    world.decide(request, true);
    let (client, outcome) = held.await.expect("does not panic");
    assert_eq!(outcome.expect("approved")[0].get::<_, String>(0), "xyzzy");
    assert!(matches!(world.state().requests.get(&request).map(|r| r.status.clone()), Some(RequestStatus::Spent { .. })));

    // Used up: the same statement asks anew.
    let again = tokio::spawn(async move { client.query("select word from secrets", &[]).await });
    let second = world.open_request().await;
    assert_ne!(second, request);
    world.decide(second, false);
    let error = again.await.expect("does not panic").expect_err("denied");
    assert_eq!(World::sqlstate(&error), "42501");
    assert!(error.as_db_error().is_some_and(|e| e.message().contains("denied")), "{error:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn psql_is_told_the_request_and_a_later_identical_statement_uses_the_approval() {
    let world = World::with_hold(READ, Duration::from_millis(300)).await;
    let refused = world.psql(&["-c", "select word from secrets"]).await.expect_err("nobody decided in time");
    let request = world.open_request().await;
    assert!(refused.contains(&request.to_string()), "{refused}");
    assert!(refused.contains("NOTICE"), "{refused}");
    world.decide(request, true);
    assert_eq!(world.psql(&["-c", "select word from secrets"]).await.as_deref(), Ok("xyzzy"));
    let refused = world.psql(&["-c", "select word  from secrets"]).await.expect_err("another text is another request");
    assert!(refused.contains("request-"), "{refused}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_approval_binds_the_parameters() {
    let world = World::with_hold(READ, Duration::from_millis(200)).await;
    let client = world.client().await;
    let sql = "select word from secrets where word = $1";
    let error = client.query(sql, &[&"xyzzy"]).await.expect_err("held, not decided");
    assert_eq!(World::sqlstate(&error), "42501");
    let request = world.open_request().await;
    world.decide(request, true);
    let error = client.query(sql, &[&"other"]).await.expect_err("another value is another operation");
    assert_eq!(World::sqlstate(&error), "42501");
    assert_eq!(client.query(sql, &[&"xyzzy"]).await.expect("approved").len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_leaves_detaches_and_one_that_cancels_gets_its_prompt_back() {
    let world = World::with_hold(READ, Duration::from_secs(15)).await;
    let client = world.client().await;
    let cancel = client.cancel_token();
    let held = tokio::spawn(async move {
        let outcome = client.query("select word from secrets", &[]).await;
        (client, outcome)
    });
    let request = world.open_request().await;
    cancel.cancel_query(tokio_postgres::NoTls).await.expect("sent");
    let (client, outcome) = held.await.expect("does not panic");
    assert_eq!(World::sqlstate(&outcome.expect_err("cancelled")), "57014");
    client.query("select id from orders", &[]).await.expect("the session goes on");
    assert!(world.state().requests.get(&request).is_some_and(|r| r.status.is_open()), "nothing withdrew it");

    let held = tokio::spawn(async move { client.query("select word from secrets", &[]).await });
    world.until("it joined", || world.state().requests.get(&request).filter(|r| r.joined > 0).map(|_| ())).await;
    held.abort();
    world.until("the session is gone", || world.registry.is_empty().then_some(())).await;
    assert!(world.state().requests.get(&request).is_some_and(|r| r.status.is_open()));
    assert_eq!(world.state().requests.len(), 1, "the second joined the first");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn inside_a_transaction_the_error_names_the_request_at_once() {
    let world = World::with_hold(READ, Duration::from_secs(15)).await;
    let client = world.client().await;
    client.batch_execute("begin").await.expect("begins");
    let begun = std::time::Instant::now();
    let error = client.query("select word from secrets", &[]).await.expect_err("not held");
    assert!(begun.elapsed() < Duration::from_secs(5));
    let request = world.open_request().await;
    assert!(error.as_db_error().is_some_and(|e| e.message().contains(&request.to_string())), "{error:?}");
    client.batch_execute("rollback").await.expect("rolls back");
}
