//! The services, one a file, and the router that holds them all.

mod access;
mod audit;
mod break_glass;
mod cluster;
mod credentials;
mod explain;
mod grants;
mod jobs;
mod locks;
mod policies;
mod principals;
mod requests;
mod retention;
mod reviews;
mod roles;
mod runs;
mod sessions;
mod sinks;
mod targets;
mod tokens;
mod witnesses;

use std::sync::Arc;

use proto::admin as pb;
use tonic::service::Routes;
use tonic::{Request, Status};

use crate::call::Call;
use crate::control::{AuditLogs, Classify, Control, Dial, Members, Outbound, Sessions};
use crate::page::PageKey;
use crate::{failure, limits};

/// What the services stand on.
#[derive(Clone)]
pub struct Parts {
    pub control: Arc<dyn Control>,
    pub sessions: Arc<dyn Sessions>,
    pub dial: Arc<dyn Dial>,
    pub classify: Arc<dyn Classify>,
    pub audit: Arc<dyn AuditLogs>,
    pub members: Arc<dyn Members>,
    pub outbound: Arc<dyn Outbound>,
    /// The same on all nodes.
    pub page_key: PageKey,
}

/// All services of the API, with reflection and health. To be served behind the guard only ([`crate::serve`]).
pub fn routes(parts: Parts) -> Routes {
    let api = Api(Arc::new(parts));
    let max = limits::MESSAGE_MAX;
    let reflection = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(proto::FILE_DESCRIPTOR_SET)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        .build_v1()
        .expect("own descriptors are well-formed");
    let (_, health) = tonic_health::server::health_reporter();
    Routes::new(pb::principals_server::PrincipalsServer::new(api.clone()).max_decoding_message_size(max))
        .add_service(pb::tokens_server::TokensServer::new(api.clone()).max_decoding_message_size(max))
        .add_service(pb::targets_server::TargetsServer::new(api.clone()).max_decoding_message_size(max))
        .add_service(pb::credentials_server::CredentialsServer::new(api.clone()).max_decoding_message_size(max))
        .add_service(pb::roles_server::RolesServer::new(api.clone()).max_decoding_message_size(max))
        .add_service(pb::jobs_server::JobsServer::new(api.clone()).max_decoding_message_size(max))
        .add_service(pb::grants_server::GrantsServer::new(api.clone()).max_decoding_message_size(max))
        .add_service(pb::requests_server::RequestsServer::new(api.clone()).max_decoding_message_size(max))
        .add_service(pb::break_glass_server::BreakGlassServer::new(api.clone()).max_decoding_message_size(max))
        .add_service(pb::reviews_server::ReviewsServer::new(api.clone()).max_decoding_message_size(max))
        .add_service(pb::locks_server::LocksServer::new(api.clone()).max_decoding_message_size(max))
        .add_service(pb::policies_server::PoliciesServer::new(api.clone()).max_decoding_message_size(max))
        .add_service(pb::sinks_server::SinksServer::new(api.clone()).max_decoding_message_size(max))
        .add_service(pb::witnesses_server::WitnessesServer::new(api.clone()).max_decoding_message_size(max))
        .add_service(pb::retention_server::RetentionServer::new(api.clone()).max_decoding_message_size(max))
        .add_service(pb::sessions_server::SessionsServer::new(api.clone()).max_decoding_message_size(max))
        .add_service(pb::runs_server::RunsServer::new(api.clone()).max_decoding_message_size(max))
        .add_service(pb::explain_server::ExplainServer::new(api.clone()).max_decoding_message_size(max))
        .add_service(pb::audit_server::AuditServer::new(api.clone()).max_decoding_message_size(max))
        .add_service(pb::cluster_server::ClusterServer::new(api).max_decoding_message_size(max))
        .add_service(reflection)
        .add_service(health)
}

/// Implements every service trait; each in its own file.
#[derive(Clone)]
pub(crate) struct Api(Arc<Parts>);

/// Where a list goes on, as asked for.
pub(crate) struct Ask<'a> {
    pub(crate) size: i32,
    pub(crate) token: &'a str,
    /// Everything that narrows the list: a token is good for one filter only.
    pub(crate) filter: String,
}

impl Api {
    fn enter<T>(&self, request: Request<T>) -> Result<(Call, T), Status> {
        Call::enter(&self.0.control, request)
    }

    /// One page of `items`, which are in the order of their keys, and the token of the next.
    fn page<T>(&self, call: &Call, ask: &Ask<'_>, items: Vec<T>, key: impl Fn(&T) -> String) -> Result<(Vec<T>, String), Status> {
        let size = match usize::try_from(ask.size) {
            Ok(0) => limits::PAGE_DEFAULT,
            Ok(size) => size.min(limits::PAGE_MAX),
            Err(_) => return Err(failure::invalid_field("page_size", "must not be negative")),
        };
        let scope = [call.me().as_str(), call.path(), &ask.filter];
        let forged = |_| failure::invalid_field("page_token", "is not a token of this list");
        let after = if ask.token.is_empty() { None } else { Some(self.0.page_key.open(&scope, ask.token).map_err(forged)?) };
        let mut rest = items.into_iter().filter(|item| after.as_ref().is_none_or(|after| key(item) > *after));
        let page: Vec<T> = rest.by_ref().take(size).collect();
        let next = match (rest.next(), page.last()) {
            (Some(_), Some(last)) => self.0.page_key.token(&scope, &key(last)),
            _ => String::new(),
        };
        Ok((page, next))
    }
}

/// The place of a numbered id in a list: sorts as the number does.
pub(crate) fn numbered(id: u64) -> String {
    format!("{id:020}")
}

/// After a command was applied its entity is there, unless a later command has taken it away already.
pub(crate) fn gone(what: impl std::fmt::Display) -> Status {
    failure::not_found(&what.to_string())
}
