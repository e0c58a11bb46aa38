use domain::command::{Actor, Command, Expect, is_known};
use domain::id::Name;
use domain::review::trigger::Finding;
use domain::target::Target;
use proto::admin as pb;
use tonic::{Request, Response, Status};

use super::{Api, Ask, gone};
use crate::call::{Call, fresh_id};
use crate::control::Checked;
use crate::convert;
use crate::convert::fields::collect;
use crate::convert::target::{put, to_wire};
use crate::limits;

#[tonic::async_trait]
impl pb::targets_server::Targets for Api {
    async fn create_target(&self, request: Request<pb::CreateTargetRequest>) -> Result<Response<pb::Target>, Status> {
        let (call, message) = self.enter(request)?;
        let target = message.target.unwrap_or_default();
        call.may(&target.name)?;
        let name = collect(|f| f.parse::<Name>("target.name", &target.name))?;
        let command = collect(|f| put(f, target, Some(Expect::Absent)))?;
        let done = call.submit(&message.request_id, "target", command).await?;
        let made = done.state.targets.get(&name).ok_or_else(|| gone(&name))?;
        call.answer(&done.state, to_wire(made))
    }

    async fn get_target(&self, request: Request<pb::GetTargetRequest>) -> Result<Response<pb::Target>, Status> {
        let (call, message) = self.enter(request)?;
        let state = call.may(&message.name)?;
        let name = collect(|f| f.parse::<Name>("name", &message.name))?;
        let found = state.targets.get(&name).ok_or_else(|| gone(&name))?;
        call.answer(&state, to_wire(found))
    }

    async fn list_targets(&self, request: Request<pb::ListTargetsRequest>) -> Result<Response<pb::ListTargetsResponse>, Status> {
        let (call, message) = self.enter(request)?;
        let state = call.unfiltered();
        let labelled = |target: &&Target| message.labels.iter().all(|(k, v)| target.labels.get(k) == Some(v));
        let seen = call.visible(state.targets.values().filter(labelled).collect(), |target| target.name.to_string())?;
        let ask = Ask { size: message.page_size, token: &message.page_token, filter: format!("{:?}", message.labels) };
        let (page, next_page_token) = self.page(&call, &ask, seen, |target| target.name.to_string())?;
        call.answer(&state, pb::ListTargetsResponse { targets: page.into_iter().map(to_wire).collect(), next_page_token })
    }

    async fn update_target(&self, request: Request<pb::UpdateTargetRequest>) -> Result<Response<pb::UpdateTargetResponse>, Status> {
        let (call, message) = self.enter(request)?;
        let target = message.target.unwrap_or_default();
        call.may(&target.name)?;
        let name = collect(|f| f.parse::<Name>("target.name", &target.name))?;
        let command = collect(|f| {
            let expect = f.etag("target.etag", &target.etag);
            put(f, target, expect)
        })?;
        let done = call.submit(&message.request_id, "target", command).await?;
        let target = done.state.targets.get(&name).map(to_wire);
        call.answer(&done.state, pb::UpdateTargetResponse { target, receipt: done.receipt })
    }

    async fn delete_target(&self, request: Request<pb::DeleteTargetRequest>) -> Result<Response<pb::DeleteTargetResponse>, Status> {
        let (call, message) = self.enter(request)?;
        call.may(&message.name)?;
        let command = collect(|f| {
            let name = f.parse("name", &message.name);
            let expect = f.etag_optional("etag", &message.etag);
            Some(Command::DeleteTarget { name: name?, expect: expect? })
        })?;
        let done = call.submit(&message.request_id, "", command).await?;
        call.answer(&done.state, pb::DeleteTargetResponse { receipt: done.receipt })
    }

    async fn check_target(&self, request: Request<pb::CheckTargetRequest>) -> Result<Response<pb::CheckTargetResponse>, Status> {
        let (call, message) = self.enter(request)?;
        let state = call.may(&message.name)?;
        let name = collect(|f| f.parse::<Name>("name", &message.name))?;
        let target = state.targets.get(&name).ok_or_else(|| gone(&name))?;
        let dial = self.0.dial.check(target, state.credentials.get(&target.credential));
        let late = |_| Checked { steps: vec![too_long()], findings: Vec::new() };
        let Checked { steps, findings } = tokio::time::timeout(limits::CHECK_DEADLINE, dial).await.unwrap_or_else(late);
        let reachable = !steps.is_empty() && steps.iter().all(|step| step.passed);
        let told: Vec<String> = findings.iter().map(|f| format!("{} {}: {}", f.severity, f.code, f.finding)).collect();
        self.0.dial.record(call.me(), &name, reachable, &told);
        if reachable {
            report(&call, &name, convert::trigger::findings(&findings)).await;
        }
        call.answer(&state, pb::CheckTargetResponse { reachable, node: call.control().node().0, steps, findings })
    }
}

/// Has the cluster know what a check found, where it is not what the check before found. Reviews may open because of it.
async fn report(call: &Call, target: &Name, findings: Vec<Finding>) {
    let (control, state) = (call.control(), call.control().state());
    let command = Command::ReportFindings { target: target.clone(), findings };
    let same = matches!(&command, Command::ReportFindings { findings, .. }
        if state.findings.get(target).map_or(findings.is_empty(), |known| known.findings == *findings));
    if same || !is_known(&state, &command) {
        return;
    }
    if let Err(error) = control.propose(fresh_id(), Actor::Node(control.node()), command).await {
        tracing::warn!(%target, %error, "what the check found is told to nobody but the caller and the record");
    }
}

fn too_long() -> pb::CheckStep {
    pb::CheckStep { step: "deadline".into(), passed: false, finding: format!("no answer within {:?}", limits::CHECK_DEADLINE), took: None }
}
