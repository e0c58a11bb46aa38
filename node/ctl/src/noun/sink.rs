use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};
use proto::admin as pb;
use proto::admin::sink::Destination;

use super::credential::without_newline;
use super::{DeleteArgs, NameArg};
use crate::client::{Client, rpc};
use crate::config;
use crate::outcome::Failure;
use crate::output::{Output, Table, fields};
use crate::when::{self, parse_span, span_to_wire};

#[derive(Debug, Clone, Subcommand)]
pub enum SinkCommand {
    /// Make a sink, or change what is given of one and keep the rest
    Put(Box<PutArgs>),
    List,
    /// What it is sent, how far it was delivered to, and what fails
    Get(NameArg),
    /// What was not delivered yet is not delivered any more
    Delete(DeleteArgs),
    /// Send one message now, from the node that answers
    Test(NameArg),
}

#[derive(Debug, Clone, Args)]
pub struct PutArgs {
    name: String,
    #[command(flatten)]
    to: To,
    /// Mail: who it is from.
    #[arg(long, value_name = "MAILBOX", requires = "mail")]
    from: Option<String>,
    /// Mail: who gets it.
    #[arg(long = "to", value_name = "MAILBOX", requires = "mail")]
    recipients: Vec<String>,
    /// Mail: the user name towards the server; the secret is the password.
    #[arg(long, value_name = "NAME", requires = "mail")]
    username: Option<String>,
    /// Mail: TLS from the first byte (port 465), instead of STARTTLS.
    #[arg(long, requires = "mail")]
    implicit_tls: bool,
    /// Syslog: how a record is written; json by default.
    #[arg(long, value_enum, requires = "syslog")]
    format: Option<Format>,
    /// Syslog: name its certificate must have; by default the host of the address.
    #[arg(long, value_name = "NAME", requires = "syslog")]
    tls_server_name: Option<String>,
    /// An event to be told of, such as request.opened; `*` for all.
    #[arg(long = "event", value_name = "EVENT")]
    events: Vec<String>,
    /// A log to be sent whole: audit/0 or control.
    #[arg(long = "log", value_name = "LOG")]
    logs: Vec<String>,
    /// File with the secret; `-` reads standard input. Of a webhook the key of its signatures (`whsec_…`; drawn and shown
    /// once if left out), of Slack and Teams the address, of OTLP the `authorization` header, of mail the password.
    #[arg(long, value_name = "FILE")]
    secret_file: Option<PathBuf>,
    /// PEM file with the authorities to trust; by default the system's.
    #[arg(long, value_name = "FILE")]
    roots_file: Option<PathBuf>,
    /// Pass a notification over that cannot be delivered for so long.
    #[arg(long, value_parser = parse_span, value_name = "TIME")]
    give_up: Option<Duration>,
    /// Deliver nothing for now; it goes on where it was with --paused=false.
    #[arg(long, value_name = "YES", num_args = 0..=1, default_missing_value = "true")]
    paused: Option<bool>,
    /// A new sink: from the first record of its logs, instead of from now on.
    #[arg(long)]
    from_beginning: bool,
}

#[derive(Debug, Clone, Args)]
#[group(multiple = false)]
struct To {
    /// Signed POSTs in the form of Standard Webhooks.
    #[arg(long, value_name = "URL")]
    webhook: Option<String>,
    /// RFC 5424 over TLS.
    #[arg(long, value_name = "HOST:PORT")]
    syslog: Option<String>,
    /// OTLP logs over HTTP: the whole address, `…/v1/logs`.
    #[arg(long, value_name = "URL")]
    otlp: Option<String>,
    /// An incoming webhook of Slack.
    #[arg(long)]
    slack: bool,
    /// An incoming webhook of Teams.
    #[arg(long)]
    teams: bool,
    /// SMTP submission.
    #[arg(long, value_name = "HOST:PORT")]
    mail: Option<String>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Format {
    Ocsf,
    Cef,
    Json,
}

impl PutArgs {
    /// The destination that was given, filled up with what the one before has, if it is of the same kind.
    fn destination(&self, old: Option<&Destination>) -> Result<Option<Destination>, Failure> {
        let to = &self.to;
        let format = self.format.map(|format| match format {
            Format::Ocsf => "ocsf",
            Format::Cef => "cef",
            Format::Json => "json",
        });
        let (syslog, mail) = match old {
            Some(Destination::Syslog(syslog)) => (syslog.clone(), pb::Mail::default()),
            Some(Destination::Mail(mail)) => (pb::Syslog::default(), mail.clone()),
            _ => (pb::Syslog::default(), pb::Mail::default()),
        };
        Ok(match to {
            To { webhook: Some(url), .. } => Some(Destination::Webhook(pb::Webhook { url: url.clone() })),
            To { otlp: Some(url), .. } => Some(Destination::Otlp(pb::Otlp { url: url.clone() })),
            To { slack: true, .. } => Some(Destination::Slack(pb::Slack {})),
            To { teams: true, .. } => Some(Destination::Teams(pb::Teams {})),
            To { syslog: Some(address), .. } => Some(Destination::Syslog(pb::Syslog {
                address: address.clone(),
                server_name: self.tls_server_name.clone().unwrap_or(syslog.server_name),
                format: format.map_or(syslog.format, str::to_owned),
            })),
            To { mail: Some(address), .. } => Some(Destination::Mail(pb::Mail {
                address: address.clone(),
                implicit_tls: self.implicit_tls || mail.implicit_tls,
                from: self.from.clone().unwrap_or(mail.from),
                to: if self.recipients.is_empty() { mail.to } else { self.recipients.clone() },
                username: self.username.clone().unwrap_or(mail.username),
            })),
            To { .. } if old.is_none() => {
                return Err(Failure::usage("a new sink needs one of --webhook, --syslog, --otlp, --slack, --teams and --mail"));
            }
            To { .. } => None,
        })
    }

    fn secret(&self) -> Result<String, Failure> {
        match &self.secret_file {
            None => Ok(String::new()),
            Some(path) if path.as_os_str() == "-" => {
                let mut text = String::new();
                std::io::Read::read_to_string(&mut std::io::stdin(), &mut text)?;
                Ok(without_newline(text))
            }
            Some(path) => config::read(path).map(without_newline),
        }
    }

    fn onto(&self, mut sink: pb::Sink) -> Result<pb::Sink, Failure> {
        sink.name.clone_from(&self.name);
        if let Some(destination) = self.destination(sink.destination.as_ref())? {
            sink.destination = Some(destination);
        }
        if !self.events.is_empty() || !self.logs.is_empty() {
            sink.events.clone_from(&self.events);
            sink.logs.clone_from(&self.logs);
        }
        if let Some(path) = &self.roots_file {
            sink.roots_pem = config::read(path)?;
        }
        sink.give_up = self.give_up.map(span_to_wire).or(sink.give_up);
        sink.paused = self.paused.unwrap_or(sink.paused);
        Ok(sink)
    }
}

impl SinkCommand {
    pub(crate) async fn run(self, client: &mut Client, out: &mut Output<'_>) -> Result<(), Failure> {
        match self {
            SinkCommand::Put(args) => put(client, out, *args).await,
            SinkCommand::Get(args) => {
                let found = find(client, &args.name).await?;
                out.show(&found, render)
            }
            SinkCommand::List => {
                let sinks = super::all_pages!(client, sinks_client::SinksClient, list_sinks, pb::ListSinksRequest::default(), sinks);
                let all = pb::ListSinksResponse { sinks, ..Default::default() };
                out.show(&all, |all| {
                    let mut table = Table::new(&["NAME", "TO", "SENT", "BEHIND", "STATE"]);
                    for sink in &all.sinks {
                        let progress = sink.progress.clone().unwrap_or_default();
                        let (delivered, lag) = (progress.delivered.to_string(), progress.lag.to_string());
                        table.row([sink.name.clone(), place(sink), delivered, lag, state(sink)]);
                    }
                    table.render()
                })
            }
            SinkCommand::Delete(args) => {
                let request = pb::DeleteSinkRequest { name: args.name.clone(), etag: args.etag.unwrap_or_default(), ..Default::default() };
                let done = rpc!(client.change, sinks_client::SinksClient, delete_sink, request)?;
                out.show(&done, |_| format!("deleted {}\n", args.name))
            }
            SinkCommand::Test(args) => {
                let tested = rpc!(client.ask, sinks_client::SinksClient, test_sink, pb::TestSinkRequest { name: args.name })?;
                out.show(&tested, |tested| match tested.delivered {
                    true => format!("delivered from node {}\n", tested.node),
                    false => format!("not delivered from node {}: {}\n", tested.node, tested.error),
                })?;
                if tested.delivered { Ok(()) } else { Err(Failure::failed("the test was not delivered")) }
            }
        }
    }
}

async fn put(client: &mut Client, out: &mut Output<'_>, args: PutArgs) -> Result<(), Failure> {
    let sinks = super::all_pages!(client, sinks_client::SinksClient, list_sinks, pb::ListSinksRequest::default(), sinks);
    let secret = args.secret()?;
    match sinks.into_iter().find(|sink| sink.name == args.name) {
        Some(old) => {
            if args.from_beginning {
                return Err(Failure::usage("--from-beginning is for a new sink: this one goes on where it is"));
            }
            let request = pb::UpdateSinkRequest { sink: Some(args.onto(old)?), secret, ..Default::default() };
            let made = rpc!(client.change, sinks_client::SinksClient, update_sink, request)?;
            out.show(&made, |made| format!("changed {}\n", made.name))
        }
        None => {
            let sink = Some(args.onto(pb::Sink::default())?);
            let request = pb::CreateSinkRequest { sink, secret, from_beginning: args.from_beginning, ..Default::default() };
            let made = rpc!(client.change, sinks_client::SinksClient, create_sink, request)?;
            out.show(&made, |made| {
                let mut text = format!("created {}\n", args.name);
                if !made.secret.is_empty() {
                    text.push_str(&format!("secret, shown this once: {}\n", made.secret));
                }
                text
            })
        }
    }
}

async fn find(client: &mut Client, name: &str) -> Result<pb::Sink, Failure> {
    rpc!(client.ask, sinks_client::SinksClient, get_sink, pb::GetSinkRequest { name: name.to_owned() })
}

fn place(sink: &pb::Sink) -> String {
    match &sink.destination {
        Some(Destination::Webhook(to)) => format!("webhook {}", to.url),
        Some(Destination::Syslog(to)) => format!("syslog {}", to.address),
        Some(Destination::Otlp(to)) => format!("otlp {}", to.url),
        Some(Destination::Slack(_)) => "slack".into(),
        Some(Destination::Teams(_)) => "teams".into(),
        Some(Destination::Mail(to)) => format!("mail {}", to.to.join(" ")),
        None => "-".into(),
    }
}

fn state(sink: &pb::Sink) -> String {
    match &sink.progress {
        _ if sink.paused => "paused".into(),
        Some(progress) if !progress.error.is_empty() => format!("failing: {}", progress.error),
        Some(_) | None => "ok".into(),
    }
}

fn render(sink: &pb::Sink) -> String {
    let progress = sink.progress.clone().unwrap_or_default();
    let or_dash = |text: String| if text.is_empty() { "-".into() } else { text };
    fields(&[
        ("name", sink.name.clone()),
        ("to", place(sink)),
        ("events", or_dash(sink.events.join(" "))),
        ("logs", or_dash(sink.logs.join(" "))),
        ("gives up after", when::show_span(sink.give_up.as_ref())),
        ("state", state(sink)),
        ("cursor", format!("control {}, audit/0 {}", progress.control, progress.audit)),
        ("leaves behind", progress.lag.to_string()),
        ("delivered", progress.delivered.to_string()),
        ("given up", progress.abandoned.to_string()),
        ("last delivered", when::show(progress.last_delivered.as_ref())),
        ("attempts", progress.attempts.to_string()),
        ("failing since", when::show(progress.failing_since.as_ref())),
        ("version", sink.etag.clone()),
    ])
}
