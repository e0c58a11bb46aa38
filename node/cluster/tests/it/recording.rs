//! Records: exactly once, in order.

use cluster::LogName;
use domain::audit::leaf::ControlLeaf;
use domain::audit::{checkpoint, merkle};
use domain::command::{Actor, Command};

use crate::support::{SOON, Test, eventually, put_person, random_id};

fn submit(test: &Test, node: u64, count: u64) -> u64 {
    let records = test.at(node).records();
    let mut last = 0;
    for _ in 0..count {
        last = records.submit(&mut |sequence| format!("node {node} record {sequence}").into_bytes());
    }
    last
}

async fn recorded(test: &Test, node: u64, through: u64) {
    let mut recorded = test.at(node).records().recorded();
    tokio::time::timeout(SOON, recorded.wait_for(|r| *r >= through)).await.expect("in time").expect("open");
}

/// The texts in the audit log, as `node` has them.
async fn texts(test: &Test, node: u64) -> Vec<String> {
    let audit = test.at(node).audit();
    let leaves = audit.leaves(LogName::Audit, 0..u64::MAX).await.expect("readable");
    leaves.into_iter().map(|leaf| String::from_utf8(leaf.to_vec()).expect("text")).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn records_of_all_nodes_are_committed_once_and_in_order() {
    let mut test = Test::three().await;
    for node in [1, 2, 3] {
        assert_eq!(submit(&test, node, 700), 700);
    }
    for node in [1, 2, 3] {
        recorded(&test, node, 700).await;
    }
    // While records flow, the audit leader is lost.
    let leader = test.at(1).audit_leader().expect("leads").0;
    let others: Vec<u64> = [1, 2, 3].into_iter().filter(|n| *n != leader).collect();
    for node in &others {
        submit(&test, *node, 300);
    }
    test.kill(leader).await;
    for node in &others {
        submit(&test, *node, 300);
        recorded(&test, *node, 1300).await;
    }
    // A follower learns of the last commits a moment later.
    let all = 700 + 2 * 1300;
    eventually("every record has come", || async { test.at(others[0]).audit().size(LogName::Audit) >= all }).await;
    let reference = texts(&test, others[0]).await;
    assert_eq!(reference.len() as u64, all);
    for node in &others {
        let prefix = format!("node {node} record ");
        let own: Vec<u64> = reference.iter().filter_map(|t| t.strip_prefix(&prefix)?.parse().ok()).collect();
        assert_eq!(own, (1..=1300).collect::<Vec<_>>(), "node {node}: once each, in order");
    }
    eventually("both replicas hold the same log", || async { texts(&test, others[1]).await == reference }).await;
    test.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn checkpoints_are_signed_by_a_majority() {
    let test = Test::three().await;
    submit(&test, 2, 10);
    recorded(&test, 2, 10).await;
    test.at(1).propose(random_id("p"), Actor::Operator, put_person("ann")).await.expect("commits");
    eventually("a checkpoint covers the records", || async {
        test.at(3).audit().latest_checkpoint(LogName::Audit).is_some_and(|h| h.checkpoint.size >= 10)
    })
    .await;
    for log in LogName::ALL {
        let audit = test.at(3).audit();
        eventually("both logs have checkpoints", || async { audit.latest_checkpoint(log).is_some() }).await;
        let head = audit.latest_checkpoint(log).expect("just seen");
        let (size, root) = (head.checkpoint.size, head.checkpoint.root);
        assert_eq!(audit.root_at(log, size).await.expect("computes"), root);
        let state = test.at(3).state();
        let voters = state.members.values().map(|m| (m.id, *m.checkpoint_keys.last_key_value().expect("a key").1)).collect();
        let signers = checkpoint::verify(&head.note(&state), &head.checkpoint.origin, &voters, &cluster::checkpoint::check_signature);
        assert!(signers.expect("a majority of three signed").len() >= 2);

        let leaf = audit.leaves(log, 0..1).await.expect("readable").remove(0);
        let path = audit.inclusion_proof(log, 0, size).await.expect("provable");
        assert!(merkle::verify_inclusion(0, size, &merkle::leaf_hash(&leaf), &path, &root));
    }
    let first = test.at(1).audit().leaves(LogName::Control, 0..1).await.expect("readable").remove(0);
    let founding = ControlLeaf::decode(&first).expect("a control leaf");
    assert!(matches!(founding.proposal.command, Command::FoundCluster { .. }));
    test.end().await;
}
