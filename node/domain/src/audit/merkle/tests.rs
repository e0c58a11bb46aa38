use std::collections::BTreeMap;
use std::convert::Infallible;

use super::*;

/// A whole tree in memory.
struct Tree {
    frontier: Frontier,
    nodes: BTreeMap<(u8, u64), Hash>,
}

impl Tree {
    fn of(leaves: u64) -> Tree {
        let mut tree = Tree { frontier: Frontier::default(), nodes: BTreeMap::new() };
        for n in 0..leaves {
            let nodes = &mut tree.nodes;
            tree.frontier.append(leaf_hash(&n.to_be_bytes()), |level, index, hash| {
                nodes.insert((level, index), *hash);
            });
        }
        tree
    }

    fn node(&self) -> impl FnMut(u8, u64) -> Result<Hash, Infallible> + '_ {
        |level, index| Ok(self.nodes[&(level, index)])
    }

    fn root_at(&self, size: u64) -> Hash {
        match root_at(size, self.node()) {
            Ok(root) => root,
        }
    }
}

fn hex(hash: &Hash) -> String {
    hash.iter().map(|b| format!("{b:02x}")).collect()
}

/// The vectors that the Certificate Transparency implementations share: roots of the first 0..8 of eight leaves.
#[test]
fn roots_are_those_of_rfc_6962() {
    let leaves: [&[u8]; 8] = [
        b"",
        b"\x00",
        b"\x10",
        b"\x20\x21",
        b"\x30\x31",
        b"\x40\x41\x42\x43",
        b"\x50\x51\x52\x53\x54\x55\x56\x57",
        b"\x60\x61\x62\x63\x64\x65\x66\x67\x68\x69\x6a\x6b\x6c\x6d\x6e\x6f",
    ];
    let roots = [
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
        "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
        "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
        "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
        "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
    ];
    let mut frontier = Frontier::default();
    assert_eq!(hex(&frontier.root()), roots[0]);
    for (leaf, root) in leaves.iter().zip(&roots[1..]) {
        frontier.append(leaf_hash(leaf), |_, _, _| {});
        assert_eq!(hex(&frontier.root()), *root);
    }
}

#[test]
fn every_leaf_of_every_size_is_proved_and_no_other() {
    let tree = Tree::of(70);
    for size in 1..=70 {
        let root = tree.root_at(size);
        for index in 0..size {
            let Ok(path) = inclusion_proof(index, size, tree.node());
            let leaf = leaf_hash(&index.to_be_bytes());
            assert!(verify_inclusion(index, size, &leaf, &path, &root), "{index} of {size}");
            assert!(!verify_inclusion(index, size, &leaf_hash(b"other"), &path, &root));
            assert!(size == 1 || !verify_inclusion((index + 1) % size, size, &leaf, &path, &root));
            let longer: Vec<Hash> = path.iter().copied().chain([leaf]).collect();
            assert!(!verify_inclusion(index, size, &leaf, &longer, &root));
        }
    }
}

#[test]
fn every_prefix_is_proved_and_no_other_root() {
    let tree = Tree::of(70);
    for new in 0..=70 {
        for old in 0..=new {
            let Ok(path) = consistency_proof(old, new, tree.node());
            let (old_root, new_root) = (tree.root_at(old), tree.root_at(new));
            assert!(verify_consistency(old, new, &old_root, &new_root, &path), "{old} of {new}");
            let forged = leaf_hash(b"forged");
            assert!(!verify_consistency(old, new, &forged, &new_root, &path), "{old} of {new}");
            if old > 0 {
                assert!(!verify_consistency(old, new, &old_root, &forged, &path), "{old} of {new}");
            }
        }
    }
}

#[test]
fn the_frontier_is_the_tree() {
    let tree = Tree::of(300);
    assert_eq!(tree.frontier.root(), tree.root_at(300));
    let again = Frontier::from_parts(300, tree.frontier.peaks().to_vec()).expect("four bits are set in 300");
    assert_eq!(again, tree.frontier);
    assert_eq!(Frontier::from_parts(300, Vec::new()), None);
}
