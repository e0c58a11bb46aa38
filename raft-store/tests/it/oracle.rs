//! What the store serves as roots and proofs, against another implementation of RFC 6962.

use ct_merkle::InclusionProof;
use ct_merkle::mem_backed_tree::MemoryBackedTree;
use domain::audit::merkle::{self, Hash};
use raft_store::StateMachine;
use sha2::Sha256;

use crate::ledger::Ledger;
use crate::restart::{apply, entry, open};

const LEAVES: u64 = 67;

fn hashes(proof: &[u8]) -> Vec<Hash> {
    let (hashes, rest) = proof.as_chunks();
    assert!(rest.is_empty(), "a proof is whole hashes");
    hashes.to_vec()
}

#[tokio::test]
async fn roots_and_proofs_are_those_of_another_implementation() {
    let dir = tempfile::tempdir().expect("a folder");
    let engine = open(dir.path()).expect("opens");
    let mut state = StateMachine::open(&engine, 0, Ledger::default()).expect("an empty state");
    apply(&mut state, (1..=LEAVES).map(|n| entry(1, n)).collect()).await;
    let leaves = state.leaves();

    let mut tree = MemoryBackedTree::<Sha256, Vec<u8>>::new();
    for size in 1..=LEAVES {
        let leaf = leaves.leaf(size - 1).expect("reads").expect("is there").to_vec();
        tree.push(leaf.clone());
        let root = leaves.root_at(size).expect("a root");
        assert_eq!(root.as_slice(), tree.root().as_bytes().as_slice(), "root of {size}");
        for index in 0..size {
            let ours = leaves.inclusion_proof(index, size).expect("is proved");
            let place = usize::try_from(index).expect("small");
            assert_eq!(ours, hashes(tree.prove_inclusion(place).as_bytes()), "leaf {index} of {size}");
            let theirs = InclusionProof::<Sha256>::try_from_bytes(ours.concat()).expect("whole hashes");
            tree.root().verify_inclusion(&tree.items()[place], index, &theirs).expect("they accept ours");
        }
        for old in 1..size {
            let ours = leaves.consistency_proof(old, size).expect("is proved");
            let theirs = hashes(tree.prove_consistency(usize::try_from(size - old).expect("small")).as_bytes());
            assert_eq!(ours, theirs, "{old} of {size}");
            let before = leaves.root_at(old).expect("a root");
            assert!(merkle::verify_consistency(old, size, &before, &root, &theirs), "{old} of {size}");
        }
    }
}
