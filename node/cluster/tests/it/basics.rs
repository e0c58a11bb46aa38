//! Commands from any node, over leader changes and restarts.

use std::time::Duration;

use cluster::ProposeError;
use domain::command::{Actor, Reply};

use crate::support::{SOON, Test, eventually, id, lock_person, name, put_person, random_id};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_node_proposes_and_all_nodes_see_it() {
    let test = Test::three().await;
    let mut last = domain::id::Index(0);
    for (node, person) in [(1, "ann"), (2, "bob"), (3, "cyd")] {
        let done = test.at(node).propose(random_id("p"), Actor::Operator, put_person(person)).await.expect("commits");
        assert_eq!(done.reply, Reply::Done { version: done.index });
        assert!(test.at(node).state().principals.contains_key(&name(person)), "applied where it was proposed");
        last = done.index;
    }
    for node in [1, 2, 3] {
        test.at(node).wait_applied(last, SOON).await.expect("reaches every node");
        let state = test.at(node).state();
        for person in ["ann", "bob", "cyd"] {
            assert!(state.principals.contains_key(&name(person)));
        }
    }
    let confirmed = test.at(2).confirm().await.expect("a quorum confirms");
    assert!(confirmed >= last);
    test.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn repeating_a_proposal_changes_nothing_twice() {
    let test = Test::three().await;
    let first = test.at(1).propose(id("once"), Actor::Operator, put_person("ann")).await.expect("commits");
    for node in [2, 3] {
        let again = test.at(node).propose(id("once"), Actor::Operator, put_person("ann")).await.expect("commits");
        assert_eq!(again.reply, first.reply, "the first reply, not `exists`");
        assert!(again.index > first.index);
    }
    let other = test.at(2).propose(id("another"), Actor::Operator, put_person("ann")).await.expect("commits");
    assert!(matches!(other.reply, Reply::Rejected(_)));
    test.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_leader_loses_no_acknowledged_change() {
    let mut test = Test::three().await;
    let mut acknowledged = Vec::new();
    for round in 0..2 {
        for i in 0..5 {
            let person = format!("p{round}-{i}");
            test.any().propose(random_id("p"), Actor::Operator, put_person(&person)).await.expect("commits");
            acknowledged.push(person);
        }
        let leader = test.leader().await;
        test.kill(leader).await;
        let person = format!("after-{round}");
        test.any().propose(random_id("p"), Actor::Operator, put_person(&person)).await.expect("a new leader commits");
        acknowledged.push(person);
        test.restart(leader).await;
        test.at(leader).wait_serving(SOON).await.expect("the old leader serves again");
    }
    for running in test.nodes.values() {
        eventually("every acknowledged change is on every node", || async {
            let state = running.cluster.state();
            acknowledged.iter().all(|person| state.principals.contains_key(&name(person)))
        })
        .await;
    }
    test.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_nodes_restart_from_their_disks() {
    let mut test = Test::three().await;
    test.at(2).propose(random_id("p"), Actor::Operator, put_person("ann")).await.expect("commits");
    for node in [1, 2, 3] {
        test.kill(node).await;
    }
    for node in [1, 2, 3] {
        test.restart(node).await;
    }
    for node in [1, 2, 3] {
        test.at(node).wait_serving(SOON).await.expect("serves again");
        assert!(test.at(node).state().principals.contains_key(&name("ann")));
    }
    test.at(3).propose(random_id("p"), Actor::Operator, put_person("bob")).await.expect("commits");
    test.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_quorum_nothing_commits_and_no_node_serves() {
    let mut test = Test::three().await;
    test.kill(2).await;
    test.kill(3).await;
    let mut serving = test.at(1).serving();
    tokio::time::timeout(Duration::from_secs(5), serving.wait_for(|s| !*s)).await.expect("the lease ends").expect("open");
    assert!(!test.at(1).may_forward());
    let refused = test.at(1).propose(random_id("p"), Actor::Operator, put_person("ann")).await;
    assert!(matches!(refused, Err(ProposeError::NotCommitted(_) | ProposeError::Unknown(_))), "{refused:?}");
    assert!(test.at(1).confirm().await.is_err());
    test.restart(2).await;
    test.at(1).wait_serving(SOON).await.expect("serves again with a quorum");
    test.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn log_time_moves_on_while_something_can_expire() {
    let test = Test::three().await;
    // An unused join token can expire.
    test.token().await;
    let before = test.at(2).state().now;
    eventually("ticks reach every node", || async { test.at(2).state().now.since(before) > Duration::from_millis(600) }).await;
    let (now, logged) = (test.at(3).now(), test.at(3).state().now);
    assert!(now.since(logged) < Duration::from_secs(2) && logged.since(now) < Duration::from_secs(2), "{now} against {logged}");
    assert!(test.at(3).now() >= now);
    let ended = test.at(1).narrow(random_id("l"), Actor::Operator, lock_person("root")).await.expect("commits");
    assert!(ended.1.is_some());
    test.end().await;
}
