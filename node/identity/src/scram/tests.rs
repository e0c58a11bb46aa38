use std::num::NonZeroU32;

use data_encoding::BASE64;
use domain::id::TokenId;
use domain::principal::ScramVerifier;

use super::message::{ClientFinal, ClientFirst};
use super::verifier::{create, create_default, hmac, sha256};
use super::*;
use crate::secret::Secret;

/// The client's side (RFC 5802 §3), written out so that the server is not tested against itself.
pub(crate) fn client_final(secret: &Secret, first_bare: &str, server_first: &str, binding: &[u8]) -> String {
    let part = |prefix| server_first.split(',').find_map(|p| p.strip_prefix(prefix)).expect("in server-first");
    let salt = BASE64.decode(part("s=").as_bytes()).expect("base64");
    let iterations: u32 = part("i=").parse().expect("a number");
    let mut block = hmac(secret.expose(), &[salt.as_slice(), &[0, 0, 0, 1]].concat());
    let mut salted = block;
    for _ in 1..iterations {
        block = hmac(secret.expose(), &block);
        salted.iter_mut().zip(block).for_each(|(to, from)| *to ^= from);
    }
    let client_key = hmac(&salted, b"Client Key");
    let without_proof = format!("c={},r={}", BASE64.encode(binding), part("r="));
    let signed = format!("{first_bare},{server_first},{without_proof}");
    let signature = hmac(&sha256(&client_key), signed.as_bytes());
    let proof: Vec<u8> = client_key.iter().zip(signature).map(|(a, b)| a ^ b).collect();
    format!("{without_proof},p={}", BASE64.encode(&proof))
}

const SALT: [u8; 16] = [5; 16];
const NONCE: [u8; 18] = [0xff; 18];

fn verifiers(secrets: &[&str]) -> Verifiers {
    let live = (1..).zip(secrets).map(|(id, secret)| (TokenId(id), create_default(&Secret::from(*secret), SALT)));
    Verifiers::new("agent", live, &MockKey::new([1; 32]))
}

/// One exchange: which token it proved.
fn run(known: &[&str], shown: &str, binding: Binding, mechanism: &str, header: &str, data: &[u8]) -> Result<u64, ScramError> {
    let first = format!("{header}n=,r=client");
    let (challenged, server_first) = Exchange::new(verifiers(known), binding, NONCE).start(mechanism, first.as_bytes())?;
    let last = client_final(&Secret::from(shown), "n=,r=client", &server_first, &[header.as_bytes(), data].concat());
    challenged.finish(last.as_bytes()).map(|proven| proven.token.0)
}

#[test]
fn rfc_7677_section_3_vector() {
    let salt: [u8; 16] = BASE64.decode(b"W22ZaJ0SNY7soEsUEjb6gQ==").expect("base64").try_into().expect("16 bytes");
    let verifier = create(&Secret::from("pencil"), salt, NonZeroU32::new(4096).expect("not zero"));
    let challenged = Challenged::restored(
        Verifiers::new("user", [(TokenId(7), verifier)], &MockKey::new([1; 32])),
        "rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0",
        "n=user,r=rOprNGfwEbeRWgbNEkqO",
        "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096",
        b"n,,",
    );
    let last = "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
                p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";
    let proven = challenged.finish(last.as_bytes()).expect("the RFC's own proof");
    assert_eq!(proven.token, TokenId(7));
    assert_eq!(proven.server_final, "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=");
}

#[test]
fn any_of_several_tokens_is_proven() {
    let known = ["one", "two", "three"];
    for (id, shown) in (1..).zip(known) {
        assert_eq!(run(&known, shown, Binding::None, SCRAM_SHA_256, "n,,", b""), Ok(id));
    }
    assert_eq!(run(&known, "four", Binding::None, SCRAM_SHA_256, "n,,", b""), Err(ScramError::Proof));
    assert_eq!(run(&[], "one", Binding::None, SCRAM_SHA_256, "n,,", b""), Err(ScramError::Proof));
}

#[test]
fn channel_binding_must_fit() {
    let ours = || Binding::EndPoint(b"our certificate".to_vec());
    let plus = |header: &str, data: &[u8]| run(&["one"], "one", ours(), SCRAM_SHA_256_PLUS, header, data);
    assert_eq!(plus("p=tls-server-end-point,,", b"our certificate"), Ok(1));
    assert_eq!(plus("p=tls-server-end-point,,", b"their certificate"), Err(ScramError::ChannelBinding));
    assert_eq!(plus("p=tls-unique,,", b"our certificate"), Err(ScramError::ChannelBinding));
    assert_eq!(plus("n,,", b""), Err(ScramError::ChannelBinding));
    // A client may decline binding; one that was made to believe we offer none is under attack.
    assert_eq!(run(&["one"], "one", ours(), SCRAM_SHA_256, "n,,", b""), Ok(1));
    assert_eq!(run(&["one"], "one", ours(), SCRAM_SHA_256, "y,,", b""), Err(ScramError::ChannelBinding));
    assert_eq!(run(&["one"], "one", Binding::None, SCRAM_SHA_256, "y,,", b""), Ok(1));
    let unoffered = run(&["one"], "one", Binding::None, SCRAM_SHA_256_PLUS, "p=tls-server-end-point,,", b"x");
    assert_eq!(unoffered, Err(ScramError::Mechanism));
    let mixed = run(&["one"], "one", ours(), SCRAM_SHA_256, "p=tls-server-end-point,,", b"our certificate");
    assert_eq!(mixed, Err(ScramError::ChannelBinding));
}

#[test]
fn a_recorded_proof_is_worthless_in_another_exchange() {
    let begin = |nonce| Exchange::new(verifiers(&["one"]), Binding::None, nonce).start(SCRAM_SHA_256, b"n,,n=,r=client").expect("starts");
    let (recorded, server_first) = begin([1; 18]);
    let last = client_final(&Secret::from("one"), "n=,r=client", &server_first, b"n,,");
    assert!(recorded.finish(last.as_bytes()).is_ok());
    let (fresh, fresh_first) = begin([2; 18]);
    assert_eq!(fresh.finish(last.as_bytes()), Err(ScramError::Nonce));
    // … nor does putting the fresh nonce into it help, since the proof signs the nonce.
    let old = server_first.split(',').next().expect("r=");
    let new = fresh_first.split(',').next().expect("r=");
    let (fresh, _) = begin([2; 18]);
    assert_eq!(fresh.finish(last.replace(old, new).as_bytes()), Err(ScramError::Proof));
}

#[test]
fn a_principal_that_does_not_exist_looks_like_one_that_does() {
    let challenge = |user: &str, key: u8, nonce| {
        let none: [(TokenId, ScramVerifier); 0] = [];
        let verifiers = Verifiers::new(user, none, &MockKey::new([key; 32]));
        assert_eq!(verifiers.candidates.len(), self::verifiers(&["one"]).candidates.len());
        Exchange::new(verifiers, Binding::None, nonce).start(SCRAM_SHA_256, b"n,,n=,r=c").expect("starts").1
    };
    let salt = |message: String| message.split(',').nth(1).expect("s=").to_owned();
    assert_eq!(salt(challenge("ghost", 1, [1; 18])), salt(challenge("ghost", 1, [2; 18])));
    assert_ne!(salt(challenge("ghost", 1, [1; 18])), salt(challenge("spook", 1, [1; 18])));
    assert_ne!(salt(challenge("ghost", 1, [1; 18])), salt(challenge("ghost", 2, [1; 18])));
    assert!(challenge("ghost", 1, [1; 18]).ends_with(",i=4096"));
}

#[test]
fn malformed_messages_are_refused() {
    let firsts: [&[u8]; 12] = [
        b"",
        b"n",
        b"n,,",
        b"n,,n=",
        b"n,,r=abc",
        b"n,,n=,r=",
        b"x,,n=,r=abc",
        b"n,a=other,n=,r=abc",
        b"n,,m=ext,n=,r=abc",
        b"n,,n=,r=abc,t=x",
        b"n,,n=,r=a\x01c",
        b"\xff,,n=,r=abc",
    ];
    for message in firsts {
        assert!(matches!(ClientFirst::parse(message), Err(ScramError::Malformed(_))), "{message:?}");
    }
    let lasts: [&[u8]; 8] = [
        b"",
        b"c=biws,r=abc",
        b"c=biws,p=AAAA",
        b"r=abc,c=biws,p=AAAA",
        b"c=biws,r=abc,p=AAAA",
        b"c=!,r=abc,p=AAAA",
        b"c=biws,r=abc,x=1,p=AAAA",
        b"c=biws,r=abc,p=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
    ];
    for message in lasts {
        assert!(matches!(ClientFinal::parse(message), Err(ScramError::Malformed(_))), "{message:?}");
    }
    assert!(matches!(ClientFirst::parse(&[b'n'; 5000]), Err(ScramError::Malformed(_))));
}

#[test]
fn debug_shows_no_key() {
    let printed = format!("{:?} {:?}", verifiers(&["one"]), MockKey::new([0x41; 32]));
    assert!(printed.contains("redacted") && !printed.contains("65, 65"), "{printed}");
}
