use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};
use proto::admin as pb;

use super::{DeleteArgs, NameArg};
use crate::client::{Client, rpc};
use crate::config;
use crate::local::{WitnessInitArgs, WitnessServeArgs};
use crate::outcome::Failure;
use crate::output::{Output, Table, fields};
use crate::when::{self, parse_span, show_span, span_to_wire};

#[derive(Debug, Clone, Subcommand)]
pub enum WitnessCommand {
    /// Make a witness of your own: its key and its state. To be run elsewhere, by others
    Init(WitnessInitArgs),
    /// Run a witness until it is told to stop
    Serve(WitnessServeArgs),
    /// Have an outside witness co-sign the heads of this cluster's logs, or change how
    Put(PutArgs),
    /// Witnesses, and the keys they are to be told to trust
    List,
    Get(NameArg),
    Delete(DeleteArgs),
}

#[derive(Debug, Clone, Args)]
pub struct PutArgs {
    name: String,
    /// `add-checkpoint` is asked for below it.
    #[arg(long)]
    url: Option<String>,
    /// Its key, NAME+KEYID+BASE64.
    #[arg(long, value_name = "KEY")]
    public_key: Option<String>,
    /// PEM file with the authorities to trust; by default the system's.
    #[arg(long, value_name = "FILE")]
    roots_file: Option<PathBuf>,
    /// How often it is asked at most; 1m unless said otherwise.
    #[arg(long, value_parser = parse_span, value_name = "TIME")]
    every: Option<Duration>,
}

impl PutArgs {
    fn onto(self, mut witness: pb::Witness) -> Result<pb::Witness, Failure> {
        witness.name = self.name;
        witness.url = self.url.unwrap_or(witness.url);
        witness.key = self.public_key.unwrap_or(witness.key);
        if let Some(path) = &self.roots_file {
            witness.roots_pem = config::read(path)?;
        }
        witness.interval = self.every.map(span_to_wire).or(witness.interval);
        Ok(witness)
    }
}

impl WitnessCommand {
    pub(crate) async fn run(self, client: &mut Client, out: &mut Output<'_>) -> Result<(), Failure> {
        match self {
            WitnessCommand::Init(_) | WitnessCommand::Serve(_) => Err(Failure::usage("runs without a cluster")),
            WitnessCommand::Put(args) => put(client, out, args).await,
            WitnessCommand::Get(args) => {
                let request = pb::GetWitnessRequest { name: args.name };
                let found = rpc!(client.ask, witnesses_client::WitnessesClient, get_witness, request)?;
                out.show(&found, render)
            }
            WitnessCommand::List => {
                let request = pb::ListWitnessesRequest { page_size: 1000, ..Default::default() };
                let all = rpc!(client.ask, witnesses_client::WitnessesClient, list_witnesses, request)?;
                out.show(&all, |all| {
                    let mut table = Table::new(&["NAME", "URL", "EVERY", "CO-SIGNED"]);
                    for witness in &all.witnesses {
                        let every = show_span(witness.interval.as_ref());
                        table.row([witness.name.clone(), witness.url.clone(), every, cosigned(witness)]);
                    }
                    let keys = all.log_keys.iter().map(|key| format!("  {key}\n")).collect::<String>();
                    format!("{}keys of this cluster's logs, for `assize witness serve --trust`:\n{keys}", table.render())
                })
            }
            WitnessCommand::Delete(args) => {
                let request =
                    pb::DeleteWitnessRequest { name: args.name.clone(), etag: args.etag.unwrap_or_default(), ..Default::default() };
                let done = rpc!(client.change, witnesses_client::WitnessesClient, delete_witness, request)?;
                out.show(&done, |_| format!("deleted {}\n", args.name))
            }
        }
    }
}

async fn put(client: &mut Client, out: &mut Output<'_>, args: PutArgs) -> Result<(), Failure> {
    let witnesses =
        super::all_pages!(client, witnesses_client::WitnessesClient, list_witnesses, pb::ListWitnessesRequest::default(), witnesses);
    let made = match witnesses.into_iter().find(|witness| witness.name == args.name) {
        Some(old) => {
            let request = pb::UpdateWitnessRequest { witness: Some(args.onto(old)?), ..Default::default() };
            rpc!(client.change, witnesses_client::WitnessesClient, update_witness, request)?
        }
        None => {
            let request = pb::CreateWitnessRequest { witness: Some(args.onto(pb::Witness::default())?), ..Default::default() };
            rpc!(client.change, witnesses_client::WitnessesClient, create_witness, request)?
        }
    };
    out.show(&made, |made| format!("{} is asked every {}\n", made.name, show_span(made.interval.as_ref())))
}

fn cosigned(witness: &pb::Witness) -> String {
    let heads: Vec<String> = witness.cosigned.iter().map(|head| format!("{} {}", head.log, head.size)).collect();
    if heads.is_empty() { "nothing yet".into() } else { heads.join(", ") }
}

fn render(witness: &pb::Witness) -> String {
    let mut rows = vec![
        ("name", witness.name.clone()),
        ("url", witness.url.clone()),
        ("key", witness.key.clone()),
        ("asked every", show_span(witness.interval.as_ref())),
    ];
    for head in &witness.cosigned {
        rows.push(("co-signed", format!("{}: the first {} leaves, {}", head.log, head.size, when::show(head.filed.as_ref()))));
    }
    rows.push(("version", witness.etag.clone()));
    fields(&rows)
}
