//! Tokens: `assize_` + purpose letter + 32 random bytes in base32 + a checksum of 4 characters.
//!
//! Example (64 characters in all): `assize_g` `…52 characters…` `…4…`. Lower-case letters and digits only, so that a
//! token stands in a URL, a `.pgpass` line or a shell without quoting. The checksum is no protection: it lets a
//! truncated or mistyped token be refused with a clear word before anything is looked up, and lets secret scanners
//! tell a real token from a lookalike.

use std::sync::LazyLock;

use aws_lc_rs::digest::{SHA256, digest};
use data_encoding::{Encoding, Specification};
use domain::id::Digest;
use domain::principal::TokenUse;
use zeroize::Zeroizing;

use crate::random;
use crate::secret::Secret;

const PREFIX: &str = "assize_";
/// 256 bits: nobody guesses one, so a low SCRAM iteration count is enough for its verifier.
const RANDOM_BYTES: usize = 32;
const BODY_CHARS: usize = 52;
const CHECKSUM_CHARS: usize = 4;
/// Every token has exactly this length.
pub const TOKEN_LENGTH: usize = PREFIX.len() + 1 + BODY_CHARS + CHECKSUM_CHARS;

static BASE32: LazyLock<Encoding> = LazyLock::new(|| {
    let mut specification = Specification::new();
    specification.symbols.push_str("abcdefghijklmnopqrstuvwxyz234567");
    specification.encoding().expect("32 distinct symbols make an encoding")
});

/// What a token is for; its letter is part of the token, so one kind is never taken for another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Opens sessions to targets.
    Gateway,
    /// Opens the admin API.
    Admin,
    /// Lets one node join the cluster, once.
    Join,
}

impl Purpose {
    fn letter(self) -> u8 {
        match self {
            Purpose::Gateway => b'g',
            Purpose::Admin => b'a',
            Purpose::Join => b'j',
        }
    }

    fn of_letter(letter: u8) -> Option<Purpose> {
        [Purpose::Gateway, Purpose::Admin, Purpose::Join].into_iter().find(|purpose| purpose.letter() == letter)
    }
}

impl From<TokenUse> for Purpose {
    fn from(usage: TokenUse) -> Purpose {
        match usage {
            TokenUse::Gateway => Purpose::Gateway,
            TokenUse::Admin => Purpose::Admin,
        }
    }
}

/// Why a text is not a token. Says nothing about whether such a token exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidToken {
    #[error("a token starts with \"assize_\" and a letter that says what it is for")]
    Prefix,
    #[error("a token has 64 characters; this one has {0}: it may have been cut short or joined with something")]
    Length(usize),
    #[error("a token has only lower-case letters and the digits 2 to 7 after its prefix")]
    Alphabet,
    #[error("the token's checksum does not fit: it was mistyped or damaged")]
    Checksum,
}

/// Makes a new token. The result is shown once to whoever asked for it; only its look-up digest and SCRAM verifier
/// are kept.
pub fn generate(purpose: Purpose) -> Secret {
    encode(purpose, Zeroizing::new(random::bytes()))
}

fn encode(purpose: Purpose, random: Zeroizing<[u8; RANDOM_BYTES]>) -> Secret {
    let mut text = String::with_capacity(TOKEN_LENGTH);
    text.push_str(PREFIX);
    text.push(char::from(purpose.letter()));
    BASE32.encode_append(random.as_slice(), &mut text);
    let sum = checksum(text.as_bytes());
    text.push_str(&sum);
    Secret::from(text)
}

/// Checks form and checksum, and says what the token is for.
///
/// # Errors
/// [`InvalidToken`] for anything but a whole, undamaged token.
pub fn parse(token: &Secret) -> Result<Purpose, InvalidToken> {
    let text = token.expose();
    let rest = text.strip_prefix(PREFIX.as_bytes()).ok_or(InvalidToken::Prefix)?;
    let purpose = rest.first().copied().and_then(Purpose::of_letter).ok_or(InvalidToken::Prefix)?;
    if text.len() != TOKEN_LENGTH {
        return Err(InvalidToken::Length(text.len()));
    }
    let (signed, sum) = text.split_at(TOKEN_LENGTH - CHECKSUM_CHARS);
    let body = signed.get(PREFIX.len() + 1..).unwrap_or_default();
    BASE32.decode(body).map(Zeroizing::new).map_err(|_| InvalidToken::Alphabet)?;
    if checksum(signed).as_bytes() == sum { Ok(purpose) } else { Err(InvalidToken::Checksum) }
}

/// SHA-256 of the whole token: what a bearer token is looked up by. Looking up a digest tells a timing observer
/// nothing useful, because the digest of a guess cannot be steered.
pub fn lookup(token: &Secret) -> Digest {
    let mut out = [0; 32];
    out.copy_from_slice(digest(&SHA256, token.expose()).as_ref());
    Digest(out)
}

/// The first 20 bits of SHA-256 over prefix, letter and body.
fn checksum(signed: &[u8]) -> String {
    let sum = digest(&SHA256, signed);
    let mut text = BASE32.encode(sum.as_ref().get(..5).unwrap_or_default());
    text.truncate(CHECKSUM_CHARS);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> String {
        let token = encode(Purpose::Gateway, Zeroizing::new([7; 32]));
        token.expose_str().expect("tokens are ASCII").to_owned()
    }

    #[test]
    fn the_format_is_stable() {
        // Tokens outlive versions: a change here invalidates every token ever issued.
        assert_eq!(sample(), "assize_ga4dqobyha4dqobyha4dqobyha4dqobyha4dqobyha4dqobyha4dqzmxe");
        assert_eq!(sample().len(), TOKEN_LENGTH);
    }

    #[test]
    fn each_purpose_keeps_its_letter() {
        for (purpose, letter) in [(Purpose::Gateway, 'g'), (Purpose::Admin, 'a'), (Purpose::Join, 'j')] {
            let token = generate(purpose);
            assert_eq!(parse(&token), Ok(purpose));
            assert_eq!(token.expose_str().expect("ASCII").chars().nth(7), Some(letter));
        }
    }

    #[test]
    fn no_prefix_of_a_token_is_a_token() {
        let whole = sample();
        for end in 0..whole.len() {
            assert!(parse(&Secret::from(&whole[..end])).is_err(), "{end} characters");
        }
    }

    #[test]
    fn any_changed_character_is_noticed() {
        let whole = sample().into_bytes();
        for at in 0..whole.len() {
            for replacement in [b'a', b'z', b'7', b'A', b'1', 0] {
                let mut changed = whole.clone();
                if changed[at] != replacement {
                    changed[at] = replacement;
                    assert!(parse(&Secret::new(changed)).is_err(), "character {at} as {replacement}");
                }
            }
        }
    }

    #[test]
    fn what_surrounds_a_token_makes_it_invalid() {
        let whole = sample();
        for text in [format!("{whole}\n"), format!(" {whole}"), format!("{whole}{whole}"), whole.to_uppercase()] {
            assert!(parse(&Secret::from(text)).is_err());
        }
    }

    #[test]
    fn two_tokens_have_two_lookups() {
        let (one, two) = (generate(Purpose::Gateway), generate(Purpose::Gateway));
        assert_ne!(lookup(&one), lookup(&two));
        assert_eq!(lookup(&one), lookup(&one.clone()));
    }
}
