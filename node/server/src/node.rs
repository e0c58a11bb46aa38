//! A node, from configuration to the last session's end.

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result};
use cluster::{Cluster, NodeConfig};
use domain::command::{Actor, Command, Expect};
use domain::id::{Name, ProposalId};
use identity::scram::MockKey;
use protocol_postgres::client_set::{CLIENT_SET_NAME, CLIENT_SET_VERSION, client_set};
use protocol_postgres::handshake::{Auth, ListenerTls, Listening};
use protocol_postgres::operation::Classifier;
use session::registry::Registry;
use session::stage::Parts;
use session::tasks::Tasks;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::authority::ClusterAuthority;
use crate::config::{Config, DRAIN_DEADLINE, LOG_LEVEL, ListenerAuth, ListenerProtocol, ListenerSection, LogFormat, LogSection};
use crate::control::ClusterControl;
use crate::enforcement::Sessions;
use crate::outbound::{ClusterSource, Tests};
use crate::{http, target};

/// How often a node looks whether the `client` role has been put yet.
const CLIENT_SET_RETRY: Duration = Duration::from_millis(500);

pub(crate) fn run(config: &Path) -> ExitCode {
    let config = match Config::load(config) {
        Ok(config) => config,
        Err(error) => {
            eprintln!("assize: {error}");
            return ExitCode::from(ctl::EXIT_USAGE);
        }
    };
    logging(&config.log);
    guard_process();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().thread_name("assize").build();
    let ended = runtime.context("starting the runtime").and_then(|runtime| {
        let ended = runtime.block_on(serve(config));
        // Whatever is still blocked in the kernel must not keep a stopped node alive.
        runtime.shutdown_timeout(Duration::from_secs(1));
        ended
    });
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error:#}");
            eprintln!("assize: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn logging(section: &LogSection) {
    let filter = tracing_subscriber::EnvFilter::try_new(&section.level).unwrap_or_else(|error| {
        eprintln!("assize: log.level: {error}; using {LOG_LEVEL}");
        tracing_subscriber::EnvFilter::new(LOG_LEVEL)
    });
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match section.format {
        LogFormat::Text => builder.with_ansi(false).init(),
        LogFormat::Json => builder.json().init(),
    }
}

/// Secrets must not reach a core file, nor be read out by another process of the same user; many sessions need many
/// files.
fn guard_process() {
    use rustix::process::{DumpableBehavior, Resource, Rlimit, getrlimit, set_dumpable_behavior, setrlimit};
    if let Err(error) = setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) }) {
        tracing::warn!(%error, "core files could not be turned off");
    }
    if let Err(error) = set_dumpable_behavior(DumpableBehavior::NotDumpable) {
        tracing::warn!(%error, "the process stays open to debuggers");
    }
    let files = getrlimit(Resource::Nofile);
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: files.maximum, maximum: files.maximum }) {
        tracing::warn!(%error, "the limit of open files stays as it was");
    }
}

async fn serve(config: Config) -> Result<()> {
    let metrics = http::recorder()?;
    let registry = Registry::new();
    let rules = Arc::new(policy::Engine::default());
    let sessions = Sessions::new(registry.clone(), rules.clone());
    let settings = NodeConfig {
        data_dir: config.data_dir.clone(),
        listen: config.cluster.listen,
        advertise: config.cluster.advertise.clone(),
        admin_advertise: config.admin.advertise.clone(),
        snapshot_after: cluster::limits::SNAPSHOT_AFTER,
        dead_man: true,
    };
    let cluster = Cluster::start(settings, sessions.clone()).await.context("starting the node")?;
    sessions.joined(cluster.clone());
    tracing::info!(node = %cluster.node(), cluster = cluster.identity().0, "the node runs");

    let classifier = Arc::new(Classifier::default());
    let parts = Parts::new(ClusterAuthority::new(cluster.clone(), rules.clone()), registry, Tasks::new());
    sessions.opened(parts.clone());
    parts.report_usage(Duration::from_secs(config.usage.report_seconds.get().into()));
    for listener in config.listeners.iter().filter(|listener| listener.protocol == ListenerProtocol::Postgres) {
        listen(listener, &cluster, &classifier, &parts).with_context(|| format!("listening on {}", listener.listen))?;
    }
    let stop = CancellationToken::new();
    let draining = Arc::new(AtomicBool::new(false));
    let source = ClusterSource::new(cluster.clone());
    let facade = facade(&config, &cluster, &sessions, &classifier, &rules, &source);
    let api = serve_admin(&config, &cluster, facade.clone(), stop.clone()).await?;
    for listener in config.listeners.iter().filter(|listener| listener.protocol == ListenerProtocol::Authzen) {
        let serving = serve_authzen(listener, &cluster, facade.clone(), stop.clone()).await;
        serving.with_context(|| format!("listening on {}", listener.listen))?;
    }
    let http = http::serve(config.http.listen, metrics, cluster.clone(), draining.clone(), stop.clone()).await?;
    let known = tokio::spawn(make_client_set_known(cluster.clone()));
    let loud = tokio::spawn(crate::alarm::break_glass(cluster.clone()));
    let retention = tokio::spawn(crate::retention::keep(cluster.clone()));
    let learning = tokio::spawn(crate::orphan::learn(cluster.clone(), sessions.clone()));
    let ending = tokio::spawn(crate::orphan::keep(cluster.clone(), sessions.clone()));
    let outbound = tokio::spawn(::outbound::run(source, config.outbound.allowed()));

    stopped().await?;
    tracing::info!("draining");
    draining.store(true, Ordering::Release);
    known.abort();
    loud.abort();
    outbound.abort();
    retention.abort();
    learning.abort();
    ending.abort();
    parts.drain(DRAIN_DEADLINE).await;
    stop.cancel();
    let _ = tokio::time::timeout(DRAIN_DEADLINE, async { tokio::join!(api, http) }).await;
    cluster.shutdown().await;
    tracing::info!("stopped");
    Ok(())
}

async fn stopped() -> Result<()> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}

fn listen(section: &ListenerSection, cluster: &Cluster, classifier: &Arc<Classifier>, parts: &Arc<Parts>) -> Result<()> {
    let tls = section.tls.as_ref().map(|tls| {
        let read = |path: &Path| std::fs::read(path).with_context(|| path.display().to_string());
        ListenerTls::from_pem(&read(&tls.certificate)?, &read(&tls.key)?).context("the listener's certificate")
    });
    let listening = Listening {
        tls: tls.transpose()?,
        tls_required: section.tls.as_ref().is_some_and(|tls| tls.required),
        auth: match section.auth {
            ListenerAuth::Scram => Auth::Scram,
            ListenerAuth::PasswordOverTls => Auth::PasswordOverTls,
        },
        target: section.target.as_deref().map(str::parse::<Name>).transpose()?,
        replication: false,
        mock: MockKey::new(cluster.derive_key("assize scram mock v1")),
    };
    let socket = session::listener::bind(section.listen)?;
    tracing::info!(address = %section.listen, target = section.target, "listening for PostgreSQL");
    session::listener::serve(socket, protocol_postgres::protocol(listening, classifier.clone()), parts.clone());
    Ok(())
}

/// What both APIs ask of this node.
fn facade(
    config: &Config,
    cluster: &Cluster,
    sessions: &Arc<Sessions>,
    classifier: &Arc<Classifier>,
    rules: &Arc<policy::Engine>,
    source: &Arc<ClusterSource>,
) -> admin_api::Parts {
    let control = Arc::new(ClusterControl(cluster.clone(), rules.clone()));
    let tools = Arc::new(target::Tools { cluster: cluster.clone(), classifier: classifier.clone(), sessions: sessions.clone() });
    admin_api::Parts {
        control: control.clone(),
        sessions: sessions.clone(),
        dial: tools.clone(),
        classify: tools,
        audit: control.clone(),
        members: control,
        outbound: Arc::new(Tests { source: source.clone(), allowed: config.outbound.allowed() }),
        page_key: admin_api::page::PageKey::new(&cluster.derive_key("assize page tokens v1")),
    }
}

async fn serve_authzen(section: &ListenerSection, cluster: &Cluster, facade: admin_api::Parts, stop: CancellationToken) -> Result<()> {
    let Some(tls) = &section.tls else { anyhow::bail!("an AuthZEN listener without TLS") };
    let read = |path: &Path| std::fs::read(path).with_context(|| path.display().to_string());
    let tls = admin_api::authzen::tls(&read(&tls.certificate)?, &read(&tls.key)?).context("the listener's certificate")?;
    let listener = tokio::net::TcpListener::bind(section.listen).await?;
    let denials = admin_api::page::PageKey::new(&cluster.derive_key("assize authzen denials v1"));
    tracing::info!(address = %section.listen, "listening for AuthZEN");
    tokio::spawn(async move {
        if let Err(error) = admin_api::authzen::serve(listener, Arc::new(tls), facade, denials, stop).await {
            tracing::error!(%error, "the AuthZEN listener ended");
        }
    });
    Ok(())
}

async fn serve_admin(
    config: &Config,
    cluster: &Cluster,
    facade: admin_api::Parts,
    stop: CancellationToken,
) -> Result<tokio::task::JoinHandle<()>> {
    let listener =
        tokio::net::TcpListener::bind(config.admin.listen).await.with_context(|| format!("admin API on {}", config.admin.listen))?;
    let control = facade.control.clone();
    let routes = admin_api::routes(facade);
    let tls = Arc::new(cluster.admin_tls().context("TLS of the admin API")?);
    tracing::info!(address = %config.admin.listen, "serving the admin API");
    Ok(tokio::spawn(async move {
        if let Err(error) = admin_api::serve(listener, tls, control, routes, stop).await {
            tracing::error!(%error, "the admin API ended");
        }
    }))
}

/// The permission set `client` comes with the PostgreSQL protocol; the first node that serves puts it into the log.
/// Repeating is harmless: the proposal's id is the same everywhere. A set that people changed is left alone.
async fn make_client_set_known(cluster: Cluster) {
    let name: Name = CLIENT_SET_NAME.parse().expect("the set's name is a name");
    let id: ProposalId = format!("client-set-{CLIENT_SET_VERSION}").parse().expect("a short text is an id");
    while !cluster.state().roles.contains_key(&name) {
        tokio::time::sleep(CLIENT_SET_RETRY).await;
        if !cluster.may_forward() || cluster.state().roles.contains_key(&name) {
            continue;
        }
        let put = Command::PutRole {
            name: name.clone(),
            description: format!("what ordinary clients send around their real work (version {CLIENT_SET_VERSION})"),
            permissions: client_set(),
            expect: Expect::Absent,
        };
        match cluster.propose(id.clone(), Actor::Node(cluster.node()), put).await {
            Ok(done) => {
                tracing::info!(reply = ?done.reply, "the role client is known");
                return;
            }
            Err(error) => tracing::debug!(%error, "the role client has to be put again"),
        }
    }
}
