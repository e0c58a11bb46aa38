//! Starting over: from an encrypted backup, and from one survivor.

use cluster::recovery::{self, RecoverAs};
use cluster::secrets::RecoveryKey;
use cluster::{LogName, StartError};
use domain::command::Actor;
use domain::id::NodeId;

use crate::support::{SOON, Test, eventually, name, put_person, random_id};

async fn with_history() -> Test {
    let test = Test::three().await;
    test.at(1).propose(random_id("p"), Actor::Operator, put_person("ann")).await.expect("commits");
    let records = test.at(1).records();
    let last = records.submit(&mut |sequence| format!("record {sequence}").into_bytes());
    let mut recorded = records.recorded();
    tokio::time::timeout(SOON, recorded.wait_for(|r| *r >= last)).await.expect("in time").expect("open");
    test
}

async fn check_recovered(recovered: &recovery::Recovered, dir: &std::path::Path, sealed: &domain::credential::Sealed, old_cluster: &str) {
    assert_eq!((recovered.cluster.as_str(), recovered.incarnation, recovered.node), (old_cluster, 2, NodeId(4)));
    let test = Test::adopt(dir, 4).await;
    let node = test.at(4);
    node.wait_serving(SOON).await.expect("the new incarnation serves");
    let state = node.state();
    assert!(state.principals.contains_key(&name("ann")));
    assert_eq!(state.cluster.incarnation, 2);
    for old in [1, 2, 3] {
        assert!(!state.members.contains_key(&NodeId(old)), "no node of the incarnation before is left");
    }
    assert_eq!(&node.open("credential", "orders", sealed).expect("the key is the same")[..], b"hunter2");
    node.propose(random_id("p"), Actor::Operator, put_person("bob")).await.expect("commits");
    let audit = node.audit();
    assert_eq!(&audit.leaves(LogName::Audit, 0..1).await.expect("readable")[0][..], b"record 1");
    let records = node.records();
    let last = records.submit(&mut |sequence| format!("after {sequence}").into_bytes());
    let mut recorded = records.recorded();
    tokio::time::timeout(SOON, recorded.wait_for(|r| *r >= last)).await.expect("in time").expect("open");
    eventually("both logs go on and are signed", || async {
        LogName::ALL.iter().all(|log| audit.latest_checkpoint(*log).is_some_and(|h| h.checkpoint.origin.incarnation == 2 && h.complete))
    })
    .await;
    test.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_starts_over_from_its_backup() {
    let test = with_history().await;
    let folder = tempfile::tempdir().expect("a folder");
    let backup = folder.path().join("assize.backup");
    let sealed = test.at(2).seal("credential", "orders", b"hunter2").expect("seals");
    let written = test.at(2).backup(&backup, true).await.expect("written");
    assert!(written.control_leaves > 4 && written.audit_leaves == Some(1));
    let cluster = test.at(1).identity().0.to_owned();
    let recovery_key = RecoveryKey::parse(&test.recovery_key).expect("as printed");
    test.end().await;

    let dir = folder.path().join("new");
    let new = RecoverAs { dir: &dir, first_admin: &name("root"), hosts: &["localhost".into()] };
    let wrong = RecoveryKey::generate().expect("random");
    assert!(recovery::from_backup(&backup, &wrong, &new).await.is_err());
    let recovered = recovery::from_backup(&backup, &recovery_key, &new).await.expect("recovers");
    check_recovered(&recovered, &dir, &sealed, &cluster).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_starts_over_from_one_survivor() {
    let mut test = with_history().await;
    let sealed = test.at(2).seal("credential", "orders", b"hunter2").expect("seals");
    let cluster = test.at(1).identity().0.to_owned();
    let recovery_key = RecoveryKey::parse(&test.recovery_key).expect("as printed");
    eventually("node 3 has it all", || async {
        test.at(3).state().principals.contains_key(&name("ann")) && test.at(3).audit().size(LogName::Audit) == 1
    })
    .await;
    for node in [1, 2, 3] {
        test.kill(node).await;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let dir = folder.path().join("new");
    let new = RecoverAs { dir: &dir, first_admin: &name("root"), hosts: &[] };
    let survivor = test.folder_of(3);
    let recovered = recovered_soon(&survivor, &recovery_key, &new).await;
    check_recovered(&recovered, &dir, &sealed, &cluster).await;
}

/// The survivor's store closes a moment after its node stopped, as long as both live in this process.
async fn recovered_soon(survivor: &std::path::Path, key: &RecoveryKey, new: &RecoverAs<'_>) -> recovery::Recovered {
    let end = tokio::time::Instant::now() + SOON;
    loop {
        match recovery::from_survivor(survivor, key, new).await {
            Ok(recovered) => return recovered,
            Err(e) => assert!(tokio::time::Instant::now() < end && matches!(e, recovery::RecoveryError::Storage(_)), "recovers: {e}"),
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_lost_its_logs_does_not_come_back_as_itself() {
    let mut test = Test::one().await;
    test.kill(1).await;
    let dir = test.folder_of(1);
    std::fs::remove_dir_all(dir.join("store")).expect("removed");
    let refused = test.try_restart(1).await;
    assert!(matches!(refused, Err(StartError::LogsLost(_))));
}
