//! `assize target check` and `assize explain`: dialling as a session would, and classifying as the road would.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use admin_api::control::{Checked, Needed};
use cluster::Cluster;
use domain::admission::reach::reach_of;
use domain::audit::record;
use domain::credential::Credential;
use domain::id::Name;
use domain::operation::Protocol;
use domain::policy::NoRules;
use domain::refusal::Refusal;
use domain::target::Target;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use proto::admin::{CheckStep, TargetFinding};
use protocol_postgres::operation::{Classifier, Context};
use protocol_postgres::upstream::survey::{Survey, Used, findings, survey};
use session::limits::DIAL_DEADLINE;

use crate::enforcement::Sessions;
use crate::own_login::{OwnLogin, within};

pub(crate) struct Tools {
    pub(crate) cluster: Cluster,
    pub(crate) classifier: Arc<Classifier>,
    pub(crate) sessions: Arc<Sessions>,
}

fn step(name: &str, begun: Instant, result: Result<String, String>) -> CheckStep {
    let took = begun.elapsed();
    let passed = result.is_ok();
    let finding = result.unwrap_or_else(|why| why);
    let took = proto::types::Duration { seconds: i64::try_from(took.as_secs()).unwrap_or(i64::MAX), nanos: took.subsec_nanos() as i32 };
    CheckStep { step: name.into(), passed, finding, took: Some(took) }
}

impl Tools {
    async fn survey(&self, target: &Target, credential: &Credential) -> Result<Survey, String> {
        let own = OwnLogin::open(&self.cluster, target, credential, "assize target check")?;
        within(DIAL_DEADLINE, survey(&own.address(), &own.login())).await
    }

    /// What live grants give at this target now, whatever a policy takes from it, and where the nodes are.
    async fn used(&self, target: &Name) -> Used {
        let (state, now) = (self.cluster.state(), self.cluster.now());
        let reached = state.principals.keys().flat_map(|who| reach_of(&state, who, Some(target), now, &NoRules));
        let permissions = reached.flat_map(|reach| reach.grants).map(|(_, set)| set).filter(|set| !set.is_empty()).collect();
        let mut nodes = std::collections::BTreeSet::new();
        for member in state.members.values() {
            // A name that does not resolve here is no address a session could be told by.
            let resolved = tokio::net::lookup_host(member.address.as_str()).await;
            nodes.extend(resolved.into_iter().flatten().map(|at: SocketAddr| -> IpAddr { at.ip() }));
        }
        Used { permissions, nodes }
    }
}

impl admin_api::control::Dial for Tools {
    fn check<'a>(&'a self, target: &'a Target, credential: Option<&'a Credential>) -> BoxFuture<'a, Checked> {
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
                return Checked { steps, findings: Vec::new() };
            }
            let begun = Instant::now();
            let surveyed = match (target.protocol, credential) {
                (Protocol::Postgres, Some(credential)) => self.survey(target, credential).await,
                (Protocol::Postgres, None) => Err(format!("the credential {} does not exist", target.credential)),
                (Protocol::Assize, _) => Err("this target is the cluster itself".into()),
            };
            let found = match &surveyed {
                Ok(survey) => findings(survey, &self.used(&target.name).await),
                Err(_) => Vec::new(),
            };
            steps.push(step("login", begun, surveyed.map(|survey| format!("PostgreSQL {}", survey.version))));
            let to_wire = |f: protocol_postgres::upstream::survey::Finding| TargetFinding {
                severity: f.severity.to_string(),
                code: f.code.into(),
                finding: f.text,
            };
            Checked { steps, findings: found.into_iter().map(to_wire).collect() }
        }
        .boxed()
    }

    fn record(&self, by: &Name, target: &Name, reachable: bool, findings: &[String]) {
        if let Some(parts) = self.sessions.parts() {
            session::records::target_check(parts, record::TargetCheck { principal: by, target, reachable, findings });
        }
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

    fn context(&self, database: &str, username: &str) -> Vec<(String, String)> {
        protocol_postgres::session::ordinary_context(database, username)
    }
}
