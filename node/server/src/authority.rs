//! What the gateway asks of the cluster, answered by the cluster.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use cluster::{Cluster, Records};
use domain::command::{Actor, Command, Reply};
use domain::credential::Credential;
use domain::id::{BootId, Index, NodeId, ProposalId};
use domain::policy::Rules;
use domain::state::State;
use domain::time::LogTime;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use session::authority::{Authority, ProposeError, Recorded, Unavailable};
use session::protocol::CancelKey;
use tokio::sync::watch;

use crate::neighbour::{self, Question};

/// The kind under which a credential's password is sealed.
pub(crate) const CREDENTIAL: &str = "credential";

/// Passing a cancel request on: longer than that, the client has given up.
const CANCEL_WITHIN: Duration = Duration::from_secs(2);

/// A node of the cluster as the gateway sees it.
pub(crate) struct ClusterAuthority {
    cluster: Cluster,
    records: Arc<Records>,
    recorded: watch::Receiver<Recorded>,
    rules: Arc<policy::Engine>,
}

impl ClusterAuthority {
    /// Also starts translating the progress of records; that ends with the cluster.
    pub(crate) fn new(cluster: Cluster, rules: Arc<policy::Engine>) -> Arc<Self> {
        let records = cluster.records();
        let mut through = records.recorded();
        let (sender, recorded) = watch::channel(Recorded { through: *through.borrow() });
        tokio::spawn(async move {
            while through.changed().await.is_ok() {
                sender.send_replace(Recorded { through: *through.borrow_and_update() });
            }
        });
        Arc::new(ClusterAuthority { cluster, records, recorded, rules })
    }
}

impl Authority for ClusterAuthority {
    fn node(&self) -> NodeId {
        self.cluster.node()
    }

    fn boot(&self) -> BootId {
        self.cluster.boot()
    }

    fn state(&self) -> Arc<State> {
        self.cluster.state()
    }

    fn applied(&self) -> watch::Receiver<Index> {
        self.cluster.applied()
    }

    fn now(&self) -> LogTime {
        self.cluster.now()
    }

    fn rules(&self) -> &dyn Rules {
        self.rules.as_ref()
    }

    fn may_forward(&self) -> bool {
        self.cluster.may_forward()
    }

    fn late_by(&self) -> Duration {
        self.cluster.late_by()
    }

    fn serving(&self) -> watch::Receiver<bool> {
        self.cluster.serving()
    }

    fn fenced(&self) {
        self.cluster.fenced();
    }

    fn confirm(&self) -> BoxFuture<'_, Result<Index, Unavailable>> {
        self.cluster.confirm().map(|confirmed| confirmed.map_err(|e| Unavailable(e.to_string()))).boxed()
    }

    fn propose(&self, id: ProposalId, actor: Actor, command: Command) -> BoxFuture<'_, Result<Reply, ProposeError>> {
        async move {
            match self.cluster.propose(id, actor, command).await {
                Ok(done) => Ok(done.reply),
                Err(cluster::ProposeError::NotCommitted(why)) => Err(ProposeError::NotCommitted(why)),
                Err(cluster::ProposeError::Unknown(why)) => Err(ProposeError::Unknown(why)),
            }
        }
        .boxed()
    }

    fn record(&self, encode: &mut dyn FnMut(u64) -> Vec<u8>) -> u64 {
        self.records.submit(encode)
    }

    fn record_unawaited(&self, encode: &mut dyn FnMut(u64) -> Vec<u8>) -> u64 {
        self.records.submit_unawaited(encode)
    }

    fn recorded(&self) -> watch::Receiver<Recorded> {
        self.recorded.clone()
    }

    fn cancel_elsewhere(&self, key: CancelKey) -> BoxFuture<'_, Result<(), Unavailable>> {
        async move {
            let question = Question::Cancel { number: key.number, secret: key.secret.clone() };
            let asked = self.cluster.ask_gateway(key.node, neighbour::encode(&question), CANCEL_WITHIN).await;
            asked.map(|_: Bytes| ()).map_err(|e| Unavailable(e.to_string()))
        }
        .boxed()
    }

    fn open_credential(&self, credential: &Credential) -> Result<identity::Secret, Unavailable> {
        let opened = self.cluster.open(CREDENTIAL, credential.name.as_str(), &credential.sealed);
        opened.map(|plain| identity::Secret::new(plain.to_vec())).map_err(|e| Unavailable(e.to_string()))
    }
}
