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
    resolve_with(options, path().as_deref())
}

/// As [`resolve`], with the file `login` wrote at `path`. It is read only if something it holds was not typed: one that
/// cannot be read stops nobody who does not need it.
fn resolve_with(options: &Options, path: Option<&Path>) -> Result<Connection, Failure> {
    // A certificate or token that was typed replaces whatever was stored.
    let typed = options.token.is_some() || options.cert.is_some();
    let is_complete = options.addr.is_some() && options.ca.is_some() && typed;
    let stored = match path {
        Some(path) if !is_complete => load(path)?,
        Some(_) | None => Stored::default(),
    };
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

fn load(path: &Path) -> Result<Stored, Failure> {
    let unusable = |error: &dyn std::fmt::Display| {
        let path = path.display();
        Failure::failed(format!(
            "the login file {path} cannot be used: {error}; run `assize login` again, or give --addr, --ca and --token or --cert"
        ))
    };
    match std::fs::read_to_string(path) {
        Ok(text) => serde_json::from_str(&text).map_err(|e| unusable(&e)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Stored::default()),
        Err(error) => Err(unusable(&error)),
    }
}

pub(crate) fn read(path: &Path) -> Result<String, Failure> {
    std::fs::read_to_string(path).map_err(|e| Failure::failed(format!("{}: {e}", path.display())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_login_file_that_cannot_be_used_stops_only_who_needs_it() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let (login, ca) = (folder.path().join("login.json"), folder.path().join("ca.pem"));
        std::fs::write(&login, "{ half").expect("written");
        std::fs::write(&ca, "PEM").expect("written");
        let all = Options { addr: Some("a:1".into()), ca: Some(ca), token: Some("secret".into()), ..Options::default() };
        let resolved = resolve_with(&all, Some(&login)).expect("everything was typed");
        assert_eq!((resolved.addresses, resolved.token.as_deref()), (vec!["a:1".to_owned()], Some("secret")));
        for missing in [Options { addr: None, ..all.clone() }, Options { ca: None, ..all.clone() }, Options { token: None, ..all.clone() }]
        {
            let Err(failure) = resolve_with(&missing, Some(&login)) else { panic!("the file is needed: {missing:?}") };
            let said = failure.to_string();
            assert!(said.starts_with(&format!("the login file {} cannot be used: ", login.display())), "{said}");
        }
        std::fs::write(&login, r#"{"addr": "b:2", "server_name": "gate"}"#).expect("written");
        let partly = resolve_with(&Options { addr: None, ..all }, Some(&login)).expect("the rest was typed");
        assert_eq!((partly.addresses, partly.server_name.as_deref()), (vec!["b:2".to_owned()], Some("gate")));
    }
}
