//! `tls-server-end-point` channel binding (RFC 5929 §4): a hash of the server's certificate, which a man in the middle
//! with another certificate cannot reproduce inside a SCRAM proof.

use aws_lc_rs::digest::{Algorithm, SHA256, SHA384, SHA512, digest};

const SEQUENCE: u8 = 0x30;
const OBJECT_ID: u8 = 0x06;

/// The binding data for a certificate in DER, hashed as its own signature algorithm says (MD5 and SHA-1 become
/// SHA-256). `None` where RFC 5929 defines none (Ed25519) or the hash hides in parameters (RSA-PSS), and for bytes
/// that are no certificate; a peer then simply offers no binding.
pub fn tls_server_end_point(certificate_der: &[u8]) -> Option<Vec<u8>> {
    let algorithm = signature_hash(signature_oid(certificate_der)?)?;
    Some(digest(algorithm, certificate_der).as_ref().to_vec())
}

/// `Certificate ::= SEQUENCE { tbsCertificate SEQUENCE, signatureAlgorithm SEQUENCE { OBJECT IDENTIFIER, … }, … }`
fn signature_oid(der: &[u8]) -> Option<&[u8]> {
    let (certificate, _) = element(der, SEQUENCE)?;
    let (_, after_tbs) = element(certificate, SEQUENCE)?;
    let (algorithm, _) = element(after_tbs, SEQUENCE)?;
    let (oid, _) = element(algorithm, OBJECT_ID)?;
    Some(oid)
}

/// One DER element with the expected tag: its contents, and what follows it.
fn element(der: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (&found, rest) = der.split_first()?;
    let (&first, rest) = rest.split_first()?;
    let (length, rest) = match first {
        0..=0x7f => (usize::from(first), rest),
        0x81..=0x84 => {
            let (bytes, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
            (bytes.iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte)), rest)
        }
        _ => return None,
    };
    if found == tag { rest.split_at_checked(length) } else { None }
}

fn signature_hash(oid: &[u8]) -> Option<&'static Algorithm> {
    // 1.2.840.113549.1.1.x are the RSA PKCS#1 v1.5 ones, 1.2.840.10045.4.x those of ECDSA.
    const RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01];
    const ECDSA: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04];
    match (oid.strip_prefix(RSA), oid.strip_prefix(ECDSA)) {
        (Some([4 | 5 | 11]), _) | (_, Some([1] | [3, 2])) => Some(&SHA256),
        (Some([12]), _) | (_, Some([3, 3])) => Some(&SHA384),
        (Some([13]), _) | (_, Some([3, 4])) => Some(&SHA512),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A certificate's outline: only what the hash choice reads.
    fn outline(oid: &[u8]) -> Vec<u8> {
        let oid_length = u8::try_from(oid.len()).expect("short");
        let mut algorithm = vec![SEQUENCE, oid_length + 2, OBJECT_ID, oid_length];
        algorithm.extend_from_slice(oid);
        let mut body = vec![SEQUENCE, 0x81, 0x80];
        body.extend([0xaa; 0x80]);
        body.extend(algorithm);
        let mut der = vec![SEQUENCE, 0x82, 0, u8::try_from(body.len()).expect("short")];
        der.extend(body);
        der
    }

    fn check(oid: &[u8], expect: Option<&'static Algorithm>) {
        let der = outline(oid);
        let expected = expect.map(|algorithm| digest(algorithm, &der).as_ref().to_vec());
        assert_eq!(tls_server_end_point(&der), expected, "{oid:02x?}");
    }

    #[test]
    fn the_hash_follows_the_signature_algorithm() {
        let rsa = |last| [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, last];
        check(&rsa(4), Some(&SHA256));
        check(&rsa(5), Some(&SHA256));
        check(&rsa(11), Some(&SHA256));
        check(&rsa(12), Some(&SHA384));
        check(&rsa(13), Some(&SHA512));
        check(&rsa(10), None);
        let ecdsa = |last| [0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, last];
        check(&ecdsa(2), Some(&SHA256));
        check(&ecdsa(3), Some(&SHA384));
        check(&ecdsa(4), Some(&SHA512));
        check(&[0x2b, 0x65, 0x70], None);
    }

    #[test]
    fn damaged_bytes_give_no_binding() {
        let der = outline(&[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 2]);
        for end in 0..der.len() {
            assert_eq!(tls_server_end_point(&der[..end]), None);
        }
        assert_eq!(tls_server_end_point(&[SEQUENCE, 0x85, 1, 1, 1, 1, 1]), None);
        assert_eq!(tls_server_end_point(&[SEQUENCE, 0x80]), None);
    }
}
