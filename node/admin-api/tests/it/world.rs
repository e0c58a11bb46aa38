//! One served cluster, and callers of it.

use std::sync::Arc;

use admin_api::in_memory::{InMemory, Running};
use proto::admin as pb;
use proto::admin::principal::Kind;
use proto::error;
use tonic::metadata::MetadataValue;
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};
use tonic::{Code, Request, Status};

pub(crate) struct World {
    pub(crate) running: Running,
    channel: Channel,
}

/// Sends a bearer token with every call.
#[derive(Clone)]
pub(crate) struct Bearer(Option<String>);

impl Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(token) = &self.0 {
            let value: MetadataValue<_> = format!("Bearer {token}").parse().expect("tokens are ASCII");
            request.metadata_mut().insert("authorization", value);
        }
        Ok(request)
    }
}

pub(crate) type As = InterceptedService<Channel, Bearer>;

impl World {
    pub(crate) async fn new() -> World {
        let cluster = Arc::new(InMemory::found());
        let running = cluster.serve().await;
        let channel = connect(&running, None).await.expect("the listener is up");
        World { running, channel }
    }

    pub(crate) fn cluster(&self) -> &InMemory {
        &self.running.cluster
    }

    pub(crate) fn anonymous(&self) -> As {
        self.bearer(None)
    }

    pub(crate) fn bearer(&self, token: Option<String>) -> As {
        InterceptedService::new(self.channel.clone(), Bearer(token))
    }

    pub(crate) fn admin(&self) -> As {
        self.bearer(Some(self.cluster().admin_token("admin")))
    }

    /// A new person with these grants on `assize`.
    pub(crate) async fn person(&self, name: &str, permissions: &[&str]) -> As {
        let admin = self.admin();
        let person = pb::Principal { name: name.into(), kind: Some(Kind::Person(pb::Person::default())), ..Default::default() };
        let mut principals = pb::principals_client::PrincipalsClient::new(admin.clone());
        principals
            .create_principal(pb::CreatePrincipalRequest { principal: Some(person), ..Default::default() })
            .await
            .expect("a new person");
        if !permissions.is_empty() {
            let grant = assize_grant(name, permissions);
            let mut grants = pb::grants_client::GrantsClient::new(admin);
            grants.create_grant(pb::CreateGrantRequest { grant: Some(grant), ..Default::default() }).await.expect("a new grant");
        }
        self.bearer(Some(self.cluster().admin_token(name)))
    }
}

pub(crate) fn assize_grant(principal: &str, permissions: &[&str]) -> pb::Grant {
    use pb::target_selector::{Assize, Selector};
    pb::Grant {
        principal: principal.into(),
        target: Some(pb::TargetSelector { selector: Some(Selector::Assize(Assize {})) }),
        permissions: permissions.iter().map(|p| (*p).to_owned()).collect(),
        ..Default::default()
    }
}

pub(crate) async fn connect(running: &Running, identity: Option<(String, String)>) -> Result<Channel, tonic::transport::Error> {
    let mut tls = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(&running.certificates.ca_pem));
    if let Some((cert, key)) = identity {
        tls = tls.identity(Identity::from_pem(cert, key));
    }
    Endpoint::from_shared(format!("https://{}", running.address)).expect("an address").tls_config(tls)?.connect().await
}

/// The code, the reason for programs, and the fields at fault.
pub(crate) fn told(status: &Status) -> (Code, String, Vec<String>) {
    let (reason, fields) = error::details(status);
    (status.code(), reason, fields.into_iter().map(|f| f.field).collect())
}

pub(crate) fn check_told<T: std::fmt::Debug>(result: Result<T, Status>, code: Code, reason: &str, fields: &[&str]) {
    let status = result.expect_err("it must be refused");
    assert_eq!(told(&status), (code, reason.to_owned(), fields.iter().map(|f| (*f).to_owned()).collect()), "{status:?}");
}
