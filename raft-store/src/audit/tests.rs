use super::*;
use crate::format::AuditMessage;

fn machine() -> AuditMachine {
    AuditMachine::new(Box::new(|_, _| None))
}

fn batch(node: u64, boot: u64, first_sequence: u64, count: u64) -> Bytes {
    let records = (0..count).map(|n| Bytes::from(format!("{node}/{boot}/{}", first_sequence + n))).collect();
    format::encode_audit(&AuditMessage { kind: Some(AuditKind::Records(RecordBatch { node, boot, first_sequence, records })) })
}

struct Log {
    machine: AuditMachine,
    leaves: Vec<String>,
    rows: BTreeMap<Vec<u8>, Vec<u8>>,
    index: u64,
}

impl Log {
    fn new() -> Self {
        Log { machine: machine(), leaves: Vec::new(), rows: BTreeMap::new(), index: 0 }
    }

    fn apply(&mut self, payload: &Bytes) -> AuditReply {
        self.index += 1;
        let applied = self.machine.apply(self.index, self.leaves.len() as u64, payload).expect("applies");
        self.leaves.extend(applied.leaves.iter().map(|l| String::from_utf8_lossy(l).into_owned()));
        for (key, value) in applied.rows {
            match value {
                Some(value) => self.rows.insert(key, value),
                None => self.rows.remove(&key),
            };
        }
        format::decode_audit_reply(&applied.reply).expect("a reply")
    }
}

#[test]
fn a_repeated_batch_is_answered_and_not_appended() {
    let mut log = Log::new();
    assert_eq!(log.apply(&batch(1, 7, 1, 3)), AuditReply { through: 3, first_leaf: 0, size: 3, gap: false });
    assert_eq!(log.apply(&batch(1, 7, 1, 3)), AuditReply { through: 3, first_leaf: 0, size: 3, gap: false });
    assert_eq!(log.leaves, ["1/7/1", "1/7/2", "1/7/3"]);
}

#[test]
fn an_overlapping_batch_adds_only_what_is_new() {
    let mut log = Log::new();
    log.apply(&batch(1, 7, 1, 3));
    assert_eq!(log.apply(&batch(1, 7, 2, 4)), AuditReply { through: 5, first_leaf: 3, size: 5, gap: false });
    assert_eq!(log.leaves, ["1/7/1", "1/7/2", "1/7/3", "1/7/4", "1/7/5"]);
}

#[test]
fn a_gap_is_refused() {
    let mut log = Log::new();
    log.apply(&batch(1, 7, 1, 2));
    assert!(log.apply(&batch(1, 7, 4, 1)).gap);
    assert!(log.apply(&batch(1, 8, 2, 1)).gap, "a new boot starts at 1");
    assert_eq!(log.leaves.len(), 2);
}

/// What stands for a pruned body is made from one, never sent by a node.
#[test]
fn a_record_that_looks_pruned_is_refused() {
    let mut log = Log::new();
    let records = vec![Bytes::from_static(b"a record"), Bytes::from_static(&[pruned::MARK, 8, 1])];
    let batch = RecordBatch { node: 1, boot: 7, first_sequence: 1, records };
    assert!(log.apply(&format::encode_audit(&AuditMessage { kind: Some(AuditKind::Records(batch)) })).gap);
    assert!(log.leaves.is_empty());
}

#[test]
fn a_plan_for_leaves_that_are_not_there_leaves_no_row() {
    let mut log = Log::new();
    log.apply(&batch(1, 7, 1, 3));
    let rows = log.rows.len();
    let plan = |leaves| PruneMessage { plan: 9, class: "operations".into(), before: 5, leaves };
    let prune = |leaves| format::encode_audit(&AuditMessage { kind: Some(AuditKind::Prune(plan(leaves))) });
    assert!(log.apply(&prune(vec![0, 4])).gap);
    assert_eq!(log.rows.len(), rows);
    assert!(!log.apply(&prune(vec![0, 3])).gap);
    log.machine = machine();
    log.machine.load(log.rows.clone().into_iter().collect()).expect("loads");
    let (key, value) = log.rows.iter().find(|(key, _)| key[0] == PRUNED).expect("a row");
    let prune = AuditMachine::prune(key, value).expect("is understood").expect("prunes");
    assert_eq!((prune.terms.plan.0, prune.leaves.count()), (9, 3));
    log.machine.apply(9, 3, &format::encode_audit(&AuditMessage { kind: Some(AuditKind::Prune(plan(vec![1]))) })).expect_err("is no plan");
}

#[test]
fn what_was_loaded_goes_on_where_it_was() {
    let mut log = Log::new();
    log.apply(&batch(1, 7, 1, 3));
    log.apply(&batch(2, 9, 1, 1));
    log.machine = machine();
    log.machine.load(log.rows.clone().into_iter().collect()).expect("loads");
    assert_eq!(log.apply(&batch(1, 7, 1, 3)).through, 3);
    assert_eq!(log.leaves.len(), 4, "still known as repeated");
}

#[test]
fn old_boots_are_forgotten_oldest_first() {
    let mut log = Log::new();
    for boot in 1..=(BOOTS_KEPT as u64 + 10) {
        log.apply(&batch(1, boot, 1, 1));
    }
    log.apply(&batch(2, 1, 1, 1));
    let of_node_1 = log.rows.keys().filter(|k| k[0] == PRODUCER && k[8] == 1).count();
    assert_eq!(of_node_1, BOOTS_KEPT);
    assert!(!log.rows.contains_key(&producer_key((1, 10))) && log.rows.contains_key(&producer_key((1, 11))));
}

#[test]
fn a_head_with_another_root_stops_the_replica() {
    let signed = |root: u8| {
        let checkpoint = SignedCheckpoint {
            size: 5,
            root: vec![root; 32],
            node: 2,
            signature: vec![1],
            log: "audit/0".into(),
            time: 1,
            control_index: 1,
        };
        format::encode_audit(&AuditMessage { kind: Some(AuditKind::Checkpoint(checkpoint)) })
    };
    let mut machine = AuditMachine::new(Box::new(|log, size| (log == "audit/0" && size == 5).then_some([9; 32])));
    machine.apply(1, 5, &signed(9)).expect("the same root");
    assert_eq!(machine.heads().read().len(), 1);
    let error = machine.apply(2, 5, &signed(8)).expect_err("another root");
    assert!(error.to_string().contains("forked"), "{error}");
}

/// A replica that catches up applies many entries before its leaves are shown; such a head is compared later.
#[test]
fn a_head_beyond_this_replica_is_compared_once_it_is_there() {
    use std::sync::atomic::{AtomicU64, Ordering};
    let size = Arc::new(AtomicU64::new(0));
    let shown = size.clone();
    let mut machine =
        AuditMachine::new(Box::new(move |_, at| (at <= shown.load(Ordering::Relaxed)).then_some([u8::try_from(at).expect("small"); 32])));
    let signed = |size: u64, root: u8| {
        let checkpoint =
            SignedCheckpoint { size, root: vec![root; 32], node: 2, signature: vec![1], log: "audit/0".into(), time: 1, control_index: 1 };
        format::encode_audit(&AuditMessage { kind: Some(AuditKind::Checkpoint(checkpoint)) })
    };
    machine.apply(1, 0, &signed(5, 5)).expect("cannot tell yet");
    size.store(5, Ordering::Relaxed);
    machine.apply(2, 5, &batch(1, 1, 1, 1)).expect("it was this root");
    machine.apply(3, 6, &signed(7, 8)).expect("cannot tell yet");
    size.store(7, Ordering::Relaxed);
    let error = machine.apply(4, 7, &batch(1, 1, 2, 1)).expect_err("it is another root");
    assert!(error.to_string().contains("forked"), "{error}");
}

#[test]
fn unknown_kinds_stop_the_replica() {
    machine().apply(1, 0, &Bytes::from_static(&[1])).expect_err("no kind");
    machine().apply(1, 0, &Bytes::from_static(&[9, 1])).expect_err("another version");
}

/// One node that sends nonsense must not stop all replicas for good.
#[test]
fn batches_that_make_no_sense_are_refused_with_an_answer() {
    let mut log = Log::new();
    assert!(log.apply(&batch(1, 1, 1, 0)).gap, "no records");
    assert!(log.apply(&batch(1, 1, 0, 1)).gap, "sequences start at 1");
    assert!(log.apply(&batch(1, 1, u64::MAX - 3, 2)).gap, "far beyond");
    assert!(log.leaves.is_empty() && log.rows.is_empty());
}
