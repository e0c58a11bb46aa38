mod samples;

use prost::Message as _;

use super::*;
use crate::command::Actor;
use crate::id::{Index, Name};
use crate::state::State;
use crate::state::rows::RowKey;
use crate::time::LogTime;
use samples::{commands, name, rejections, replies, sample_state};

fn proposal(command: crate::command::Command) -> Proposal {
    Proposal { id: "cli-7f3a".parse().expect("an id"), actor: Actor::Principal(name("ana")), stamp: LogTime(1_795_000_000_123), command }
}

fn hex(bytes: &[u8]) -> String {
    data_encoding::HEXLOWER.encode(bytes)
}

#[test]
fn every_command_reads_back_and_keeps_its_bytes() {
    let mut lines = Vec::new();
    for command in commands() {
        let proposal = proposal(command);
        let bytes = encode_proposal(&proposal);
        assert_eq!(decode_proposal(&bytes).as_ref(), Ok(&proposal));
        lines.push(format!("{}: {}", samples::verb(&proposal.command), hex(&bytes)));
    }
    insta::assert_snapshot!("commands", lines.join("\n"));
}

#[test]
fn every_actor_reads_back() {
    for actor in [Actor::Principal(name("ana")), Actor::Node(crate::id::NodeId(3)), Actor::Operator] {
        let proposal = Proposal { actor, ..proposal(crate::command::Command::Tick) };
        assert_eq!(decode_proposal(&encode_proposal(&proposal)), Ok(proposal));
    }
}

#[test]
fn every_reply_reads_back_and_keeps_its_bytes() {
    let mut lines = Vec::new();
    for reply in replies().into_iter().chain(rejections().into_iter().map(Reply::Rejected)) {
        let bytes = encode_reply(&reply);
        assert_eq!(decode_reply(&bytes).as_ref(), Ok(&reply));
        lines.push(format!("{reply:?}: {}", hex(&bytes)));
    }
    insta::assert_snapshot!("replies", lines.join("\n"));
}

#[test]
fn every_row_reads_back_and_keeps_its_bytes() {
    let state = sample_state();
    let rows: Vec<(Vec<u8>, Vec<u8>)> = state.rows().collect();
    let lines: Vec<String> = rows.iter().map(|(key, value)| format!("{} = {}", hex(key), hex(value))).collect();
    insta::assert_snapshot!("rows", lines.join("\n"));

    let loaded = State::load(rows.iter().rev().map(|(key, value)| (key, value))).expect("own rows");
    assert_eq!(loaded.rows().collect::<Vec<_>>(), rows);
    assert_eq!(loaded.digest(), state.digest());
    assert_eq!((loaded.applied, loaded.now, &loaded.cluster), (state.applied, state.now, &state.cluster));
    assert_eq!(loaded.principals, state.principals);
    assert_eq!(loaded.targets, state.targets);
    assert_eq!(loaded.credentials, state.credentials);
    assert_eq!(loaded.roles, state.roles);
    assert_eq!(loaded.jobs, state.jobs);
    assert_eq!(loaded.grants, state.grants);
    assert_eq!(loaded.requests, state.requests);
    assert_eq!(loaded.locks, state.locks);
    assert_eq!(loaded.reviews, state.reviews);
    assert_eq!(loaded.review_items, state.review_items);
    assert_eq!(loaded.review_history, state.review_history);
    assert_eq!(loaded.triggers, state.triggers);
    assert_eq!(loaded.volumes, state.volumes);
    assert_eq!(loaded.findings, state.findings);
    assert_eq!(loaded.members, state.members);
    assert_eq!(loaded.join_tokens, state.join_tokens);
    assert_eq!(loaded.receipts, state.receipts);
    assert_eq!(loaded.proposals, state.proposals);
    assert_eq!(loaded.policies, state.policies);
    assert_eq!(loaded.sinks, state.sinks);
    assert_eq!(loaded.sink_progress, state.sink_progress);
    assert_eq!(loaded.witnesses, state.witnesses);
    assert_eq!(loaded.cosigned, state.cosigned);
    assert_eq!(loaded.retention_rules, state.retention_rules);
    assert_eq!(loaded.holds, state.holds);
    assert_eq!(loaded.retention, state.retention);
}

#[test]
fn which_policy_is_active_is_kept_in_the_facts_of_the_cluster() {
    let mut state = sample_state();
    let without = crate::encoding::encode_row(&state, &RowKey::Cluster);
    state.cluster.policy = Some(crate::policy::PolicyFacts {
        active: Some(crate::id::PolicyId(1060)),
        before: vec![crate::id::PolicyId(1050), crate::id::PolicyId(1055)],
        two_people: true,
        changed: Index(1061),
    });
    let rows: Vec<(Vec<u8>, Vec<u8>)> = state.rows().collect();
    let loaded = State::load(rows.iter().map(|(key, value)| (key, value))).expect("own rows");
    assert_eq!(loaded.cluster, state.cluster);
    assert_ne!(crate::encoding::encode_row(&state, &RowKey::Cluster), without);
    assert_eq!(without, crate::encoding::encode_row(&sample_state(), &RowKey::Cluster), "older rows keep their bytes");
}

#[test]
fn keys_sort_as_rows_do() {
    let state = sample_state();
    let mut rows: Vec<RowKey> = state.row_keys().collect();
    rows.sort();
    let keys: Vec<Vec<u8>> = rows.iter().map(RowKey::to_bytes).collect();
    assert!(keys.is_sorted());
    assert_eq!(state.rows().map(|(key, _)| key).collect::<Vec<_>>(), keys);
}

#[test]
fn the_digest_tells_states_apart() {
    let state = sample_state();
    let digest = state.digest();
    assert_ne!(digest, State::default().digest());
    let mut later = state.clone();
    later.applied = Index(state.applied.0 + 1);
    assert_ne!(digest, later.digest());
    let mut less = state.clone();
    less.locks.clear();
    assert_ne!(digest, less.digest());
    assert_eq!(digest, state.digest());
}

#[test]
fn a_row_that_is_gone_is_deleted() {
    let (key, value) = encode_row(&State::default(), &RowKey::Grant(crate::id::GrantId(7)));
    assert_eq!((hex(&key).as_str(), value), ("0a0000000000000007", None));
}

#[test]
fn a_row_under_another_key_is_refused() {
    let state = sample_state();
    let grant = *state.grants.keys().next().expect("a grant");
    let (mut key, value) = encode_row(&state, &RowKey::Grant(grant));
    *key.last_mut().expect("a key") ^= 1;
    let error = State::load([(key, value.expect("a value"))]).expect_err("is another grant");
    assert!(error.to_string().ends_with("stands under another key"), "{error}");
}

/// A command that a later build added: field 4 of the proposal is a message with the unknown tag 99.
#[test]
fn an_unknown_command_stops_the_replica() {
    let bytes = encode_proposal(&proposal(crate::command::Command::Tick));
    let (known, tail) = bytes.split_at(bytes.len() - 4);
    // Field 4, two bytes long, holding field 8 (Tick), empty.
    assert_eq!(tail, [0x22, 0x02, 0x42, 0x00]);
    let newer = [known, &[0x22, 0x03, 0x9a, 0x06, 0x00]].concat();
    assert_eq!(decode_proposal(&newer).expect_err("is newer"), DecodeError::UnknownFields { what: "proposal" });
}

#[test]
fn an_unknown_field_stops_the_replica() {
    let mut bytes = encode_reply(&Reply::Spent);
    bytes.extend([0xf8, 0x07, 0x01]);
    assert_eq!(decode_reply(&bytes), Err(DecodeError::UnknownFields { what: "reply" }));
}

#[test]
fn an_unknown_version_or_row_stops_the_replica() {
    let mut bytes = encode_reply(&Reply::Spent);
    bytes[0] = 2;
    assert_eq!(decode_reply(&bytes), Err(DecodeError::Version { what: "reply", found: 2 }));
    assert_eq!(decode_reply(&[]), Err(DecodeError::Empty { what: "reply" }));
    assert_eq!(State::load([([200_u8], [1_u8])]).map(|s| s.applied), Err(DecodeError::Unknown { what: "row kind", code: 200 }));
    assert_eq!(State::load([([0_u8; 0], [1_u8])]).map(|s| s.applied), Err(DecodeError::Empty { what: "row key" }));
}

#[test]
fn values_are_checked() {
    let bad = commands::StoredProposal { id: "has space".into(), ..wire::Wire::store(&proposal(crate::command::Command::Tick)) };
    let bytes = [&[ENCODING_VERSION][..], &bad.encode_to_vec()].concat();
    let error = decode_proposal(&bytes).expect_err("is no id");
    assert_eq!(error.to_string(), "bad value: Proposal.id: expected an id like 1 to 64 printable ASCII characters, got \"has space\"");
    let none = commands::StoredProposal { actor: Default::default(), ..wire::Wire::store(&proposal(crate::command::Command::Tick)) };
    let bytes = [&[ENCODING_VERSION][..], &none.encode_to_vec()].concat();
    assert_eq!(decode_proposal(&bytes), Err(DecodeError::Unknown { what: "Actor", code: 0 }));
}

#[test]
fn damage_never_panics() {
    for command in samples::commands() {
        let bytes = encode_proposal(&proposal(command));
        for at in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[at] ^= 0x41;
            // Some damage is another proposal; it reads back like any other.
            if let Ok(read) = decode_proposal(&damaged) {
                assert_eq!(decode_proposal(&encode_proposal(&read)), Ok(read));
            }
            assert!(decode_proposal(&bytes[..at]).is_err());
        }
    }
}

#[test]
fn a_name_is_checked_when_it_is_read() {
    let stored = <Name as wire::Wire>::load("No Name".into());
    assert!(matches!(stored, Err(DecodeError::Value(_))));
}
