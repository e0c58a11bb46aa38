use std::io::Read;
use std::path::PathBuf;

use clap::{Args, Subcommand};
use proto::admin as pb;

use super::{DeleteArgs, NameArg, receipt};
use crate::client::{Client, rpc};
use crate::config;
use crate::outcome::Failure;
use crate::output::{Output, Table, fields};

#[derive(Debug, Clone, Subcommand)]
pub enum CredentialCommand {
    Create(CreateArgs),
    /// Replace the secret: new sessions use it and running ones go on, unless --username changes, which ends them
    Rotate(RotateArgs),
    Get(NameArg),
    List,
    Delete(DeleteArgs),
}

#[derive(Debug, Clone, Args)]
pub struct CreateArgs {
    name: String,
    /// The login name at the target.
    #[arg(long)]
    username: String,
    #[command(flatten)]
    password: PasswordArgs,
}

#[derive(Debug, Clone, Args)]
pub struct RotateArgs {
    name: String,
    /// A new login name, too; sessions under another one end on all nodes.
    #[arg(long)]
    username: Option<String>,
    #[command(flatten)]
    password: PasswordArgs,
}

/// Where the secret comes from. Never an argument: other users of the machine see those.
#[derive(Debug, Clone, Args)]
#[group(required = true, multiple = false)]
pub(crate) struct PasswordArgs {
    /// Environment variable that holds the password.
    #[arg(long, value_name = "VARIABLE")]
    password_env: Option<String>,
    /// File that holds the password; a newline at its end is left out. `-` reads standard input.
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
}

impl PasswordArgs {
    fn read(&self) -> Result<String, Failure> {
        match (&self.password_env, &self.password_file) {
            (Some(name), _) => std::env::var(name).map_err(|_| Failure::usage(format!("the environment variable {name} is not set"))),
            (None, Some(path)) if path.as_os_str() == "-" => {
                let mut text = String::new();
                std::io::stdin().read_to_string(&mut text)?;
                Ok(without_newline(text))
            }
            (None, Some(path)) => config::read(path).map(without_newline),
            (None, None) => Err(Failure::usage("--password-env or --password-file is needed")),
        }
    }
}

pub(crate) fn without_newline(mut text: String) -> String {
    if text.ends_with('\n') {
        text.pop();
        if text.ends_with('\r') {
            text.pop();
        }
    }
    text
}

impl CredentialCommand {
    pub(crate) async fn run(self, client: &mut Client, out: &mut Output<'_>) -> Result<(), Failure> {
        match self {
            CredentialCommand::Create(args) => {
                let request = pb::CreateCredentialRequest {
                    name: args.name,
                    username: args.username,
                    password: args.password.read()?,
                    ..Default::default()
                };
                let made = rpc!(client.change, credentials_client::CredentialsClient, create_credential, request)?;
                out.show(&made, |made| format!("created {}\n", made.name))
            }
            CredentialCommand::Rotate(args) => {
                let found = find(client, &args.name).await?;
                let request = pb::RotateCredentialRequest {
                    name: args.name,
                    username: args.username.unwrap_or_default(),
                    password: args.password.read()?,
                    etag: found.etag,
                    ..Default::default()
                };
                let done = rpc!(client.change, credentials_client::CredentialsClient, rotate_credential, request)?;
                out.show(&done, |done| format!("rotated\n{}", receipt::render(done.receipt.as_ref())))
            }
            CredentialCommand::Get(args) => {
                let found = find(client, &args.name).await?;
                out.show(&found, |c| {
                    fields(&[
                        ("name", c.name.clone()),
                        ("username", c.username.clone()),
                        ("sealed by key", c.key_id.to_string()),
                        ("version", c.etag.clone()),
                    ])
                })
            }
            CredentialCommand::List => {
                let credentials = super::all_pages!(
                    client,
                    credentials_client::CredentialsClient,
                    list_credentials,
                    pb::ListCredentialsRequest::default(),
                    credentials
                );
                let all = pb::ListCredentialsResponse { credentials, ..Default::default() };
                out.show(&all, |all| {
                    let mut table = Table::new(&["NAME", "USERNAME", "VERSION"]);
                    for c in &all.credentials {
                        table.row([c.name.clone(), c.username.clone(), c.etag.clone()]);
                    }
                    table.render()
                })
            }
            CredentialCommand::Delete(args) => {
                let request =
                    pb::DeleteCredentialRequest { name: args.name.clone(), etag: args.etag.unwrap_or_default(), ..Default::default() };
                let done = rpc!(client.change, credentials_client::CredentialsClient, delete_credential, request)?;
                out.show(&done, |done| format!("deleted {}\n{}", args.name, receipt::render(done.receipt.as_ref())))
            }
        }
    }
}

pub(crate) async fn find(client: &mut Client, name: &str) -> Result<pb::Credential, Failure> {
    rpc!(client.ask, credentials_client::CredentialsClient, get_credential, pb::GetCredentialRequest { name: name.to_owned() })
}
