//! Policies: published with their tests, activated by somebody else, told by `explain`.

use proto::admin as pb;
use tonic::Code;

use crate::world::{World, check_told};

type Policies<T> = pb::policies_client::PoliciesClient<T>;

/// A tar file with one module.
fn bundle(rego: &str, manifest: &str) -> Vec<u8> {
    let file = |path: &str, text: &str| (path.to_owned(), text.as_bytes().to_vec());
    let files = [file("operation.rego", rego), file(".manifest", manifest)];
    policy::Bundle::new(files).expect("a bundle").pack().expect("small").to_vec()
}

fn publish(bundle: Vec<u8>) -> pb::PublishPolicyRequest {
    pb::PublishPolicyRequest { bundle, ..Default::default() }
}

const GOOD: &str = "package assize.operation\n\ndeny contains \"no\" if \"delete\" in input.operation.verbs\n";

#[tokio::test]
async fn what_may_not_be_published_is_told_by_file_and_line() {
    let world = World::new().await;
    let mut admin = Policies::new(world.admin());
    let wrong = GOOD.replace("\"delete\" in", "time.now_ns() == ");
    let refused = admin.publish_policy(publish(bundle(&wrong, "{}"))).await.expect_err("refused");
    assert!(refused.message().contains("operation.rego:3") && refused.message().contains("time.now_ns"), "{refused:?}");
    check_told(admin.publish_policy(publish(b"no tar".to_vec())).await, Code::InvalidArgument, "INVALID", &["bundle"]);
    assert!(world.cluster().current().policies.is_empty());
}

#[tokio::test]
async fn one_person_publishes_and_another_activates() {
    let world = World::new().await;
    let mut admin = Policies::new(world.admin());
    let mut second = Policies::new(world.person("second", &["assize:read,write on policy/*"]).await);
    let mut reader = Policies::new(world.person("reader", &["assize:read on policy/*"]).await);
    let packed = bundle(GOOD, "{\"revision\": \"r1\", \"metadata\": {\"assize\": {\"two_people\": true}}}");
    check_told(reader.publish_policy(publish(packed.clone())).await, Code::PermissionDenied, "FORBIDDEN", &[]);
    let made = admin.publish_policy(publish(packed.clone())).await.expect("published").into_inner().policy.expect("a policy");
    assert_eq!((made.revision.as_str(), made.two_people, made.active, made.published_by.as_str()), ("r1", true, false, "admin"));

    let activate = pb::ActivatePolicyRequest { id: made.id.clone(), ..Default::default() };
    check_told(admin.activate_policy(activate.clone()).await, Code::PermissionDenied, "SEPARATION_OF_DUTIES", &[]);
    check_told(reader.activate_policy(activate.clone()).await, Code::PermissionDenied, "FORBIDDEN", &[]);
    let switched = second.activate_policy(activate).await.expect("activated").into_inner();
    assert_eq!(switched.active, made.id);
    assert!(switched.receipt.is_some(), "it waits until it is enforced");
    let listed = reader.list_policies(pb::ListPoliciesRequest::default()).await.expect("listed").into_inner();
    assert_eq!((listed.active.as_str(), listed.policies.len(), listed.before.as_str()), (made.id.as_str(), 1, ""));
    let found = reader.get_policy(pb::GetPolicyRequest::default()).await.expect("the active one").into_inner();
    assert_eq!(found.bundle, packed);

    let rule = |two_people| pb::SetPolicyRuleRequest { two_people, ..Default::default() };
    check_told(second.set_policy_rule(rule(true)).await, Code::PermissionDenied, "FORBIDDEN", &[]);
    admin.set_policy_rule(rule(true)).await.expect("by who may operate");
    check_told(admin.rollback_policy(pb::RollbackPolicyRequest::default()).await, Code::NotFound, "NOT_FOUND", &[]);
    let without = second.deactivate_policy(pb::DeactivatePolicyRequest::default()).await.expect("deactivated").into_inner();
    assert_eq!(without.active, "");
    let missing = pb::ActivatePolicyRequest { id: "policy-9999".into(), ..Default::default() };
    check_told(second.activate_policy(missing).await, Code::NotFound, "NOT_FOUND", &[]);
}
