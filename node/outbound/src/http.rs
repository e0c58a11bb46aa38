//! One POST. No redirects, no proxies, no cookies; bounded in time and in what is read of the answer.

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::Request;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use socket::Stream;
use tokio::time::timeout;

use crate::connect::{self, Trust};
use crate::limits::{ANSWER_MAX, ANSWER_SHOWN, CALL_DEADLINE};
use crate::url::Url;

pub(crate) const AGENT: &str = concat!("assize/", env!("CARGO_PKG_VERSION"));

#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: String,
}

impl Answer {
    /// Done, or why not.
    pub(crate) fn done(self) -> Result<Answer, String> {
        match self.status {
            200..=299 => Ok(self),
            300..=399 => Err(format!("status {}: redirects are not followed", self.status)),
            status => {
                let said: String = domain::escape::show(self.body.trim()).text.chars().take(ANSWER_SHOWN).collect();
                Err(if said.is_empty() { format!("status {status}") } else { format!("status {status}: {said}") })
            }
        }
    }
}

/// # Errors
/// In words for the operator. The receiver may have got it all the same.
pub(crate) async fn post(url: &Url, headers: &[(&str, String)], body: Bytes, trust: Trust<'_>) -> Result<Answer, String> {
    timeout(CALL_DEADLINE, call(url, headers, body, trust)).await.unwrap_or_else(|_| Err(format!("no answer within {CALL_DEADLINE:?}")))
}

async fn call(url: &Url, headers: &[(&str, String)], body: Bytes, trust: Trust<'_>) -> Result<Answer, String> {
    let tcp = connect::tcp(&url.host, url.port, trust.allowed).await?;
    let stream = if url.tls {
        connect::tls(tcp, &url.host, trust.roots_pem).await?
    } else {
        let peer = tcp.peer_addr().map_err(|error| error.to_string())?;
        if !trust.allowed.names(peer.ip()) {
            return Err("http:// without TLS goes only to networks of outbound.allow of this node's configuration".into());
        }
        Stream::Plain(tcp)
    };
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(|error| error.to_string())?;
    let mut request = Request::post(&url.target).header("host", url.authority()).header("user-agent", AGENT);
    for (name, value) in headers {
        request = request.header(*name, value);
    }
    let request = request.body(Full::new(body)).map_err(|error| error.to_string())?;
    let exchange = async {
        let answer = sender.send_request(request).await.map_err(|error| error.to_string())?;
        let status = answer.status().as_u16();
        // More than is read of it is no reason to send it again.
        let body = Limited::new(answer.into_body(), ANSWER_MAX).collect().await.map(|body| body.to_bytes()).unwrap_or_default();
        Ok(Answer { status, body: String::from_utf8_lossy(&body).into_owned() })
    };
    // The connection lives as long as the exchange, in this task: nothing is left behind.
    tokio::pin!(exchange);
    tokio::select! {
        answer = &mut exchange => answer,
        ended = connection => match ended {
            Ok(()) => exchange.await,
            Err(error) => Err(error.to_string()),
        },
    }
}
