//! Calls to a node: the next address when one cannot be reached, the same request id when an outcome is unknown.

use std::time::Duration;

use futures_util::future::BoxFuture;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};
use tonic::{Request, Response, Status};

use crate::config::Connection;
use crate::outcome::{Failure, Meaning, meaning, refused};

/// How long to wait for one node to accept a connection before the next is tried.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Between repetitions of a call whose outcome is unknown.
const RETRY_PAUSE: Duration = Duration::from_millis(300);
/// Bytes of one answer.
const ANSWER_MAX: usize = 64 << 20;

pub(crate) struct Client {
    connection: Connection,
    endpoints: Vec<(String, Endpoint)>,
    /// The node that answered last, and its channel.
    current: Option<(usize, Channel)>,
    /// What repeating this command must be given.
    request_id: String,
    /// Where a command makes several changes: which one comes next.
    change_key: Option<String>,
}

/// A call, made again with the same request as often as it must be.
pub(crate) type Method<'m, Q, A> = &'m (dyn Fn(Channel, Request<Q>) -> BoxFuture<'static, Result<Response<A>, Status>> + Send + Sync);

/// `rpc!(client.ask, module::Client, method, request)` for questions, `client.change` for changes.
macro_rules! rpc {
    ($client:ident . $how:ident, $module:ident :: $service:ident, $method:ident, $request:expr) => {
        $client
            .$how($request, &|channel, request| {
                Box::pin(async move {
                    let max = $crate::client::answer_max();
                    proto::admin::$module::$service::new(channel).max_decoding_message_size(max).$method(request).await
                })
            })
            .await
    };
}
pub(crate) use rpc;

pub(crate) fn answer_max() -> usize {
    ANSWER_MAX
}

impl Client {
    pub(crate) fn new(connection: Connection) -> Result<Client, Failure> {
        let mut tls = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(&connection.ca_pem));
        if let Some((cert, key)) = &connection.identity_pem {
            tls = tls.identity(Identity::from_pem(cert, key));
        }
        if let Some(name) = &connection.server_name {
            tls = tls.domain_name(name);
        }
        let endpoint = |address: &String| {
            let uri = format!("https://{address}");
            let endpoint = Endpoint::from_shared(uri).map_err(|e| Failure::usage(format!("{address}: {e}")))?;
            let endpoint = endpoint.tls_config(tls.clone()).map_err(|e| Failure::failed(format!("TLS: {}", chain(&e))))?;
            Ok((address.clone(), endpoint.connect_timeout(CONNECT_TIMEOUT).tcp_nodelay(true)))
        };
        let endpoints = connection.addresses.iter().map(endpoint).collect::<Result<Vec<_>, Failure>>()?;
        let request_id = connection.request_id.clone().unwrap_or_else(random_id);
        Ok(Client { connection, endpoints, current: None, request_id, change_key: None })
    }

    /// A question: asked of the next node when one does not answer it.
    pub(crate) async fn ask<Q: Clone, A>(&mut self, request: Q, method: Method<'_, Q, A>) -> Result<A, Failure> {
        self.call(request, method, None).await
    }

    /// A change, with a request id of its own.
    pub(crate) async fn change<Q: Clone, A>(&mut self, request: Q, method: Method<'_, Q, A>) -> Result<A, Failure> {
        let id = self.id_of_change();
        self.call(request, method, Some(id)).await
    }

    async fn call<Q: Clone, A>(&mut self, request: Q, method: Method<'_, Q, A>, change: Option<String>) -> Result<A, Failure> {
        let (mut elsewhere, mut repeats) = (self.endpoints.len(), 0);
        loop {
            let channel = self.channel().await?;
            let status = match method(channel, self.prepare(request.clone(), change.as_deref())?).await {
                Ok(answer) => return Ok(answer.into_inner()),
                Err(status) => status,
            };
            match (meaning(&status, change.is_some()), &change) {
                (Meaning::TryElsewhere, _) if elsewhere > 1 => {
                    elsewhere -= 1;
                    self.leave_current();
                }
                (Meaning::Unknown, Some(_)) if repeats < self.connection.retry_unknown => {
                    repeats += 1;
                    self.leave_current();
                    tokio::time::sleep(RETRY_PAUSE).await;
                }
                (Meaning::Unknown, Some(_)) => {
                    return Err(Failure::Unknown { request_id: self.request_id.clone(), message: status.message().to_owned() });
                }
                (Meaning::Answered | Meaning::TryElsewhere | Meaning::Unknown, _) => return Err(refused(&status)),
            }
        }
    }

    /// A stream is asked of one node; whoever reads it starts again where it broke, or not at all.
    pub(crate) async fn stream<Q: Clone, A>(
        &mut self,
        request: Q,
        method: Method<'_, Q, tonic::Streaming<A>>,
    ) -> Result<tonic::Streaming<A>, Failure> {
        let channel = self.channel().await?;
        let mut prepared = self.prepare(request, None)?;
        prepared.metadata_mut().remove("grpc-timeout");
        method(channel, prepared).await.map(Response::into_inner).map_err(|status| refused(&status))
    }

    fn prepare<Q>(&self, message: Q, request_id: Option<&str>) -> Result<Request<Q>, Failure> {
        let mut request = Request::new(message);
        request.set_timeout(self.connection.timeout);
        if let Some(token) = &self.connection.token {
            let value = format!("Bearer {token}").parse().map_err(|_| Failure::usage("the token has characters that no token has"))?;
            request.metadata_mut().insert("authorization", value);
        }
        if let Some(id) = request_id {
            let value = Some(id).filter(|id| !id.is_empty()).and_then(|id| id.parse().ok());
            let value = value.ok_or_else(|| Failure::usage("--request-id: 1 to 64 printable ASCII characters"))?;
            request.metadata_mut().insert("x-request-id", value);
        }
        Ok(request)
    }

    /// Names the next change by what it does, for commands that make several: a repeated command may have fewer left to
    /// make, and no change must be taken for another.
    pub(crate) fn next_change(&mut self, key: &str) {
        self.change_key = Some(key.to_owned());
    }

    fn id_of_change(&self) -> String {
        let Some(key) = &self.change_key else { return self.request_id.clone() };
        let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, format!("{}\0{key}", self.request_id).as_bytes());
        format!("ctl-{}", data_encoding::BASE32_NOPAD.encode(hash.as_ref()).to_ascii_lowercase())
    }

    async fn channel(&mut self) -> Result<Channel, Failure> {
        if let Some((_, channel)) = &self.current {
            return Ok(channel.clone());
        }
        let mut failures = Vec::new();
        for (at, (address, endpoint)) in self.endpoints.iter().enumerate() {
            match endpoint.connect().await {
                Ok(channel) => {
                    self.current = Some((at, channel.clone()));
                    return Ok(channel);
                }
                Err(error) => failures.push(format!("{address}: {}", chain(&error))),
            }
        }
        Err(Failure::failed(format!("no node could be reached:\n  {}", failures.join("\n  "))))
    }

    /// The node that just failed is tried last from now on.
    fn leave_current(&mut self) {
        if let Some((at, _)) = self.current.take() {
            let left = self.endpoints.remove(at);
            self.endpoints.push(left);
        }
    }
}

/// An error with its causes, as one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let more = cause.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        source = cause.source();
    }
    text
}

fn random_id() -> String {
    let mut bytes = [0; 15];
    aws_lc_rs::rand::fill(&mut bytes).expect("the operating system has randomness");
    format!("ctl-{}", data_encoding::BASE32_NOPAD.encode(&bytes).to_ascii_lowercase())
}
