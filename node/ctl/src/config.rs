//! Where to call and as whom: from options, then environment (clap reads both), then the file `login` wrote.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::Options;
use crate::outcome::Failure;

const TIMEOUT_DEFAULT: Duration = Duration::from_secs(30);

/// What `assize login` stores. The file is readable by its owner only.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Stored {
    pub(crate) addr: Option<String>,
    pub(crate) token: Option<String>,
    pub(crate) ca_pem: Option<String>,
    pub(crate) cert: Option<PathBuf>,
    pub(crate) key: Option<PathBuf>,
    pub(crate) server_name: Option<String>,
}

/// What was typed, resolved to what it means.
pub(crate) struct Connection {
    pub(crate) addresses: Vec<String>,
    pub(crate) token: Option<String>,
    pub(crate) ca_pem: String,
    pub(crate) identity_pem: Option<(String, String)>,
    pub(crate) server_name: Option<String>,
    pub(crate) timeout: Duration,
    pub(crate) request_id: Option<String>,
    pub(crate) retry_unknown: u32,
}

pub(crate) fn resolve(options: &Options) -> Result<Connection, Failure> {
    let stored = load()?;
    let addr = options
        .addr
        .clone()
        .or(stored.addr)
        .ok_or_else(|| Failure::usage("no node to call: give --addr or ASSIZE_ADDR, or run `assize login` first"))?;
    let addresses: Vec<String> = addr.split(',').map(str::trim).filter(|a| !a.is_empty()).map(str::to_owned).collect();
    let ca_pem = match &options.ca {
        Some(path) => read(path)?,
        None => {
            stored.ca_pem.ok_or_else(|| Failure::usage("no certificate authority: give --ca or ASSIZE_CA, or run `assize login` first"))?
        }
    };
    // A certificate or token that was typed replaces whatever was stored.
    let typed = options.token.is_some() || options.cert.is_some();
    let token = if typed { options.token.clone() } else { stored.token };
    let (cert, key) = if typed { (options.cert.clone(), options.key.clone()) } else { (stored.cert, stored.key) };
    let identity_pem = match (cert, key) {
        (Some(cert), Some(key)) => Some((read(&cert)?, read(&key)?)),
        (None, None) => None,
        (Some(_), None) | (None, Some(_)) => return Err(Failure::usage("--cert and --key go together")),
    };
    Ok(Connection {
        addresses,
        token,
        ca_pem,
        identity_pem,
        server_name: options.server_name.clone().or(stored.server_name),
        timeout: options.timeout.unwrap_or(TIMEOUT_DEFAULT),
        request_id: options.request_id.clone(),
        retry_unknown: options.retry_unknown,
    })
}

/// `$XDG_CONFIG_HOME/assize/login.json`, or under `~/.config`.
pub(crate) fn path() -> Option<PathBuf> {
    let absolute = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|p| p.is_absolute());
    let folder = absolute("XDG_CONFIG_HOME").or_else(|| absolute("HOME").map(|home| home.join(".config")))?;
    Some(folder.join("assize").join("login.json"))
}

fn load() -> Result<Stored, Failure> {
    let Some(path) = path() else { return Ok(Stored::default()) };
    match std::fs::read_to_string(&path) {
        Ok(text) => serde_json::from_str(&text).map_err(|e| Failure::failed(format!("{}: {e}", path.display()))),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Stored::default()),
        Err(error) => Err(Failure::failed(format!("{}: {error}", path.display()))),
    }
}

pub(crate) fn read(path: &Path) -> Result<String, Failure> {
    std::fs::read_to_string(path).map_err(|e| Failure::failed(format!("{}: {e}", path.display())))
}
