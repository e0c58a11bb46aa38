use std::collections::BTreeMap;

use domain::principal::PrincipalKind;

use super::*;
use crate::scram::verifier;
use crate::scram::{Binding, Exchange};

fn name(text: &str) -> Name {
    text.parse().expect("a name")
}

fn token(id: u64, usage: TokenUse, secret: &Secret, expires: Option<u64>) -> Token {
    Token {
        id: TokenId(id),
        usage,
        lookup: token::lookup(secret),
        scram: verifier::create_default(secret, [9; 16]),
        label: String::new(),
        expires: expires.map(LogTime),
        review_due: None,
        issued_by: name("owner"),
        issued: LogTime(0),
    }
}

/// A state with one agent, its tokens indexed as `apply` would.
fn state(tokens: Vec<Token>, active: bool) -> State {
    let agent = Principal {
        name: name("billing-loop"),
        kind: PrincipalKind::Agent { owner: name("owner"), backup_owner: None, job: None },
        active,
        tokens: tokens.into_iter().map(|token| (token.id, token)).collect::<BTreeMap<_, _>>(),
        labels: BTreeMap::new(),
        version: Index(1),
        narrowed: Index(0),
    };
    let mut state = State::default();
    state.applied = Index(5);
    state.principals.insert(agent.name.clone(), agent);
    state.rebuild_indexes();
    state
}

fn mock() -> MockKey {
    MockKey::new([3; 32])
}

/// Runs a whole exchange with the client of the `postgres-protocol` crate's algorithm, written out here.
fn scram(state: &State, now: LogTime, user: &str, secret: &Secret) -> Result<Identity, Rejection> {
    let verifiers = scram_verifiers(state, now, user, &mock());
    let (challenged, server_first) =
        Exchange::new(verifiers, Binding::None, [1; 18]).start("SCRAM-SHA-256", b"n,,n=,r=abc").expect("well-formed");
    let last = crate::scram::tests::client_final(secret, "n=,r=abc", &server_first, b"n,,");
    let proven = challenged.finish(last.as_bytes()).map_err(|_| scram_failed(state, user))?;
    scram_proven(state, now, user, proven.token, Proof::Scram)
}

#[test]
fn every_live_token_of_an_agent_works() {
    let (one, two) = (token::generate(token::Purpose::Gateway), token::generate(token::Purpose::Gateway));
    let state = state(vec![token(1, TokenUse::Gateway, &one, None), token(2, TokenUse::Gateway, &two, Some(100))], true);
    for (secret, id) in [(&one, 1), (&two, 2)] {
        for found in [
            scram(&state, LogTime(99), "billing-loop", secret),
            password(&state, LogTime(99), "billing-loop", secret),
            bearer(&state, LogTime(99), secret, TokenUse::Gateway),
        ] {
            let found = found.expect("identified");
            assert_eq!((found.principal, found.token), (name("billing-loop"), TokenId(id)));
        }
    }
}

#[test]
fn expiry_is_by_log_time_to_the_millisecond() {
    let secret = token::generate(token::Purpose::Gateway);
    let state = state(vec![token(1, TokenUse::Gateway, &secret, Some(100))], true);
    assert!(scram(&state, LogTime(99), "billing-loop", &secret).is_ok());
    assert_eq!(scram(&state, LogTime(100), "billing-loop", &secret), Err(Rejection::WrongSecret));
    assert_eq!(bearer(&state, LogTime(100), &secret, TokenUse::Gateway), Err(Rejection::WrongSecret));
}

#[test]
fn an_admin_token_opens_no_session_and_a_gateway_token_no_api() {
    let (gateway, admin) = (token::generate(token::Purpose::Gateway), token::generate(token::Purpose::Admin));
    let tokens = vec![token(1, TokenUse::Gateway, &gateway, None), token(2, TokenUse::Admin, &admin, None)];
    let state = state(tokens, true);
    let now = LogTime(1);
    assert_eq!(bearer(&state, now, &admin, TokenUse::Gateway), Err(Rejection::WrongUse));
    assert_eq!(bearer(&state, now, &gateway, TokenUse::Admin), Err(Rejection::WrongUse));
    assert_eq!(scram(&state, now, "billing-loop", &admin), Err(Rejection::WrongSecret));
    assert!(bearer(&state, now, &admin, TokenUse::Admin).is_ok());
}

#[test]
fn inactive_unknown_and_wrong_are_refused() {
    let secret = token::generate(token::Purpose::Gateway);
    let other = token::generate(token::Purpose::Gateway);
    let inactive = state(vec![token(1, TokenUse::Gateway, &secret, None)], false);
    assert_eq!(scram(&inactive, LogTime(1), "billing-loop", &secret), Err(Rejection::Inactive));
    assert_eq!(bearer(&inactive, LogTime(1), &secret, TokenUse::Gateway), Err(Rejection::Inactive));
    let active = state(vec![token(1, TokenUse::Gateway, &secret, None)], true);
    assert_eq!(scram(&active, LogTime(1), "billing-loop", &other), Err(Rejection::WrongSecret));
    assert_eq!(scram(&active, LogTime(1), "nobody", &secret), Err(Rejection::UnknownPrincipal));
    assert_eq!(scram(&active, LogTime(1), "Billing-Loop", &secret), Err(Rejection::UnknownPrincipal));
    assert_eq!(password(&active, LogTime(1), "somebody-else", &secret), Err(Rejection::WrongSecret));
    assert_eq!(Refusal::from(Rejection::WrongUse), Refusal::WrongSecret);
}

#[test]
fn no_prefix_of_a_live_token_works() {
    let secret = token::generate(token::Purpose::Gateway);
    let state = state(vec![token(1, TokenUse::Gateway, &secret, None)], true);
    let whole = secret.expose_str().expect("ASCII").to_owned();
    for end in 0..whole.len() {
        let cut = Secret::from(&whole[..end]);
        assert_eq!(bearer(&state, LogTime(1), &cut, TokenUse::Gateway), Err(Rejection::WrongSecret));
    }
}

#[test]
fn a_token_revoked_during_the_exchange_identifies_nobody() {
    let secret = token::generate(token::Purpose::Gateway);
    let before = state(vec![token(1, TokenUse::Gateway, &secret, None)], true);
    let after = state(Vec::new(), true);
    let proven = scram(&before, LogTime(1), "billing-loop", &secret).expect("proven");
    let again = scram_proven(&after, LogTime(1), "billing-loop", proven.token, Proof::Scram);
    assert_eq!(again, Err(Rejection::WrongSecret));
}
