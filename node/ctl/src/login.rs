//! `assize login`: proves that the address, authority and token work, then stores them.

use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;

use clap::Args;
use proto::admin as pb;

use crate::Options;
use crate::client::{Client, rpc};
use crate::config::{self, Stored};
use crate::outcome::Failure;
use crate::output::Output;

#[derive(Debug, Clone, Args)]
pub struct LoginArgs {
    /// Read the token from standard input, so that it stands in no argument list.
    #[arg(long)]
    token_stdin: bool,
    /// Forget what was stored.
    #[arg(long, conflicts_with = "token_stdin")]
    forget: bool,
}

pub(crate) async fn run(options: &Options, args: LoginArgs, out: &mut Output<'_>) -> Result<(), Failure> {
    let path = config::path().ok_or_else(|| Failure::failed("neither XDG_CONFIG_HOME nor HOME is set"))?;
    if args.forget {
        return match std::fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(Failure::failed(format!("{}: {error}", path.display()))),
            Ok(()) | Err(_) => out.say("forgotten"),
        };
    }
    let mut options = options.clone();
    if args.token_stdin {
        let mut token = String::new();
        std::io::stdin().read_to_string(&mut token)?;
        options.token = Some(token.trim().to_owned());
    }
    let connection = config::resolve(&options)?;
    let stored = Stored {
        addr: Some(connection.addresses.join(",")),
        token: connection.token.clone(),
        ca_pem: Some(connection.ca_pem.clone()),
        cert: options.cert.as_deref().and_then(|p| std::path::absolute(p).ok()),
        key: options.key.as_deref().and_then(|p| std::path::absolute(p).ok()),
        server_name: connection.server_name.clone(),
    };
    // Listing one's own requests needs an identity and no right: it proves the login and nothing more.
    let mut client = Client::new(connection)?;
    rpc!(client.ask, requests_client::RequestsClient, list_requests, pb::ListRequestsRequest { page_size: 1, ..Default::default() })?;
    store(&path, &stored)?;
    out.say(&format!("stored in {}", path.display()))
}

/// Written beside and renamed, so that no reader sees half of it and no other user sees any.
fn store(path: &std::path::Path, stored: &Stored) -> Result<(), Failure> {
    let text = serde_json::to_string_pretty(stored).map_err(|e| Failure::failed(e.to_string()))?;
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    let beside = path.with_extension("new");
    let _ = std::fs::remove_file(&beside);
    let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&beside)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    std::fs::rename(&beside, path)?;
    Ok(())
}
