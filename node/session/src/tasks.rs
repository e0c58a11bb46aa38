//! Every `spawn` of the road goes through here, with a kind that says what its end means.

use std::future::Future;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// What a task is for; decides what cancelling it means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Accepts connections. Stopped at once when draining begins.
    Listener,
    /// One connection from accept to end. Told to end when draining begins, dropped at the drain's deadline: its
    /// gate shuts when it is dropped, so nothing is forwarded afterwards.
    Connection,
    /// Cancels work at a target. Runs to its own deadline, also while draining.
    Cancel,
    /// Watches leases and expiry: also while draining, so it is neither stopped nor waited for. Ends with the process.
    Watch,
}

/// The road's tasks of one node.
#[derive(Debug, Clone, Default)]
pub struct Tasks {
    tracker: TaskTracker,
    stop: CancellationToken,
}

impl Tasks {
    pub fn new() -> Self {
        Self::default()
    }

    /// Cancelled when the node drains.
    pub fn stopping(&self) -> &CancellationToken {
        &self.stop
    }

    pub fn spawn<F>(&self, kind: Kind, task: F) -> tokio::task::JoinHandle<()>
    where
        F: Future<Output = ()> + Send + 'static,
    {
        match kind {
            Kind::Watch => tokio::spawn(task),
            Kind::Listener => {
                let stop = self.stop.clone();
                self.tracker.spawn(async move {
                    tokio::select! {
                        biased;
                        () = stop.cancelled() => {}
                        () = task => {}
                    }
                })
            }
            Kind::Connection | Kind::Cancel => self.tracker.spawn(task),
        }
    }

    /// Stops listening, tells connections to end, and waits for them until `deadline` has passed.
    pub async fn drain(&self, deadline: std::time::Duration) {
        self.stop.cancel();
        self.tracker.close();
        // Whoever is left is dropped with the runtime; their gates shut then.
        let _ = tokio::time::timeout(deadline, self.tracker.wait()).await;
    }
}
