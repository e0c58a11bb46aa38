//! `node.toml`: what a node is told at start. Unknown keys are refused with file and line; every default stands here.
//! `deploy/node.toml` is the reference; a test loads it and checks that it mentions every key.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Config {
    /// Logs, state, keys. One node owns it.
    pub(crate) data_dir: PathBuf,
    pub(crate) cluster: ClusterSection,
    pub(crate) admin: AdminSection,
    #[serde(default)]
    pub(crate) http: HttpSection,
    #[serde(default, rename = "listener")]
    pub(crate) listeners: Vec<ListenerSection>,
    #[serde(default)]
    pub(crate) usage: UsageSection,
    #[serde(default)]
    pub(crate) outbound: OutboundSection,
    #[serde(default)]
    pub(crate) log: LogSection,
}

/// Between nodes: QUIC with mutual TLS.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ClusterSection {
    #[serde(default = "default_cluster_listen")]
    pub(crate) listen: SocketAddr,
    /// `host:port` the other nodes reach this one at.
    pub(crate) advertise: String,
}

/// The gRPC admin API.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct AdminSection {
    #[serde(default = "default_admin_listen")]
    pub(crate) listen: SocketAddr,
    /// `host:port` that operators and the other nodes use.
    pub(crate) advertise: String,
}

/// `/metrics`, `/healthz`, `/readyz`. No secrets, no changes; still meant for the inside.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct HttpSection {
    pub(crate) listen: SocketAddr,
}

#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ListenerSection {
    pub(crate) protocol: ListenerProtocol,
    pub(crate) listen: SocketAddr,
    /// Bound to one target: the client's database name passes through. Without it the client names the target.
    #[serde(default)]
    pub(crate) target: Option<String>,
    /// PEM files. Without them the listener speaks plain TCP: for loopback and private links only.
    #[serde(default)]
    pub(crate) tls: Option<ListenerTls>,
    #[serde(default)]
    pub(crate) auth: ListenerAuth,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum ListenerProtocol {
    Postgres,
    /// The AuthZEN Authorization API and access requests, for agents that ask for themselves: HTTPS.
    Authzen,
}

/// How an agent proves who it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum ListenerAuth {
    /// SCRAM-SHA-256 with the token as password; the token itself never crosses the wire.
    #[default]
    Scram,
    /// The token as a cleartext password. Only inside TLS; plain connections are refused.
    PasswordOverTls,
}

#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ListenerTls {
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
    /// Refuse clients that do not ask for TLS.
    #[serde(default)]
    pub(crate) required: bool,
}

/// Evidence from use: what was done under which grant.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct UsageSection {
    /// How often this node tells the cluster.
    pub(crate) report_seconds: std::num::NonZeroU32,
}

/// What this node may call: sinks and witnesses are on public addresses, or in the networks named here.
#[derive(Debug, Clone, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct OutboundSection {
    /// Private networks, e.g. `10.20.0.0/16`. An address of a cloud's metadata service only if it is named alone.
    #[serde(deserialize_with = "networks")]
    pub(crate) allow: Vec<String>,
}

impl OutboundSection {
    pub(crate) fn allowed(&self) -> outbound::address::Allowed {
        outbound::address::Allowed(self.allow.iter().filter_map(|network| network.parse().ok()).collect())
    }
}

/// Read as text, checked where it stands.
fn networks<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    let networks = Vec::<String>::deserialize(deserializer)?;
    for network in &networks {
        network.parse::<outbound::address::Network>().map_err(serde::de::Error::custom)?;
    }
    Ok(networks)
}

#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct LogSection {
    /// `error`, `warn`, `info`, `debug`, `trace`, or per crate: `info,cluster=debug`.
    pub(crate) level: String,
    pub(crate) format: LogFormat,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum LogFormat {
    Text,
    Json,
}

/// How long a drain waits for sessions before it closes them.
pub(crate) const DRAIN_DEADLINE: Duration = Duration::from_secs(10);

fn default_cluster_listen() -> SocketAddr {
    SocketAddr::from(([0, 0, 0, 0], 7400))
}

fn default_admin_listen() -> SocketAddr {
    SocketAddr::from(([0, 0, 0, 0], 7401))
}

impl Default for HttpSection {
    fn default() -> Self {
        HttpSection { listen: SocketAddr::from(([0, 0, 0, 0], 7402)) }
    }
}

impl Default for UsageSection {
    fn default() -> Self {
        UsageSection { report_seconds: const { std::num::NonZeroU32::new(30).expect("not zero") } }
    }
}

/// The inner workings of Raft are for whoever debugs Raft; what an operator needs of it, `cluster` says.
pub(crate) const LOG_LEVEL: &str = "info,openraft=warn";

impl Default for LogSection {
    fn default() -> Self {
        LogSection { level: LOG_LEVEL.into(), format: LogFormat::Text }
    }
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum ConfigError {
    #[error("{path}: {source}")]
    Unreadable { path: String, source: std::io::Error },
    /// The parser's message carries line and column.
    #[error("{path}: {message}")]
    Malformed { path: String, message: String },
}

impl Config {
    /// # Errors
    /// When the file cannot be read, is not TOML, has a key we do not know, or a value that does not fit.
    pub(crate) fn load(path: &Path) -> Result<Config, ConfigError> {
        let shown = path.display().to_string();
        let text = std::fs::read_to_string(path).map_err(|source| ConfigError::Unreadable { path: shown.clone(), source })?;
        Config::parse(&text).map_err(|message| ConfigError::Malformed { path: shown, message })
    }

    fn parse(text: &str) -> Result<Config, String> {
        let config: Config = toml::from_str(text).map_err(|e| e.to_string())?;
        config.check()?;
        Ok(config)
    }

    fn check(&self) -> Result<(), String> {
        for (number, listener) in self.listeners.iter().enumerate() {
            if listener.auth == ListenerAuth::PasswordOverTls && listener.tls.is_none() {
                return Err(format!("listener {}: auth = \"password-over-tls\" needs a [listener.tls] section", number + 1));
            }
            if listener.protocol == ListenerProtocol::Authzen {
                if listener.tls.is_none() {
                    return Err(format!("listener {}: protocol = \"authzen\" needs a [listener.tls] section: tokens cross it", number + 1));
                }
                if listener.target.is_some() || listener.auth != ListenerAuth::default() {
                    return Err(format!("listener {}: protocol = \"authzen\" takes neither `target` nor `auth`", number + 1));
                }
            }
            if let Some(target) = &listener.target {
                target.parse::<domain::id::Name>().map_err(|e| format!("listener {}: target: {e}", number + 1))?;
            }
        }
        for (key, address) in [("cluster.advertise", &self.cluster.advertise), ("admin.advertise", &self.admin.advertise)] {
            if address.rsplit_once(':').is_none_or(|(host, port)| host.is_empty() || port.parse::<u16>().is_err()) {
                return Err(format!("{key}: expected `host:port`, got {address:?}"));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REFERENCE: &str = include_str!("../../../deploy/node.toml");

    #[test]
    fn the_reference_loads_and_mentions_every_key() {
        let config = Config::parse(REFERENCE).expect("deploy/node.toml is valid");
        let known = toml::Value::try_from(&config).expect("a config serialises");
        let mut missing = Vec::new();
        every_key(&known, &mut |key| {
            let mentioned = REFERENCE.lines().any(|line| {
                let line = line.trim_start_matches(['#', ' ', '[']);
                line.strip_prefix(key).is_some_and(|rest| rest.trim_start().starts_with(['=', ']'])) || line.contains(&format!(".{key}]"))
            });
            if !mentioned {
                missing.push(key.to_owned());
            }
        });
        assert_eq!(missing, Vec::<String>::new(), "deploy/node.toml must mention every key");
        assert!(config.listeners.iter().any(|l| l.target.is_some() && l.tls.is_some()), "the reference shows optional keys set");
    }

    fn every_key(value: &toml::Value, see: &mut impl FnMut(&str)) {
        match value {
            toml::Value::Table(table) => {
                for (key, inner) in table {
                    see(key);
                    every_key(inner, see);
                }
            }
            toml::Value::Array(items) => items.iter().for_each(|item| every_key(item, see)),
            _ => {}
        }
    }

    fn refused(text: &str) -> String {
        Config::parse(text).expect_err("must be refused")
    }

    #[test]
    fn an_unknown_key_is_refused_with_its_line() {
        let text = "data_dir = \"d\"\n[cluster]\nadvertise = \"a:1\"\nlisen = \"1.2.3.4:5\"\n[admin]\nadvertise = \"a:2\"\n";
        let message = refused(text);
        assert!(message.contains("line 4") && message.contains("lisen"), "{message}");
    }

    #[test]
    fn passwords_without_tls_are_refused() {
        let text = "data_dir = \"d\"\n[cluster]\nadvertise = \"a:1\"\n[admin]\nadvertise = \"a:2\"\n[[listener]]\nprotocol = \"postgres\"\nlisten = \"127.0.0.1:1\"\nauth = \"password-over-tls\"\n";
        assert!(refused(text).contains("listener 1"), "the listener is named");
    }

    #[test]
    fn an_authzen_listener_needs_tls_and_is_bound_to_no_target() {
        let head = "data_dir = \"d\"\n[cluster]\nadvertise = \"a:1\"\n[admin]\nadvertise = \"a:2\"\n[[listener]]\nprotocol = \"authzen\"\nlisten = \"127.0.0.1:1\"\n";
        let tls = "[listener.tls]\ncertificate = \"c\"\nkey = \"k\"\n";
        assert!(refused(head).contains("[listener.tls]"), "without TLS");
        assert!(refused(&format!("{head}target = \"orders\"\n{tls}")).contains("neither"), "bound to a target");
        Config::parse(&format!("{head}{tls}")).expect("a listener with TLS");
    }

    #[test]
    fn an_address_without_port_is_refused() {
        let text = "data_dir = \"d\"\n[cluster]\nadvertise = \"host\"\n[admin]\nadvertise = \"a:2\"\n";
        assert!(refused(text).contains("cluster.advertise"));
    }
}
