//! Cosignatures of outside witnesses: C2SP `tlog-cosignature`, version 1, Ed25519.
//!
//! ```text
//! cosignature/v1            what is signed: two lines, then the checkpoint's text with its extension lines
//! time 1763900000           seconds since 1970
//! assize/demo-7f3a/1/audit/0
//! …
//! ```
//! The signature in the note's line is the time, eight bytes big-endian, and 64 bytes of Ed25519.

use std::fmt;
use std::str::FromStr;

use data_encoding::BASE64;
use sha2::{Digest as _, Sha256};

use super::checkpoint::{CheckSignature, InvalidNote, Note, NoteSignature, is_key_name};

/// Ed25519 cosignatures, in key ids and verifier keys.
const COSIGNATURE: u8 = 4;

/// A witness's public key with its name: `NAME+KEYID+BASE64`, of signature type 4.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct WitnessKey {
    pub name: String,
    pub key: [u8; 32],
}

impl WitnessKey {
    pub fn id(&self) -> [u8; 4] {
        let hash = Sha256::new().chain_update(&self.name).chain_update([b'\n', COSIGNATURE]).chain_update(self.key).finalize();
        [hash[0], hash[1], hash[2], hash[3]]
    }

    /// What this witness signs when it co-signs `text` at `time`, in seconds since 1970.
    pub fn message(text: &str, time: u64) -> String {
        format!("cosignature/v1\ntime {time}\n{text}")
    }

    /// The line that says so.
    pub fn line(&self, time: u64, signature: &[u8]) -> NoteSignature {
        NoteSignature { name: self.name.clone(), key_id: self.id(), signature: [&time.to_be_bytes()[..], signature].concat() }
    }

    /// When this witness co-signed the note, if it did.
    pub fn vouches(&self, note: &Note, check: CheckSignature<'_>) -> Option<u64> {
        let id = self.id();
        let mine = note.signatures.iter().filter(|line| line.name == self.name && line.key_id == id);
        mine.filter_map(|line| {
            let (time, signature) = line.signature.split_first_chunk::<8>()?;
            let time = u64::from_be_bytes(*time);
            check(&self.key, WitnessKey::message(&note.text, time).as_bytes(), signature).then_some(time)
        })
        .max()
    }
}

impl fmt::Display for WitnessKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let id = u32::from_be_bytes(self.id());
        write!(f, "{}+{id:08x}+{}", self.name, BASE64.encode(&[&[COSIGNATURE][..], &self.key].concat()))
    }
}

impl FromStr for WitnessKey {
    type Err = InvalidNote;

    fn from_str(text: &str) -> Result<WitnessKey, InvalidNote> {
        let parse = || {
            let mut parts = text.trim().splitn(3, '+');
            let (name, id, encoded) = (parts.next()?, parts.next()?, parts.next()?);
            let bytes = BASE64.decode(encoded.as_bytes()).ok()?;
            let (algorithm, key) = bytes.split_first()?;
            let key = WitnessKey { name: name.to_owned(), key: key.try_into().ok()? };
            let id_matches = id.len() == 8 && u32::from_str_radix(id, 16).ok()? == u32::from_be_bytes(key.id());
            (is_key_name(name) && name.len() <= 200 && *algorithm == COSIGNATURE && id_matches).then_some(key)
        };
        let shown = || text.chars().take(200).collect::<String>();
        parse().ok_or_else(|| InvalidNote(format!("{:?} is no key of a witness, NAME+KEYID+BASE64 of type 4", shown())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the specification: name, key id and layout are its own; its key is not published.
    #[test]
    fn a_line_is_laid_out_as_the_specification_shows() {
        let note: Note = "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n\n\
            — witness.example.com/w1 jWbPPwAAAABkGFDLEZMHwSRaJNiIDoe9DYn/zXcrtPHeolMI5OWXEhZCB9dlrDJsX3b2oyin1nPZqhf5nNo0xUe+mbIUBkBIfZ+qnA==\n"
            .parse()
            .expect("a note");
        let line = &note.signatures[0];
        assert_eq!((line.key_id, line.signature.len()), ([0x8d, 0x66, 0xcf, 0x3f], 72));
        let time = u64::from_be_bytes(line.signature[..8].try_into().expect("eight bytes"));
        assert_eq!(time, 1_679_315_147);
        assert!(WitnessKey::message(&note.text, time).starts_with("cosignature/v1\ntime 1679315147\nexample.com/behind-the-sofa\n"));
    }

    #[test]
    fn a_key_is_read_back_and_is_of_its_type() {
        let key = WitnessKey { name: "witness.example/w1".into(), key: [7; 32] };
        assert_eq!(key.to_string().parse::<WitnessKey>(), Ok(key.clone()));
        let of_a_log = super::super::checkpoint::VerifierKey { name: key.name.clone(), key: key.key };
        assert!(of_a_log.to_string().parse::<WitnessKey>().is_err(), "a log's own key is no witness");
        assert!("w+00000000+BAcH".parse::<WitnessKey>().is_err());
    }

    #[test]
    fn only_a_signature_of_its_own_vouches() {
        let key = WitnessKey { name: "w".into(), key: [7; 32] };
        let check = |_: &[u8; 32], message: &[u8], signature: &[u8]| signature == &Sha256::digest(message)[..];
        let text = "assize/c/1/audit/0\n1\nx\n".to_owned();
        let sign = |time: u64| key.line(time, &Sha256::digest(WitnessKey::message(&text, time)));
        let note = |signatures| Note { text: text.clone(), signatures };
        assert_eq!(key.vouches(&note(vec![sign(5), sign(9)]), &check), Some(9));
        let mut earlier = sign(5);
        earlier.signature[7] = 6;
        assert_eq!(key.vouches(&note(vec![earlier]), &check), None, "the time is signed too");
        let other = WitnessKey { name: "v".into(), key: [7; 32] };
        assert_eq!(other.vouches(&note(vec![sign(5)]), &check), None);
        assert_eq!(key.vouches(&Note { text: "other\n".into(), signatures: vec![sign(5)] }, &check), None);
    }
}
