//! Who could reach what at a time: the control log replayed up to it.

use domain::admission::Outcome;
use domain::admission::reach::{Reach, reach_of};
use domain::audit::checkpoint::CONTROL_LOG;
use domain::audit::leaf::ControlLeaf;
use domain::audit::replay::Replay;
use domain::grant::GrantSource;
use domain::id::Name;
use domain::state::State;
use domain::time::LogTime;
use proto::admin as pb;
use tokio::sync::Semaphore;
use tonic::{Request, Response, Status};

use super::Api;
use crate::convert::fields::collect;
use crate::convert::refusal::in_words;
use crate::convert::{grant, lock, permissions, request, text, timestamp};
use crate::{failure, limits};

/// A replay holds a second control state in memory and a thread for a while.
static REPLAYS: Semaphore = Semaphore::const_new(limits::REPLAYS_AT_ONCE);

impl Api {
    pub(super) async fn access_at(&self, asked: Request<pb::ListAccessRequest>) -> Result<Response<pb::ListAccessResponse>, Status> {
        let (call, message) = self.enter(asked)?;
        let current = call.may("*")?;
        let (time, principal, target) = collect(|f| {
            let time = f.time("time", message.time.as_ref());
            let principal = f.parse_optional::<Name>("principal", &message.principal);
            let target = f.parse_optional::<Name>("target", &message.target);
            Some((time?, principal?, target?))
        })?;
        let now = call.now();
        let at = time.unwrap_or(now);
        if at > now {
            return Err(failure::invalid_field("time", "lies after the log time of now"));
        }
        let _one = REPLAYS.acquire().await.map_err(|_| failure::not_found("a replay"))?;
        let (state, index, records) = self.state_at(at).await?;
        let principals: Vec<Name> = match principal {
            Some(name) => vec![name],
            None => state.principals.keys().cloned().collect(),
        };
        let mut reached = Vec::new();
        for name in &principals {
            reached.extend(
                reach_of(&state, name, target.as_ref(), at, call.control().rules()).into_iter().map(|reach| to_wire(&state, reach, at)),
            );
            tokio::task::yield_now().await;
        }
        let locks = state.locks.values().filter(|lock| lock.is_live(at)).map(|found| lock::to_wire(found, at)).collect();
        let answer = pb::ListAccessResponse { time: Some(timestamp(at)), index, records, reached, locks };
        call.answer(&current, answer)
    }

    /// The state at `at`, the control index it stood at, and how many leaves were replayed.
    async fn state_at(&self, at: LogTime) -> Result<(State, u64, u64), Status> {
        let audit = &self.0.audit;
        let size = audit.size(CONTROL_LOG).map_err(|e| failure::control(&e))?;
        let mut replay = Replay::new(at);
        let mut next = 0;
        'log: while next < size {
            let leaves = audit.read(CONTROL_LOG, next, limits::AUDIT_BATCH).await.map_err(|e| failure::control(&e))?;
            if leaves.is_empty() {
                return Err(failure::not_found(&format!("record {next} of {CONTROL_LOG}")));
            }
            for leaf in leaves {
                next = leaf.number + 1;
                let decoded = ControlLeaf::decode(&leaf.bytes).map_err(|e| cannot_tell(leaf.number, &e))?;
                if !replay.follow(&decoded).map_err(|e| cannot_tell(leaf.number, &e))? {
                    break 'log;
                }
            }
            tokio::task::yield_now().await;
        }
        let records = replay.leaves();
        let (state, index) = replay.finish();
        Ok((state, index.0, records))
    }
}

fn cannot_tell(number: u64, why: &dyn std::fmt::Display) -> Status {
    Status::failed_precondition(format!("the past cannot be told beyond record {number} of {CONTROL_LOG}: {why}"))
}

fn to_wire(state: &State, reach: Reach, at: LogTime) -> pb::ReachedTarget {
    let (outcome, reasons) = match &reach.outcome {
        Outcome::Approved => ("approved", vec![]),
        Outcome::Modified { dropped } => ("modified", dropped.iter().map(|what| format!("granted, but outside the job: {what}")).collect()),
        Outcome::Revoked(refusal) => ("revoked", vec![in_words(refusal)]),
    };
    let grants = reach.grants.iter().filter_map(|(id, gave)| {
        let found = state.grants.get(id)?;
        let asked = match found.source {
            GrantSource::Request(request) => state.requests.get(&request),
            GrantSource::Baseline | GrantSource::Declared | GrantSource::Review(_) | GrantSource::BreakGlass(_) => None,
        };
        Some(pb::ReachedBy { grant: Some(grant::to_wire(found, at)), permissions: permissions(gave), request: asked.map(request::to_wire) })
    });
    let who = state.principals.get(&reach.principal);
    pb::ReachedTarget {
        principal: reach.principal.to_string(),
        target: reach.target.as_ref().map_or_else(|| "assize".into(), ToString::to_string),
        outcome: outcome.into(),
        reasons,
        owner: text(who.and_then(|who| who.owner())),
        job: text(who.and_then(|who| who.job())),
        job_version: state.job_of(&reach.principal).map_or(0, |job| job.version.0),
        grants: grants.collect(),
    }
}
