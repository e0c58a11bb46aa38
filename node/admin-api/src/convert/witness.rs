use std::time::Duration;

use domain::command::{Command, Expect};
use domain::id::Index;
use domain::state::State;
use domain::witness::Witness;
use proto::admin as pb;

use super::fields::Fields;
use super::{etag, span, timestamp};

/// Often enough for an auditor, seldom enough for a public witness.
const INTERVAL_DEFAULT: Duration = Duration::from_secs(60);

pub(crate) fn to_wire(witness: &Witness, state: &State) -> pb::Witness {
    let last = state.cosigned.values().filter(|cosigned| cosigned.witness == witness.name).filter_map(|cosigned| {
        let head = cosigned.heads.last()?;
        Some(pb::CosignedHead { log: cosigned.log.clone(), size: head.size, filed: Some(timestamp(head.filed)) })
    });
    pb::Witness {
        name: witness.name.to_string(),
        url: witness.url.clone(),
        key: witness.key.clone(),
        roots_pem: witness.roots_pem.clone(),
        interval: Some(span(witness.interval)),
        cosigned: last.collect(),
        etag: etag(witness.version),
    }
}

pub(crate) fn put(f: &mut Fields, witness: pb::Witness, expect: Option<Expect>) -> Option<Command> {
    let name = f.parse("witness.name", &witness.name);
    let interval = f.span("witness.interval", witness.interval.as_ref());
    let witness = Witness {
        name: name?,
        url: witness.url,
        key: witness.key.trim().to_owned(),
        roots_pem: witness.roots_pem,
        interval: interval?.unwrap_or(INTERVAL_DEFAULT),
        version: Index::default(),
    };
    Some(Command::PutWitness { witness, expect: expect? })
}
