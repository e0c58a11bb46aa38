//! What serves the sessions of all nodes at their targets, as the audit log tells it: each node keeps it, for any may
//! come to lead.

use std::collections::BTreeMap;

use domain::admission::Attempt;
use domain::audit::record::stored::{self, Connection, Kind};
use domain::audit::record::{self, Backend};
use domain::id::{Index, NodeId, SessionId};
use domain::member::Cancelled;
use parking_lot::Mutex;
use session::limits::SESSIONS_MAX;

/// A session of some node, as it was connected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Known {
    pub(crate) attempt: Attempt,
    /// The control index at which its node admitted it.
    pub(crate) admitted_at: Index,
    /// None where the target cannot be told which session to end.
    pub(crate) backend: Option<Backend>,
}

/// At most [`SESSIONS_MAX`] a node.
#[derive(Default)]
pub(crate) struct Roster(Mutex<BTreeMap<NodeId, BTreeMap<SessionId, Known>>>);

impl Roster {
    /// The next record of the log, whatever it is.
    pub(crate) fn hear(&self, leaf: &[u8]) {
        if !record::concerns_connections(leaf) {
            return;
        }
        let Ok(record) = record::decode(leaf) else { return };
        let session = record.session.as_ref().map(stored::Session::id);
        match record.kind {
            Some(Kind::Connection(connection)) => {
                let own = session.filter(|session| session.node.0 == record.node);
                if let Some(known) = own.and_then(|session| known(session, &connection, Index(record.control_index))) {
                    self.put(known);
                }
            }
            Some(Kind::SessionEnd(_)) => {
                if let Some(session) = session {
                    self.forget(session);
                }
            }
            Some(Kind::Termination(termination)) => {
                let unknown = stored::code_of_cancelled(Cancelled::Unknown);
                let over = termination.ended.iter().filter(|ended| ended.upstream != unknown);
                over.for_each(|ended| self.forget(ended.session.id()));
            }
            Some(
                Kind::Admission(_)
                | Kind::Intent(_)
                | Kind::Outcome(_)
                | Kind::Enforcement(_)
                | Kind::LateSend(_)
                | Kind::StatementText(_)
                | Kind::TargetCheck(_)
                | Kind::Pruned(_),
            )
            | None => {}
        }
    }

    /// A session that its own node has told of, or the log. What an earlier process of that node had is gone with it.
    pub(crate) fn put(&self, known: Known) {
        let session = known.attempt.session;
        let mut nodes = self.0.lock();
        let sessions = nodes.entry(session.node).or_default();
        if sessions.keys().next().is_some_and(|other| other.boot != session.boot) {
            sessions.clear();
        }
        if sessions.len() >= SESSIONS_MAX && !sessions.contains_key(&session) {
            sessions.pop_first();
        }
        sessions.insert(session, known);
    }

    fn forget(&self, session: SessionId) {
        if let Some(sessions) = self.0.lock().get_mut(&session.node) {
            sessions.remove(&session);
        }
    }

    /// The sessions of a node that it admitted before `index`.
    pub(crate) fn admitted_before(&self, node: NodeId, index: Index) -> Vec<Known> {
        let nodes = self.0.lock();
        nodes.get(&node).into_iter().flat_map(BTreeMap::values).filter(|known| known.admitted_at < index).cloned().collect()
    }
}

fn known(session: SessionId, connection: &Connection, admitted_at: Index) -> Option<Known> {
    let on_behalf_of = match connection.on_behalf_of.as_str() {
        "" => None,
        name => Some(name.parse().ok()?),
    };
    let attempt = Attempt { session, principal: connection.principal.parse().ok()?, on_behalf_of, target: connection.target.parse().ok()? };
    Some(Known { attempt, admitted_at, backend: connection.backend() })
}

#[cfg(test)]
mod tests {
    use domain::audit::record::{EndedBy, Event, Header, SessionEnd, Termination};
    use domain::id::{BootId, Name};
    use domain::time::LogTime;

    use super::*;

    fn session(node: u64, boot: u64, number: u64) -> SessionId {
        SessionId { node: NodeId(node), boot: BootId(boot), number }
    }

    fn leaf(by: u64, session: Option<SessionId>, control_index: u64, event: &Event<'_>) -> Vec<u8> {
        let control_index = Index(control_index);
        let header = Header { node: NodeId(by), boot: BootId(1), sequence: 1, control_index, time: LogTime(9), session, run: None };
        record::encode(&header, event)
    }

    fn name(text: &str) -> Name {
        text.parse().expect("a name")
    }

    fn connected(by: u64, session: SessionId, control_index: u64) -> Vec<u8> {
        let (bot, cora, orders) = (name("bot"), name("cora"), name("orders"));
        let backend = Some(Backend { process: 70, started_us: 5 });
        let connection = record::Connection { principal: &bot, on_behalf_of: Some(&cora), target: &orders, role: "gateway", backend };
        leaf(by, Some(session), control_index, &Event::Connection(connection))
    }

    fn numbers(roster: &Roster, node: u64, before: u64) -> Vec<u64> {
        roster.admitted_before(NodeId(node), Index(before)).iter().map(|known| known.attempt.session.number).collect()
    }

    #[test]
    fn the_log_tells_which_sessions_there_are() {
        let roster = Roster::default();
        for (number, index) in [(1, 10), (2, 20), (3, 30)] {
            roster.hear(&connected(3, session(3, 7, number), index));
        }
        assert_eq!(numbers(&roster, 3, 30), [1, 2], "a session that was admitted at the index or later is another matter");
        assert_eq!(numbers(&roster, 2, 30), [0; 0]);
        let attempt =
            Attempt { session: session(3, 7, 1), principal: name("bot"), on_behalf_of: Some(name("cora")), target: name("orders") };
        let backend = Some(Backend { process: 70, started_us: 5 });
        assert_eq!(roster.admitted_before(NodeId(3), Index(11)), [Known { attempt, admitted_at: Index(10), backend }]);

        let end = Event::SessionEnd(SessionEnd { by: EndedBy::Client, reason: "", operations: 0 });
        roster.hear(&leaf(3, Some(session(3, 7, 2)), 31, &end));
        assert_eq!(numbers(&roster, 3, 99), [1, 3]);
        let ended = [(session(3, 7, 1), Cancelled::Cancelled), (session(3, 7, 3), Cancelled::Unknown)];
        let termination = Termination { member: NodeId(3), left: Index(40), target: &name("orders"), ended: &ended };
        roster.hear(&leaf(1, None, 41, &Event::Termination(termination)));
        assert_eq!(numbers(&roster, 3, 99), [3], "what could not be ended is still to be ended");
    }

    #[test]
    fn a_node_speaks_for_its_own_sessions_and_its_last_process() {
        let roster = Roster::default();
        roster.hear(&connected(2, session(3, 7, 1), 10));
        assert_eq!(numbers(&roster, 3, 99), [0; 0], "node 2 says nothing about node 3");
        roster.hear(&connected(3, session(3, 7, 1), 10));
        roster.hear(&connected(3, session(3, 8, 5), 11));
        assert_eq!(numbers(&roster, 3, 99), [5]);
    }
}
