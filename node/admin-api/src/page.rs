//! Page tokens: where a list goes on. Opaque to callers, authenticated with a key of the cluster, and good only for the
//! same caller, method and filter: a forged or carried-over cursor is refused (THREATS 67).

use aws_lc_rs::hmac;
use data_encoding::BASE64URL_NOPAD;

const TAG_BYTES: usize = 32;
/// Bytes of the last key a token may carry.
const KEY_MAX: usize = 256;

/// Signs and checks page tokens.
#[derive(Clone)]
pub struct PageKey(hmac::Key);

impl std::fmt::Debug for PageKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PageKey([redacted])")
    }
}

/// The token was not made by this cluster for this query.
#[derive(Debug, PartialEq, Eq)]
pub struct Forged;

impl PageKey {
    /// `key`: the same on all nodes, so that a list goes on at any of them.
    pub fn new(key: &[u8; 32]) -> PageKey {
        PageKey(hmac::Key::new(hmac::HMAC_SHA256, key))
    }

    /// A token for "after `last`", bound to everything in `scope`.
    pub fn token(&self, scope: &[&str], last: &str) -> String {
        let mut bytes = self.tag(scope, last).as_ref().to_vec();
        bytes.extend_from_slice(last.as_bytes());
        BASE64URL_NOPAD.encode(&bytes)
    }

    /// The key to go on after.
    pub fn open(&self, scope: &[&str], token: &str) -> Result<String, Forged> {
        if token.len() > 2 * (TAG_BYTES + KEY_MAX) {
            return Err(Forged);
        }
        let bytes = BASE64URL_NOPAD.decode(token.as_bytes()).map_err(|_| Forged)?;
        let (tag, last) = bytes.split_at_checked(TAG_BYTES).ok_or(Forged)?;
        let last = std::str::from_utf8(last).map_err(|_| Forged)?;
        hmac::verify(&self.0, &message(scope, last), tag).map_err(|_| Forged)?;
        Ok(last.to_owned())
    }

    fn tag(&self, scope: &[&str], last: &str) -> hmac::Tag {
        hmac::sign(&self.0, &message(scope, last))
    }
}

/// Length-prefixed, so that no two scopes share one encoding.
fn message(scope: &[&str], last: &str) -> Vec<u8> {
    let mut out = b"assize.page.v1".to_vec();
    for part in scope.iter().copied().chain([last]) {
        out.extend_from_slice(&(part.len() as u64).to_be_bytes());
        out.extend_from_slice(part.as_bytes());
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> PageKey {
        PageKey::new(&[7; 32])
    }

    #[test]
    fn a_token_opens_for_its_own_query() {
        let token = key().token(&["alice", "ListRoles", ""], "reader");
        assert_eq!(key().open(&["alice", "ListRoles", ""], &token), Ok("reader".to_owned()));
    }

    #[test]
    fn a_token_of_another_caller_method_filter_or_cluster_is_forged() {
        let token = key().token(&["alice", "ListRoles", "f"], "reader");
        for scope in [["bob", "ListRoles", "f"], ["alice", "ListJobs", "f"], ["alice", "ListRoles", ""], ["alic", "eListRoles", "f"]] {
            assert_eq!(key().open(&scope, &token), Err(Forged), "{scope:?}");
        }
        assert_eq!(PageKey::new(&[8; 32]).open(&["alice", "ListRoles", "f"], &token), Err(Forged));
    }

    #[test]
    fn no_changed_or_shortened_token_opens() {
        let scope = ["alice", "ListRoles", ""];
        let token = key().token(&scope, "reader");
        for end in 0..token.len() {
            assert_eq!(key().open(&scope, &token[..end]), Err(Forged), "{end} characters");
        }
        for at in 0..token.len() {
            let mut bytes = token.clone().into_bytes();
            bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(bytes).expect("ASCII");
            assert_eq!(key().open(&scope, &changed), Err(Forged), "character {at}");
        }
        let unsigned = BASE64URL_NOPAD.encode(b"reader");
        assert_eq!(key().open(&scope, &unsigned), Err(Forged));
    }
}
