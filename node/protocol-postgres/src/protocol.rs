//! PostgreSQL as a protocol of the road: puts the rooms together.

use std::collections::BTreeMap;
use std::sync::Arc;

use ::session::authority::Authority;
use ::session::limits::UPSTREAM_USER_TIMEOUT;
use ::session::protocol::{
    Arrived, CANCEL_NUMBER_BITS, CancelKey, Canceller, Claim, Connected, DialFailed, Door, Handshake, Protocol, Ticket,
};
use bytes::{Bytes, BytesMut};
use domain::audit::record::{Backend, CONNECTION_FEATURE_LEVEL};
use domain::id::NodeId;
use domain::refusal::Refusal;
use futures_util::future::BoxFuture;
use tokio::net::TcpStream;

use crate::codec::{self, ProtocolVersion};
use crate::handshake::{self, Identified, Listening, Outcome};
use crate::operation::Classifier;
use crate::refusal;
use crate::session::{Opening, Session};
use crate::upstream::{self, Address, Login};

/// One listener's PostgreSQL.
pub struct Postgres {
    listening: Listening,
    classifier: Arc<Classifier>,
}

impl Postgres {
    /// `classifier` is best shared by all listeners of the node.
    pub fn new(listening: Listening, classifier: Arc<Classifier>) -> Arc<Self> {
        Arc::new(Postgres { listening, classifier })
    }
}

impl Protocol for Postgres {
    fn name(&self) -> &'static str {
        "postgres"
    }

    fn handshake(self: Arc<Self>, arrived: Arrived) -> BoxFuture<'static, Handshake> {
        Box::pin(async move {
            let authority = arrived.authority;
            let look = || (authority.state(), authority.now());
            match handshake::run(arrived.stream, &self.listening, &look).await {
                Outcome::Identified(identified) => self.identified(identified).await,
                Outcome::Cancel { stream, key } => Handshake::Cancel { stream, key: session_key(&key) },
                Outcome::TurnedAway { claimed, target, refusal } => {
                    let claim = claimed.zip(target).map(|(principal, target)| Claim {
                        principal,
                        on_behalf_of: None,
                        target,
                        database: String::new(),
                        application: String::new(),
                        run: None,
                        expires: None,
                        cancel_secret_length: 0,
                    });
                    Handshake::TurnedAway { claim, refusal }
                }
                Outcome::Gone => Handshake::Gone,
            }
        })
    }

    fn turn_away(&self, stream: TcpStream, refusal: &Refusal) {
        let mut words = BytesMut::new();
        refusal::login(refusal).write(&mut words);
        // The socket of a new connection has room for a message; if not, the peer is none to wait for.
        let _ = stream.try_write(&words);
    }
}

impl Postgres {
    /// Proved; what is still missing is a target.
    async fn identified(&self, identified: Box<Identified>) -> Handshake {
        let Some(target) = identified.opening.target.clone() else {
            identified.refuse(&Refusal::UnknownTarget).await;
            return Handshake::TurnedAway { claim: None, refusal: Refusal::UnknownTarget };
        };
        let claim = Claim {
            principal: identified.identity.principal.clone(),
            on_behalf_of: None,
            target,
            database: identified.opening.database.clone().unwrap_or_default(),
            application: identified.opening.application.clone(),
            run: identified.opening.run.clone(),
            expires: identified.identity.expires,
            cancel_secret_length: identified.cancel_secret_length(),
        };
        Handshake::Identified { claim, door: Box::new(Waiting { identified, classifier: self.classifier.clone() }) }
    }
}

/// A client that proved who it is.
struct Waiting {
    identified: Box<Identified>,
    classifier: Arc<Classifier>,
}

impl Door for Waiting {
    fn refuse(self: Box<Self>, refusal: Refusal) -> BoxFuture<'static, ()> {
        Box::pin(async move { self.identified.refuse(&refusal).await })
    }

    fn connect(self: Box<Self>, ticket: Ticket) -> BoxFuture<'static, Result<Connected, DialFailed>> {
        Box::pin(async move {
            match dial(&self.identified, &ticket).await {
                Ok(reached) => Ok(connected(*self, &ticket, reached)),
                Err((said, error)) => {
                    self.identified.refuse_with(&refusal::upstream_failed(ticket.target.name.as_str(), &said)).await;
                    Err(DialFailed(error))
                }
            }
        })
    }
}

/// A session at the target.
struct Reached {
    upstream: upstream::Connected,
    address: Address,
    database: String,
    backend: Option<Backend>,
}

/// The credential is open for as long as the login takes. On failure: what the agent may know, and what the operator.
async fn dial(identified: &Identified, ticket: &Ticket) -> Result<Reached, (String, String)> {
    let address = Address {
        address: ticket.target.address.clone(),
        tls: ticket.target.tls.clone(),
        direct_tls: false,
        user_timeout: UPSTREAM_USER_TIMEOUT,
    };
    let opening = &identified.opening;
    let database = opening.database.clone().unwrap_or_else(|| ticket.target.default_database.clone());
    let password = open_credential(ticket.authority.as_ref(), ticket)?;
    let login = Login {
        username: &ticket.credential.username,
        password: &password,
        database: &database,
        application: &opening.application,
        settings: &opening.settings,
        read_only: !ticket.permit.writes_allowed(),
        version: ProtocolVersion::V3_0,
    };
    let said = |error: upstream::UpstreamError| (error.said(), chain(&error));
    let mut upstream = upstream::connect(&ticket.permit, &address, &login).await.map_err(said)?;
    drop(password);
    let is_told = !ticket.target.weak_cancel && ticket.authority.state().cluster.feature_level >= CONNECTION_FEATURE_LEVEL;
    let backend = if is_told { upstream::backend::identify(&mut upstream).await.map_err(said)? } else { None };
    Ok(Reached { upstream, address, database, backend })
}

fn open_credential(authority: &dyn Authority, ticket: &Ticket) -> Result<identity::Secret, (String, String)> {
    authority
        .open_credential(&ticket.credential)
        .map_err(|error| ("its credential cannot be opened on this node".to_owned(), error.to_string()))
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        text = format!("{text}: {inner}");
        source = inner.source();
    }
    text
}

fn connected(waiting: Waiting, ticket: &Ticket, reached: Reached) -> Connected {
    let (client, client_read, _, greeting) = waiting.identified.into_parts();
    let upstream::Connected { stream, buffer, parameters, key, .. } = reached.upstream;
    let mut words = BytesMut::new();
    greeting.write(&mut words, parameters.iter().map(|(k, v)| (k.as_str(), v.as_str())), &wire_key(&ticket.cancel_key));
    let opening = Opening {
        greeting: words.freeze(),
        database: reached.database,
        parameters: reported(parameters),
        read_only: !ticket.permit.writes_allowed(),
    };
    Connected {
        client,
        client_read,
        upstream: stream,
        upstream_read: buffer,
        machine: Box::new(Session::new(opening, waiting.classifier)),
        canceller: Arc::new(TargetKey { address: reached.address, key }),
        backend: reached.backend,
    }
}

fn reported(parameters: BTreeMap<String, String>) -> Vec<(String, String)> {
    parameters.into_iter().collect()
}

/// What cancels at the target: its own key, which no client sees.
struct TargetKey {
    address: Address,
    key: Option<codec::CancelKey>,
}

impl Canceller for TargetKey {
    fn cancel(&self) -> BoxFuture<'static, Result<(), std::io::Error>> {
        let (address, key) = (self.address.clone(), self.key.clone());
        Box::pin(async move {
            let key = key.ok_or_else(|| std::io::Error::other("the target gave no key to cancel with"))?;
            upstream::cancel(&address, &key).await.map_err(std::io::Error::other)
        })
    }
}

/// Node and session number in the 31 bits that drivers keep of a process id.
fn wire_key(key: &CancelKey) -> codec::CancelKey {
    let node = u32::try_from(key.node.0 & 0x3ff).unwrap_or(0);
    let number = u32::try_from(key.number).unwrap_or(0);
    codec::CancelKey { pid: node << CANCEL_NUMBER_BITS | number, secret: Bytes::copy_from_slice(&key.secret) }
}

fn session_key(key: &codec::CancelKey) -> CancelKey {
    CancelKey {
        node: NodeId(u64::from(key.pid >> CANCEL_NUMBER_BITS)),
        number: u64::from(key.pid & ((1 << CANCEL_NUMBER_BITS) - 1)),
        secret: key.secret.to_vec(),
    }
}
