//! Revoked, expired, locked, cancelled.

use std::time::Duration;

use domain::command::{Command, Reply};
use domain::id::{Index, SessionId};
use domain::lock::LockOn;
use domain::member::Cancelled;
use session::authority::Authority;

use crate::harness::{World, name};
use crate::road::READ;

const SLEEP: &str = "postgres:select on postgres.public.orders\npostgres:call on *.pg_catalog.pg_sleep";

impl World {
    /// What the server does when a narrowing command was applied.
    async fn enforce(&self) -> session::registry::EnforceReport {
        let state = self.state();
        self.registry.enforce(&state, self.authority.now(), Index(state.applied.0), self.authority.rules()).await
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn revoking_ends_the_session_and_cancels_what_it_runs() {
    let world = World::with(READ).await;
    let grant = world.grant(SLEEP);
    let client = world.client().await;
    let idle = world.client().await;
    let running = tokio::spawn(async move { client.simple_query("select pg_sleep(60)").await });
    world.until("it runs at the server", || (world.running("pg_sleep") == 1).then_some(())).await;

    let reply = world.apply(Command::RevokeGrant { grant, reason: "enough".into() });
    assert!(matches!(reply, Reply::Done { .. }), "{reply:?}");
    let begun = std::time::Instant::now();
    let report = world.enforce().await;
    assert!(begun.elapsed() < Duration::from_secs(1), "enforcing waits for no target");
    assert_eq!(report.session_count(), 2);

    let error = running.await.expect("does not panic").expect_err("ended");
    assert_eq!(World::sqlstate(&error), "57P01");
    assert!(error.as_db_error().is_some_and(|e| e.message().contains("revocation-")), "{error:?}");
    world.until("nothing runs at the server", || (world.running("pg_sleep") == 0).then_some(())).await;
    let receipts = report.settled(Duration::from_secs(5)).await;
    assert!(receipts.iter().any(|r| r.upstream == Cancelled::Cancelled), "{receipts:?}");
    assert!(receipts.iter().any(|r| r.upstream == Cancelled::Idle), "{receipts:?}");
    world.until("both are gone", || world.registry.is_empty().then_some(())).await;
    assert!(idle.query("select 1", &[]).await.is_err());
    assert!(report.last_sequence > 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revoked_session_forwards_nothing_even_before_it_is_enforced() {
    let world = World::with(READ).await;
    let grant = world.grant("postgres:delete on postgres.public.orders");
    let client = world.client().await;
    client.simple_query("select id from orders").await.expect("granted");
    world.apply(Command::RevokeGrant { grant, reason: "enough".into() });
    // Applied on this node, not enforced yet: the gate looks at the state itself.
    let error = client.simple_query("delete from orders").await.expect_err("revoked");
    assert_eq!(World::sqlstate(&error), "57P01");
    assert_eq!(world.count("orders"), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lock_on_the_session_ends_it_and_another_one_lives() {
    let world = World::with(READ).await;
    let first = world.client().await;
    let id: SessionId = world.registry.list()[0].id;
    let second = world.client().await;
    let reply = world.apply(Command::CreateLock { on: LockOn::Session(id), reason: "odd".into(), expires: None });
    assert!(matches!(reply, Reply::Lock(_)), "{reply:?}");
    assert_eq!(world.enforce().await.session_count(), 1);
    world.until("one is left", || (world.registry.len() == 1).then_some(())).await;
    assert!(first.query("select id from orders", &[]).await.is_err());
    second.query("select id from orders", &[]).await.expect("not locked");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_grant_that_expires_ends_idle_sessions_too() {
    let world = World::with("postgres:select on postgres.public.nothing").await;
    world.authority.pass(Duration::from_secs(1));
    let end = world.authority.now().after(Duration::from_secs(60));
    world.grant_until(READ, Some(end));
    let client = world.client().await;
    client.query("select id from orders", &[]).await.expect("granted");
    world.authority.pass(Duration::from_secs(61));
    // The other grant lives, so the session does, with less.
    let error = client.query("select id from orders", &[]).await.expect_err("expired");
    assert_eq!(World::sqlstate(&error), "42501");
    let only = world.state().grants_of(&name("loop-1")).next().map(|g| g.id).expect("one");
    world.apply(Command::RevokeGrant { grant: only, reason: "the last".into() });
    world.enforce().await;
    world.until("it is gone", || world.registry.is_empty().then_some(())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_access_reaches_a_live_session() {
    let world = World::with_hold(READ, Duration::from_millis(100)).await;
    let client = world.client().await;
    client.query("select word from secrets", &[]).await.expect_err("not granted");
    world.grant("postgres:select on postgres.public.secrets");
    client.query("select word from secrets", &[]).await.expect("granted now");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_cancels_its_statement_with_the_gateways_key() {
    let world = World::with(SLEEP).await;
    let client = world.client().await;
    let cancel = client.cancel_token();
    let running = tokio::spawn(async move {
        let outcome = client.simple_query("select pg_sleep(60)").await;
        (client, outcome)
    });
    world.until("it runs at the server", || (world.running("pg_sleep") == 1).then_some(())).await;
    cancel.cancel_query(tokio_postgres::NoTls).await.expect("sent");
    let (client, outcome) = running.await.expect("does not panic");
    assert_eq!(World::sqlstate(&outcome.expect_err("cancelled")), "57014");
    client.query("select id from orders", &[]).await.expect("the session goes on");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_draining_node_lets_statements_finish() {
    let world = World::with(SLEEP).await;
    let client = world.client().await;
    let idle = world.client().await;
    let running = tokio::spawn(async move { client.simple_query("select pg_sleep(0.7)").await });
    world.until("it runs at the server", || (world.running("pg_sleep") == 1).then_some(())).await;
    world.parts.drain(Duration::from_secs(10)).await;
    running.await.expect("does not panic").expect("finished");
    assert!(idle.query("select 1", &[]).await.is_err(), "told to go");
    assert!(world.registry.is_empty());
    assert!(world.connect().await.is_err(), "nobody listens any more");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn under_a_strict_grant_every_operation_asks_the_quorum() {
    let world = World::with("postgres:select on postgres.public.nothing").await;
    world.grant_strict(READ);
    let client = world.client().await;
    client.simple_query("select id from orders").await.expect("confirmed");
    client.query("select id from orders where id = $1", &[&1i32]).await.expect("by either protocol");
    world.authority.set_confirming(false);
    let error = client.simple_query("select id from orders").await.expect_err("no quorum");
    assert_eq!(World::sqlstate(&error), "57014");
    world.authority.set_confirming(true);
    client.simple_query("select id from orders").await.expect("the session goes on");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_that_expires_ends_the_sessions_it_opened() {
    let world = World::with(READ).await;
    let token = world.issue_token(Duration::from_secs(60));
    let mut config: tokio_postgres::Config = world.url().parse().expect("a url");
    let (client, connection) = config.password(token).connect(tokio_postgres::NoTls).await.expect("admitted");
    tokio::spawn(connection);
    client.simple_query("select id from orders").await.expect("granted");
    world.authority.pass(Duration::from_secs(61));
    world.until("it is gone", || world.registry.is_empty().then_some(())).await;
    assert!(client.simple_query("select id from orders").await.is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_lease_ends_open_transactions_and_freezes_the_rest() {
    let world = World::with("postgres:select,insert on postgres.public.orders").await;
    let (open, idle) = (world.client().await, world.client().await);
    open.batch_execute("begin; insert into orders values (50, 'fifty')").await.expect("granted");
    idle.simple_query("select id from orders").await.expect("granted");
    world.authority.set_serving(false);
    world.until("the open transaction is gone", || (world.registry.len() == 1).then_some(())).await;
    assert!(open.simple_query("commit").await.is_err());
    world.authority.set_serving(true);
    idle.simple_query("select id from orders").await.expect("thawed");
    assert_eq!(world.count("orders where id = 50"), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_target_has_when_the_lease_ends_is_not_called_undone() {
    let world = World::with(&format!("{SLEEP}\npostgres:update on postgres.public.orders")).await;
    let client = world.client().await;
    let running = tokio::spawn(async move { client.simple_query("update orders set note = 'x' where pg_sleep(60) is null").await });
    world.until("it runs at the server", || (world.running("pg_sleep") == 1).then_some(())).await;
    world.authority.set_serving(false);
    let error = running.await.expect("does not panic").expect_err("the lease is over");
    assert_eq!(World::sqlstate(&error), "08007");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cancel_requests_for_other_nodes_are_passed_on() {
    let world = World::with(READ).await;
    let mut stream = tokio::net::TcpStream::connect(world.address).await.expect("accepted");
    let pid: u32 = 3 << session::protocol::CANCEL_NUMBER_BITS | 77;
    let mut packet = Vec::new();
    packet.extend_from_slice(&16u32.to_be_bytes());
    packet.extend_from_slice(&80_877_102u32.to_be_bytes());
    packet.extend_from_slice(&pid.to_be_bytes());
    packet.extend_from_slice(&[1, 2, 3, 4]);
    tokio::io::AsyncWriteExt::write_all(&mut stream, &packet).await.expect("sent");
    let key = world.until("it was passed on", || world.authority.cancels_elsewhere().first().cloned()).await;
    assert_eq!((key.node.0, key.number, key.secret), (3, 77, vec![1, 2, 3, 4]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_target_that_is_lost_in_mid_statement_leaves_the_outcome_unknown() {
    let world = World::with(&format!("{SLEEP}\npostgres:update on postgres.public.orders")).await;
    let client = world.client().await;
    let running = tokio::spawn(async move { client.simple_query("update orders set note = 'x' where pg_sleep(60) is null").await });
    world.until("it runs at the server", || (world.running("pg_sleep") == 1).then_some(())).await;
    world.server.crash();
    let error = running.await.expect("does not panic").expect_err("lost");
    // The server says 57P02 when it goes down in a hurry; when it says nothing, the gateway says 08007.
    assert!(["08007", "57P02"].contains(&World::sqlstate(&error).as_str()), "{error:?}");
}
