use std::collections::BTreeMap;

use domain::audit::checkpoint::CONTROL_LOG;
use domain::audit::record;
use domain::audit::run::{Run, Session, Teller};
use domain::id::{Name, RunId};
use domain::time::LogTime;
use proto::admin as pb;
use tonic::{Request, Response, Status};

use super::Api;
use crate::call::Call;
use crate::convert::fields::collect;
use crate::convert::timestamp;
use crate::{failure, limits};
use domain::escape::show;

#[tonic::async_trait]
impl pb::runs_server::Runs for Api {
    async fn get_run(&self, request: Request<pb::GetRunRequest>) -> Result<Response<pb::GetRunResponse>, Status> {
        let (call, message) = self.enter(request)?;
        let (run, principal, since) = collect(|f| {
            let run = f.parse::<RunId>("run", &message.run);
            let principal = f.parse_optional::<Name>("principal", &message.principal);
            let since = f.time("since", message.since.as_ref());
            Some((run?, principal?, since?))
        })?;
        // Without the right to all runs there is nothing to look for but the caller's own: the log is read for no other.
        let principal = match principal {
            Some(name) => {
                call.may_or_self(name.as_str(), name.as_str())?;
                Some(name)
            }
            None if call.may("*").is_ok() => None,
            None => Some(call.me().clone()),
        };
        let (told, cut) = self.tell(run.clone(), since).await?;
        let mine = told.into_iter().filter(|(who, _)| principal.as_ref().is_none_or(|name| name.as_str() == who));
        let runs: Vec<pb::Run> = mine.map(|(who, story)| to_wire(&run, &who, &story)).collect();
        if runs.is_empty() {
            return Err(failure::not_found(&format!("a record of the run {run}")));
        }
        answer(&call, pb::GetRunResponse { runs, cut })
    }
}

fn answer(call: &Call, response: pb::GetRunResponse) -> Result<Response<pb::GetRunResponse>, Status> {
    call.answer(&call.unfiltered(), response)
}

impl Api {
    /// The runs of this name by principal, and whether the log is longer than was read.
    async fn tell(&self, run: RunId, since: Option<LogTime>) -> Result<(BTreeMap<String, Run>, bool), Status> {
        let audit = &self.0.audit;
        let mut teller = Teller::new(run);
        let mut seen = 0;
        for log in audit.logs().into_iter().filter(|log| log != CONTROL_LOG) {
            let mut next = 0;
            loop {
                let leaves = audit.read(&log, next, limits::AUDIT_BATCH).await.map_err(|e| failure::control(&e))?;
                let Some(last) = leaves.last() else { break };
                (next, seen) = (last.number + 1, seen + leaves.len() as u64);
                for leaf in &leaves {
                    if !teller.may_concern(&leaf.bytes) {
                        continue;
                    }
                    // What a later version wrote is no part of a story that this one can tell.
                    let Ok(record) = record::decode(&leaf.bytes) else { continue };
                    if since.is_none_or(|since| record.time >= since.0) {
                        teller.hear(&record);
                    }
                }
                if seen >= limits::QUERY_SCAN_MAX {
                    return Ok((teller.told(), true));
                }
            }
        }
        Ok((teller.told(), false))
    }
}

fn to_wire(run: &RunId, principal: &str, story: &Run) -> pb::Run {
    let operations = story.operations;
    pb::Run {
        run: run.to_string(),
        principal: show(principal).text,
        first: Some(timestamp(story.first)),
        last: Some(timestamp(story.last)),
        approved: story.reviewed.approved,
        modified: story.reviewed.modified,
        revoked: story.reviewed.revoked,
        sessions: story.sessions.iter().map(session).collect(),
        sessions_left_out: story.sessions_left_out,
        operations: Some(pb::RunOperations {
            allowed: operations.allowed,
            approved: operations.approved,
            held: operations.held,
            refused: operations.refused,
            failed: operations.failed,
            unknown: operations.unknown,
            rows: operations.rows,
        }),
        requests: story.requests.iter().map(ToString::to_string).collect(),
        requests_left_out: story.requests_left_out,
    }
}

fn session(session: &Session) -> pb::RunSession {
    let ended = session.ended.as_ref();
    let outcome = match session.outcome {
        1 => "approved",
        2 => "modified",
        _ => "revoked",
    };
    let by = |code| match code {
        1 => "client",
        2 => "upstream",
        3 => "policy",
        _ => "us",
    };
    pb::RunSession {
        id: session.id.map(|id| id.to_string()).unwrap_or_default(),
        node: session.id.map(|id| id.node.0).unwrap_or_default(),
        target: show(&session.target).text,
        started: Some(timestamp(session.started)),
        outcome: outcome.into(),
        why: session.why.iter().map(|why| show(why).text).collect(),
        index: session.state,
        ended: ended.map(|ended| timestamp(ended.at)),
        ended_by: ended.map(|ended| by(ended.by).to_owned()).unwrap_or_default(),
        reason: ended.map(|ended| show(&ended.reason).text).unwrap_or_default(),
    }
}
