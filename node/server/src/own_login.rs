//! The node's own login at a target, with the target's sealed credential: it only looks, or ends what agents left.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::future::Future;
use std::time::Duration;

use cluster::Cluster;
use domain::credential::Credential;
use domain::target::Target;
use protocol_postgres::codec::ProtocolVersion;
use protocol_postgres::upstream::{Address, Login};
use session::limits::UPSTREAM_USER_TIMEOUT;

use crate::authority::CREDENTIAL;

/// The credential is open for as long as this lives.
pub(crate) struct OwnLogin<'a> {
    target: &'a Target,
    credential: &'a Credential,
    password: identity::Secret,
    application: &'static str,
    settings: BTreeMap<String, String>,
}

impl<'a> OwnLogin<'a> {
    pub(crate) fn open(
        cluster: &Cluster,
        target: &'a Target,
        credential: &'a Credential,
        application: &'static str,
    ) -> Result<OwnLogin<'a>, String> {
        let password = cluster.open(CREDENTIAL, credential.name.as_str(), &credential.sealed).map_err(|e| e.to_string())?;
        let password = identity::Secret::new(password.to_vec());
        Ok(OwnLogin { target, credential, password, application, settings: BTreeMap::new() })
    }

    pub(crate) fn address(&self) -> Address {
        let Target { address, tls, .. } = self.target;
        Address { address: address.clone(), tls: tls.clone(), direct_tls: false, user_timeout: UPSTREAM_USER_TIMEOUT }
    }

    pub(crate) fn login(&self) -> Login<'_> {
        Login {
            username: &self.credential.username,
            password: &self.password,
            database: &self.target.default_database,
            application: self.application,
            settings: &self.settings,
            read_only: true,
            version: ProtocolVersion::V3_0,
        }
    }
}

/// What the target answers in time, or why it does not.
pub(crate) async fn within<T, E: Display>(limit: Duration, answer: impl Future<Output = Result<T, E>>) -> Result<T, String> {
    match tokio::time::timeout(limit, answer).await {
        Ok(answer) => answer.map_err(|error| error.to_string()),
        Err(_) => Err(format!("no answer within {limit:?}")),
    }
}
