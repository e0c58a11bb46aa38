//! Query, export, and verification without the cluster.

use domain::audit::record::{Enforcement, Event};
use domain::id::{Index, RevocationId};

use crate::world::{World, typed};

fn fill(world: &World, count: u64) {
    for i in 0..count {
        world.running.cluster.record(&Event::Enforcement(Enforcement { revocation: RevocationId(i), enforced: Index(i), ended: &[] }));
    }
}

/// An export of 20 records with checkpoints at 8 and 20, and the genesis in a file.
async fn exported() -> (World, String, String) {
    let world = World::new().await;
    fill(&world, 8);
    world.running.cluster.checkpoint_now();
    fill(&world, 12);
    world.running.cluster.checkpoint_now();
    let (export, genesis) = (world.path("export").display().to_string(), world.path("genesis").display().to_string());
    let said = world.run(&["audit", "export", "--out", &export, "--genesis-out", &genesis]).await.ok();
    assert!(said.contains("and 3 checkpoints in"), "{said}");
    (world, export, genesis)
}

#[tokio::test]
async fn an_export_is_verified_without_the_cluster() {
    let (world, export, genesis) = exported().await;
    let proof = world.path("proof").display().to_string();
    drop(world.running);
    let words = ["audit", "verify", &export, "--genesis", &genesis, "--record", "5", "--proof-out", &proof, "--between", "8", "20"];
    let said = typed(&words).await.ok();
    assert!(
        said.contains("the log is whole\nproved: record 5 of audit/0 is in the log\nproved: audit/0 at 20 continues audit/0 at 8\n"),
        "{said}"
    );
    let proof = std::fs::read_to_string(&proof).expect("the proof");
    assert!(proof.starts_with("c2sp.org/tlog-proof@v1\nindex 5\n"), "{proof}");
    let json = typed(&["audit", "verify", &export, "--genesis", &genesis, "-o", "json"]).await.ok();
    let found: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!((&found["whole"], &found["genesisPinned"], &found["logs"]["audit/0"]["signed"]), (&true.into(), &true.into(), &20.into()));
}

#[tokio::test]
async fn an_export_that_vouches_for_itself_is_told_as_such() {
    let (_world, export, _) = exported().await;
    let said = typed(&["audit", "verify", &export]).await.ok();
    assert!(said.contains("note: the genesis was taken from the export itself"), "{said}");
}

#[tokio::test]
async fn another_genesis_a_changed_byte_and_a_cut_are_noticed() {
    let (world, export, genesis) = exported().await;
    let (other, ..) = exported().await;
    let foreign = other.path("genesis").display().to_string();
    let (code, said) = typed(&["audit", "verify", &export, "--genesis", &foreign]).await.failed();
    assert_eq!((code, said.contains("faults in the log")), (1, true), "{said}");

    let bytes = std::fs::read(&export).expect("the export");
    let changed = world.path("changed");
    let find = |what: &[u8]| bytes.windows(what.len()).position(|window| window == what).expect("it is there");
    // A command, a record before the first checkpoint of its log, and the root of a checkpoint.
    for at in [find(b"test-1"), find(b"assize/test/1/audit/0\n") - 40, find(b"audit/0\n20\n") + 15] {
        let mut copy = bytes.clone();
        copy[at] ^= 1;
        std::fs::write(&changed, copy).expect("written");
        let code = typed(&["audit", "verify", &changed.display().to_string(), "--genesis", &genesis]).await.failed().0;
        assert_eq!(code, 1, "byte {at}");
    }
    for end in [0, 10, bytes.len() / 2, bytes.len() - 1] {
        std::fs::write(&changed, &bytes[..end]).expect("written");
        let code = typed(&["audit", "verify", &changed.display().to_string(), "--genesis", &genesis]).await.failed().0;
        assert_eq!(code, 1, "{end} bytes");
    }
}

#[tokio::test]
async fn a_log_rewritten_after_a_checkpoint_that_was_kept_is_noticed() {
    let (world, _, genesis) = exported().await;
    let json = world.line("-o json audit checkpoint --size 8").await.ok();
    let head: proto::admin::Checkpoint = serde_json::from_str(&json).expect("proto3 JSON");
    let kept = world.file("kept", &String::from_utf8(head.signed).expect("text"));
    world.running.cluster.tamper(3);
    let export = world.path("rewritten").display().to_string();
    world.run(&["audit", "export", "--out", &export]).await.ok();
    // The node signs what it now has: the export alone is whole.
    typed(&["audit", "verify", &export, "--genesis", &genesis]).await.ok();
    let (code, _) = typed(&["audit", "verify", &export, "--genesis", &genesis, "--checkpoint", &kept]).await.failed();
    assert_eq!(code, 1);
}

#[tokio::test]
async fn a_record_under_no_checkpoint_is_not_proved() {
    let (world, _, genesis) = exported().await;
    fill(&world, 1);
    let export = world.path("later").display().to_string();
    world.run(&["audit", "export", "--out", &export]).await.ok();
    let (code, said) = typed(&["audit", "verify", &export, "--genesis", &genesis, "--record", "20"]).await.failed();
    assert_eq!((code, said.contains("under no verified checkpoint; the latest is at 20")), (1, true), "{said}");
}

#[tokio::test]
async fn queries_print_a_record_a_line() {
    let (world, ..) = exported().await;
    let said = world.line("audit query --from 3 --limit 2").await.ok();
    let starts: Vec<String> = said.lines().map(|l| l.split_whitespace().next().unwrap_or_default().to_owned()).collect();
    assert_eq!(starts, ["3", "4"]);
    let said = world.line("-o json audit query --log control --limit 1").await.ok();
    let record: proto::admin::AuditRecord = serde_json::from_str(said.trim()).expect("a line of JSON");
    assert!(record.summary.starts_with("found cluster test: "));
}

#[tokio::test]
async fn records_are_exported_for_collectors_each_once_and_in_order() {
    let world = World::new().await;
    fill(&world, 30);
    let said = world.line("audit export --format ocsf").await.ok();
    let events: Vec<serde_json::Value> = said.lines().map(|line| serde_json::from_str(line).expect("a line of JSON")).collect();
    let numbers: Vec<u64> = events.iter().filter_map(|event| event["metadata"]["sequence"].as_u64()).collect();
    assert_eq!(numbers, (0..30).collect::<Vec<_>>());
    assert_eq!((&events[0]["class_uid"], &events[0]["entity"]["name"]), (&3004.into(), &"revocation-0".into()));

    let said = world.line("audit export --format cef --log control --log audit/0 --from 1").await.ok();
    assert!(said.starts_with("CEF:0|Assize|Assize|"), "{said}");
    assert_eq!(said.matches("cat=audit/0").count(), 29);
    assert!(said.contains("|command|"), "{said}");

    let file = world.path("records.jsonl").display().to_string();
    let said = world.run(&["audit", "export", "--format", "json", "--until", "2000-01-01", "--out", &file]).await.ok();
    assert_eq!(said, format!("0 records in {file}\n"));
    let (code, said) = world.run(&["audit", "export", "--format", "json", "--out", &file]).await.failed();
    assert_eq!((code, said.contains("exists already")), (2, true));
    assert_eq!(world.line("audit export --from 3 --out x").await.failed().0, 2, "a proof is of the whole log");
}
