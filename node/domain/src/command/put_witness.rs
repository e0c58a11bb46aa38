//! Names an outside witness, or changes where it is. Another key is another witness: what the old one signed goes.

use super::check::{expected, invalid, url};
use super::step::Step;
use super::{Expect, Rejection, Reply};
use crate::audit::cosignature::WitnessKey;
use crate::limits::{BLOB_MAX, WITNESS_INTERVAL_MAX, WITNESS_INTERVAL_MIN, WITNESSES_MAX};
use crate::witness::Witness;

pub(super) fn apply(step: &mut Step<'_>, put: Witness, expect: Expect) -> Result<Reply, Rejection> {
    let old = step.state.witnesses.get(&put.name).cloned();
    expected(expect, old.as_ref().map(|witness| witness.version), || format!("witness {}", put.name))?;
    url("url", &put.url)?;
    put.key.parse::<WitnessKey>().map_err(|error| invalid("key", error.to_string()))?;
    if put.roots_pem.len() > BLOB_MAX {
        return Err(invalid("roots_pem", format!("is longer than {BLOB_MAX} bytes")));
    }
    if put.interval < WITNESS_INTERVAL_MIN || put.interval > WITNESS_INTERVAL_MAX {
        let (least, most) = (WITNESS_INTERVAL_MIN.as_secs(), WITNESS_INTERVAL_MAX.as_secs());
        return Err(invalid("interval", format!("must be {least} to {most} s")));
    }
    let put = Witness { version: step.index, ..put };
    match old {
        None if step.state.witnesses.len() >= WITNESSES_MAX => {
            return Err(Rejection::TooMany { limit: WITNESSES_MAX as u32, scope: "witnesses".into() });
        }
        Some(old) if (Witness { version: old.version, ..put.clone() }) == old => return Ok(Reply::Done { version: old.version }),
        Some(old) if old.key != put.key => step.remove_witness(&old.name),
        Some(_) | None => {}
    }
    step.put_witness(put);
    Ok(step.done())
}
