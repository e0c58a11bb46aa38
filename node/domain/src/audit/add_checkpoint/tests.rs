use std::collections::BTreeMap;
use std::convert::Infallible;

use sha2::{Digest as _, Sha256};

use super::*;
use crate::audit::checkpoint::{NoteSignature, key_id};
use crate::audit::merkle::{Frontier, consistency_proof, leaf_hash, root_at};

/// A log whose leaves say `story`.
struct Log(BTreeMap<(u8, u64), Hash>);

impl Log {
    fn new(story: &str, leaves: u64) -> Log {
        let (mut frontier, mut nodes) = (Frontier::default(), BTreeMap::new());
        for n in 0..leaves {
            frontier.append(leaf_hash(format!("{story} {n}").as_bytes()), |level, index, hash| {
                nodes.insert((level, index), *hash);
            });
        }
        Log(nodes)
    }

    fn node(&self) -> impl FnMut(u8, u64) -> Result<Hash, Infallible> + '_ {
        |level, index| Ok(self.0[&(level, index)])
    }

    fn head(&self, size: u64) -> Seen {
        let Ok(root) = root_at(size, self.node());
        Seen { origin: ORIGIN.into(), size, root }
    }

    fn asked(&self, old: u64, new: u64) -> (AddCheckpoint, Seen) {
        let proof = if old == 0 || old >= new {
            Vec::new()
        } else {
            let Ok(proof) = consistency_proof(old, new, self.node());
            proof
        };
        let head = self.head(new);
        let text = format!("{ORIGIN}\n{new}\n{}\ncontrol 9\ntime 1\n", BASE64.encode(&head.root));
        let keys = [1, 2].map(key);
        let signatures = keys.iter().map(|key| signature(key, &text)).collect();
        (AddCheckpoint { old, proof, note: Note { text, signatures } }, head)
    }
}

const ORIGIN: &str = "assize/demo/1/audit/0";

fn key(node: u8) -> VerifierKey {
    VerifierKey { name: format!("assize/demo/1/node-{node}"), key: [node; 32] }
}

/// Stands for Ed25519: whoever knows the public key can make it.
fn sign(key: &[u8; 32], message: &[u8]) -> Vec<u8> {
    Sha256::new().chain_update(key).chain_update(message).finalize().to_vec()
}

fn signature(key: &VerifierKey, text: &str) -> NoteSignature {
    NoteSignature { name: key.name.clone(), key_id: key_id(&key.name, &key.key), signature: sign(&key.key, text.as_bytes()) }
}

fn check(key: &[u8; 32], message: &[u8], signature: &[u8]) -> bool {
    sign(key, message) == signature
}

#[test]
fn a_request_is_read_back() {
    let (asked, head) = Log::new("a", 20).asked(7, 20);
    let text = asked.to_string();
    assert!(text.starts_with("old 7\n") && text.contains("\n\nassize/demo/1/audit/0\n20\n"), "{text}");
    assert_eq!(AddCheckpoint::parse(&text), Ok(asked.clone()));
    assert_eq!(asked.head(), Ok(head));
    for bad in ["", "old 7", "old 07\n\nx\n\n", "old -1\n\n", "new 7\n\nx"] {
        let refused = AddCheckpoint::parse(bad).expect_err("is no request");
        assert_eq!(refused.status(), 400, "{bad:?}");
    }
    let long = text.replacen("old 7\n", &format!("old 7\n{}", format!("{}\n", BASE64.encode(&[0; 32])).repeat(64)), 1);
    assert_eq!(AddCheckpoint::parse(&long).expect_err("is too long").status(), 400);
}

#[test]
fn a_log_that_continues_is_co_signed() {
    let log = Log::new("a", 40);
    let mut last = None;
    for (old, new) in [(0, 1), (1, 8), (8, 8), (8, 13), (13, 40)] {
        let (asked, head) = log.asked(old, new);
        assert_eq!(continues(last.as_ref(), &asked, &head), Ok(()), "{old} to {new}");
        last = Some(head);
    }
}

#[test]
fn a_fork_a_rollback_and_an_old_size_are_told_apart() {
    let (log, forked) = (Log::new("a", 40), Log::new("b", 40));
    let last = Some(log.head(20));
    let status = |log: &Log, old, new| {
        let (asked, head) = log.asked(old, new);
        let refused = continues(last.as_ref(), &asked, &head).expect_err("is refused");
        (refused.status(), refused.is_fork(), refused)
    };
    assert_eq!(status(&forked, 20, 20), (409, true, NotCosigned::OtherRoot(20)));
    assert_eq!(status(&forked, 20, 30), (422, true, NotCosigned::NotConsistent));
    assert_eq!(status(&log, 0, 30), (409, false, NotCosigned::OtherSize(20)), "as if nothing had been co-signed");
    assert_eq!(status(&log, 10, 10), (409, false, NotCosigned::OtherSize(20)), "rolled back");
    assert_eq!(status(&log, 20, 10), (400, false, NotCosigned::OldBeyondNew));
    let (mut asked, head) = log.asked(20, 30);
    asked.proof.pop();
    assert_eq!(continues(last.as_ref(), &asked, &head), Err(NotCosigned::NotConsistent));
}

#[test]
fn a_majority_of_the_trusted_keys_must_have_signed() {
    let trusted = |nodes: &[u8]| Trusted(nodes.iter().copied().map(key).collect());
    let (asked, head) = Log::new("a", 3).asked(0, 3);
    assert_eq!(trusted(&[1, 2, 3]).check(&head.origin, &asked.note, &check), Ok(()));
    let refused = trusted(&[3, 4, 2]).check(&head.origin, &asked.note, &check);
    assert_eq!(refused, Err(NotCosigned::NotSigned { signed: 1, needed: 2 }));
    assert_eq!(trusted(&[]).check(&head.origin, &asked.note, &check).expect_err("is unknown").status(), 404);
    let other = trusted(&[1]).check("assize/demo/2/audit/0", &asked.note, &check);
    assert_eq!(other.expect_err("is another incarnation").status(), 404);
    let mut changed = asked.note;
    changed.text = changed.text.replace("time 1", "time 2");
    assert_eq!(trusted(&[1, 2]).check(&head.origin, &changed, &check).expect_err("is another text").status(), 403);
}
