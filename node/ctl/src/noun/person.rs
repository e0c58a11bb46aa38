use std::path::PathBuf;

use clap::{Args, Subcommand};
use proto::admin as pb;
use proto::admin::principal::Kind;

use super::principal::{create, delete, expect_kind, find, list, relabel, render, update};
use super::{DeleteArgs, NameArg};
use crate::client::Client;
use crate::config;
use crate::outcome::Failure;
use crate::output::Output;
use crate::text::parse_label;

#[derive(Debug, Clone, Subcommand)]
pub enum PersonCommand {
    Create(CreateArgs),
    /// Change what is given, keep the rest
    Update(UpdateArgs),
    Get(NameArg),
    List,
    /// Their sessions end on all nodes
    Delete(DeleteArgs),
}

#[derive(Debug, Clone, Args)]
pub struct CreateArgs {
    name: String,
    #[arg(long)]
    email: Option<String>,
    #[command(flatten)]
    certificate: CertificateArgs,
    #[arg(long, value_name = "KEY=VALUE", value_parser = parse_label)]
    label: Vec<(String, String)>,
}

#[derive(Debug, Clone, Args)]
pub struct UpdateArgs {
    name: String,
    #[arg(long)]
    email: Option<String>,
    #[command(flatten)]
    certificate: CertificateArgs,
    /// KEY= removes a label.
    #[arg(long, value_name = "KEY=VALUE", value_parser = parse_label)]
    label: Vec<(String, String)>,
    /// `false` ends their sessions, and those of the agents they own.
    #[arg(long)]
    active: Option<bool>,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct CertificateArgs {
    /// PEM file with the one client certificate the person signs in with.
    #[arg(long, value_name = "FILE", conflicts_with = "certificate")]
    certificate_file: Option<PathBuf>,
    /// Its SHA-256, 64 hexadecimal digits.
    #[arg(long, value_name = "SHA256")]
    certificate: Option<String>,
}

impl CertificateArgs {
    fn fingerprint(self) -> Result<Option<String>, Failure> {
        match self.certificate_file {
            Some(path) => fingerprint(&config::read(&path)?).map(Some),
            None => Ok(self.certificate),
        }
    }
}

/// SHA-256 of the first certificate in a PEM text.
fn fingerprint(pem: &str) -> Result<String, Failure> {
    let body = pem.split_once("-----BEGIN CERTIFICATE-----").and_then(|(_, rest)| rest.split_once("-----END CERTIFICATE-----"));
    let base64: String = body.map(|(body, _)| body.chars().filter(|c| !c.is_whitespace()).collect()).unwrap_or_default();
    let der = data_encoding::BASE64.decode(base64.as_bytes()).ok().filter(|der| !der.is_empty());
    let der = der.ok_or_else(|| Failure::failed("the file holds no PEM certificate"))?;
    Ok(data_encoding::HEXLOWER.encode(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &der).as_ref()))
}

impl PersonCommand {
    pub(crate) async fn run(self, client: &mut Client, out: &mut Output<'_>) -> Result<(), Failure> {
        match self {
            PersonCommand::Create(args) => {
                let person =
                    pb::Person { email: args.email.unwrap_or_default(), certificate: args.certificate.fingerprint()?.unwrap_or_default() };
                let labels = args.label.into_iter().collect();
                create(client, out, pb::Principal { name: args.name, kind: Some(Kind::Person(person)), labels, ..Default::default() }).await
            }
            PersonCommand::Update(args) => {
                let mut principal = expect_kind(find(client, &args.name).await?, false)?;
                if let Some(Kind::Person(person)) = &mut principal.kind {
                    person.email = args.email.unwrap_or_else(|| std::mem::take(&mut person.email));
                    person.certificate = args.certificate.fingerprint()?.unwrap_or_else(|| std::mem::take(&mut person.certificate));
                }
                principal.active = args.active.or(principal.active);
                relabel(&mut principal.labels, args.label);
                update(client, out, principal).await
            }
            PersonCommand::Get(args) => {
                let found = expect_kind(find(client, &args.name).await?, false)?;
                out.show(&found, render)
            }
            PersonCommand::List => list(client, out, pb::PrincipalKindFilter::Person).await,
            PersonCommand::Delete(args) => {
                expect_kind(find(client, &args.name).await?, false)?;
                delete(client, out, args).await
            }
        }
    }
}
