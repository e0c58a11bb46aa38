//! Founding, nodes, feature levels, receipts, recovery.

use super::*;
use crate::grant::GrantStatus;
use crate::id::BootId;
use crate::member::{Cancelled, Serving, SessionReceipt};
use crate::request::RequestStatus;

fn found(incarnation: u64, first_admin: &str) -> Command {
    Command::FoundCluster {
        id: "test".to_owned(),
        incarnation,
        recovery_key: [2; 32],
        first_admin: name(first_admin),
        feature_level: crate::command::FEATURE_LEVEL_MAX,
    }
}

#[test]
fn nothing_but_founding_happens_in_an_unfounded_cluster() {
    let mut w = World::empty();
    assert_eq!(w.rejected(Actor::Operator, person_command("ana", true)), Rejection::FeatureLevel { level: 0, needed: 1 });
    forbidden(&w.rejected(by("ana"), found(1, "ana")));
    forbidden(&w.rejected(node(1), found(1, "ana")));
    w.done(Actor::Operator, found(1, "ana"));
    assert!(w.state.may_administer(&name("ana"), crate::operation::Verb::Operate, "grant", "assize"));
    assert_eq!(w.state.roles.keys().map(Name::as_str).collect::<Vec<_>>(), ["admin", "auditor", "operator", "reviewer"]);
    assert!(matches!(w.rejected(Actor::Operator, found(1, "fay")), Rejection::Exists { .. }));
}

#[test]
fn a_join_token_is_good_for_one_node_and_a_while() {
    let mut w = World::founded();
    w.done(Actor::Operator, member_command(1, MemberRole::Voter, None));
    forbidden(&w.rejected(node(2), member_command(2, MemberRole::Voter, None)));
    forbidden(&w.rejected(node(2), member_command(2, MemberRole::Voter, Some(digest(1)))));
    w.done(by("ana"), Command::MakeJoinToken { lookup: digest(1), valid: Duration::from_secs(600) });
    w.done(node(2), member_command(2, MemberRole::Learner, Some(digest(1))));
    w.done(node(2), member_command(2, MemberRole::Learner, Some(digest(1))));
    forbidden(&w.rejected(node(3), member_command(3, MemberRole::Voter, Some(digest(1)))));
    w.done(by("ana"), Command::MakeJoinToken { lookup: digest(2), valid: Duration::from_secs(60) });
    w.pass(Duration::from_secs(60));
    assert!(!w.state.join_tokens.contains_key(&digest(2)));
    forbidden(&w.rejected(node(3), member_command(3, MemberRole::Voter, Some(digest(2)))));
    invalid_field(&w.rejected(by("ana"), Command::MakeJoinToken { lookup: digest(3), valid: Duration::from_secs(1 << 30) }), "valid");
}

#[test]
fn a_node_tells_its_news_but_does_not_promote_itself() {
    let mut w = World::founded();
    w.done(Actor::Operator, member_command(1, MemberRole::Voter, None));
    w.done(Actor::Operator, member_command(2, MemberRole::Learner, None));
    w.done(node(1), Command::SetServing { node: NodeId(2), serving: true });
    w.done(node(2), member_command(2, MemberRole::Voter, None));
    let member = &w.state.members[&NodeId(2)];
    assert_eq!(member.role, MemberRole::Learner);
    assert!(matches!(member.serving, Serving::Yes { .. }));
    forbidden(&w.rejected(node(1), Command::RotateCheckpointKey { node: NodeId(2), key: [8; 32] }));
    let rotated = w.done(node(2), Command::RotateCheckpointKey { node: NodeId(2), key: [8; 32] });
    let keys: Vec<_> = w.state.members[&NodeId(2)].checkpoint_keys.iter().collect();
    assert_eq!(keys.len(), 2);
    assert_eq!(keys[1], (&rotated, &[8; 32]));
}

#[test]
fn a_removed_node_is_out_for_good_and_the_last_voter_stays() {
    let mut w = World::founded();
    w.done(Actor::Operator, member_command(1, MemberRole::Voter, None));
    w.done(Actor::Operator, member_command(2, MemberRole::Voter, None));
    w.done(node(2), Command::SetServing { node: NodeId(2), serving: true });
    w.done(by("ana"), Command::SetNodeRole { node: NodeId(2), role: MemberRole::Removed });
    assert!(matches!(w.state.members[&NodeId(2)].serving, Serving::No { .. }));
    assert_eq!(w.state.serving().count(), 0);
    invalid_field(&w.rejected(by("ana"), Command::SetNodeRole { node: NodeId(2), role: MemberRole::Voter }), "node");
    invalid_field(&w.rejected(node(2), Command::SetServing { node: NodeId(2), serving: true }), "node");
    assert!(matches!(w.rejected(Actor::Operator, member_command(2, MemberRole::Voter, None)), Rejection::Exists { .. }));
    invalid_field(&w.rejected(by("ana"), Command::SetNodeRole { node: NodeId(1), role: MemberRole::Learner }), "role");
    assert_eq!(w.state.voters().collect::<Vec<_>>(), [NodeId(1)]);
}

#[test]
fn the_feature_level_rises_when_every_member_knows_it() {
    let mut w = World::founded();
    w.done(Actor::Operator, member_command(1, MemberRole::Voter, None));
    assert_eq!(w.state.cluster.feature_level, FEATURE_LEVEL_MAX);
    w.done(by("ana"), Command::RaiseFeatureLevel { level: FEATURE_LEVEL_MAX });
    let beyond = FEATURE_LEVEL_MAX + 1;
    let rejected = w.rejected(by("ana"), Command::RaiseFeatureLevel { level: beyond });
    assert_eq!(rejected, Rejection::FeatureLevel { level: FEATURE_LEVEL_MAX, needed: beyond });
    let Command::RegisterNode { node: id, address, admin_address, checkpoint_key, sealing_key, role, join_token, .. } =
        member_command(2, MemberRole::Voter, None)
    else {
        unreachable!("a member command")
    };
    let old =
        Command::RegisterNode { node: id, address, admin_address, checkpoint_key, sealing_key, role, feature_level_max: 0, join_token };
    let refused = w.rejected(Actor::Operator, old);
    assert!(matches!(&refused, Rejection::Invalid { field, .. } if field == "feature_level_max"), "{refused:?}");
}

/// Replicas of two releases replay one log: what a founding means must not depend on who applies it.
#[test]
fn a_cluster_begins_at_the_level_that_its_founding_says() {
    let founded = |feature_level| {
        let mut w = World::empty();
        let Command::FoundCluster { id, incarnation, recovery_key, first_admin, .. } = found(1, "ana") else { unreachable!("a founding") };
        w.done(Actor::Operator, Command::FoundCluster { id, incarnation, recovery_key, first_admin, feature_level });
        w.state.cluster.feature_level
    };
    assert_eq!((founded(1), founded(2)), (1, 2));
    assert_eq!(founded(0), 3, "before it was said");
}

#[test]
fn receipts_are_completed_node_by_node_and_bounded() {
    let mut w = World::new();
    let grant = w.state.grants_of(&name("bot")).next().expect("a grant").id;
    let at = w.done(by("ana"), Command::RevokeGrant { grant, reason: String::new() });
    let revocation = RevocationId(at.0);
    let report = |id: u64, upstream| NodeReceipt {
        node: NodeId(id),
        boot: BootId(7),
        enforced: at,
        last_sequence: 3,
        sessions: vec![SessionReceipt { session: session(id, 1), principal: name("bot"), target: name("orders"), upstream }],
        by_expiry: false,
    };
    w.done(node(1), Command::FileReceipt { revocation, nodes: vec![report(2, Cancelled::Pending)] });
    w.done(node(1), Command::FileReceipt { revocation, nodes: vec![report(1, Cancelled::Idle), report(2, Cancelled::Cancelled)] });
    let nodes = &w.state.receipts[&revocation].nodes;
    assert_eq!(
        nodes.iter().map(|n| (n.node.0, n.sessions[0].upstream)).collect::<Vec<_>>(),
        [(1, Cancelled::Idle), (2, Cancelled::Cancelled)]
    );
    invalid_field(&w.rejected(node(1), Command::FileReceipt { revocation: RevocationId(1 << 40), nodes: Vec::new() }), "revocation");
    forbidden(&w.rejected(by("ana"), Command::FileReceipt { revocation, nodes: Vec::new() }));
}

#[test]
fn a_recovered_cluster_trusts_its_grants_only_when_a_person_confirms_them() {
    let mut w = World::new();
    let grant = w.state.grants_of(&name("bot")).next().expect("a grant").id;
    let request = w.open(digest(1));
    w.done(by("ben"), decide(request, true));
    w.done(Actor::Operator, found(2, "ana"));
    assert!(matches!(w.state.grants[&grant].status, GrantStatus::Suspended { .. }));
    assert_eq!(w.state.requests[&request].status, RequestStatus::Reopened);
    assert!(!w.state.may_administer(&name("ben"), crate::operation::Verb::Read, "target", "orders"));
    assert!(w.state.may_administer(&name("ana"), crate::operation::Verb::Operate, "grant", "assize"));
    let narrowed = w.state.cluster.narrowed;
    assert_eq!(narrowed, w.state.applied);
    w.done(by("ana"), Command::ConfirmGrant { grant });
    assert_eq!(w.state.grants[&grant].status, GrantStatus::Active);
    let of_ben = w.state.grants_of(&name("ben")).next().expect("a grant").id;
    forbidden(&w.rejected(by("ben"), Command::ConfirmGrant { grant: of_ben }));
    w.done(Actor::Operator, Command::ConfirmGrant { grant: of_ben });
    let of_cora = w.grant(by("ana"), with_roles(administration("cora", "assize:read on role/*"), &["admin"]));
    w.done(Actor::Operator, found(3, "ana"));
    w.done(Actor::Operator, Command::ConfirmGrant { grant: of_cora });
    assert!(matches!(w.rejected(by("cora"), Command::ConfirmGrant { grant }), Rejection::SeparationOfDuties { .. }));
}
