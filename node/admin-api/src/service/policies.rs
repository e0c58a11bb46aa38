use ::policy::{Bundle, check};
use domain::command::{Command, Reply};
use domain::id::PolicyId;
use domain::policy::Policy;
use domain::state::State;
use proto::admin as pb;
use proto::error::FieldError;
use tonic::{Request, Response, Status};

use super::{Api, Ask, gone, numbered};
use crate::call::{Applied, Call};
use crate::convert::fields::collect;
use crate::convert::{text, timestamp};
use crate::failure;

/// Faults of a bundle named in one answer.
const FAULTS_TOLD_MAX: usize = 32;

#[tonic::async_trait]
impl pb::policies_server::Policies for Api {
    async fn publish_policy(&self, request: Request<pb::PublishPolicyRequest>) -> Result<Response<pb::PublishPolicyResponse>, Status> {
        let (call, message) = self.enter(request)?;
        call.may("*")?;
        // Compiling and testing takes as long as the bundle wants, within its limits.
        let looked_at = tokio::task::spawn_blocking(move || look_at(&message.bundle)).await;
        let (command, tests) = looked_at.map_err(|_| failure::invalid_field("bundle", "could not be checked"))??;
        let done = call.submit(&message.request_id, "", command).await?;
        let Reply::Done { version } = done.reply else { return Err(gone("the policy")) };
        let found = done.state.policies.get(&PolicyId(version.0)).ok_or_else(|| gone(PolicyId(version.0)))?;
        let policy = Some(to_wire(&done.state, found));
        call.answer(&done.state, pb::PublishPolicyResponse { policy, tests })
    }

    async fn get_policy(&self, request: Request<pb::GetPolicyRequest>) -> Result<Response<pb::Policy>, Status> {
        let (call, message) = self.enter(request)?;
        let state = call.may("*")?;
        let found = match message.id.as_str() {
            "" => state.active_policy().ok_or_else(|| gone("an active policy"))?,
            id => find(&state, id)?,
        };
        call.answer(&state, pb::Policy { bundle: found.bundle.to_vec(), ..to_wire(&state, found) })
    }

    async fn list_policies(&self, request: Request<pb::ListPoliciesRequest>) -> Result<Response<pb::ListPoliciesResponse>, Status> {
        let (call, message) = self.enter(request)?;
        let state = call.may("*")?;
        let ask = Ask { size: message.page_size, token: &message.page_token, filter: String::new() };
        let (page, next_page_token) = self.page(&call, &ask, state.policies.values().collect(), |policy| numbered(policy.id.0))?;
        let policies = page.into_iter().map(|policy| to_wire(&state, policy)).collect();
        let facts = state.cluster.policy.clone().unwrap_or_default();
        let (active, before) = (text(facts.active.as_ref()), text(facts.before.last()));
        call.answer(&state, pb::ListPoliciesResponse { policies, next_page_token, active, before, two_people: facts.two_people })
    }

    async fn activate_policy(&self, request: Request<pb::ActivatePolicyRequest>) -> Result<Response<pb::SwitchPolicyResponse>, Status> {
        let (call, message) = self.enter(request)?;
        let state = call.may("*")?;
        let policy = find(&state, &message.id)?.id;
        let done = call.submit(&message.request_id, "", Command::ActivatePolicy { policy }).await?;
        switched(&call, done)
    }

    async fn rollback_policy(&self, request: Request<pb::RollbackPolicyRequest>) -> Result<Response<pb::SwitchPolicyResponse>, Status> {
        let (call, message) = self.enter(request)?;
        call.may("*")?;
        let done = call.submit(&message.request_id, "", Command::RollbackPolicy).await?;
        switched(&call, done)
    }

    async fn deactivate_policy(&self, request: Request<pb::DeactivatePolicyRequest>) -> Result<Response<pb::SwitchPolicyResponse>, Status> {
        let (call, message) = self.enter(request)?;
        call.may("*")?;
        let done = call.submit(&message.request_id, "", Command::DeactivatePolicy).await?;
        switched(&call, done)
    }

    async fn set_policy_rule(&self, request: Request<pb::SetPolicyRuleRequest>) -> Result<Response<pb::SetPolicyRuleResponse>, Status> {
        let (call, message) = self.enter(request)?;
        call.may("*")?;
        let done = call.submit(&message.request_id, "", Command::SetPolicyRule { two_people: message.two_people }).await?;
        call.answer(&done.state, pb::SetPolicyRuleResponse {})
    }
}

/// What is proposed is packed anew: one content, one digest, whoever made the file.
fn look_at(bytes: &[u8]) -> Result<(Command, Vec<pb::PolicyTest>), Status> {
    let told = |fault: &::policy::Fault| FieldError { field: "bundle".into(), message: fault.to_string() };
    let one = |fault: ::policy::Fault| failure::invalid(&[told(&fault)]);
    let bundle = Bundle::unpack(bytes).map_err(one)?;
    let checked = check(&bundle).map_err(|faults| failure::invalid(&faults.iter().take(FAULTS_TOLD_MAX).map(told).collect::<Vec<_>>()))?;
    let packed = bundle.pack().map_err(one)?;
    let digest = Bundle::digest(&packed);
    let tests = checked.tests.into_iter().map(|test| pb::PolicyTest { name: test.name, file: test.file }).collect();
    Ok((Command::PublishPolicy { bundle: packed, digest, revision: checked.revision, two_people: checked.two_people }, tests))
}

fn find<'a>(state: &'a State, id: &str) -> Result<&'a Policy, Status> {
    let id = collect(|f| f.parse::<PolicyId>("id", id))?;
    state.policies.get(&id).ok_or_else(|| gone(id))
}

fn switched(call: &Call, done: Applied) -> Result<Response<pb::SwitchPolicyResponse>, Status> {
    let active = text(done.state.active_policy().map(|policy| &policy.id));
    call.answer(&done.state, pb::SwitchPolicyResponse { active, receipt: done.receipt })
}

fn to_wire(state: &State, policy: &Policy) -> pb::Policy {
    pb::Policy {
        id: policy.id.to_string(),
        revision: policy.revision.clone(),
        digest: policy.digest.to_string(),
        two_people: policy.two_people,
        published_by: policy.published_by.to_string(),
        published: Some(timestamp(policy.published)),
        active: state.active_policy().is_some_and(|active| active.id == policy.id),
        size: policy.bundle.len() as u64,
        bundle: Vec::new(),
    }
}
