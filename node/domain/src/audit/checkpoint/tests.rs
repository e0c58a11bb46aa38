use sha2::{Digest as _, Sha256};

use super::*;

/// Stands for Ed25519, whose own tests are elsewhere: a "signature" is the hash of key and text.
fn sign(key: &[u8; 32], text: &str) -> Vec<u8> {
    Sha256::new().chain_update(key).chain_update(text).finalize().to_vec()
}

fn check(key: &[u8; 32], text: &[u8], signature: &[u8]) -> bool {
    Sha256::new().chain_update(key).chain_update(text).finalize().as_slice() == signature
}

fn checkpoint() -> Checkpoint {
    let origin = Origin { cluster: "demo-7f3a".into(), incarnation: 1, log: "audit/0".into() };
    Checkpoint { origin, size: 20480, root: [7; 32], control_index: Index(1042), time: LogTime(1_795_000_000_123) }
}

fn voters(count: u64) -> Voters {
    (1..=count).map(|node| (NodeId(node), [node as u8; 32])).collect()
}

fn signed_by(nodes: &[u64]) -> Note {
    let checkpoint = checkpoint();
    let text = checkpoint.text();
    let signatures: Vec<_> = nodes.iter().map(|node| (NodeId(*node), [*node as u8; 32], sign(&[*node as u8; 32], &text))).collect();
    checkpoint.note(signatures.iter().map(|(node, key, signature)| (*node, key, signature.as_slice())))
}

#[test]
fn a_checkpoint_is_written_as_c2sp_has_it() {
    let expect = "assize/demo-7f3a/1/audit/0\n20480\nBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=\ncontrol 1042\ntime 1795000000123\n";
    assert_eq!(checkpoint().text(), expect);
    assert_eq!(Checkpoint::parse(expect), Ok(checkpoint()));
    let note = signed_by(&[1]).to_string();
    assert_eq!(note, format!("{expect}\n— assize/demo-7f3a/1/node-1 GcInTuYdCFxaNtUXZfbdYbtnXS2iO0LXwmDnUfPv6sbB+olN\n"));
}

#[test]
fn notes_read_back() {
    for nodes in [&[1][..], &[1, 2, 3]] {
        let note = signed_by(nodes);
        assert_eq!(note.to_string().parse(), Ok(note));
    }
}

#[track_caller]
fn check_refused(change: impl FnOnce(String) -> String, expect: &str) {
    let error = Checkpoint::parse(&change(checkpoint().text())).expect_err("is no checkpoint");
    assert_eq!(error.to_string(), expect);
}

#[test]
fn there_is_one_text_for_a_checkpoint() {
    check_refused(|t| t.replace("assize/", "other/"), "line 1 of the checkpoint should be the origin, assize/CLUSTER/INCARNATION/LOG");
    check_refused(|t| t.replace("/1/", "/01/"), "line 1 of the checkpoint should be the origin, assize/CLUSTER/INCARNATION/LOG");
    check_refused(|t| t.replace("20480", "020480"), "line 2 of the checkpoint should be the number of leaves");
    check_refused(|t| t.replace("20480", "+20480"), "line 2 of the checkpoint should be the number of leaves");
    check_refused(|t| t.replace("BwcHBwcH", "BwcH"), "line 3 of the checkpoint should be the root, 32 bytes in base64");
    check_refused(|t| t.replace("control 1042", "control"), "line 4 of the checkpoint should be the control index, control NUMBER");
    check_refused(|t| t + "more\n", "line 6 of the checkpoint should be the end");
    check_refused(|t| t.trim_end().to_owned(), "line 6 of the checkpoint should be the end");
    check_refused(|t| t + "\n", "line 6 of the checkpoint should be the end");
}

#[test]
fn bad_notes_are_refused() {
    let good = signed_by(&[1]).to_string();
    for bad in [
        good.replace("\n\n", "\n"),
        good.trim_end().to_owned(),
        good.replace("— ", "- "),
        good.replace("node-1 ", "node-1 !"),
        good.replace("20480", "20480\r"),
        format!("{good}— x AAAA\n"),
        "a".repeat(NOTE_SIZE_MAX + 1),
        String::new(),
    ] {
        assert!(bad.parse::<Note>().is_err(), "{bad:?}");
    }
}

#[test]
fn a_majority_of_the_voters_must_sign() {
    let origin = checkpoint().origin;
    let verify = |voter_count, nodes: &[u64]| verify(&signed_by(nodes), &origin, &voters(voter_count), &check).map(|signers| signers.len());
    assert_eq!(verify(1, &[1]), Ok(1));
    assert_eq!(verify(3, &[1, 3]), Ok(2));
    assert_eq!(verify(5, &[1, 2, 3, 4, 5]), Ok(5));
    assert_eq!(verify(3, &[1]), Err(CheckpointError::NoMajority { signed: 1, voters: 3, needed: 2 }));
    assert_eq!(verify(4, &[1, 2]), Err(CheckpointError::NoMajority { signed: 2, voters: 4, needed: 3 }));
    // The same node twice, and nodes that are no voters, are no votes.
    assert_eq!(verify(3, &[1, 1, 1]), Err(CheckpointError::NoMajority { signed: 1, voters: 3, needed: 2 }));
    assert_eq!(verify(3, &[1, 4, 5]), Err(CheckpointError::NoMajority { signed: 1, voters: 3, needed: 2 }));
    assert_eq!(verify(0, &[1]), Err(CheckpointError::NoMajority { signed: 0, voters: 0, needed: 1 }));
}

#[test]
fn a_signature_stands_for_one_text_one_key_and_one_name() {
    let origin = checkpoint().origin;
    let mut other_text = signed_by(&[1, 2]);
    other_text.text = other_text.text.replace("20480", "20481");
    assert!(signed(&other_text, &origin, &voters(3), &check).by.is_empty());
    let mut other_name = signed_by(&[1, 2]);
    other_name.signatures[1].name = origin.signer(NodeId(3));
    assert_eq!(signed(&other_name, &origin, &voters(3), &check).by, BTreeSet::from([NodeId(1)]));
    let rotated = Voters::from([(NodeId(1), [9; 32]), (NodeId(2), [2; 32])]);
    assert_eq!(signed(&signed_by(&[1, 2]), &origin, &rotated, &check).by, BTreeSet::from([NodeId(2)]));
}

#[test]
fn verifier_keys_read_back() {
    let key = VerifierKey { name: "assize/demo-7f3a/1/node-1".into(), key: [1; 32] };
    assert_eq!(key.to_string(), "assize/demo-7f3a/1/node-1+19c2274e+AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEB");
    assert_eq!(key.to_string().parse(), Ok(key.clone()));
    for bad in ["", "x+y+z", &key.to_string().replace("node-1", "node-2"), &key.to_string().replace("+AQE", "+AgE")] {
        assert!(bad.parse::<VerifierKey>().is_err(), "{bad}");
    }
}
