//! Narrowing commands: who enforced, and who cannot hold a lease any more.

use std::time::{Duration, Instant};

use cluster::limits;
use domain::command::Actor;
use domain::id::RevocationId;
use domain::member::Serving;

use crate::support::{SOON, Test, eventually, lock_person, put_person, random_id};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_narrowing_command_is_acknowledged_when_all_enforce_it() {
    let test = Test::three().await;
    test.at(1).propose(random_id("p"), Actor::Operator, put_person("ann")).await.expect("commits");
    let started = Instant::now();
    let (done, receipt) = test.at(2).narrow(random_id("l"), Actor::Operator, lock_person("ann")).await.expect("commits");
    let took = started.elapsed();
    let receipt = receipt.expect("a receipt");
    assert_eq!(receipt.revocation, RevocationId(done.index.0));
    let mut nodes: Vec<u64> = receipt.nodes.iter().map(|n| n.node.0).collect();
    nodes.sort_unstable();
    assert_eq!(nodes, [1, 2, 3]);
    for node in &receipt.nodes {
        assert!(!node.by_expiry && node.enforced >= done.index, "{node:?}");
        assert_eq!(node.last_sequence, 7, "from the enforcer");
    }
    assert!(took < limits::LEASE, "no lease had to run out: {took:?}");
    for running in test.nodes.values() {
        assert!(running.noting.enforced.lock().iter().any(|i| *i >= done.index));
        eventually("the receipt is filed", || async { running.cluster.state().receipts.contains_key(&receipt.revocation) }).await;
    }
    test.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cut_off_node_delays_the_answer_until_its_lease_is_over() {
    let test = Test::three().await;
    test.at(1).propose(random_id("p"), Actor::Operator, put_person("ann")).await.expect("commits");
    let leader = test.leader().await;
    let lost = if leader == 3 { 2 } else { 3 };
    test.wires.isolate(lost);
    let started = Instant::now();
    let (done, receipt) = test.at(leader).narrow(random_id("l"), Actor::Operator, lock_person("ann")).await.expect("commits");
    let took = started.elapsed();
    // R1: at the moment of the answer the cut-off node neither forwards nor knows.
    assert!(!test.at(lost).may_forward(), "its lease is over before the answer");
    assert!(test.at(lost).state().applied < done.index);
    let receipt = receipt.expect("a receipt");
    let silent: Vec<u64> = receipt.nodes.iter().filter(|n| n.by_expiry).map(|n| n.node.0).collect();
    assert_eq!(silent, [lost]);
    assert!(took <= limits::barrier_wait() + Duration::from_secs(2), "{took:?}");

    eventually("the leader takes the silent node out", || async {
        let state = test.at(leader).state();
        state.members.values().any(|m| m.id.0 == lost && matches!(m.serving, Serving::No { .. }))
    })
    .await;
    let quick = Instant::now();
    eventually("its last lease counts no more", || async { quick.elapsed() > limits::barrier_wait() }).await;
    let started = Instant::now();
    let (_, receipt) = test.at(leader).narrow(random_id("l"), Actor::Operator, lock_person("root")).await.expect("commits");
    assert!(started.elapsed() < limits::LEASE, "out of the serving set, it delays nobody");
    assert!(receipt.expect("a receipt").nodes.iter().all(|n| n.node.0 != lost));

    test.wires.heal();
    test.at(lost).wait_serving(SOON).await.expect("it comes back");
    assert!(test.at(lost).state().applied >= done.index, "it serves only with what it missed");
    test.end().await;
}
