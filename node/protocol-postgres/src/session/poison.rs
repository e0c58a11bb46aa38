//! Refusals as answers: here where nothing is under way, at the server's hands where something is.

use ::session::road::Road;
use bytes::{Bytes, BytesMut};
use domain::refusal::Refusal;

use super::Session;
use super::pipeline::Expect;
use crate::codec::fields::Response;
use crate::codec::{Backend, Frontend, TransactionStatus};

/// No portal has this name: a client that uses one of the gateway's names ends its session, see
/// [`Session::is_reserved`].
pub(super) const NO_PORTAL: &str = "assize: refused";
/// No SQL begins like this.
const NO_SQL: &str = "assize: refused";

impl Session {
    /// Names that are the gateway's own.
    pub(super) fn is_reserved(name: &str) -> bool {
        name.starts_with("assize:")
    }

    /// Answers a simple query with an error.
    pub(super) fn refuse_query(&mut self, response: &Response, road: &mut Road) {
        let error = written(response);
        if self.pipeline.is_empty() && self.status == TransactionStatus::Idle && !self.group_open && !self.back.is_inside_message() {
            let need = self.need;
            road.homeward.push(&error, need);
            road.homeward.push(&ready(TransactionStatus::Idle), need);
            return;
        }
        let mut poison = BytesMut::new();
        Frontend::Query { text: NO_SQL }.write(&mut poison).expect("a short message");
        road.outward.settle(0);
        road.outward.tie(0);
        road.outward.push(&poison, 0);
        self.names.simple_query();
        self.group_open = false;
        self.pipeline.push(Expect::PoisonQuery { instead: error });
    }

    /// Answers a message of the extended protocol with an error; what follows is skipped to the Sync.
    pub(super) fn refuse_extended(&mut self, response: &Response, road: &mut Road) {
        let mut poison = BytesMut::new();
        Frontend::Execute { portal: NO_PORTAL, rows: 0 }.write(&mut poison).expect("a short message");
        road.outward.settle(0);
        road.outward.tie(0);
        road.outward.push(&poison, 0);
        self.group_open = true;
        self.skipping = true;
        self.pipeline.push(Expect::Poison { instead: written(response) });
    }

    /// Nothing of what is queued was forwarded and the server is idle: the client gets the answers from here, as the
    /// server's would have looked if the first statement had failed.
    pub(super) fn answer_instead(&mut self, refusal: &Refusal, road: &mut Road) {
        let error = written(&crate::refusal::error(refusal));
        let need = self.need;
        let mut failed = false;
        for expect in self.take_back(road) {
            match expect {
                Expect::PoisonQuery { .. } | Expect::Query(_) => {
                    road.homeward.push(&error, need);
                    road.homeward.push(&ready(TransactionStatus::Idle), need);
                    failed = false;
                }
                Expect::Sync(_) => {
                    road.homeward.push(&ready(TransactionStatus::Idle), need);
                    failed = false;
                }
                Expect::Context { .. } | Expect::CopyEnd => {}
                Expect::Parse(_) | Expect::Bind(_) | Expect::Close(_) | Expect::Describe | Expect::Execute(_) | Expect::Poison { .. } => {
                    if !failed {
                        road.homeward.push(&error, need);
                    }
                    failed = true;
                }
            }
        }
        self.known.not_asked();
        self.flush_sent = false;
        // No Sync has followed yet: until it does, messages are dropped. It is forwarded then, to a server that has
        // nothing to skip, and answered with "ready".
        self.skipping = failed || (self.skipping && self.group_open);
        self.group_open = self.skipping;
        self.quiet_since = road.outward.written();
    }
}

pub(super) fn written(response: &Response) -> Bytes {
    let mut out = BytesMut::new();
    response.write(&mut out);
    out.freeze()
}

fn ready(status: TransactionStatus) -> Bytes {
    let mut out = BytesMut::new();
    Backend::ReadyForQuery(status).write(&mut out).expect("a short message");
    out.freeze()
}
