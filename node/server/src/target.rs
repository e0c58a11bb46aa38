//! `assize target check` and `assize explain`: dialling as a session would, and classifying as the road would.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use admin_api::control::Needed;
use cluster::Cluster;
use domain::credential::Credential;
use domain::operation::Protocol;
use domain::refusal::Refusal;
use domain::target::Target;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use proto::admin::CheckStep;
use protocol_postgres::codec::ProtocolVersion;
use protocol_postgres::operation::{Classifier, Context};
use protocol_postgres::upstream::{self, Address, Login};
use session::limits::{DIAL_DEADLINE, UPSTREAM_USER_TIMEOUT};

use crate::authority::CREDENTIAL;

pub(crate) struct Tools {
    pub(crate) cluster: Cluster,
    pub(crate) classifier: Arc<Classifier>,
}

fn step(name: &str, begun: Instant, result: Result<String, String>) -> CheckStep {
    let took = begun.elapsed();
    let passed = result.is_ok();
    let finding = result.unwrap_or_else(|why| why);
    let took = proto::types::Duration { seconds: i64::try_from(took.as_secs()).unwrap_or(i64::MAX), nanos: took.subsec_nanos() as i32 };
    CheckStep { step: name.into(), passed, finding, took: Some(took) }
}

impl Tools {
    async fn login(&self, target: &Target, credential: &Credential) -> Result<String, String> {
        let password = self.cluster.open(CREDENTIAL, credential.name.as_str(), &credential.sealed).map_err(|e| e.to_string())?;
        let password = identity::Secret::new(password.to_vec());
        let address =
            Address { address: target.address.clone(), tls: target.tls.clone(), direct_tls: false, user_timeout: UPSTREAM_USER_TIMEOUT };
        let settings = BTreeMap::new();
        let login = Login {
            username: &credential.username,
            password: &password,
            database: &target.default_database,
            application: "assize target check",
            settings: &settings,
            read_only: true,
            version: ProtocolVersion::V3_0,
        };
        match tokio::time::timeout(DIAL_DEADLINE, upstream::check(&address, &login)).await {
            Ok(Ok(parameters)) => {
                Ok(format!("PostgreSQL {}", parameters.get("server_version").map_or("of unknown version", String::as_str)))
            }
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err(format!("no answer within {DIAL_DEADLINE:?}")),
        }
    }
}

impl admin_api::control::Dial for Tools {
    fn check<'a>(&'a self, target: &'a Target, credential: Option<&'a Credential>) -> BoxFuture<'a, Vec<CheckStep>> {
        async move {
            let begun = Instant::now();
            let connect = tokio::time::timeout(Duration::from_secs(5), tokio::net::TcpStream::connect(target.address.as_str())).await;
            let reached = match connect {
                Ok(Ok(_)) => Ok(target.address.clone()),
                Ok(Err(error)) => Err(format!("{}: {error}", target.address)),
                Err(_) => Err(format!("{}: no answer", target.address)),
            };
            let mut steps = vec![step("connect", begun, reached)];
            if !steps[0].passed {
                return steps;
            }
            let begun = Instant::now();
            let logged_in = match (target.protocol, credential) {
                (Protocol::Postgres, Some(credential)) => self.login(target, credential).await,
                (Protocol::Postgres, None) => Err(format!("the credential {} does not exist", target.credential)),
                (Protocol::Assize, _) => Err("this target is the cluster itself".into()),
            };
            steps.push(step("login", begun, logged_in));
            steps
        }
        .boxed()
    }
}

impl admin_api::control::Classify for Tools {
    fn needs(&self, database: &str, statement: &str) -> Needed {
        let context = Arc::new(Context::with_schemas(database, ["public"]));
        let classified = self.classifier.classify(statement, &context);
        let unparseable = classified.unparseable.as_ref().map(|message| Refusal::Unparseable { message: message.to_string() });
        let pinned = || classified.broken_pin().map(|change| Refusal::Pinned { setting: change.name.to_string() });
        Needed { accesses: classified.operation.accesses.to_vec(), impossible: unparseable.or_else(pinned) }
    }
}
