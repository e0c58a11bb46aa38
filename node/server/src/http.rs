//! `/metrics`, `/healthz`, `/readyz`: for scrapers, supervisors and load balancers.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context as _, Result};
use axum::Router;
use axum::http::StatusCode;
use axum::routing::get;
use cluster::Cluster;
use metrics::{Unit, describe_counter, describe_gauge, describe_histogram, gauge};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use tokio_util::sync::CancellationToken;

/// Takes over the process's metrics.
pub(crate) fn recorder() -> Result<PrometheusHandle> {
    let handle = PrometheusBuilder::new().install_recorder().context("metrics")?;
    describe_gauge!("assize_lease_valid", "1 while this node may decide from its local state");
    describe_gauge!("assize_lease_left_seconds", Unit::Seconds, "What is left of this node's lease; 0 without one");
    describe_gauge!("assize_leader", "1 while this node leads the group");
    describe_histogram!("assize_barrier_seconds", Unit::Seconds, "From the commit of a narrowing command to its acknowledgement here");
    describe_gauge!("assize_applied_index", "Last control entry applied here");
    describe_gauge!("assize_enforced_index", "Last control entry enforced on this node's sessions");
    describe_gauge!("assize_audit_failed", "1 when the disk of this node's audit engines failed: start it again once that works");
    describe_gauge!("assize_records_backlog", Unit::Bytes, "Records of this node that no quorum has committed yet");
    describe_counter!("assize_break_glass_total", "Access opened without an approval while this node ran, or live when it started");
    describe_gauge!("assize_break_glass_live", "Of it, grants that give access now");
    describe_gauge!("assize_break_glass_unreviewed", "Of it, what nobody has reviewed yet; label overdue says whether in time");
    describe_counter!(
        "assize_orphans_total",
        "Sessions of silent nodes that this one ended at their targets, or could not; label outcome says which"
    );
    Ok(handle)
}

pub(crate) async fn serve(
    address: SocketAddr,
    metrics: PrometheusHandle,
    cluster: Cluster,
    draining: Arc<AtomicBool>,
    stop: CancellationToken,
) -> Result<tokio::task::JoinHandle<()>> {
    let listener = tokio::net::TcpListener::bind(address).await.with_context(|| format!("HTTP on {address}"))?;
    let observed = cluster.clone();
    let router = Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(move || std::future::ready(readiness(&cluster, &draining))))
        .route("/metrics", get(move || std::future::ready(scrape(&observed, &metrics))));
    Ok(tokio::spawn(async move {
        if let Err(error) = axum::serve(listener, router).with_graceful_shutdown(stop.cancelled_owned()).await {
            tracing::error!(%error, "the HTTP listener ended");
        }
    }))
}

fn readiness(cluster: &Cluster, draining: &AtomicBool) -> (StatusCode, String) {
    let (applied, enforced) = (*cluster.applied().borrow(), *cluster.enforced().borrow());
    let (status, word) = if draining.load(Ordering::Acquire) {
        (StatusCode::SERVICE_UNAVAILABLE, "draining")
    } else if cluster.audit_failed() {
        (StatusCode::SERVICE_UNAVAILABLE, "the audit disk failed")
    } else if cluster.may_forward() {
        (StatusCode::OK, "ready")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "no lease")
    };
    let left = cluster.lease_left().unwrap_or_default().as_millis();
    (status, format!("{word}\nnode {}\nlease {left} ms\napplied {applied}\nenforced {enforced}\n", cluster.node()))
}

fn scrape(cluster: &Cluster, metrics: &PrometheusHandle) -> String {
    gauge!("assize_lease_valid").set(if cluster.may_forward() { 1.0 } else { 0.0 });
    gauge!("assize_lease_left_seconds").set(cluster.lease_left().unwrap_or_default().as_secs_f64());
    for (group, leader) in [("control", cluster.leader()), ("audit", cluster.audit_leader())] {
        gauge!("assize_leader", "group" => group).set(if leader == Some(cluster.node()) { 1.0 } else { 0.0 });
    }
    gauge!("assize_applied_index").set(cluster.applied().borrow().0 as f64);
    gauge!("assize_enforced_index").set(cluster.enforced().borrow().0 as f64);
    gauge!("assize_audit_failed").set(if cluster.audit_failed() { 1.0 } else { 0.0 });
    gauge!("assize_records_backlog").set(cluster.records().backlog() as f64);
    let (state, now) = (cluster.state(), cluster.now());
    let (mut live, mut owed, mut overdue) = (0, 0, 0);
    for broken in state.break_glass.values() {
        live += usize::from(state.grants.get(&broken.grant).is_some_and(|grant| grant.is_live(now)));
        overdue += usize::from(broken.is_overdue(now));
        owed += usize::from(broken.review.is_none() && !broken.is_overdue(now));
    }
    gauge!("assize_break_glass_live").set(live as f64);
    gauge!("assize_break_glass_unreviewed", "overdue" => "no").set(owed as f64);
    gauge!("assize_break_glass_unreviewed", "overdue" => "yes").set(overdue as f64);
    metrics.render()
}
