//! The second protocol of the road: a line says who comes, every further line is one operation on the table it names.

use std::sync::Arc;

use bytes::BytesMut;
use domain::operation::{Access, Effect, Operation, Protocol as Kind, Resource, Verb};
use domain::refusal::Refusal;
use futures_util::future::BoxFuture;
use session::protocol::{Activity, Arrived, Canceller, Claim, Connected, DialFailed, Door, Handshake, Machine, Protocol, Ticket};
use session::road::{Answer, Decision, End, Road, Tried};
use socket::Stream;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

pub(crate) struct Lines;

impl Protocol for Lines {
    fn name(&self) -> &'static str {
        "lines"
    }

    fn handshake(self: Arc<Self>, mut arrived: Arrived) -> BoxFuture<'static, Handshake> {
        Box::pin(async move {
            let mut line = Vec::new();
            while line.last() != Some(&b'\n') {
                match arrived.stream.read_u8().await {
                    Ok(byte) => line.push(byte),
                    Err(_) => return Handshake::Gone,
                }
            }
            let Ok(principal) = String::from_utf8_lossy(&line).trim().parse() else { return Handshake::Gone };
            let target = "shop".parse().expect("a name");
            let claim = Claim {
                principal,
                on_behalf_of: None,
                target,
                database: String::new(),
                application: String::new(),
                run: None,
                expires: None,
                cancel_secret_length: 32,
            };
            Handshake::Identified { claim, door: Box::new(Waiting(arrived.stream)) }
        })
    }

    fn turn_away(&self, _stream: TcpStream, _refusal: &Refusal) {}
}

struct Waiting(TcpStream);

impl Door for Waiting {
    fn refuse(mut self: Box<Self>, refusal: Refusal) -> BoxFuture<'static, ()> {
        Box::pin(async move {
            let _ = self.0.write_all(format!("refused: {refusal}\n").as_bytes()).await;
        })
    }

    fn connect(self: Box<Self>, ticket: Ticket) -> BoxFuture<'static, Result<Connected, DialFailed>> {
        Box::pin(async move {
            let upstream = TcpStream::connect(&ticket.target.address).await.map_err(|error| DialFailed(error.to_string()))?;
            Ok(Connected {
                client: Stream::Plain(self.0),
                client_read: BytesMut::new(),
                upstream: Stream::Plain(upstream),
                upstream_read: BytesMut::new(),
                machine: Box::new(Session { need: 0, busy: false }),
                canceller: Arc::new(Nothing),
                backend: None,
            })
        })
    }
}

struct Nothing;

impl Canceller for Nothing {
    fn cancel(&self) -> BoxFuture<'static, Result<(), std::io::Error>> {
        Box::pin(async { Ok(()) })
    }
}

struct Session {
    need: u64,
    busy: bool,
}

impl Machine for Session {
    fn greet(&mut self, road: &mut Road) {
        road.homeward.push(b"welcome\n", 0);
    }

    fn on_client(&mut self, road: &mut Road) {
        while let Some(end) = road.client_in.iter().position(|b| *b == b'\n') {
            let line = road.client_in.split_to(end + 1);
            let table = String::from_utf8_lossy(&line).split_whitespace().next().unwrap_or("").to_owned();
            let access = Access { protocol: Kind::Postgres, verb: Verb::Insert, resource: Resource::new(["db", "public", &table]) };
            let operation = Operation { tag: "LINE".into(), accesses: [access].into(), effect: Effect::Lasting };
            let tried = Tried { operation: &operation, statement: &line, parameters: &[], context: &[] };
            match road.judge(tried) {
                Ok(judged) if judged.verdict == Decision::Allow => {
                    self.need = road.intent(&judged, tried, None);
                    self.busy = true;
                    road.outward.push(&line, self.need);
                    road.queued(&operation, false);
                }
                Ok(_) => road.homeward.push(b"no\n", 0),
                Err(refusal) => road.end(End::Policy(refusal)),
            }
        }
    }

    fn on_upstream(&mut self, road: &mut Road) {
        let bytes = road.upstream_in.split();
        self.busy = false;
        road.homeward.push(&bytes, self.need);
    }

    fn on_answer(&mut self, _answer: Answer, _road: &mut Road) {}

    fn on_cancel(&mut self, _road: &mut Road) -> bool {
        false
    }

    fn on_not_forwarded(&mut self, _refusal: &Refusal, road: &mut Road) -> bool {
        self.busy = false;
        road.homeward.push(b"not done\n", 0);
        true
    }

    fn on_client_end(&mut self, road: &mut Road) {
        road.end(End::Client);
    }

    fn on_upstream_lost(&mut self, road: &mut Road) {
        road.homeward.push(b"lost\n", 0);
    }

    fn farewell(&mut self, refusal: &Refusal, road: &mut Road) {
        road.homeward.push(format!("over: {refusal}\n").as_bytes(), 0);
    }

    fn close(&mut self, _road: &mut Road) {}

    fn activity(&self, _forwarded: u64) -> Activity {
        if self.busy { Activity::Busy } else { Activity::Idle }
    }

    fn is_parting(&self) -> bool {
        false
    }
}
