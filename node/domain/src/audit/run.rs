//! The story of a run, told from the audit log: its sessions on all nodes, what was asked, decided and done in them.
//!
//! A run is no replicated state. Every record of its sessions names it, so the log tells the whole of it, to whoever
//! verifies the log as well as to the operator; and admitting a session asks nobody whether the run is known.

use std::collections::{BTreeMap, BTreeSet};

use super::record::stored::{Admission, Intent, Kind, Record};
use crate::id::{RequestId, RunId, SessionId};
use crate::time::LogTime;

/// Sessions told of one by one; further ones are counted. A loop that opens more than these has lost its way.
pub const SESSIONS_TOLD_MAX: usize = 1000;
/// Requests named; further ones are counted.
pub const REQUESTS_TOLD_MAX: usize = 1000;

/// Tells the runs of one name: one a principal.
#[derive(Debug, Clone)]
pub struct Teller {
    run: RunId,
    runs: BTreeMap<String, Run>,
    /// Whose a session is: its later records name the session only.
    principals: BTreeMap<SessionId, String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Run {
    pub first: LogTime,
    pub last: LogTime,
    pub reviewed: Reviewed,
    /// In the order they were admitted.
    pub sessions: Vec<Session>,
    pub sessions_left_out: u64,
    pub operations: Operations,
    pub requests: BTreeSet<RequestId>,
    pub requests_left_out: u64,
}

/// Outcomes of the admission reviews of a run's attempts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Reviewed {
    pub approved: u64,
    pub modified: u64,
    pub revoked: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Session {
    pub id: Option<SessionId>,
    pub target: String,
    pub started: LogTime,
    /// As [`Admission::outcome`].
    pub outcome: u32,
    /// What was granted but outside the job, or why it was refused.
    pub why: Vec<String>,
    /// The control index the review read.
    pub state: u64,
    pub ended: Option<Ended>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    pub at: LogTime,
    /// As [`super::record::stored::SessionEnd::by`].
    pub by: u32,
    pub reason: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Operations {
    pub allowed: u64,
    /// Of those allowed, by an approval.
    pub approved: u64,
    pub held: u64,
    pub refused: u64,
    pub failed: u64,
    pub unknown: u64,
    pub rows: u64,
}

impl Teller {
    pub fn new(run: RunId) -> Teller {
        Teller { run, runs: BTreeMap::new(), principals: BTreeMap::new() }
    }

    /// Could this leaf be a record of the run? Cheaper than decoding it: `false` is certain.
    pub fn may_concern(&self, leaf: &[u8]) -> bool {
        let name = self.run.as_str().as_bytes();
        leaf.windows(name.len()).any(|window| window == name)
    }

    /// The next record of the log.
    pub fn hear(&mut self, record: &Record) {
        if record.run != self.run.as_str() {
            return;
        }
        let session = record.session.as_ref().map(super::record::stored::Session::id);
        let said = match &record.kind {
            Some(Kind::Admission(admission)) => Some(&admission.principal),
            Some(Kind::Intent(intent)) => Some(&intent.principal),
            Some(Kind::Outcome(_) | Kind::SessionEnd(_) | Kind::Enforcement(_) | Kind::LateSend(_)) => None,
            Some(Kind::StatementText(_) | Kind::TargetCheck(_) | Kind::Connection(_) | Kind::Termination(_) | Kind::Pruned(_)) | None => {
                None
            }
        };
        if let (Some(session), Some(principal)) = (session, said) {
            self.principals.entry(session).or_insert_with(|| principal.clone());
        }
        // What came before the records that were read is nobody's.
        let Some(principal) = said.or_else(|| self.principals.get(&session?)) else { return };
        let at = LogTime(record.time);
        let run = self.runs.entry(principal.clone()).or_insert_with(|| Run { first: at, ..Run::default() });
        run.last = run.last.max(at);
        match &record.kind {
            Some(Kind::Admission(admission)) => run.admission(session, at, admission),
            Some(Kind::Intent(intent)) => run.intent(intent),
            Some(Kind::Outcome(outcome)) => {
                run.operations.rows += outcome.rows;
                run.operations.failed += u64::from(outcome.status == 2);
                run.operations.unknown += u64::from(outcome.status == 3);
            }
            Some(Kind::SessionEnd(end)) => {
                if let Some(known) = run.sessions.iter_mut().rev().find(|known| known.id == session) {
                    known.ended = Some(Ended { at, by: end.by, reason: end.reason.clone() });
                }
            }
            Some(
                Kind::Enforcement(_)
                | Kind::LateSend(_)
                | Kind::StatementText(_)
                | Kind::TargetCheck(_)
                | Kind::Connection(_)
                | Kind::Termination(_)
                | Kind::Pruned(_),
            )
            | None => {}
        }
    }

    /// By principal.
    pub fn told(self) -> BTreeMap<String, Run> {
        self.runs
    }
}

impl Run {
    fn admission(&mut self, id: Option<SessionId>, started: LogTime, admission: &Admission) {
        match admission.outcome {
            1 => self.reviewed.approved += 1,
            2 => self.reviewed.modified += 1,
            _ => self.reviewed.revoked += 1,
        }
        if self.sessions.len() >= SESSIONS_TOLD_MAX {
            self.sessions_left_out += 1;
            return;
        }
        let refused = admission.refusal.iter().map(|refusal| match refusal.detail.as_str() {
            "" => refusal.code.clone(),
            detail => format!("{}: {detail}", refusal.code),
        });
        self.sessions.push(Session {
            id,
            target: admission.target.clone(),
            started,
            outcome: admission.outcome,
            why: admission.dropped.iter().cloned().chain(refused).collect(),
            state: admission.cited.as_ref().map(|cited| cited.state).unwrap_or_default(),
            ended: None,
        });
    }

    fn intent(&mut self, intent: &Intent) {
        let operations = &mut self.operations;
        match intent.verdict {
            1 => operations.allowed += 1,
            2 => (operations.allowed, operations.approved) = (operations.allowed + 1, operations.approved + 1),
            3 => operations.held += 1,
            _ => operations.refused += 1,
        }
        match intent.request.map(RequestId) {
            Some(request) if self.requests.len() < REQUESTS_TOLD_MAX => drop(self.requests.insert(request)),
            Some(request) if !self.requests.contains(&request) => self.requests_left_out += 1,
            Some(_) | None => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::record::stored::{self, Cited, Outcome, Refused, SessionEnd};
    use super::*;

    fn record(run: &str, node: u64, time: u64, kind: Kind) -> Record {
        let session = Some(stored::Session { node, boot: 7, number: node });
        Record { version: 1, node, run: run.into(), session, time, kind: Some(kind), ..Record::default() }
    }

    fn admitted(principal: &str, outcome: u32) -> Kind {
        let refusal = (outcome == 3).then(|| Refused { code: "no-grant".into(), detail: String::new() });
        let cited = Some(Cited { state: 40, ..Cited::default() });
        Kind::Admission(Admission { principal: principal.into(), target: "shop".into(), outcome, refusal, cited, ..Admission::default() })
    }

    fn intent(principal: &str, verdict: u32, request: Option<u64>) -> Kind {
        Kind::Intent(Intent { principal: principal.into(), verdict, request, ..Intent::default() })
    }

    fn teller() -> Teller {
        Teller::new("nightly-17".parse().expect("a run"))
    }

    #[test]
    fn a_run_that_goes_on_at_another_node_is_one_run() {
        let mut teller = teller();
        teller.hear(&record("nightly-17", 1, 10, admitted("bot", 1)));
        teller.hear(&record("nightly-17", 1, 11, intent("bot", 1, None)));
        teller.hear(&record("nightly-17", 1, 12, Kind::Outcome(Outcome { status: 1, rows: 3, ..Outcome::default() })));
        teller.hear(&record("nightly-17", 1, 13, Kind::SessionEnd(SessionEnd { by: 1, ..SessionEnd::default() })));
        teller.hear(&record("nightly-17", 2, 20, admitted("bot", 2)));
        teller.hear(&record("nightly-17", 2, 21, intent("bot", 3, Some(9))));
        teller.hear(&record("nightly-17", 2, 22, intent("bot", 2, Some(9))));
        teller.hear(&record("nightly-17", 3, 30, admitted("bot", 3)));
        teller.hear(&record("nightly-18", 3, 40, admitted("bot", 1)));
        let told = teller.told();
        let run = &told["bot"];
        assert_eq!((run.first, run.last, told.len()), (LogTime(10), LogTime(30), 1));
        assert_eq!(run.reviewed, Reviewed { approved: 1, modified: 1, revoked: 1 });
        assert_eq!(run.operations, Operations { allowed: 2, approved: 1, held: 1, rows: 3, ..Operations::default() });
        assert_eq!(run.requests, BTreeSet::from([RequestId(9)]));
        let nodes: Vec<u64> = run.sessions.iter().filter_map(|s| Some(s.id?.node.0)).collect();
        assert_eq!(nodes, [1, 2, 3]);
        assert_eq!(run.sessions[0].ended.as_ref().map(|e| (e.at, e.by)), Some((LogTime(13), 1)));
        assert_eq!(run.sessions[2].why, ["no-grant"]);
    }

    #[test]
    fn another_principal_that_names_the_same_run_has_its_own() {
        let mut teller = teller();
        teller.hear(&record("nightly-17", 1, 10, admitted("bot", 1)));
        teller.hear(&record("nightly-17", 2, 11, admitted("mole", 1)));
        teller.hear(&record("nightly-17", 2, 12, Kind::Outcome(Outcome { rows: 900, ..Outcome::default() })));
        let told = teller.told();
        assert_eq!((told["bot"].sessions.len(), told["bot"].operations.rows), (1, 0));
        assert_eq!((told["mole"].sessions.len(), told["mole"].operations.rows), (1, 900));
    }

    #[test]
    fn a_leaf_without_the_name_need_not_be_decoded() {
        assert!(teller().may_concern(b"\x42\x0anightly-17\xa2"));
        assert!(!teller().may_concern(b"\x42\x0anightly-18\xa2"));
    }

    #[test]
    fn what_names_a_run_is_checked() {
        for good in ["7", "Nightly-17", "0f8fad5b-d9cb-469f-a165-70867728950e", &"x".repeat(64)] {
            assert!(good.parse::<RunId>().is_ok(), "{good}");
        }
        for bad in ["", "-a", ".a", "a/b", "a b", "a:b", "ä", "a\n", &"x".repeat(65)] {
            assert!(bad.parse::<RunId>().is_err(), "{bad:?}");
        }
    }
}
