//! The one door: every call, whatever its service, is looked up in the policy table and its caller proved, before any
//! service sees it. What has no row does not exist.

use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use domain::id::{Digest, Index, Name};
use domain::principal::{PrincipalKind, TokenUse};
use domain::state::State;
use futures_util::future::BoxFuture;
use identity::Secret;
use tonic::Status;
use tonic::body::Body;
use tonic::codegen::http::{HeaderMap, Request, Response};
use tonic::transport::server::{TcpConnectInfo, TlsConnectInfo};
use tower::{Layer, Service};

use crate::control::Control;
use crate::policy::{self, Needs, Row};
use crate::{failure, limits};

/// Who calls, proved, and which row of the policy table the call came through.
#[derive(Debug, Clone)]
pub(crate) struct Caller {
    pub(crate) principal: Name,
    pub(crate) row: &'static Row,
    /// `x-request-id`, if it was sent.
    pub(crate) request_id: Option<String>,
}

#[derive(Clone)]
pub(crate) struct GuardLayer(pub(crate) Arc<dyn Control>);

impl<S> Layer<S> for GuardLayer {
    type Service = Guard<S>;

    fn layer(&self, inner: S) -> Guard<S> {
        Guard { control: self.0.clone(), inner }
    }
}

#[derive(Clone)]
pub(crate) struct Guard<S> {
    control: Arc<dyn Control>,
    inner: S,
}

impl<S> Service<Request<Body>> for Guard<S>
where
    S: Service<Request<Body>, Response = Response<Body>> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: Send,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = BoxFuture<'static, Result<Response<Body>, S::Error>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        // The service that was polled ready is the one that is called.
        let ready = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, ready);
        let control = self.control.clone();
        Box::pin(async move {
            let admitted = match admit(control.as_ref(), &request) {
                Ok(admitted) => admitted,
                Err(status) => return Ok(status.into_http()),
            };
            if let Some((caller, index)) = admitted {
                if let Err(status) = wait_for(control.as_ref(), index).await {
                    return Ok(status.into_http());
                }
                request.extensions_mut().insert(caller);
            }
            inner.call(request).await
        })
    }
}

/// Row, identity, lease: in this order, so that nobody unknown learns anything or makes the node wait. With the caller
/// comes the index the answer must not be older than.
fn admit(control: &dyn Control, request: &Request<Body>) -> Result<Option<(Caller, Index)>, Status> {
    let row = policy::of(request.uri().path()).ok_or_else(|| Status::unimplemented("no such method"))?;
    if row.needs == Needs::Public {
        return Ok(None);
    }
    let caller = authenticate(control, request, row).inspect_err(|_| tracing::info!(method = row.path, "caller not proved"))?;
    if !row.without_lease && !control.serving() {
        return Err(failure::no_lease());
    }
    let index = min_index(request.headers())?;
    tracing::info!(method = row.path, principal = %caller.principal, "admin call");
    Ok(Some((caller, index)))
}

fn authenticate(control: &dyn Control, request: &Request<Body>, row: &'static Row) -> Result<Caller, Status> {
    let state = control.state();
    let principal = match bearer(request.headers()).map_err(|NotBearer| failure::unauthenticated())? {
        Some(secret) => {
            let identity = identity::resolve::bearer(&state, control.now(), &secret, TokenUse::Admin);
            identity.map_err(|_| failure::unauthenticated())?.principal
        }
        None => by_certificate(control, &state, request).ok_or_else(failure::unauthenticated)?,
    };
    let request_id = request.headers().get("x-request-id").map(|v| v.to_str().map(str::to_owned));
    let request_id = request_id.transpose().map_err(|_| failure::invalid_field("x-request-id", "must be printable ASCII"))?;
    Ok(Caller { principal, row, request_id })
}

/// An `Authorization` header that holds something else, or several.
pub(crate) struct NotBearer;

/// A header that is there but is no bearer token is an error, never "no token": the certificate must not answer for it.
pub(crate) fn bearer(headers: &HeaderMap) -> Result<Option<Secret>, NotBearer> {
    let mut values = headers.get_all("authorization").iter();
    let (Some(value), None) = (values.next(), values.next()) else {
        return if headers.contains_key("authorization") { Err(NotBearer) } else { Ok(None) };
    };
    let (scheme, token) = value.as_bytes().split_at_checked(7).ok_or(NotBearer)?;
    if !scheme.eq_ignore_ascii_case(b"bearer ") {
        return Err(NotBearer);
    }
    Ok(Some(Secret::new(token.to_vec())))
}

/// The person a client certificate proves: registered by its fingerprint, or named by the cluster's own authority.
fn by_certificate(control: &dyn Control, state: &State, request: &Request<Body>) -> Option<Name> {
    let certificates = request.extensions().get::<TlsConnectInfo<TcpConnectInfo>>()?.peer_certs()?;
    let der = certificates.first()?.as_ref();
    let fingerprint = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, der);
    let fingerprint = Digest(fingerprint.as_ref().try_into().ok()?);
    let person = match state.person_by_certificate(&fingerprint) {
        Some(person) => person,
        None => named_in(control, state, der)?,
    };
    state.active_person(&person.name).map(|p| p.name.clone())
}

/// A person with a registered certificate is proved by that one only: registering replaces the cluster's own.
fn named_in<'a>(control: &dyn Control, state: &'a State, der: &[u8]) -> Option<&'a domain::principal::Principal> {
    let person = state.principals.get(&control.person_of_certificate(der)?)?;
    match &person.kind {
        PrincipalKind::Person { certificate: None, .. } => Some(person),
        PrincipalKind::Person { certificate: Some(_), .. } | PrincipalKind::Agent { .. } => None,
    }
}

fn min_index(headers: &HeaderMap) -> Result<Index, Status> {
    let Some(value) = headers.get("x-assize-min-index") else { return Ok(Index::default()) };
    let index = value.to_str().ok().and_then(|text| text.parse().ok());
    index.map(Index).ok_or_else(|| failure::invalid_field("x-assize-min-index", "must be a number"))
}

async fn wait_for(control: &dyn Control, index: Index) -> Result<(), Status> {
    if control.state().applied >= index {
        return Ok(());
    }
    let deadline: Duration = limits::MIN_INDEX_WAIT;
    match tokio::time::timeout(deadline, control.wait_for(index)).await {
        Ok(found) => found.map(|_| ()).map_err(|e| failure::control(&e)),
        Err(_) => {
            Err(failure::control(&crate::ControlError::Unavailable(format!("this node has not reached index {index} within {deadline:?}"))))
        }
    }
}
