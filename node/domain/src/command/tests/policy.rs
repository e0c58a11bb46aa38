//! Publishing, activating, going back, and who may.

use super::*;
use crate::id::PolicyId;
use crate::limits::{POLICIES_KEPT_MAX, POLICY_BUNDLE_MAX, POLICY_ROLLBACKS_MAX};

fn published(w: &mut World, who: &str, bundle: &[u8], two_people: bool) -> PolicyId {
    PolicyId(w.done(by(who), publish(bundle, two_people)).0)
}

fn active(w: &World) -> Option<PolicyId> {
    w.state.active_policy().map(|policy| policy.id)
}

/// ben and eve may write policy too.
fn world() -> World {
    let mut w = World::new();
    for who in ["ben", "eve"] {
        w.grant(by("ana"), administration(who, "assize:write on policy/*"));
    }
    w
}

#[test]
fn a_bundle_is_what_its_digest_says_and_not_too_long() {
    let mut w = world();
    let Command::PublishPolicy { bundle, revision, two_people, .. } = publish(b"one", false) else { unreachable!("publishes") };
    invalid_field(&w.rejected(by("ana"), Command::PublishPolicy { bundle, digest: digest(9), revision, two_people }), "digest");
    invalid_field(&w.rejected(by("ana"), publish(&vec![0; POLICY_BUNDLE_MAX + 1], false)), "bundle");
    invalid_field(&w.rejected(by("ana"), publish(b"", false)), "bundle");
    forbidden(&w.rejected(by("fay"), publish(b"one", false)));
    forbidden(&w.rejected(Actor::Operator, publish(b"one", false)));
    forbidden(&w.rejected(node(1), publish(b"one", false)));
    let id = published(&mut w, "ana", &vec![7; POLICY_BUNDLE_MAX], false);
    assert_eq!(active(&w), None, "publishing changes nothing");
    assert_eq!((w.state.policies[&id].published_by.as_str(), w.state.policies[&id].bundle.len()), ("ana", POLICY_BUNDLE_MAX));
}

#[test]
fn one_step_back_at_a_time() {
    let mut w = world();
    assert!(matches!(w.rejected(by("ana"), Command::RollbackPolicy), Rejection::NotFound { .. }));
    assert!(matches!(w.rejected(by("ana"), Command::DeactivatePolicy), Rejection::NotFound { .. }));
    assert!(matches!(w.rejected(by("ana"), Command::ActivatePolicy { policy: PolicyId(1) }), Rejection::NotFound { .. }));
    let all: Vec<PolicyId> = (0..3u8).map(|n| published(&mut w, "ana", &[n], false)).collect();
    for id in &all {
        w.done(by("ana"), Command::ActivatePolicy { policy: *id });
        assert_eq!(active(&w), Some(*id));
    }
    let changed = w.state.cluster.policy.clone();
    w.done(by("ana"), Command::ActivatePolicy { policy: all[2] });
    assert_eq!(w.state.cluster.policy, changed, "it is active already");
    w.done(by("ana"), Command::RollbackPolicy);
    assert_eq!(active(&w), Some(all[1]));
    w.done(by("ana"), Command::DeactivatePolicy);
    assert_eq!(active(&w), None);
    w.done(by("ana"), Command::RollbackPolicy);
    assert_eq!(active(&w), Some(all[1]), "doing without is a step too");
    w.done(by("ana"), Command::RollbackPolicy);
    assert_eq!(active(&w), Some(all[0]));
    assert!(matches!(w.rejected(by("ana"), Command::RollbackPolicy), Rejection::NotFound { .. }));
    assert_eq!(active(&w), Some(all[0]));
}

#[test]
fn what_is_active_or_to_go_back_to_is_never_forgotten() {
    let mut w = world();
    let first = published(&mut w, "ana", b"first", false);
    w.done(by("ana"), Command::ActivatePolicy { policy: first });
    let second = published(&mut w, "ana", b"second", false);
    w.done(by("ana"), Command::ActivatePolicy { policy: second });
    for n in 0..2 * POLICIES_KEPT_MAX {
        published(&mut w, "ana", &n.to_be_bytes(), false);
    }
    assert_eq!(w.state.policies.len(), POLICIES_KEPT_MAX);
    w.done(by("ana"), Command::RollbackPolicy);
    assert_eq!(active(&w), Some(first));
    for id in w.state.policies.keys().copied().collect::<Vec<_>>() {
        w.done(by("ana"), Command::ActivatePolicy { policy: id });
    }
    assert!(w.state.cluster.policy.as_ref().is_some_and(|facts| facts.before.len() == POLICY_ROLLBACKS_MAX));
}

#[test]
fn where_two_people_are_demanded_nobody_is_both() {
    let mut w = world();
    let free = published(&mut w, "ben", b"free", false);
    w.done(by("ben"), Command::ActivatePolicy { policy: free });
    let own = published(&mut w, "ben", b"two people", true);
    let both = |rejection: &Rejection| assert!(matches!(rejection, Rejection::SeparationOfDuties { .. }), "{rejection:?}");
    both(&w.rejected(by("ben"), Command::ActivatePolicy { policy: own }));
    assert_eq!(active(&w), Some(free));
    w.done(by("eve"), Command::ActivatePolicy { policy: own });
    both(&w.rejected(by("ben"), Command::DeactivatePolicy));

    // The cluster's rule holds for every bundle; only a higher right changes it.
    forbidden(&w.rejected(by("ben"), Command::SetPolicyRule { two_people: true }));
    w.done(by("ana"), Command::SetPolicyRule { two_people: true });
    both(&w.rejected(by("ben"), Command::RollbackPolicy));
    w.done(by("eve"), Command::RollbackPolicy);
    assert_eq!(active(&w), Some(free));

    // An agent and its owner are one.
    w.grant(by("ana"), administration("cora", "assize:write on policy/*"));
    w.done(by("ana"), job_command("reports", "assize:write on policy/*"));
    w.grant(by("ana"), administration("bot", "assize:write on policy/*"));
    let of_agent = published(&mut w, "bot", b"an agent's", false);
    both(&w.rejected(by("cora"), Command::ActivatePolicy { policy: of_agent }));
    w.done(by("eve"), Command::ActivatePolicy { policy: of_agent });
}

#[test]
fn an_older_cluster_knows_no_policy() {
    let mut w = world();
    w.state.cluster.feature_level = 1;
    let refused = w.rejected(by("ana"), publish(b"one", false));
    assert_eq!(refused, Rejection::FeatureLevel { level: 1, needed: 2 });
}

#[test]
fn only_what_changes_the_rules_waits_for_every_node() {
    let narrows = [Command::ActivatePolicy { policy: PolicyId(1) }, Command::RollbackPolicy];
    assert!(narrows.iter().all(Command::is_narrowing));
    let widens = [publish(b"one", true), Command::DeactivatePolicy, Command::SetPolicyRule { two_people: true }];
    assert!(!widens.iter().any(Command::is_narrowing));
}
