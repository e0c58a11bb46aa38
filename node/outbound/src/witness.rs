//! Asks an outside witness to co-sign the heads of both logs (C2SP `tlog-witness`), and keeps what it signed.

use std::sync::Arc;

use aws_lc_rs::signature::{ED25519, UnparsedPublicKey};
use domain::audit::add_checkpoint::AddCheckpoint;
use domain::audit::checkpoint::Note;
use domain::audit::cosignature::WitnessKey;
use domain::command::{Command, Reply};
use domain::sink::StreamedLog;
use domain::witness::Witness;
use tokio::time::sleep;

use crate::address::Allowed;
use crate::connect::Trust;
use crate::http::{Answer, post};
use crate::metrics;
use crate::source::{Head, Source};
use crate::url::Url;

/// Questions about one head: the first may be answered with the size to go on from.
const TRIES: usize = 2;

/// Asks as often as the witness is to be asked, while this node leads.
pub(crate) async fn ask(source: Arc<dyn Source>, witness: Witness, allowed: Arc<Allowed>) {
    let name = witness.name.as_str();
    while source.leads() {
        for log in StreamedLog::ALL {
            match head(&*source, &witness, log, &allowed).await {
                Ok(true) => metrics::cosigned(name),
                Ok(false) => {}
                Err(why) => {
                    metrics::not_cosigned(name);
                    tracing::warn!(witness = name, log = log.as_str(), why, "a witness did not co-sign");
                }
            }
            let state = source.state();
            let filed = state.cosigned.get(&(witness.name.clone(), log.as_str().to_owned())).and_then(|c| c.heads.last());
            if let Some(last) = filed {
                metrics::cosigned_age(name, source.now().0.saturating_sub(last.filed.0) as f64 / 1000.0);
            }
        }
        sleep(witness.interval).await;
    }
}

/// Whether something new was co-signed and kept.
async fn head(source: &dyn Source, witness: &Witness, log: StreamedLog, allowed: &Allowed) -> Result<bool, String> {
    let Some(head) = source.head(log) else { return Ok(false) };
    let state = source.state();
    let filed =
        state.cosigned.get(&(witness.name.clone(), log.as_str().to_owned())).and_then(|c| c.heads.last()).map_or(0, |last| last.size);
    if head.size <= filed {
        return Ok(false);
    }
    let key: WitnessKey = witness.key.parse().map_err(|error: domain::audit::checkpoint::InvalidNote| error.to_string())?;
    let note = cosigned(source, witness, &key, log, &head, filed, allowed).await?;
    let command = Command::FileCosignature { witness: witness.name.clone(), note: note.to_string() };
    match source.propose(command).await? {
        Reply::Rejected(why) => Err(why.to_string()),
        _ => Ok(true),
    }
}

/// The head with the witness's line under the nodes'.
async fn cosigned(
    source: &dyn Source,
    witness: &Witness,
    key: &WitnessKey,
    log: StreamedLog,
    head: &Head,
    filed: u64,
    allowed: &Allowed,
) -> Result<Note, String> {
    let url = Url::parse(&format!("{}/add-checkpoint", witness.url.trim_end_matches('/'))).ok_or("the address cannot be read")?;
    let mut old = filed;
    for _ in 0..TRIES {
        let proof = if old == 0 || old == head.size { Vec::new() } else { source.consistency(log, old, head.size).await? };
        let body = AddCheckpoint { old, proof, note: head.note.clone() }.to_string();
        let headers = [("content-type", "text/plain; charset=utf-8".to_owned())];
        let answer = post(&url, &headers, body.into(), Trust { roots_pem: &witness.roots_pem, allowed }).await?;
        match (answer.status, answer.body.trim().parse::<u64>()) {
            // What we filed is not what it signed last: an answer was lost, or it knows us from before.
            (409, Ok(size)) if size != old && size <= head.size => old = size,
            (409, Ok(size)) if size > head.size => return Err(format!("it co-signed a head of {size} leaves, this log has {}", head.size)),
            _ => return line(key, head, answer),
        }
    }
    Err("it names another size each time".into())
}

/// Of the lines it answers with, the one by its own key, if that verifies.
fn line(key: &WitnessKey, head: &Head, answer: Answer) -> Result<Note, String> {
    let answer = answer.done()?;
    let told: Note =
        format!("{}\n{}", head.note.text, answer.body).parse().map_err(|error: domain::audit::checkpoint::InvalidNote| error.0)?;
    let check = |key: &[u8; 32], message: &[u8], signature: &[u8]| UnparsedPublicKey::new(&ED25519, key).verify(message, signature).is_ok();
    let own = told.signatures.into_iter().filter(|line| line.name == key.name && line.key_id == key.id());
    for line in own {
        let note = Note { text: head.note.text.clone(), signatures: vec![line] };
        if key.vouches(&note, &check).is_some() {
            let signatures = head.note.signatures.iter().cloned().chain(note.signatures).collect();
            return Ok(Note { text: note.text, signatures });
        }
    }
    Err("no line of its answer is a co-signature by its key".into())
}
