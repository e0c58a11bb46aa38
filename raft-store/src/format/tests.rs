use std::collections::{BTreeMap, BTreeSet};

use super::*;

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

fn id(term: u64, index: u64) -> LogId {
    LogIdMessage { term, index }.into()
}

fn membership() -> Membership {
    let nodes: BTreeMap<u64, PeerNode> = (1..=4).map(|n| (n, PeerNode { address: format!("n{n}:7400") })).collect();
    Membership::new(vec![BTreeSet::from([1, 2, 3]), BTreeSet::from([2, 3, 4])], nodes).expect("valid")
}

/// These bytes lie on disks. A change here needs a new version and code that reads the old one.
#[test]
fn the_bytes_are_what_they_were() {
    let payload = Entry { log_id: id(3, 300), payload: EntryPayload::Normal(Payload(Bytes::from_static(b"abc"))) };
    assert_eq!(hex(&encode_entry(&payload)), "010a05080310ac021203616263");
    let blank = Entry { log_id: id(1, 1), payload: EntryPayload::Blank };
    assert_eq!(hex(&encode_entry(&blank)), "010a0408011001");
    assert_eq!(hex(&encode_vote(&Vote::new_committed(5, 2))), "01080510021801");
    assert_eq!(hex(&encode_vote(&Vote::new(5, 2))), "0108051002");
    assert_eq!(hex(&encode_log_id(&id(2, 7))), "0108021007");
    let batch = RecordBatch { node: 1, boot: 9, first_sequence: 4, records: vec![Bytes::from_static(b"r")] };
    assert_eq!(
        hex(&encode_audit(&AuditMessage { kind: Some(AuditKind::Records(batch)) })),
        "010a100801110900000000000000180422 0172".replace(' ', "")
    );
}

#[test]
fn everything_comes_back() {
    for payload in [EntryPayload::Blank, EntryPayload::Normal(Payload(Bytes::new())), EntryPayload::Membership(membership())] {
        let entry = Entry { log_id: id(9, u64::MAX), payload };
        assert_eq!(decode_entry(&encode_entry(&entry)), Ok(entry));
    }
    let meta = SnapshotMeta { last_log_id: Some(id(2, 5)), last_membership: StoredMembership::new(Some(id(1, 2)), membership()) };
    assert_eq!(decode_snapshot_meta(&encode_snapshot_meta(&meta)), Ok(meta));
    let nothing = SnapshotMeta { last_log_id: None, last_membership: StoredMembership::default() };
    assert_eq!(decode_snapshot_meta(&encode_snapshot_meta(&nothing)), Ok(nothing));
}

#[test]
fn unknown_versions_and_nonsense_are_refused() {
    assert_eq!(decode_vote(&[2, 8, 1]), Err(FormatError::Version { what: "vote", got: 2 }));
    assert!(matches!(decode_vote(&[]), Err(FormatError::Malformed { .. })));
    assert!(matches!(decode_entry(&[1, 0xff]), Err(FormatError::Malformed { .. })));
    assert!(matches!(decode_entry(&[1]), Err(FormatError::Malformed { .. })), "an entry without id");
}
