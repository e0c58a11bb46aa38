//! The receivers, one a file: each is given messages in order and says how many were taken.

mod chat;
mod mail;
mod otlp;
mod syslog;
pub(crate) mod webhook;

use domain::sink::{Destination, Sink};
use identity::Secret;
use record_formats::Formatter;
use socket::Stream;

use crate::address::Allowed;
use crate::connect::Trust;
use crate::message::{Delivery, Message};
use crate::source::Source;

/// What is known of a receiver between deliveries.
pub(crate) struct Receiver {
    sink: Sink,
    secret: Option<Secret>,
    formatter: Formatter,
    /// Held open between deliveries, where the protocol is a stream.
    stream: Option<Stream>,
}

impl Receiver {
    pub(crate) fn new(sink: &Sink, secret: Option<Secret>, formatter: Formatter) -> Receiver {
        Receiver { sink: sink.clone(), secret, formatter, stream: None }
    }

    /// Stops at the first message that is not taken.
    pub(crate) async fn deliver(&mut self, source: &dyn Source, messages: &[Message], allowed: &Allowed) -> Delivery {
        let trust = Trust { roots_pem: &self.sink.terms.roots_pem, allowed };
        let secret = self.secret.as_ref();
        match &self.sink.terms.destination {
            Destination::Webhook { url } => webhook::deliver(url, secret, messages, trust).await,
            Destination::Otlp { url } => otlp::deliver(url, secret, messages, source, trust).await,
            Destination::Slack => chat::deliver(chat::Chat::Slack, secret, messages, trust).await,
            Destination::Teams => chat::deliver(chat::Chat::Teams, secret, messages, trust).await,
            Destination::Mail { address, tls, from, to, username } => {
                let mailbox = mail::Mailbox { address, tls: *tls, from, to, username };
                mail::deliver(&mailbox, secret, messages, trust).await
            }
            Destination::Syslog { address, server_name, .. } => {
                let to = syslog::Collector { address, server_name: server_name.as_deref() };
                syslog::deliver(&to, &mut self.stream, &mut self.formatter, source, messages, trust).await
            }
        }
    }
}
