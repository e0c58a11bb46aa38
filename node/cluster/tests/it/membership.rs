//! Joining, leaving, and who is not let in.

use cluster::LogName;
use cluster::join::{JoinError, JoinToken};
use domain::command::Actor;
use domain::id::NodeId;
use domain::member::MemberRole;

use crate::support::{SOON, Test, eventually, name, put_person, random_id};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t064_a_join_token_works_once() {
    let mut test = Test::one().await;
    let token = test.token().await;
    let printed = token.printed();
    assert_eq!(test.join_with(&token, true).await.expect("joins"), 2);
    let again = JoinToken::parse(&printed).expect("parses");
    let refused = test.join_with(&again, true).await;
    assert!(matches!(refused, Err(JoinError::Refused(_))), "{refused:?}");
    test.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t063_another_cluster_s_token_and_certificate_are_refused() {
    let ours = Test::one().await;
    let theirs = Test::one().await;
    // Their token sent to our address: the pinned authority is not ours.
    let (our_token, their_token) = (ours.token().await.printed(), theirs.token().await.printed());
    let (our_parts, their_parts): (Vec<&str>, Vec<&str>) = (our_token.splitn(4, '.').collect(), their_token.splitn(4, '.').collect());
    let crossed = [their_parts[0], their_parts[1], their_parts[2], our_parts[3]].join(".");
    let crossed = JoinToken::parse(&crossed).expect("well-formed");
    let dir = tempfile::tempdir().expect("a folder");
    let about = cluster::join::JoinAs { address: "127.0.0.1:1".into(), admin_address: "127.0.0.1:2".into(), voter: true, hosts: vec![] };
    let refused = cluster::join::join_cluster(dir.path(), &crossed, &about).await;
    assert!(matches!(refused, Err(JoinError::Unreachable(_))), "{refused:?}");
    ours.end().await;
    theirs.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t064_a_learner_serves_and_a_removed_node_is_out() {
    let mut test = Test::three().await;
    let learner = test.join(false).await;
    let status = test.at(1).status().await;
    let seen = status.nodes.iter().find(|n| n.node == NodeId(learner)).expect("known");
    assert!(!seen.votes && seen.role == MemberRole::Learner);
    test.at(learner).propose(random_id("p"), Actor::Operator, put_person("ann")).await.expect("a learner proposes");

    // Replace node 2 by the learner, online.
    test.at(1).set_role(random_id("r"), Actor::Operator, NodeId(learner), MemberRole::Voter).await.expect("promotes");
    test.settle(4).await;
    let (_, receipt) = test.at(1).set_role(random_id("r"), Actor::Operator, NodeId(2), MemberRole::Removed).await.expect("removes");
    assert!(receipt.expect("a receipt").nodes.iter().any(|n| n.node == NodeId(2)));
    eventually("the removed node serves no more", || async { !test.at(2).may_forward() }).await;
    let removed = test.nodes.remove(&2).expect("runs");
    test.settle(3).await;
    assert!(!removed.cluster.may_forward());
    removed.cluster.stop().await;
    test.at(learner).propose(random_id("p"), Actor::Operator, put_person("bob")).await.expect("commits");
    test.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leadership_moves_on_request_and_by_draining() {
    let test = Test::three().await;
    let leader = test.leader().await;
    let next = leader % 3 + 1;
    test.at(leader).transfer_leader(NodeId(next)).await.expect("moves");
    assert_eq!(test.leader().await, next);
    let receipt = test.at(next).drain().await.expect("drains");
    assert!(receipt.is_some() && !test.at(next).may_forward());
    eventually("somebody else leads", || async { test.at(leader).leader().is_some_and(|l| l.0 != next) }).await;
    test.at(leader).propose(random_id("p"), Actor::Operator, put_person("ann")).await.expect("commits");
    test.at(next).wait_applied(test.at(leader).state().applied, SOON).await.expect("a drained node still follows");
    assert!(test.at(next).state().principals.contains_key(&name("ann")));
    test.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_far_behind_and_a_new_one_catch_up_by_snapshot() {
    let mut test = Test::founded(40).await;
    test.join(true).await;
    test.join(true).await;
    test.settle(3).await;
    let leader = test.leader().await;
    let behind = leader % 3 + 1;
    test.kill(behind).await;
    let records = test.at(leader).records();
    for i in 0..150 {
        test.at(leader).propose(random_id("p"), Actor::Operator, put_person(&format!("p{i}"))).await.expect("commits");
        let last = records.submit(&mut |sequence| format!("record {sequence}").into_bytes());
        // One batch each, so that the audit log has to be cut as well.
        let mut recorded = records.recorded();
        tokio::time::timeout(SOON, recorded.wait_for(|r| *r >= last)).await.expect("in time").expect("open");
    }
    eventually("the logs the lost node would need are gone", || async {
        test.at(leader).log_starts().0 > 60 && test.at(leader).log_starts().1 > 60
    })
    .await;
    test.restart(behind).await;
    let fresh = test.join(false).await;
    for node in [behind, fresh] {
        test.at(node).wait_serving(SOON).await.expect("serves");
        assert!(test.at(node).state().principals.contains_key(&name("p149")));
        for log in LogName::ALL {
            let (ours, theirs) = (test.at(node).audit(), test.at(leader).audit());
            eventually("it holds every leaf", || async { ours.size(log) == theirs.size(log) }).await;
            let size = ours.size(log);
            assert_eq!(ours.root_at(log, size).await.expect("computes"), theirs.root_at(log, size).await.expect("computes"));
        }
    }
    test.end().await;
}
