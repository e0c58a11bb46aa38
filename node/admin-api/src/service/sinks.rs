use domain::command::{Command, Expect};
use domain::credential::Sealed;
use domain::id::Name;
use domain::sink::Cursor;
use identity::Secret;
use proto::admin as pb;
use proto::admin::sink::Destination;
use tonic::{Request, Response, Status};

use super::{Api, Ask, gone};
use crate::call::Call;
use crate::convert::fields::{Fields, collect};
use crate::convert::sink::{put, to_wire};
use crate::{failure, limits};

#[tonic::async_trait]
impl pb::sinks_server::Sinks for Api {
    async fn create_sink(&self, request: Request<pb::CreateSinkRequest>) -> Result<Response<pb::CreateSinkResponse>, Status> {
        let (call, message) = self.enter(request)?;
        let sink = message.sink.unwrap_or_default();
        call.may(&sink.name)?;
        let name = collect(|f| f.parse::<Name>("sink.name", &sink.name))?;
        let is_webhook = matches!(sink.destination, Some(Destination::Webhook(_)));
        let drawn = if is_webhook && message.secret.is_empty() { webhook_secret() } else { String::new() };
        let secret = if drawn.is_empty() { message.secret } else { drawn.clone() };
        let sealed = self.sealed(&call, &name, &sink, secret)?;
        let start = if message.from_beginning { Cursor::default() } else { self.end()? };
        let command = collect(|f| put(f, sink, sealed, start, Some(Expect::Absent)))?;
        let done = call.submit(&message.request_id, "sink", command).await?;
        let made = done.state.sinks.get(&name).ok_or_else(|| gone(&name))?;
        let sink = Some(to_wire(made, &done.state, &|log| self.size(log)));
        call.answer(&done.state, pb::CreateSinkResponse { sink, secret: drawn })
    }

    async fn get_sink(&self, request: Request<pb::GetSinkRequest>) -> Result<Response<pb::Sink>, Status> {
        let (call, message) = self.enter(request)?;
        let state = call.may(&message.name)?;
        let name = collect(|f| f.parse::<Name>("name", &message.name))?;
        let found = state.sinks.get(&name).ok_or_else(|| gone(&name))?;
        call.answer(&state, to_wire(found, &state, &|log| self.size(log)))
    }

    async fn list_sinks(&self, request: Request<pb::ListSinksRequest>) -> Result<Response<pb::ListSinksResponse>, Status> {
        let (call, message) = self.enter(request)?;
        let state = call.unfiltered();
        let seen = call.visible(state.sinks.values().collect(), |sink| sink.name.to_string())?;
        let ask = Ask { size: message.page_size, token: &message.page_token, filter: String::new() };
        let (page, next_page_token) = self.page(&call, &ask, seen, |sink| sink.name.to_string())?;
        let sinks = page.into_iter().map(|sink| to_wire(sink, &state, &|log| self.size(log))).collect();
        call.answer(&state, pb::ListSinksResponse { sinks, next_page_token })
    }

    async fn update_sink(&self, request: Request<pb::UpdateSinkRequest>) -> Result<Response<pb::Sink>, Status> {
        let (call, message) = self.enter(request)?;
        let sink = message.sink.unwrap_or_default();
        call.may(&sink.name)?;
        let name = collect(|f| f.parse::<Name>("sink.name", &sink.name))?;
        let sealed = self.sealed(&call, &name, &sink, message.secret)?;
        let command = collect(|f| {
            let expect = f.etag("sink.etag", &sink.etag);
            put(f, sink, sealed, Cursor::default(), expect)
        })?;
        let done = call.submit(&message.request_id, "sink", command).await?;
        let made = done.state.sinks.get(&name).ok_or_else(|| gone(&name))?;
        call.answer(&done.state, to_wire(made, &done.state, &|log| self.size(log)))
    }

    async fn delete_sink(&self, request: Request<pb::DeleteSinkRequest>) -> Result<Response<pb::DeleteSinkResponse>, Status> {
        let (call, message) = self.enter(request)?;
        call.may(&message.name)?;
        let command = collect(|f| {
            let name = f.parse("name", &message.name);
            let expect = f.etag_optional("etag", &message.etag);
            Some(Command::DeleteSink { name: name?, expect: expect? })
        })?;
        let done = call.submit(&message.request_id, "", command).await?;
        call.answer(&done.state, pb::DeleteSinkResponse {})
    }

    async fn test_sink(&self, request: Request<pb::TestSinkRequest>) -> Result<Response<pb::TestSinkResponse>, Status> {
        let (call, message) = self.enter(request)?;
        let state = call.may(&message.name)?;
        let name = collect(|f| f.parse::<Name>("name", &message.name))?;
        let sink = state.sinks.get(&name).ok_or_else(|| gone(&name))?;
        let tested = tokio::time::timeout(limits::CHECK_DEADLINE, self.0.outbound.test(sink)).await;
        let error = match tested {
            Ok(Ok(())) => String::new(),
            Ok(Err(why)) => why,
            Err(_) => format!("no answer within {:?}", limits::CHECK_DEADLINE),
        };
        let node = call.control().node().0;
        call.answer(&state, pb::TestSinkResponse { delivered: error.is_empty(), error, node })
    }
}

impl Api {
    fn size(&self, log: &str) -> u64 {
        self.0.audit.size(log).unwrap_or_default()
    }

    /// Where the logs end now, as this node has them.
    fn end(&self) -> Result<Cursor, Status> {
        let size = |log| self.0.audit.size(log).map_err(|error| failure::control(&error));
        Ok(Cursor { control: size("control")?, audit: size("audit/0")?, ..Cursor::default() })
    }

    /// Checks a secret that was given for what it is to be, and seals it at this edge.
    fn sealed(&self, call: &Call, name: &Name, sink: &pb::Sink, secret: String) -> Result<Option<Sealed>, Status> {
        if secret.is_empty() {
            return Ok(None);
        }
        collect(|f| usable(f, sink, &secret))?;
        call.control().seal_sink(name, &Secret::from(secret)).map(Some).map_err(|error| failure::control(&error))
    }
}

/// Bytes of a webhook's drawn key.
const KEY_SIZE: usize = 32;

fn webhook_secret() -> String {
    format!("whsec_{}", data_encoding::BASE64.encode(&identity::random::bytes::<KEY_SIZE>()))
}

fn usable(f: &mut Fields, sink: &pb::Sink, secret: &str) -> Option<()> {
    let plain = secret.len() <= limits::PASSWORD_MAX && secret.chars().all(|c| c.is_ascii() && !c.is_ascii_control());
    if !plain {
        return f.fault("secret", format!("must have 1 to {} printable ASCII characters", limits::PASSWORD_MAX));
    }
    match &sink.destination {
        Some(Destination::Webhook(_)) => {
            let key = secret.strip_prefix("whsec_").and_then(|key| data_encoding::BASE64.decode(key.as_bytes()).ok());
            match key.filter(|key| (24..=64).contains(&key.len())) {
                Some(_) => Some(()),
                None => f.fault("secret", "must be whsec_ and base64 of 24 to 64 bytes"),
            }
        }
        Some(Destination::Slack(_) | Destination::Teams(_)) if !secret.starts_with("https://") && !secret.starts_with("http://") => {
            f.fault("secret", "must be the address of the incoming webhook")
        }
        Some(_) | None => Some(()),
    }
}
