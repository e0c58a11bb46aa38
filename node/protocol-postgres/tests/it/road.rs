//! Allow and refuse.

use crate::harness::World;

pub(crate) const READ: &str = "postgres:select on postgres.public.orders";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn psql_reads_what_is_granted_and_nothing_else() {
    let world = World::with(READ).await;
    assert_eq!(world.psql(&["-c", "select note from orders order by id"]).await.as_deref(), Ok("one\ntwo"));
    let refused = world.psql(&["-c", "begin", "-c", "select word from secrets"]).await.expect_err("not granted");
    assert!(refused.contains("permission denied"), "{refused}");
    assert!(!world.server.log().contains("from secrets"), "the refused text never reached the server");
}
