use domain::credential::Credential;
use proto::admin as pb;

use super::etag;

/// Everything of a credential but its secret, which has no field to stand in.
pub(crate) fn to_wire(credential: &Credential) -> pb::Credential {
    pb::Credential {
        name: credential.name.to_string(),
        username: credential.username.clone(),
        etag: etag(credential.version),
        key_id: credential.sealed.key_id,
        narrowed: credential.narrowed.0,
    }
}
