//! Administration without the CLI's start-up time in what is measured: `assize.admin.v1` over one kept connection a node.

use std::path::Path;
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, Result};
use proto::admin as pb;
use tonic::Request;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};

/// No answer after this long counts as none.
const PATIENCE: Duration = Duration::from_secs(15);

#[derive(Debug, Clone)]
pub struct Admin {
    channels: Vec<Channel>,
}

impl Admin {
    /// One connection for each of these addresses, made when it is first needed.
    ///
    /// # Errors
    /// Without a certificate in `folder`.
    pub fn new(folder: &Path, addresses: &[String]) -> Result<Admin> {
        let read = |name: &str| std::fs::read(folder.join(name)).with_context(|| name.to_owned());
        let tls = ClientTlsConfig::new()
            .ca_certificate(Certificate::from_pem(read("ca.pem")?))
            .identity(Identity::from_pem(read("cert.pem")?, read("key.pem")?));
        let channel = |address: &String| {
            let endpoint = Endpoint::from_shared(format!("https://{address}"))?.tls_config(tls.clone())?;
            Ok(endpoint.connect_timeout(Duration::from_secs(2)).tcp_nodelay(true).connect_lazy())
        };
        Ok(Admin { channels: addresses.iter().map(channel).collect::<Result<_>>()? })
    }

    /// A new gateway token.
    ///
    /// # Errors
    /// When it is refused or not answered.
    pub async fn token(&self, node: usize, agent: &str) -> Result<String> {
        let request = pb::IssueTokenRequest { principal: agent.into(), r#use: pb::TokenUse::Gateway.into(), ..Default::default() };
        Ok(pb::tokens_client::TokensClient::new(self.at(node)).issue_token(asked(request)).await?.into_inner().secret)
    }

    /// A grant on the load's table that ends by itself; its id.
    ///
    /// # Errors
    /// When it is refused or not answered.
    pub async fn grant_until(&self, node: usize, agent: &str, end: SystemTime) -> Result<String> {
        let since = end.duration_since(SystemTime::UNIX_EPOCH)?;
        let expires = proto::types::Timestamp { seconds: i64::try_from(since.as_secs())?, nanos: i32::try_from(since.subsec_nanos())? };
        let grant = pb::Grant {
            principal: agent.into(),
            target: Some(pb::TargetSelector { selector: Some(pb::target_selector::Selector::Name("orders".into())) }),
            permissions: vec!["postgres:select,insert on app.public.orders".into()],
            roles: vec!["client".into()],
            expires: Some(expires),
            ..Default::default()
        };
        let request = pb::CreateGrantRequest { grant: Some(grant), ..Default::default() };
        let made = pb::grants_client::GrantsClient::new(self.at(node)).create_grant(asked(request)).await?.into_inner();
        Ok(made.id)
    }

    /// Ends a grant, by name or id; the numbers (from 1) of the nodes that reported, and of those whose lease had to run out.
    ///
    /// # Errors
    /// When it is refused or not answered.
    pub async fn revoke(&self, node: usize, grant: &str) -> Result<(Vec<u64>, Vec<u64>)> {
        let request = pb::RevokeGrantRequest { id: grant.into(), reason: "chaos".into(), ..Default::default() };
        let answer = pb::grants_client::GrantsClient::new(self.at(node)).revoke_grant(asked(request)).await?.into_inner();
        let receipt = answer.receipt.context("a receipt")?;
        let numbers = |ran_out: bool| receipt.nodes.iter().filter(|node| node.lease_ran_out == ran_out).map(|node| node.node).collect();
        Ok((numbers(false), numbers(true)))
    }

    /// Ids of an agent's requests that wait.
    ///
    /// # Errors
    /// When it is refused or not answered.
    pub async fn open_requests(&self, node: usize, agent: &str) -> Result<Vec<String>> {
        let request = pb::ListRequestsRequest { principal: agent.into(), page_size: 100, ..Default::default() };
        let listed = pb::requests_client::RequestsClient::new(self.at(node)).list_requests(asked(request)).await?.into_inner();
        Ok(listed.requests.into_iter().map(|open| open.id).collect())
    }

    /// Approves a request, or denies it.
    ///
    /// # Errors
    /// When it is refused or not answered.
    pub async fn decide(&self, node: usize, request: &str, approve: bool) -> Result<()> {
        let mut client = pb::requests_client::RequestsClient::new(self.at(node));
        let decision = asked(pb::DecideRequestRequest { id: request.into(), reason: "chaos".into(), ..Default::default() });
        if approve {
            client.approve_request(decision).await?
        } else {
            client.deny_request(decision).await?
        };
        Ok(())
    }

    /// Nodes from 0, and round again.
    fn at(&self, node: usize) -> Channel {
        self.channels[node % self.channels.len()].clone()
    }
}

fn asked<Q>(message: Q) -> Request<Q> {
    let mut request = Request::new(message);
    request.set_timeout(PATIENCE);
    request
}
