//! What must not pass unseen: every node says it in its own log and counts it, whoever asked for it wherever.

use cluster::Cluster;
use domain::id::BreakGlassId;
use metrics::counter;

/// Glass that is broken from now on. What was open when this node started is said once, too.
pub(crate) async fn break_glass(cluster: Cluster) {
    let mut applied = cluster.applied();
    let mut said = BreakGlassId(0);
    loop {
        let (state, now) = (cluster.state(), cluster.now());
        for broken in state.break_glass.range(BreakGlassId(said.0 + 1)..).map(|(_, broken)| broken) {
            said = broken.id;
            if broken.expires <= now {
                continue;
            }
            counter!("assize_break_glass_total").increment(1);
            tracing::warn!(
                id = %broken.id, by = %broken.by, principal = %broken.principal, target = %broken.target, grant = %broken.grant,
                ticket = ?broken.ticket, "glass was broken: access without an approval is open"
            );
        }
        if applied.changed().await.is_err() {
            return;
        }
    }
}
