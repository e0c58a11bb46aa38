//! `POST /add-checkpoint`. One request at a time from the check to the disk: two that continue the same head never both
//! pass.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::signature::{ED25519, UnparsedPublicKey};
use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, State as Shared};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use domain::audit::add_checkpoint::{AddCheckpoint, NotCosigned, REQUEST_SIZE_MAX, SIZE_TYPE, Seen, Trusted, continues};
use domain::audit::checkpoint::Note;
use tokio::net::TcpListener;
use tokio::sync::Mutex;

use crate::key::Key;
use crate::state::State;

pub struct Witness {
    key: Key,
    trusted: Trusted,
    state: Mutex<State>,
}

impl Witness {
    pub fn new(key: Key, trusted: Trusted, state: State) -> Witness {
        Witness { key, trusted, state: Mutex::new(state) }
    }

    /// The lines of the co-signed head.
    async fn add(&self, body: &[u8]) -> Result<String, Refused> {
        let text = str::from_utf8(body).map_err(|_| NotCosigned::Malformed("the request is no text".into()))?;
        let asked = AddCheckpoint::parse(text)?;
        let head = asked.head()?;
        self.trusted.check(&head.origin, &asked.note, &verifies)?;
        let mut state = self.state.lock().await;
        continues(state.last(&head.origin), &asked, &head)?;
        let line = self.keep(&mut state, head, &asked.note)?;
        Ok(line)
    }

    /// On disk first, then signed.
    fn keep(&self, state: &mut State, head: Seen, note: &Note) -> Result<String, Refused> {
        if state.last(&head.origin) != Some(&head) {
            state.keep(head).map_err(|error| Refused::Disk(error.to_string()))?;
        }
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let signed = Note { text: String::new(), signatures: vec![self.key.cosign(&note.text, now)] };
        Ok(signed.to_string().trim_start_matches('\n').to_owned())
    }
}

enum Refused {
    No(NotCosigned),
    Disk(String),
}

impl From<NotCosigned> for Refused {
    fn from(why: NotCosigned) -> Refused {
        Refused::No(why)
    }
}

fn verifies(key: &[u8; 32], message: &[u8], signature: &[u8]) -> bool {
    UnparsedPublicKey::new(&ED25519, key).verify(message, signature).is_ok()
}

async fn add_checkpoint(Shared(witness): Shared<Arc<Witness>>, body: Bytes) -> Response {
    match witness.add(&body).await {
        Ok(lines) => (StatusCode::OK, [(header::CONTENT_TYPE, "text/plain; charset=utf-8")], lines).into_response(),
        Err(Refused::No(why)) => {
            if why.is_fork() {
                // Proof that whoever runs the log shows two of them: somebody must look at it.
                tracing::error!(%why, request = %String::from_utf8_lossy(&body), "a log that was co-signed here has forked");
                eprintln!("assize: FORK: {why}\n{}", String::from_utf8_lossy(&body));
            }
            let status = StatusCode::from_u16(why.status()).unwrap_or(StatusCode::BAD_REQUEST);
            match why {
                NotCosigned::OtherSize(size) | NotCosigned::OtherRoot(size) => {
                    (status, [(header::CONTENT_TYPE, SIZE_TYPE)], format!("{size}\n")).into_response()
                }
                why => (status, format!("{why}\n")).into_response(),
            }
        }
        Err(Refused::Disk(why)) => {
            tracing::error!(why, "the state cannot be written: nothing is signed");
            (StatusCode::INTERNAL_SERVER_ERROR, "the witness cannot keep what it would sign\n").into_response()
        }
    }
}

/// Serves until the process ends.
///
/// # Errors
/// When the address cannot be bound or the listener fails.
pub async fn serve(listen: SocketAddr, witness: Witness) -> std::io::Result<()> {
    let router = Router::new()
        .route("/add-checkpoint", post(add_checkpoint))
        .route("/healthz", get(|| async { "ok\n" }))
        .layer(DefaultBodyLimit::max(REQUEST_SIZE_MAX))
        .with_state(Arc::new(witness));
    axum::serve(TcpListener::bind(listen).await?, router).await
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
    use domain::audit::checkpoint::{Checkpoint, Origin, VerifierKey};
    use domain::audit::merkle::{leaf_hash, node_hash};
    use domain::id::{Index, NodeId};
    use domain::time::LogTime;

    use super::*;

    fn node() -> Ed25519KeyPair {
        Ed25519KeyPair::from_seed_unchecked(&[7; 32]).expect("a key")
    }

    fn asked(old: u64, size: u64, root: [u8; 32], proof: Vec<[u8; 32]>) -> String {
        let origin = Origin { cluster: "demo".into(), incarnation: 1, log: "audit/0".into() };
        let head = Checkpoint { origin, size, root, control_index: Index(1), time: LogTime(2) };
        let key: [u8; 32] = node().public_key().as_ref().try_into().expect("32 bytes");
        let signature = node().sign(head.text().as_bytes());
        AddCheckpoint { old, proof, note: head.note([(NodeId(1), &key, signature.as_ref())]) }.to_string()
    }

    async fn status(witness: &Witness, body: &str) -> u16 {
        match witness.add(body.as_bytes()).await {
            Ok(_) => 200,
            Err(Refused::No(why)) => why.status(),
            Err(Refused::Disk(_)) => 500,
        }
    }

    #[tokio::test]
    async fn it_signs_what_continues_and_remembers_it() {
        let dir = tempfile::tempdir().expect("a folder");
        let (key_path, state_path) = (dir.path().join("key"), dir.path().join("state"));
        let public = Key::create(&key_path, "witness.example/w1").expect("a key").public().clone();
        State::create(&state_path).expect("a state");
        let trusted = || {
            let key = node().public_key().as_ref().try_into().expect("32 bytes");
            Trusted(vec![VerifierKey { name: "assize/demo/1/node-1".into(), key }])
        };
        let start = || Witness::new(Key::read(&key_path).expect("the key"), trusted(), State::read(&state_path).expect("the state"));
        let witness = start();
        let (a, b) = (leaf_hash(b"a"), leaf_hash(b"b"));
        let both = node_hash(&a, &b);

        let first = asked(0, 1, a, vec![]);
        let Ok(lines) = witness.add(first.as_bytes()).await else { panic!("it continues nothing") };
        let note: Note = format!("{}\n{lines}", AddCheckpoint::parse(&first).expect("a request").note.text).parse().expect("a note");
        assert!(public.vouches(&note, &verifies).is_some(), "{note}");

        let witness = {
            drop(witness);
            start()
        };
        assert_eq!(status(&witness, &asked(0, 2, both, vec![])).await, 409, "it remembers after a restart");
        assert_eq!(status(&witness, &asked(1, 1, b, vec![])).await, 409, "another root");
        assert_eq!(status(&witness, &asked(1, 2, node_hash(&b, &a), vec![b])).await, 422, "a fork");
        assert_eq!(status(&witness, &asked(1, 2, both, vec![b])).await, 200);
        assert_eq!(status(&witness, &asked(2, 2, both, vec![])).await, 200, "the same again");
        assert_eq!(status(&witness, &asked(1, 2, both, vec![b])).await, 409, "rolled back");
        assert_eq!(status(&witness, &asked(2, 1, a, vec![])).await, 400);
        assert_eq!(status(&witness, &first.replace("demo", "other")).await, 404);
        assert_eq!(status(&witness, &asked(2, 2, both, vec![]).replace("time 2", "time 3")).await, 403);
        assert_eq!(status(&witness, "old").await, 400);
    }
}
