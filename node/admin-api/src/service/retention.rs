use domain::command::{Command, Reply};
use domain::id::HoldId;
use domain::retention::RecordClass;
use proto::admin as pb;
use tonic::{Request, Response, Status};

use super::{Api, gone};
use crate::convert::fields::collect;
use crate::convert::retention::{hold, place, rule};

#[tonic::async_trait]
impl pb::retention_server::Retention for Api {
    async fn set_retention_rule(&self, request: Request<pb::SetRetentionRuleRequest>) -> Result<Response<pb::RetentionRule>, Status> {
        let (call, message) = self.enter(request)?;
        let asked = message.rule.unwrap_or_default();
        call.may(&asked.class)?;
        let (class, keep) = collect(|f| {
            let class = f.parse::<RecordClass>("rule.class", &asked.class);
            let keep = f.span("rule.keep", asked.keep.as_ref());
            Some((class?, keep?))
        })?;
        let done = call.submit(&message.request_id, "", Command::SetRetention { class, keep, reason: asked.reason }).await?;
        call.answer(&done.state, rule(class, &done.state))
    }

    async fn list_retention_rules(
        &self,
        request: Request<pb::ListRetentionRulesRequest>,
    ) -> Result<Response<pb::ListRetentionRulesResponse>, Status> {
        let (call, pb::ListRetentionRulesRequest {}) = self.enter(request)?;
        let state = call.may("*")?;
        let rules = RecordClass::ALL.into_iter().map(|class| rule(class, &state)).collect();
        call.answer(&state, pb::ListRetentionRulesResponse { rules })
    }

    async fn create_hold(&self, request: Request<pb::CreateHoldRequest>) -> Result<Response<pb::LegalHold>, Status> {
        let (call, message) = self.enter(request)?;
        call.may("*")?;
        let command = collect(|f| place(f, message.hold.unwrap_or_default(), message.everything))?;
        let done = call.submit(&message.request_id, "", command).await?;
        let Reply::Done { version } = done.reply else { return Err(gone("the hold")) };
        let made = done.state.holds.get(&HoldId(version.0)).ok_or_else(|| gone("the hold"))?;
        call.answer(&done.state, hold(made))
    }

    async fn list_holds(&self, request: Request<pb::ListHoldsRequest>) -> Result<Response<pb::ListHoldsResponse>, Status> {
        let (call, pb::ListHoldsRequest {}) = self.enter(request)?;
        let state = call.may("*")?;
        // Bounded by the state itself: there is no second page.
        call.answer(&state, pb::ListHoldsResponse { holds: state.holds.values().map(hold).collect() })
    }

    async fn release_hold(&self, request: Request<pb::ReleaseHoldRequest>) -> Result<Response<pb::ReleaseHoldResponse>, Status> {
        let (call, message) = self.enter(request)?;
        call.may("*")?;
        let hold = collect(|f| f.parse::<HoldId>("id", &message.id))?;
        let done = call.submit(&message.request_id, "", Command::ReleaseHold { hold, reason: message.reason }).await?;
        call.answer(&done.state, pb::ReleaseHoldResponse {})
    }
}
