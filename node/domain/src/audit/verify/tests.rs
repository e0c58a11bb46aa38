use bytes::Bytes;
use sha2::{Digest as _, Sha256};

use super::*;
use crate::audit::export::{EXPORT_MAGIC, ExportCheckpoint, ExportHeader, ExportReader, encode_item};
use crate::audit::merkle::{consistency_proof, inclusion_proof, leaf_hash};
use crate::audit::proof::{InclusionProof, ProofError, verify_consistency};
use crate::audit::record::{Event, Header, LateSend, encode};
use crate::command::{Actor, Command, Proposal, Rejection, Reply};
use crate::encoding::{encode_proposal, encode_reply};
use crate::id::{BootId, NodeId};
use crate::member::MemberRole;
use crate::time::LogTime;

const AUDIT_LOG: &str = "audit/0";

/// Stands for Ed25519: a "signature" is the hash of key and text.
fn sign(key: &[u8; 32], text: &str) -> Vec<u8> {
    Sha256::new().chain_update(key).chain_update(text).finalize().to_vec()
}

fn check(key: &[u8; 32], text: &[u8], signature: &[u8]) -> bool {
    Sha256::new().chain_update(key).chain_update(text).finalize().as_slice() == signature
}

fn key(node: u64) -> [u8; 32] {
    [node as u8; 32]
}

/// Two logs that grow, and the checkpoints made of them.
#[derive(Clone, Default)]
struct World {
    control: Vec<Bytes>,
    audit: Vec<Bytes>,
    index: u64,
    notes: Vec<Note>,
}

impl World {
    /// Founded by node 1; nodes 2 and 3 join.
    fn new() -> World {
        let mut world = World::default();
        world.command(Command::FoundCluster {
            id: "demo".into(),
            incarnation: 1,
            recovery_key: [0; 32],
            first_admin: "ana".parse().expect("a name"),
            feature_level: 1,
        });
        for node in 1..=3 {
            world.register(node);
            // Those who were there sign what changed.
            let nodes: Vec<u64> = (1..=node).collect();
            world.checkpoint(CONTROL_LOG, &nodes);
        }
        for sequence in 1..=20 {
            world.record(1, sequence);
            world.record(2, sequence);
        }
        world.checkpoint(AUDIT_LOG, &[1, 2]);
        for sequence in 21..=25 {
            world.record(1, sequence);
        }
        world.checkpoint(AUDIT_LOG, &[2, 3]);
        world
    }

    fn command(&mut self, command: Command) {
        let version = Index(self.index + 1);
        self.answered(command, Reply::Done { version });
    }

    fn answered(&mut self, command: Command, reply: Reply) {
        self.index += 1;
        let proposal = Proposal {
            id: format!("p-{}", self.index).parse().expect("an id"),
            actor: Actor::Operator,
            stamp: LogTime(self.index),
            command,
        };
        self.control.push(ControlLeaf::encode(Index(self.index), &encode_proposal(&proposal).into(), &encode_reply(&reply).into()));
    }

    fn register(&mut self, node: u64) {
        self.command(registration(node));
    }

    fn record(&mut self, node: u64, sequence: u64) {
        let header = Header {
            node: NodeId(node),
            boot: BootId(node),
            sequence,
            control_index: Index(self.index),
            time: LogTime(1),
            session: None,
            run: None,
        };
        self.audit.push(encode(&header, &Event::LateSend(LateSend { operation: 1, late_us: sequence })).into());
    }

    fn leaves(&self, log: &str) -> &[Bytes] {
        if log == CONTROL_LOG { &self.control } else { &self.audit }
    }

    fn head(&self, log: &str) -> Checkpoint {
        let mut frontier = Frontier::default();
        for leaf in self.leaves(log) {
            frontier.append(leaf_hash(leaf), |_, _, _| {});
        }
        let origin = Origin { cluster: "demo".into(), incarnation: 1, log: log.into() };
        Checkpoint { origin, size: frontier.size(), root: frontier.root(), control_index: Index(self.index), time: LogTime(self.index) }
    }

    fn signed(checkpoint: &Checkpoint, nodes: &[u64]) -> Note {
        let text = checkpoint.text();
        let signatures: Vec<_> = nodes.iter().map(|node| (NodeId(*node), key(*node), sign(&key(*node), &text))).collect();
        checkpoint.note(signatures.iter().map(|(node, key, signature)| (*node, key, signature.as_slice())))
    }

    fn checkpoint(&mut self, log: &str, nodes: &[u64]) {
        let head = self.head(log);
        self.notes.push(World::signed(&head, nodes));
    }

    fn items(&self) -> Vec<Item> {
        let header = ExportHeader { cluster: "demo".into(), incarnation: 1, genesis: genesis().to_string() };
        let leaves = [CONTROL_LOG, AUDIT_LOG].into_iter().flat_map(|log| {
            self.leaves(log).iter().enumerate().map(move |(number, leaf)| ExportLeaf {
                log: log.into(),
                number: number as u64,
                leaf: leaf.clone(),
            })
        });
        let notes = self.notes.iter().map(|note| ExportCheckpoint { note: note.to_string() });
        let end = ExportEnd { leaves: (self.control.len() + self.audit.len()) as u64, checkpoints: self.notes.len() as u64 };
        std::iter::once(Item::Header(header))
            .chain(leaves.map(Item::Leaf))
            .chain(notes.map(Item::Checkpoint))
            .chain([Item::End(end)])
            .collect()
    }

    fn verify(&self) -> Report {
        verify(&self.items()).expect("an export")
    }

    /// All hashes of the audit log's tree, to make proofs of.
    fn node(&self) -> impl FnMut(u8, u64) -> Result<Hash, ()> + use<> {
        let mut nodes = BTreeMap::new();
        let mut frontier = Frontier::default();
        for leaf in &self.audit {
            frontier.append(leaf_hash(leaf), |level, index, hash| {
                nodes.insert((level, index), *hash);
            });
        }
        move |level, index| nodes.get(&(level, index)).copied().ok_or(())
    }
}

fn registration(node: u64) -> Command {
    Command::RegisterNode {
        node: NodeId(node),
        address: "127.0.0.1:7400".into(),
        admin_address: "127.0.0.1:7401".into(),
        checkpoint_key: key(node),
        sealing_key: [0; 32],
        role: MemberRole::Voter,
        feature_level_max: 1,
        join_token: None,
    }
}

fn genesis() -> VerifierKey {
    VerifierKey { name: "assize/demo/1/node-1".into(), key: key(1) }
}

fn verify(items: &[Item]) -> Result<Report, VerifyError> {
    let mut survey = Survey::default();
    items.iter().try_for_each(|item| survey.item(item))?;
    let mut verifier = survey.verifier(genesis())?;
    items.iter().try_for_each(|item| verifier.item(item))?;
    verifier.finish(&check)
}

#[track_caller]
fn check_failures(world: &World, expect: &[&str]) {
    let failures: Vec<String> = world.verify().failures.iter().map(ToString::to_string).collect();
    assert_eq!(failures, expect);
}

#[test]
fn a_whole_log_verifies() {
    let world = World::new();
    let report = world.verify();
    assert_eq!(report.failures, []);
    assert!(report.is_whole());
    let control = &report.logs[CONTROL_LOG];
    assert_eq!((control.leaves, control.signed_size, control.verified, control.incomplete), (4, 4, 3, 0));
    let audit = &report.logs[AUDIT_LOG];
    assert_eq!((audit.leaves, audit.signed_size, audit.verified), (45, 45, 2));
    assert_eq!(audit.signers, BTreeSet::from([NodeId(2), NodeId(3)]));
    assert_eq!(audit.kinds, BTreeMap::from([("late-send", 45)]));
    assert!(report.holds(AUDIT_LOG, 44) && !report.holds(AUDIT_LOG, 45) && !report.holds("audit/1", 0));
    assert_eq!(report.voters.voters_at(Index(3)).map(BTreeMap::len), Some(2));
    assert!(report.to_string().ends_with("the log is whole"), "{report}");
}

#[test]
fn a_changed_swapped_or_dropped_record_shows() {
    let whole = World::new();
    let other_root: Vec<String> =
        [40, 45].map(|size| format!("audit/0: the first {size} leaves have another root than the checkpoint says")).into();
    for at in 0..whole.audit.len() {
        let mut world = whole.clone();
        let mut leaf = world.audit[at].to_vec();
        *leaf.last_mut().expect("a byte") ^= 1;
        world.audit[at] = leaf.into();
        let failures: Vec<String> = world.verify().failures.iter().map(ToString::to_string).collect();
        let hit = if at < 40 { &other_root[..] } else { &other_root[1..] };
        assert!(hit.iter().all(|failure| failures.contains(failure)), "{at}: {failures:?}");
    }
    let mut world = whole.clone();
    world.audit.swap(0, 2);
    assert!(!world.verify().is_whole());
    let mut world = whole.clone();
    world.audit.pop();
    check_failures(&world, &["audit/0: a checkpoint of 45 leaves, but only 44 are there"]);
}

#[test]
fn a_changed_command_shows() {
    let whole = World::new();
    for at in 0..whole.control.len() {
        let mut world = whole.clone();
        let mut leaf = world.control[at].to_vec();
        // The index, which no check of the encoding protects.
        leaf[3] ^= 0x20;
        world.control[at] = leaf.into();
        assert!(!world.verify().is_whole(), "{at}");
    }
}

#[test]
fn records_after_the_last_checkpoint_are_told() {
    let mut world = World::new();
    world.record(1, 26);
    let report = world.verify();
    assert!(report.is_whole());
    assert_eq!(report.logs[AUDIT_LOG].unsigned_leaves(), 1);
    assert!(!report.holds(AUDIT_LOG, 45));
}

#[test]
fn a_lost_or_repeated_record_shows() {
    let mut world = World::new();
    world.record(1, 28);
    world.record(1, 28);
    world.checkpoint(AUDIT_LOG, &[1, 2, 3]);
    check_failures(
        &world,
        &[
            "audit/0: leaf 45 is record 28 of a boot of node 1; 26 should follow",
            "audit/0: leaf 46 is record 28 of a boot of node 1; 29 should follow",
        ],
    );
}

#[test]
fn too_few_signatures_prove_nothing() {
    let mut world = World::new();
    world.record(1, 26);
    world.checkpoint(AUDIT_LOG, &[3]);
    let report = world.verify();
    assert!(report.is_whole());
    assert_eq!((report.logs[AUDIT_LOG].incomplete, report.logs[AUDIT_LOG].unsigned_leaves()), (1, 1));
    world.notes.retain(|note| note.text.contains("/control\n"));
    check_failures(&world, &["audit/0: no checkpoint that a majority of the voters signed"]);
}

/// A majority is left, but whoever changed a line may have changed more.
#[test]
fn one_false_signature_is_told_where_a_majority_is_left() {
    for log in [CONTROL_LOG, AUDIT_LOG] {
        let mut world = World::new();
        world.record(1, 26);
        world.checkpoint(AUDIT_LOG, &[1, 2, 3]);
        let size = world.leaves(log).len();
        let note = world.notes.iter_mut().rfind(|note| note.text.contains(&format!("/{log}\n"))).expect("a checkpoint");
        note.signatures[2].signature[7] ^= 1;
        check_failures(&world, &[&format!("{log}: the signature of node 3 under the checkpoint of {size} leaves is false")]);
        assert_eq!(world.verify().logs[log].incomplete, 0);
    }
}

/// Somebody with the keys of no real voter writes a log of their own that begins like the real one.
#[test]
fn voters_that_only_the_log_itself_vouches_for_are_not_believed() {
    let mut world = World::new();
    world.audit.clear();
    world.notes.retain(|note| note.text.contains("/control\n"));
    for forger in [7, 8, 9, 10] {
        world.register(forger);
    }
    world.record(7, 1);
    world.checkpoint(CONTROL_LOG, &[7, 8, 9, 10]);
    world.checkpoint(AUDIT_LOG, &[7, 8, 9, 10]);
    let report = world.verify();
    assert_eq!(
        report.failures.iter().map(ToString::to_string).collect::<Vec<_>>(),
        ["audit/0: no checkpoint that a majority of the voters signed"]
    );
    assert_eq!(report.logs[CONTROL_LOG].incomplete, 1);
    assert_eq!(report.voters.voters_at(Index(100)).map(BTreeMap::len), Some(3));
}

#[test]
fn voters_come_and_go() {
    let mut world = World::new();
    for node in 4..=5 {
        world.register(node);
        world.checkpoint(CONTROL_LOG, &[1, 2, 3, 4, 5]);
    }
    world.command(Command::SetNodeRole { node: NodeId(1), role: MemberRole::Removed });
    world.command(Command::RotateCheckpointKey { node: NodeId(2), key: key(22) });
    world.answered(
        Command::SetNodeRole { node: NodeId(3), role: MemberRole::Removed },
        Reply::Rejected(Rejection::Forbidden { message: "no".into() }),
    );
    world.answered(registration(1), Reply::Done { version: Index(2) });
    world.checkpoint(CONTROL_LOG, &[3, 4, 5]);
    let report = world.verify();
    assert_eq!(report.failures, []);
    assert_eq!(report.logs[CONTROL_LOG].verified, 6);
    let voters = report.voters.voters_at(Index(world.index)).expect("voters");
    assert_eq!(voters.clone(), BTreeMap::from([(NodeId(2), key(22)), (NodeId(3), key(3)), (NodeId(4), key(4)), (NodeId(5), key(5))]));
}

#[test]
fn the_genesis_is_the_first_voter_however_it_became_one() {
    let mut history = VoterHistory::default();
    let mut world = World::default();
    world.command(Command::FoundCluster {
        id: "demo".into(),
        incarnation: 1,
        recovery_key: [0; 32],
        first_admin: "ana".parse().expect("a name"),
        feature_level: 1,
    });
    let Command::RegisterNode { address, admin_address, sealing_key, .. } = registration(1) else { panic!("a registration") };
    world.command(Command::RegisterNode {
        node: NodeId(1),
        address,
        admin_address,
        checkpoint_key: key(1),
        sealing_key,
        role: MemberRole::Learner,
        feature_level_max: 1,
        join_token: None,
    });
    world.command(Command::SetNodeRole { node: NodeId(1), role: MemberRole::Voter });
    world.register(2);
    for (i, leaf) in world.control.iter().enumerate() {
        assert_eq!(history.genesis(), (i > 2).then(genesis));
        history.follow(&ControlLeaf::decode(leaf).expect("own leaf"));
    }
    // A new incarnation has a genesis of its own.
    world.command(Command::FoundCluster {
        id: "demo".into(),
        incarnation: 2,
        recovery_key: [0; 32],
        first_admin: "ana".parse().expect("a name"),
        feature_level: 1,
    });
    world.register(7);
    for leaf in &world.control[4..] {
        history.follow(&ControlLeaf::decode(leaf).expect("own leaf"));
    }
    assert_eq!(history.founded(), Some(("demo", 2)));
    assert_eq!(history.genesis(), Some(VerifierKey { name: "assize/demo/2/node-7".into(), key: key(7) }));
}

#[test]
fn voters_of_long_ago_sign_nothing_new() {
    let mut world = World::new();
    let old = Index(2);
    world.record(1, 26);
    let head = Checkpoint { control_index: old, ..world.head(AUDIT_LOG) };
    // Node 1 alone was a majority then.
    world.notes.push(World::signed(&head, &[1]));
    assert_eq!(world.verify().logs[AUDIT_LOG].signed_size, 45);
}

#[test]
fn another_genesis_or_cluster_is_refused() {
    let world = World::new();
    let mut survey = Survey::default();
    let items = world.items();
    items.iter().try_for_each(|item| survey.item(item)).expect("an export");
    assert_eq!(survey.claimed_genesis(), Some(genesis()));
    let mut verifier = survey.verifier(VerifierKey { key: key(9), ..genesis() }).expect("an export");
    items.iter().try_for_each(|item| verifier.item(item)).expect("an export");
    let report = verifier.finish(&check).expect("an export");
    assert!(matches!(report.failures[0], Failure::OtherGenesis { .. }), "{report}");
    assert_eq!(report.logs[CONTROL_LOG].verified, 0);

    let mut items = items;
    items[0] = Item::Header(ExportHeader { cluster: "other".into(), incarnation: 1, genesis: String::new() });
    let report = verify(&items).expect("an export");
    assert!(report.failures.iter().any(|failure| matches!(failure, Failure::OtherCluster { .. })));
    assert!(report.failures.iter().any(|failure| matches!(failure, Failure::Stranger(_))));
}

#[test]
fn a_checkpoint_kept_elsewhere_must_be_of_this_log() {
    let mut world = World::new();
    let kept = world.notes.last().expect("a checkpoint").clone();
    world.notes.pop();
    let verify_with = |world: &World| {
        let items = world.items();
        let mut survey = Survey::default();
        items.iter().try_for_each(|item| survey.item(item)).expect("an export");
        survey.note(kept.clone()).expect("a checkpoint");
        let mut verifier = survey.verifier(genesis()).expect("an export");
        items.iter().try_for_each(|item| verifier.item(item)).expect("an export");
        verifier.finish(&check).expect("an export")
    };
    assert!(verify_with(&world).is_whole());
    // A history written anew after the checkpoint was handed out.
    world.audit.truncate(42);
    world.record(3, 1);
    world.record(3, 2);
    world.record(3, 3);
    world.checkpoint(AUDIT_LOG, &[1, 2, 3]);
    assert_eq!(verify_with(&world).failures, [Failure::OtherRoot { log: AUDIT_LOG.into(), size: 45 }]);
}

#[test]
fn an_export_that_is_cut_short_says_so() {
    let items = World::new().items();
    assert!(matches!(verify(&items[..items.len() - 1]), Err(VerifyError::CutShort(_))));
    let mut fewer = items.clone();
    fewer.remove(9);
    assert!(matches!(verify(&fewer), Err(VerifyError::CutShort(_))));
    let mut gap = items.clone();
    gap.swap(9, 10);
    assert!(matches!(verify(&gap), Err(VerifyError::Order { .. })));
    assert!(matches!(verify(&items[1..]), Err(VerifyError::NoHeader)));
}

#[test]
fn the_file_reads_back_whatever_the_pieces() {
    let items = World::new().items();
    let file: Vec<u8> = EXPORT_MAGIC.iter().copied().chain(items.iter().cloned().flat_map(encode_item)).collect();
    for piece in [1, 7, 64, file.len()] {
        let mut reader = ExportReader::default();
        let mut read = Vec::new();
        for bytes in file.chunks(piece) {
            reader.feed(bytes);
            while let Some(item) = reader.next_item().expect("an export") {
                read.push(item);
            }
        }
        assert!(reader.is_done());
        assert_eq!(read, items);
    }
    let mut reader = ExportReader::default();
    reader.feed(b"something else, and long enough");
    assert!(reader.next_item().is_err());
    let mut reader = ExportReader::default();
    reader.feed(&[EXPORT_MAGIC, &[0xff; 9][..], &[1]].concat());
    assert!(reader.next_item().is_err());
}

#[test]
fn one_record_is_proved_alone() {
    let world = World::new();
    let voters = world.verify().voters;
    let note = world.notes.last().expect("a checkpoint").clone();
    for number in 0..45 {
        let path = inclusion_proof(number, 45, world.node()).expect("hashes");
        let proof = InclusionProof { number, path, checkpoint: note.clone() };
        let leaf = &world.audit[number as usize];
        let verified = proof.verify(leaf, &voters, &check).expect("a proof");
        assert_eq!(verified.checkpoint.size, 45);
        let read: InclusionProof = proof.to_string().parse().expect("own text");
        assert_eq!(read, proof);
        let other = &world.audit[(number as usize + 1) % 45];
        assert_eq!(proof.verify(other, &voters, &check), Err(ProofError::NotIncluded { number, size: 45 }));
    }
}

#[test]
fn one_checkpoint_continues_another() {
    let world = World::new();
    let voters = world.verify().voters;
    let [old, new] = &world.notes[3..] else { panic!("two checkpoints of the audit log") };
    let path = consistency_proof(40, 45, world.node()).expect("hashes");
    let (before, after) = verify_consistency(old, new, &path, &voters, &check).expect("a proof");
    assert_eq!((before.checkpoint.size, after.checkpoint.size), (40, 45));
    assert_eq!(verify_consistency(old, new, &path[1..], &voters, &check), Err(ProofError::NotConsistent { old: 40, new: 45 }));
    assert!(matches!(
        verify_consistency(&world.notes[2], new, &path, &voters, &check),
        Err(ProofError::Checkpoint(CheckpointError::OtherOrigin { .. }))
    ));
}

/// The log of [`World::new`], with the bodies of `goes` let go as `decided` says, under a signed head or not.
fn pruned_world(goes: &[usize], decided: &[u64], signed: bool) -> World {
    let mut world = World::new();
    let mut leaves = Runs::default();
    decided.iter().for_each(|number| leaves.push(*number));
    let (seen, before) = (Index(1), LogTime(1));
    world.command(Command::PruneRecords { class: RecordClass::Operations, seen, before, through: 45, leaves });
    if signed {
        world.checkpoint(CONTROL_LOG, &[1, 2, 3]);
    }
    let terms = pruned::Terms { plan: Index(world.index), class: RecordClass::Operations, before };
    for number in goes {
        world.audit[*number] = pruned::prune(&world.audit[*number], &terms).expect("is due").into();
    }
    world
}

#[test]
fn a_log_without_the_bodies_that_a_rule_let_go_is_whole() {
    let whole = World::new();
    let world = pruned_world(&[0, 1, 2, 7, 44], &[0, 1, 2, 7, 44], true);
    let report = world.verify();
    assert_eq!(report.failures, []);
    let audit = &report.logs[AUDIT_LOG];
    assert_eq!((audit.root, audit.signed_size), (whole.verify().logs[AUDIT_LOG].root, 45), "hashes stand");
    assert_eq!(audit.kinds, BTreeMap::from([("late-send", 40), ("pruned", 5)]));
    let by = PrunedBy { class: RecordClass::Operations, at: LogTime(world.index), bodies: 5 };
    assert_eq!(audit.pruned, BTreeMap::from([(Index(world.index), by)]));
    assert!(report.to_string().contains("5 bodies pruned by the rule for operations"), "{report}");
}

#[test]
fn a_body_that_nobody_let_go_is_missed() {
    let plan = World::new().index + 1;
    let missed = |first: u64, count: u64| {
        format!(
            "audit/0: {count} bodies are missing, the first of leaf {first}, and no signed command of the control log let them go (plan {plan})"
        )
    };
    check_failures(&pruned_world(&[3, 4, 9], &[3, 5], true), &[&missed(4, 2)]);
    check_failures(&pruned_world(&[3], &[3], false), &[&missed(3, 1)]);
}

#[test]
fn what_stands_for_a_body_has_its_hash() {
    let mut world = pruned_world(&[3], &[3], true);
    let mut stub = world.audit[3].to_vec();
    let hash = leaf_hash(&World::new().audit[3]);
    let at = stub.windows(32).position(|window| window == hash).expect("the hash");
    stub[at] ^= 1;
    world.audit[3] = stub.into();
    assert!(world.verify().failures.iter().any(|failure| matches!(failure, Failure::OtherRoot { .. })));
}
