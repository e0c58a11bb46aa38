//! One connection's way from stranger to relay. Each stage is a type, so a step cannot be left out:
//! `Arrived` (handshake) → `Identified` (admission) → `Admitted` (dial) → `Connected` (relay).

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use domain::admission::{self, Admission, Attempt, Permit, Recent};
use domain::credential::Credential;
use domain::id::SessionId;
use domain::policy::Rules;
use domain::refusal::Refusal;
use domain::state::State;
use domain::target::Target;
use domain::time::LogTime;
use parking_lot::Mutex;
use planted::{Point, reach};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tracing::Instrument;

use crate::authority::Authority;
use crate::gate::Gate;
use crate::limits::{CANCELS_MAX, DIAL_DEADLINE, HANDSHAKE_DEADLINE, RECORD_DEADLINE, UPSTREAM_USER_TIMEOUT};
use crate::listener::{Handshakes, Slot};
use crate::metrics::meters;
use crate::protocol::{Arrived, CANCEL_NUMBER_BITS, CancelKey, Claim, Connected, Door, Handshake, Protocol, Ticket};
use crate::records;
use crate::registry::{Registered, Registration, Registry};
use crate::relay::Relay;
use crate::road::{End, Road};
use crate::tasks::Tasks;
use crate::usage::{Reporter, Tally};
use socket::Stream;

/// What all connections of a node share.
pub struct Parts {
    pub authority: Arc<dyn Authority>,
    pub registry: Arc<Registry>,
    pub tasks: Tasks,
    pub handshakes: Arc<Handshakes>,
    cancels: Semaphore,
    reviews: Arc<Reviews>,
    pub(crate) usage: Arc<Tally>,
    reporter: Arc<Reporter>,
}

/// Reviews of attempts, each done once for all sessions of the same parties as long as it holds.
#[derive(Default)]
pub(crate) struct Reviews(Mutex<Recent>);

impl Reviews {
    pub(crate) fn admit(&self, state: &State, attempt: &Attempt, now: LogTime, rules: &dyn Rules) -> Admission {
        if let Some(again) = self.0.lock().find(state, attempt, now) {
            return again;
        }
        let admission = admission::admit(state, attempt, now, rules);
        self.0.lock().keep(attempt, &admission);
        admission
    }
}

impl Parts {
    /// Also starts following the lease and log time for this registry.
    pub fn new(authority: Arc<dyn Authority>, registry: Arc<Registry>, tasks: Tasks) -> Arc<Self> {
        let reviews = Arc::<Reviews>::default();
        tasks.spawn(crate::tasks::Kind::Watch, registry.clone().watch(authority.clone(), reviews.clone()));
        let usage = Arc::<Tally>::default();
        let reporter = Arc::new(Reporter::new(authority.clone(), usage.clone()));
        let cancels = Semaphore::new(CANCELS_MAX);
        Arc::new(Parts { authority, registry, tasks, handshakes: Arc::default(), cancels, reviews, usage, reporter })
    }

    /// From now on the cluster is told, `every` so often, what was done under which grant.
    pub fn report_usage(&self, every: Duration) {
        let reporter = self.reporter.clone();
        self.tasks.spawn(crate::tasks::Kind::Watch, async move { reporter.run(every).await });
    }

    /// The review of `attempt`, or the one of another session of the same parties that still holds.
    pub(crate) fn admit(&self, state: &State, attempt: &Attempt, now: LogTime) -> Admission {
        self.reviews.admit(state, attempt, now, self.authority.rules())
    }

    /// Stops taking connections, asks sessions to end when their statement is done, drops who is left at `deadline`.
    pub async fn drain(&self, deadline: Duration) {
        self.registry.drain();
        self.tasks.drain(deadline).await;
        self.reporter.last().await;
    }
}

/// Walks one connection through all stages.
pub(crate) async fn walk(stream: TcpStream, peer: SocketAddr, protocol: Arc<dyn Protocol>, parts: Arc<Parts>, slot: Slot) {
    let span = tracing::info_span!("connection", protocol = protocol.name(), %peer);
    async {
        let arrived = Arrived { stream, peer, authority: parts.authority.clone() };
        let handshake = tokio::select! {
            biased;
            () = parts.tasks.stopping().cancelled() => return,
            handshake = tokio::time::timeout(HANDSHAKE_DEADLINE, protocol.handshake(arrived)) => handshake,
        };
        drop(slot);
        match handshake {
            Err(_late) => {
                meters().handshakes_late.increment(1);
                tracing::debug!("handshake not done in time");
            }
            Ok(Handshake::Gone) => {}
            Ok(Handshake::TurnedAway { claim, refusal }) => {
                meters().turned_away.increment(1);
                tracing::info!(principal = claim.as_ref().map(|c| c.principal.as_str()), ?refusal, "turned away");
                records::turned_away(&parts, claim.as_ref(), &refusal, &peer.to_string());
            }
            Ok(Handshake::Cancel { stream, key }) => cancel(&parts, stream, key).await,
            Ok(Handshake::Identified { claim, door }) => identified(claim, door, peer, &parts).await,
        }
    }
    .instrument(span)
    .await;
}

/// Cancelling is advisory and answers nothing, as in the protocols that have it. The connection closes after the
/// session was told, because clients wait for that.
async fn cancel(parts: &Arc<Parts>, stream: Stream, key: CancelKey) {
    let Ok(_permit) = parts.cancels.try_acquire() else { return };
    meters().cancels.increment(1);
    if key.node == parts.authority.node() {
        parts.registry.cancel(&key);
    } else {
        let elsewhere = parts.authority.cancel_elsewhere(key.clone());
        if !matches!(tokio::time::timeout(crate::limits::CANCEL_DEADLINE, elsewhere).await, Ok(Ok(()))) {
            tracing::info!(node = %key.node, "a cancel request could not be passed on");
        }
    }
    drop(stream);
}

/// Admitted: the permit, and the place in the registry that enforcement finds.
struct Admitted {
    registered: Registered,
    permit: Arc<Permit>,
    target: Target,
    credential: Credential,
    cancel_key: CancelKey,
}

async fn identified(claim: Claim, door: Box<dyn Door>, peer: SocketAddr, parts: &Arc<Parts>) {
    let session = SessionId { node: parts.authority.node(), boot: parts.authority.boot(), number: parts.registry.next_number() };
    let attempt =
        Attempt { session, principal: claim.principal.clone(), on_behalf_of: claim.on_behalf_of.clone(), target: claim.target.clone() };
    match admit(attempt, &claim, peer, parts).await {
        Err(refusal) => {
            meters().admission_refused.increment(1);
            tracing::info!(principal = %claim.principal, target = %claim.target, ?refusal, "not admitted");
            // The peer has as long to read why as it had to prove itself.
            let _ = tokio::time::timeout(HANDSHAKE_DEADLINE, door.refuse(refusal)).await;
        }
        Ok(admitted) => {
            meters().admitted.increment(1);
            let span = tracing::info_span!("session", %session, principal = %claim.principal, target = %claim.target);
            connect(admitted, door, parts).instrument(span).await;
        }
    }
}

/// The review of this attempt (DESIGN §5), on record before anything else happens.
async fn admit(attempt: Attempt, claim: &Claim, peer: SocketAddr, parts: &Arc<Parts>) -> Result<Admitted, Refusal> {
    if !parts.authority.may_forward() {
        return Err(Refusal::NoLease);
    }
    let cancel_key = CancelKey {
        node: attempt.session.node,
        number: attempt.session.number & ((1 << CANCEL_NUMBER_BITS) - 1),
        secret: identity::random::bytes::<32>()[..claim.cancel_secret_length.min(32)].to_vec(),
    };
    // Twice at most: between the review and the registration the state may change; a third change in a row means
    // somebody is working on this very agent, and the client may come again.
    for _ in 0..3 {
        let state = parts.authority.state();
        let admission = parts.admit(&state, &attempt, parts.authority.now());
        let sequence = records::admission(parts, &attempt, &admission, claim, &peer.to_string());
        let permit = match (&admission.outcome, admission.permit) {
            (admission::Outcome::Revoked(refusal), _) => return Err(refusal.clone()),
            (_, None) => return Err(Refusal::NoGrant),
            (_, Some(permit)) => Arc::new(permit),
        };
        reach(Point::AdmissionBeforeCommitted);
        records::committed(parts.authority.as_ref(), sequence, RECORD_DEADLINE).await?;
        reach(Point::AdmissionCommitted);
        let registered = parts.registry.register(Registration {
            attempt: attempt.clone(),
            peer: peer.to_string(),
            application: claim.application.clone(),
            run: claim.run.clone(),
            database: database_of(claim, &state),
            since: parts.authority.now(),
            gate: Gate::new(permit.clone(), claim.expires),
            cancel_key: cancel_key.clone(),
        })?;
        let now = parts.authority.state();
        if !permit.is_current(&now) {
            continue;
        }
        let target = now.targets.get(&attempt.target).cloned().ok_or(Refusal::UnknownTarget)?;
        let credential = now.credentials.get(&target.credential).cloned().ok_or(Refusal::UnknownTarget)?;
        return Ok(Admitted { registered, permit, target, credential, cancel_key });
    }
    Err(Refusal::NoLease)
}

/// Which database the session is in.
fn database_of(claim: &Claim, state: &State) -> String {
    match state.targets.get(&claim.target) {
        Some(target) if claim.database.is_empty() => target.default_database.clone(),
        Some(_) | None => claim.database.clone(),
    }
}

async fn connect(admitted: Admitted, door: Box<dyn Door>, parts: &Arc<Parts>) {
    let Admitted { registered, permit, target, credential, cancel_key } = admitted;
    meters().sessions.increment(1.0);
    let (hold, role) = (target.hold, credential.username.clone());
    let ticket =
        Ticket { session: registered.id, permit: permit.clone(), target, credential, authority: parts.authority.clone(), cancel_key };
    reach(Point::DialBefore);
    let dialled = tokio::time::timeout(DIAL_DEADLINE, door.connect(ticket)).await;
    reach(Point::Dialled);
    let end = match dialled {
        Ok(Ok(connected)) => relay(connected, &registered, permit, hold, &role, parts).await,
        Ok(Err(failed)) => {
            meters().dial_failed.increment(1);
            tracing::warn!(error = %failed, "dialling failed");
            undialled(parts, &registered)
        }
        Err(_late) => {
            meters().dial_failed.increment(1);
            tracing::warn!("the target did not let us in within {DIAL_DEADLINE:?}");
            undialled(parts, &registered)
        }
    };
    meters().sessions.decrement(1.0);
    meters().ended(&end);
    tracing::info!(?end, "session ended");
}

/// An admission that led to no session still has its end on record.
fn undialled(parts: &Parts, registered: &Registered) -> End {
    records::session_end(parts, registered, &End::Upstream, 0);
    End::Upstream
}

async fn relay(connected: Connected, registered: &Registered, permit: Arc<Permit>, hold: Duration, role: &str, parts: &Arc<Parts>) -> End {
    if let Err(error) = prepare_upstream(&connected.upstream).and_then(|()| registered.gate.attach(&connected.upstream)) {
        tracing::warn!(%error, "the upstream socket cannot be fenced");
        return End::Us(Refusal::NoLease);
    }
    registered.live.is_served_by(connected.backend);
    records::connection(parts, registered, role, connected.backend);
    let road = Road::new(registered.live.clone(), permit, hold, parts.clone());
    Box::pin(Relay::new(connected, road).run()).await
}

/// A node that dies or stops must not leave bytes behind that the kernel delivers later (DESIGN §4).
fn prepare_upstream(upstream: &Stream) -> std::io::Result<()> {
    let socket = socket2::SockRef::from(upstream.tcp());
    socket.set_linger(Some(Duration::ZERO))?;
    socket.set_tcp_user_timeout(Some(UPSTREAM_USER_TIMEOUT))?;
    socket.set_tcp_nodelay(true)
}
