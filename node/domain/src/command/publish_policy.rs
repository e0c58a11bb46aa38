//! Puts a bundle at hand. Nothing changes until it is activated. That it compiles and passes its tests is seen to
//! before it is proposed, and once more by every node that judges by it: here it is bytes.

use std::sync::Arc;

use sha2::{Digest as _, Sha256};

use super::check::{invalid, short};
use super::step::Step;
use super::{Rejection, Reply};
use crate::id::{Digest, PolicyId};
use crate::limits::{POLICIES_KEPT_MAX, POLICY_BUNDLE_MAX};
use crate::policy::Policy;

pub(super) fn apply(
    step: &mut Step<'_>,
    bundle: Arc<[u8]>,
    digest: Digest,
    revision: String,
    two_people: bool,
) -> Result<Reply, Rejection> {
    short("revision", &revision)?;
    if bundle.is_empty() || bundle.len() > POLICY_BUNDLE_MAX {
        return Err(invalid("bundle", format!("is empty or longer than {POLICY_BUNDLE_MAX} bytes")));
    }
    if Digest(Sha256::digest(&bundle).into()) != digest {
        return Err(invalid("digest", "is not the bundle's"));
    }
    let (published_by, published) = (step.actor_name(), step.now);
    make_room(step);
    let id = PolicyId(step.index.0);
    step.put_policy(Policy { id, bundle, digest, revision, two_people, published_by, published, version: step.index });
    Ok(step.done())
}

/// Forgets the oldest that is neither active nor to go back to.
fn make_room(step: &mut Step<'_>) {
    while step.state.policies.len() >= POLICIES_KEPT_MAX {
        let facts = step.state.cluster.policy.clone().unwrap_or_default();
        let needed = |id: &PolicyId| facts.active == Some(*id) || facts.before.contains(id);
        let Some(oldest) = step.state.policies.keys().find(|id| !needed(id)).copied() else { return };
        step.remove_policy(oldest);
    }
}
