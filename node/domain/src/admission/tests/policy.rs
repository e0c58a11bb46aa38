//! What an active policy does to admissions and verdicts: it only takes away.

use std::sync::Mutex;
use std::time::Duration;

use super::*;
use crate::command::{Command, Rejection, Reply};
use crate::id::{PolicyId, RequestId};
use crate::policy::{AskedUnder, AtAdmission, Hold, Obligation, OnOperation, Policy, Rules, Ruling};
use crate::request::Ask;

const READ: &str = "postgres:select on app.public.orders";
const DELETE: &str = "postgres:delete on app.public.orders";

/// Says what it was told to say.
#[derive(Default)]
struct Told {
    admission: Mutex<Ruling>,
    operation: Mutex<Ruling>,
}

impl Rules for Told {
    fn at_admission(&self, _: &Policy, _: &AtAdmission<'_>) -> Ruling {
        self.admission.lock().expect("not poisoned").clone()
    }

    fn on_operation(&self, _: &Policy, _: &OnOperation<'_>) -> Ruling {
        self.operation.lock().expect("not poisoned").clone()
    }

    fn judges_operations(&self, _: &Policy) -> bool {
        true
    }
}

fn hold(approvers: &[&str], approvals: u32) -> Hold {
    Hold { reason: "people look at this".into(), approvers: names(approvers), approvals }
}

fn activated(w: &mut World, bundle: &[u8]) -> PolicyId {
    let policy = PolicyId(w.done(by("ana"), publish(bundle, false)).0);
    w.done(by("ana"), Command::ActivatePolicy { policy });
    policy
}

fn permit(w: &World, rules: &Told) -> Permit {
    admit(&w.state, &attempt("bot", "orders"), w.state.now, rules).permit.expect("admitted")
}

fn judge(w: &World, permit: &Permit, accesses: &str, rules: &Told) -> Judgement {
    permit.judge(&w.state, &operation(accesses), &digest(1), w.state.now, rules)
}

/// bot asks for what `judgement` holds.
fn opened(w: &mut World, judgement: &Judgement) -> RequestId {
    let Ask::Exact { digest, statement, parameters, context, missing, job_version, target_version, .. } = w.exact("bot", digest(1)) else {
        unreachable!("exact")
    };
    let under = judgement.under.clone();
    let ask = Ask::Exact { digest, statement, parameters, context, missing, job_version, target_version, under };
    w.request(node(1), request_command("bot", ask)).0
}

#[test]
fn without_rules_an_active_policy_refuses_everything() {
    let mut w = World::new();
    let before = w.admit("bot", "orders").permit.expect("admitted");
    let policy = activated(&mut w, b"bundle");
    let admission = w.admit("bot", "orders");
    assert!(matches!(admission.outcome, Outcome::Revoked(Refusal::Policy { policy: by, .. }) if by == policy));
    assert_eq!(admission.cited.policy, Some(policy));
    assert!(!before.is_current(&w.state), "who was admitted before is looked at again");
    assert!(matches!(before.renew(&w.state, w.state.now, &NoRules), Err(Refusal::Policy { .. })));
    w.done(by("ana"), Command::DeactivatePolicy);
    assert!(w.admit("bot", "orders").permit.is_some());
}

#[test]
fn every_switch_makes_permits_out_of_date() {
    let mut w = World::new();
    let rules = Told::default();
    let mut p = permit(&w, &rules);
    let second = {
        activated(&mut w, b"one");
        activated(&mut w, b"two")
    };
    for command in [Command::RollbackPolicy, Command::ActivatePolicy { policy: second }, Command::DeactivatePolicy] {
        assert!(!p.is_current(&w.state));
        p = permit(&w, &rules);
        assert!(p.is_current(&w.state));
        assert_eq!(p.policy(), w.state.active_policy().map(|policy| policy.id));
        w.done(by("ana"), command);
    }
    assert!(!p.is_current(&w.state));
}

#[test]
fn a_policy_never_widens() {
    let mut w = World::new();
    activated(&mut w, b"bundle");
    let rules = Told::default();
    let p = permit(&w, &rules);
    assert!(matches!(judge(&w, &p, DELETE, &rules).verdict, Verdict::Hold { missing } if missing.len() == 1), "it has nothing to say");
    *rules.operation.lock().expect("not poisoned") =
        Ruling { refuse: None, hold: None, obligations: vec![Obligation::Note("fine by me".into())] };
    let judgement = judge(&w, &p, DELETE, &rules);
    assert!(matches!(judgement.verdict, Verdict::Hold { .. }));
    assert_eq!(judgement.notes, ["fine by me"]);
    assert!(admit(&w.state, &attempt("fay", "orders"), w.state.now, &rules).permit.is_none(), "no grant, no access");
}

#[test]
fn it_refuses_what_is_granted_and_says_why() {
    let mut w = World::new();
    let policy = activated(&mut w, b"bundle");
    let rules = Told::default();
    let p = permit(&w, &rules);
    let allowed = judge(&w, &p, READ, &rules);
    assert!(matches!(allowed.verdict, Verdict::Allow { .. }));
    assert!(!allowed.keeps, "the next one may be judged otherwise");
    *rules.operation.lock().expect("not poisoned") = Ruling::refused("not on Sundays");
    let refused = Verdict::Refuse(Refusal::Policy { policy, reason: "not on Sundays".into() });
    assert_eq!(judge(&w, &p, READ, &rules).verdict, refused);
    assert_eq!(judge(&w, &p, DELETE, &rules).verdict, refused, "nobody is asked for what is refused anyway");
    let nothing = Operation { accesses: [].into(), ..operation(READ) };
    let end = p.judge(&w.state, &nothing, &digest(1), w.state.now, &rules);
    assert!(matches!(end.verdict, Verdict::Allow { .. }), "a transaction can always end");
}

#[test]
fn what_it_holds_goes_on_with_the_approvals_it_demands() {
    let mut w = World::new();
    activated(&mut w, b"bundle");
    let rules = Told::default();
    *rules.operation.lock().expect("not poisoned") = Ruling { hold: Some(hold(&["ben"], 1)), ..Ruling::default() };
    let p = permit(&w, &rules);
    let held = judge(&w, &p, READ, &rules);
    assert!(matches!(&held.verdict, Verdict::Hold { missing } if missing.len() == 1), "the approver sees what it does");
    let request = opened(&mut w, &held);
    let refused = w.rejected(by("eve"), decide(request, true));
    assert!(matches!(refused, Rejection::Forbidden { .. }), "{refused:?}");
    w.done(by("ben"), decide(request, true));
    assert_eq!(judge(&w, &p, READ, &rules).verdict, Verdict::AllowByApproval { request });

    // It is judged again before the approval is spent: a policy that says no now is heard.
    *rules.operation.lock().expect("not poisoned") = Ruling::refused("changed its mind");
    assert!(matches!(judge(&w, &p, READ, &rules).verdict, Verdict::Refuse(_)));
    *rules.operation.lock().expect("not poisoned") = Ruling { hold: Some(hold(&["ben"], 2)), ..Ruling::default() };
    assert!(matches!(judge(&w, &p, READ, &rules).verdict, Verdict::Hold { .. }), "more is demanded than was given");
    *rules.operation.lock().expect("not poisoned") = Ruling { hold: Some(hold(&["eve"], 1)), ..Ruling::default() };
    assert!(matches!(judge(&w, &p, READ, &rules).verdict, Verdict::Hold { .. }), "others are demanded");
}

#[test]
fn an_approval_is_for_one_version_of_the_policy() {
    let mut w = World::new();
    activated(&mut w, b"one");
    let rules = Told::default();
    let p = permit(&w, &rules);
    let held = judge(&w, &p, DELETE, &rules);
    let request = opened(&mut w, &held);
    w.done(by("ben"), decide(request, true));
    assert_eq!(judge(&w, &p, DELETE, &rules).verdict, Verdict::AllowByApproval { request });
    activated(&mut w, b"two");
    let p = permit(&w, &rules);
    assert!(matches!(judge(&w, &p, DELETE, &rules).verdict, Verdict::Hold { .. }));
    let spend = Command::SpendApproval { request, digest: digest(1), by: operation_id(1, 1) };
    let spent = w.rejected(node(1), spend);
    assert!(matches!(spent, Rejection::NotOpen { .. }), "{spent:?}");
    w.done(by("ana"), Command::DeactivatePolicy);
    let free = admit(&w.state, &attempt("bot", "orders"), w.state.now, &NoRules).permit.expect("admitted");
    let without = free.judge(&w.state, &operation(DELETE), &digest(1), w.state.now, &NoRules);
    assert_eq!(without.under, None);
    assert!(matches!(without.verdict, Verdict::Hold { .. }), "nor for doing without");
}

#[test]
fn the_target_and_the_policy_demand_the_larger_number() {
    let mut w = World::new();
    activated(&mut w, b"one");
    let rules = Told::default();
    *rules.operation.lock().expect("not poisoned") = Ruling { hold: Some(hold(&[], 2)), ..Ruling::default() };
    let p = permit(&w, &rules);
    let held = judge(&w, &p, READ, &rules);
    let request = opened(&mut w, &held);
    w.done(by("ben"), decide(request, true));
    assert!(matches!(judge(&w, &p, READ, &rules).verdict, Verdict::Hold { .. }));
    w.done(by("eve"), decide(request, true));
    assert_eq!(judge(&w, &p, READ, &rules).verdict, Verdict::AllowByApproval { request });
    let spend = Command::SpendApproval { request, digest: digest(1), by: operation_id(1, 1) };
    assert_eq!(w.apply("spend", node(1), spend).reply, Reply::Spent);
}

#[test]
fn a_session_held_as_a_whole_may_be_set_up() {
    let mut w = World::new();
    w.done(by("ana"), job_command("reports", "postgres:select,session on *.*.*"));
    w.grant(by("ana"), grant_command("bot", "orders", "postgres:session on *.*.*"));
    activated(&mut w, b"one");
    let rules = Told::default();
    *rules.admission.lock().expect("not poisoned") = Ruling { hold: Some(hold(&["ben"], 1)), ..Ruling::default() };
    *rules.operation.lock().expect("not poisoned") = Ruling { hold: Some(hold(&["eve"], 2)), ..Ruling::default() };
    let p = permit(&w, &rules);
    let held = judge(&w, &p, READ, &rules).under.and_then(|AskedUnder { hold, .. }| hold).expect("held");
    assert_eq!(held.approvals, 2);
    assert!(
        !held.approvers.contains(&name("ben")) && !held.approvers.contains(&name("eve")) && !held.approvers.is_empty(),
        "nobody is both"
    );
    *rules.operation.lock().expect("not poisoned") = Ruling::default();
    assert!(matches!(judge(&w, &p, READ, &rules).verdict, Verdict::Hold { .. }));
    assert!(matches!(judge(&w, &p, "postgres:session on app.setting.work_mem", &rules).verdict, Verdict::Allow { .. }));
}

#[test]
fn obligations_at_an_admission_bind_its_permit() {
    let mut w = World::new();
    activated(&mut w, b"one");
    let rules = Told::default();
    let obligations = vec![
        Obligation::Strict,
        Obligation::ReviewAgain(Duration::from_secs(600)),
        Obligation::ReviewAgain(Duration::from_secs(60)),
        Obligation::Note("watched".into()),
    ];
    *rules.admission.lock().expect("not poisoned") = Ruling { obligations, ..Ruling::default() };
    let admission = admit(&w.state, &attempt("bot", "orders"), w.state.now, &rules);
    assert_eq!(admission.notes, ["watched"]);
    let p = admission.permit.expect("admitted");
    assert!(p.strict());
    assert_eq!(p.valid_until(), Some(w.state.now.after(Duration::from_secs(60))));
}
