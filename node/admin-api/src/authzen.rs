//! AuthZEN over HTTP, for agents that ask for themselves: the Authorization API 1.0 (one evaluation) and its Access
//! Request and Approval Profile (draft 1).
//!
//! ```text
//!  POST /access/v1/evaluation ──► decision: true
//!                             └─► decision: false, context.access_request { endpoint, binding_token, expires_at }
//!  POST /access/v1/requests (with that binding) ──► task: a handle that is in the replicated state
//!  GET  /access/v1/requests/ID, at any node ──► pending … approved: evaluate again, or just connect
//! ```
//! A denial stays a denial: nothing here gives access, approvers do (DESIGN §5). The caller is the subject; nobody asks
//! for another. What an approval has become, a grant or an approval that waits to be spent, is enforced by the gateway
//! and not by whoever read the answer.

mod evaluation;
mod problem;
mod rate;
mod requests;
mod wire;

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, State as Extracted};
use axum::http::{HeaderMap, Request, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use domain::id::Name;
use domain::principal::TokenUse;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::guard::bearer;
use crate::limits;
use crate::page::PageKey;
use crate::service::Parts;
pub(crate) use problem::Problem;
use rate::Rates;

pub(crate) const EVALUATION: &str = "/access/v1/evaluation";
pub(crate) const REQUESTS: &str = "/access/v1/requests";

/// What every handler stands on.
pub(crate) struct Room {
    pub(crate) parts: Parts,
    /// Binds a request to the denial it answers; the same on all nodes.
    pub(crate) denials: PageKey,
    rates: Rates,
}

/// Who calls, proved, and under which name it reached this node.
pub(crate) struct Caller {
    pub(crate) name: Name,
    /// `https://host:port`, as the caller wrote it: handles lead back the way it came.
    pub(crate) base: String,
    pub(crate) idempotency_key: Option<String>,
    pub(crate) body: Vec<u8>,
}

/// Serves until `stop`.
///
/// # Errors
/// The transport's, which end the server; a single connection's never do.
pub async fn serve(
    listener: TcpListener,
    tls: Arc<rustls::ServerConfig>,
    parts: Parts,
    denials: PageKey,
    stop: CancellationToken,
) -> std::io::Result<()> {
    let address = listener.local_addr()?;
    let room = Arc::new(Room { parts, denials, rates: Rates::default() });
    let incoming = crate::serve::Incoming::new(listener, tls, stop.clone(), address);
    axum::serve(incoming, router(room)).with_graceful_shutdown(stop.cancelled_owned()).await
}

fn router(room: Arc<Room>) -> Router {
    Router::new()
        .route("/.well-known/authzen-configuration", get(metadata))
        .route(EVALUATION, post(evaluate))
        .route(REQUESTS, post(submit))
        .route("/access/v1/requests/{id}", get(poll).delete(withdraw))
        .fallback(|| async { Problem::not_found("there is nothing at this path").into_response() })
        .with_state(room)
}

/// TLS from a certificate chain (leaf first) and its key, both PEM; HTTP/1.1 only.
///
/// # Errors
/// Text that is no PEM, no certificate in it, or a key that does not fit.
pub fn tls(chain: &[u8], key: &[u8]) -> Result<rustls::ServerConfig, socket::BadCertificate> {
    Ok(socket::server_config(chain, key, b"http/1.1")?.0)
}

type Here = Extracted<Arc<Room>>;

async fn metadata(headers: HeaderMap) -> Response {
    match base(&headers) {
        Ok(base) => wire::json(StatusCode::OK, &wire::metadata(&base)),
        Err(problem) => problem.into_response(),
    }
}

async fn evaluate(Extracted(room): Here, request: Request<Body>) -> Response {
    within(async { evaluation::evaluate(&room, &admit(&room, request).await?).await }).await
}

async fn submit(Extracted(room): Here, request: Request<Body>) -> Response {
    within(async { requests::submit(&room, &admit(&room, request).await?).await }).await
}

async fn poll(Extracted(room): Here, Path(id): Path<String>, request: Request<Body>) -> Response {
    within(async { requests::poll(&room, &admit(&room, request).await?, &id).await }).await
}

async fn withdraw(Extracted(room): Here, Path(id): Path<String>, request: Request<Body>) -> Response {
    within(async { requests::withdraw(&room, &admit(&room, request).await?, &id).await }).await
}

async fn within(work: impl Future<Output = Result<Response, Problem>>) -> Response {
    match tokio::time::timeout(limits::AUTHZEN_DEADLINE, work).await {
        Ok(Ok(response)) => response,
        Ok(Err(problem)) => problem.into_response(),
        Err(_) => Problem::late().into_response(),
    }
}

/// The same road for every call: identity, rate, lease, body, in this order.
async fn admit(room: &Room, request: Request<Body>) -> Result<Caller, Problem> {
    let (head, body) = request.into_parts();
    let name = authenticate(room, &head.headers)?;
    let control = room.parts.control.as_ref();
    let nodes = control.state().serving().count();
    room.rates.take(&name, nodes)?;
    if !control.serving() {
        return Err(Problem::no_lease());
    }
    let base = base(&head.headers)?;
    let idempotency_key = match head.headers.get("idempotency-key").map(|value| value.to_str()) {
        None => None,
        Some(Ok(key)) => Some(key.to_owned()),
        Some(Err(_)) => return Err(Problem::invalid("Idempotency-Key: must be printable ASCII")),
    };
    let body = axum::body::to_bytes(body, limits::AUTHZEN_BODY_MAX).await.map_err(|_| Problem::too_large())?;
    tracing::info!(method = %head.method, path = head.uri.path(), principal = %name, "authzen call");
    Ok(Caller { name, base, idempotency_key, body: body.to_vec() })
}

/// An agent shows the token it connects with; whoever has an admin token may show that.
fn authenticate(room: &Room, headers: &HeaderMap) -> Result<Name, Problem> {
    let secret = bearer(headers).ok().flatten().ok_or_else(Problem::unauthenticated)?;
    let control = room.parts.control.as_ref();
    let (state, now) = (control.state(), control.now());
    let proved = identity::resolve::bearer(&state, now, &secret, TokenUse::Gateway)
        .or_else(|_| identity::resolve::bearer(&state, now, &secret, TokenUse::Admin));
    let identity = proved.map_err(|_| Problem::unauthenticated())?;
    match state.live_lock(&domain::lock::LockOn::Principal(identity.principal.clone()), now) {
        Some(_) => Err(Problem::forbidden("this principal is locked")),
        None => Ok(identity.principal),
    }
}

/// Characters of a host and port. Whatever else a Host header holds is not written into an answer.
fn base(headers: &HeaderMap) -> Result<String, Problem> {
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let is_host = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | ':' | '[' | ']');
    if host.is_empty() || host.len() > limits::HOST_MAX || !host.chars().all(is_host) {
        return Err(Problem::invalid("Host: must be a host name or address, with a port"));
    }
    Ok(format!("https://{host}"))
}
