//! E-mail: a message of plain text for each event, submitted to a mail server over TLS (RFC 5321, 3207, 4954).

use data_encoding::BASE64;
use domain::sink::MailTls;
use identity::Secret;
use socket::Stream;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::connect::{self, Trust};
use crate::event::{Event, when};
use crate::limits::{ANSWER_SHOWN, CALL_DEADLINE, SMTP_LINE_MAX, SMTP_LINES_MAX};
use crate::message::{Content, Delivery, Message};
use crate::url::host_port;

/// Where and as whom mail is submitted.
pub(super) struct Mailbox<'a> {
    pub(super) address: &'a str,
    pub(super) tls: MailTls,
    pub(super) from: &'a str,
    pub(super) to: &'a [String],
    pub(super) username: &'a str,
}

/// Characters of a line of base64 (RFC 2045).
const LINE: usize = 76;
/// Bytes in one encoded word of a header (RFC 2047 allows 75 characters with its frame).
const WORD_BYTES: usize = 42;

pub(super) async fn deliver(mailbox: &Mailbox<'_>, password: Option<&Secret>, messages: &[Message], trust: Trust<'_>) -> Delivery {
    for (n, message) in messages.iter().enumerate() {
        let Content::Event(event) = &message.content else { continue };
        let text = mail(mailbox, &message.id, event, message.redelivered);
        let sent = timeout(CALL_DEADLINE, submit(mailbox, password, &text, trust)).await;
        if let Err(error) = sent.unwrap_or_else(|_| Err(format!("not taken within {CALL_DEADLINE:?}"))) {
            return Delivery::failed(n, error);
        }
    }
    Delivery::all(messages)
}

/// The lines of the server's talk.
struct Talk<S>(BufReader<S>);

impl<S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin> Talk<S> {
    /// The code of an answer, and its last line.
    async fn answer(&mut self) -> Result<(u16, String), String> {
        for _ in 0..SMTP_LINES_MAX {
            let mut line = Vec::new();
            let mut limited = (&mut self.0).take(SMTP_LINE_MAX);
            limited.read_until(b'\n', &mut line).await.map_err(|error| error.to_string())?;
            if line.last() != Some(&b'\n') {
                return Err("the mail server broke off, or its line is too long".into());
            }
            let text = String::from_utf8_lossy(&line).trim_end().to_owned();
            let code = text.get(..3).and_then(|code| code.parse().ok()).ok_or("the mail server does not speak SMTP")?;
            if text.as_bytes().get(3) != Some(&b'-') {
                return Ok((code, text));
            }
        }
        Err("the mail server's answer has too many lines".into())
    }

    async fn expect(&mut self, wanted: u16) -> Result<(), String> {
        let (code, text) = self.answer().await?;
        if code == wanted {
            return Ok(());
        }
        let said: String = domain::escape::show(&text).text.chars().take(ANSWER_SHOWN).collect();
        Err(format!("the mail server says {said}"))
    }

    async fn say(&mut self, line: &str, wanted: u16) -> Result<(), String> {
        self.0.get_mut().write_all(format!("{line}\r\n").as_bytes()).await.map_err(|error| error.to_string())?;
        self.0.get_mut().flush().await.map_err(|error| error.to_string())?;
        self.expect(wanted).await
    }
}

const HELLO: &str = "EHLO assize";

async fn submit(mailbox: &Mailbox<'_>, password: Option<&Secret>, text: &str, trust: Trust<'_>) -> Result<(), String> {
    let (host, port) = host_port(mailbox.address).ok_or("the address cannot be read")?;
    let tcp = connect::tcp(host, port, trust.allowed).await?;
    let mut talk = match mailbox.tls {
        MailTls::Implicit => {
            let mut talk = Talk(BufReader::new(connect::tls(tcp, host, trust.roots_pem).await?));
            talk.expect(220).await?;
            talk
        }
        MailTls::Starttls => Talk(BufReader::new(starttls(tcp, host, trust.roots_pem).await?)),
    };
    talk.say(HELLO, 250).await?;
    if !mailbox.username.is_empty() {
        let password = password.ok_or("the password is missing")?;
        let plain = [b"\0", mailbox.username.as_bytes(), b"\0", password.expose()].concat();
        talk.say(&format!("AUTH PLAIN {}", BASE64.encode(&plain)), 235).await?;
    }
    talk.say(&format!("MAIL FROM:<{}>", mailbox.from), 250).await?;
    for to in mailbox.to {
        talk.say(&format!("RCPT TO:<{to}>"), 250).await?;
    }
    talk.say("DATA", 354).await?;
    // The body is base64 and the headers begin with letters: no line begins with a dot.
    talk.say(&format!("{text}\r\n."), 250).await?;
    // It is taken: what the server says to the farewell changes nothing.
    let _ = talk.say("QUIT", 221).await;
    Ok(())
}

/// Plain until TLS is on; whatever the server sent before its time is refused with the connection (CVE-2011-0411).
async fn starttls(tcp: TcpStream, host: &str, roots_pem: &str) -> Result<Stream, String> {
    let mut talk = Talk(BufReader::new(tcp));
    talk.expect(220).await?;
    talk.say(HELLO, 250).await?;
    talk.say("STARTTLS", 220).await?;
    if !talk.0.buffer().is_empty() {
        return Err("the mail server sent text before TLS was on".into());
    }
    connect::tls(talk.0.into_inner(), host, roots_pem).await
}

/// Headers and body, with `CR LF`, without the last dot.
fn mail(mailbox: &Mailbox<'_>, id: &str, event: &Event, redelivered: bool) -> String {
    let mut body = format!("{}\n\n", event.title);
    event.facts.iter().for_each(|(name, value)| body.push_str(&format!("{name}: {value}\n")));
    event.commands.iter().for_each(|command| body.push_str(&format!("\n    {command}")));
    body.push_str(&format!("\n\n{} by log time. Assize {id}\n", when(event.at)));
    if redelivered {
        body.push_str("Sent again: an earlier message may have been lost.\n");
    }
    let encoded = BASE64.encode(body.replace('\n', "\r\n").as_bytes());
    let lines: Vec<&str> = encoded.as_bytes().chunks(LINE).map(|line| str::from_utf8(line).unwrap_or_default()).collect();
    let host = mailbox.from.rsplit_once('@').map_or("assize", |(_, host)| host);
    let at = i64::try_from(event.at.0).ok().and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok()).unwrap_or_default();
    [
        format!("From: <{}>", mailbox.from),
        format!("To: {}", mailbox.to.iter().map(|to| format!("<{to}>")).collect::<Vec<_>>().join(",\r\n ")),
        format!("Subject: {}", subject(&format!("[assize] {}", event.title))),
        format!("Date: {}", at.strftime("%a, %d %b %Y %H:%M:%S +0000")),
        format!("Message-ID: <{id}@{host}>"),
        "Auto-Submitted: auto-generated".into(),
        "MIME-Version: 1.0".into(),
        "Content-Type: text/plain; charset=utf-8".into(),
        "Content-Transfer-Encoding: base64".into(),
        String::new(),
        lines.join("\r\n"),
    ]
    .join("\r\n")
}

/// Encoded words, whatever the text is: then nothing in it can be a header of its own.
fn subject(text: &str) -> String {
    let mut words = vec![String::new()];
    for c in text.chars() {
        if words.last().is_some_and(|word| word.len() + c.len_utf8() > WORD_BYTES) {
            words.push(String::new());
        }
        if let Some(word) = words.last_mut() {
            word.push(c);
        }
    }
    let encoded: Vec<String> = words.iter().map(|word| format!("=?utf-8?B?{}?=", BASE64.encode(word.as_bytes()))).collect();
    encoded.join("\r\n ")
}

#[cfg(test)]
mod tests {
    use domain::time::LogTime;

    use super::*;

    #[test]
    fn a_mail_has_no_line_of_somebody_else_s() {
        let to = ["ana@example.com".to_owned(), "bo@example.com".to_owned()];
        let mailbox = Mailbox { address: "m:587", tls: MailTls::Starttls, from: "assize@example.com", to: &to, username: "" };
        let mut event = Event::new("request.opened", LogTime(1_763_900_000_000), "é\r\nBcc: evil@example.com");
        event.facts.push(("reason", ".\r\nRCPT TO:<evil@example.com>".into()));
        let mail = mail(&mailbox, "evt_c_1_control-7", &event, true);
        let (head, body) = mail.split_once("\r\n\r\n").expect("an empty line");
        let names: Vec<&str> = head.split("\r\n").filter(|line| !line.starts_with(' ')).filter_map(|line| line.split(':').next()).collect();
        let expect =
            ["From", "To", "Subject", "Date", "Message-ID", "Auto-Submitted", "MIME-Version", "Content-Type", "Content-Transfer-Encoding"];
        assert_eq!(names, expect);
        assert!(head.contains("Date: Sun, 23 Nov 2025 12:13:20 +0000"), "{head}");
        assert!(body.split("\r\n").all(|line| line.len() <= LINE && !line.starts_with('.')), "{body}");
        let text = String::from_utf8(BASE64.decode(body.replace("\r\n", "").as_bytes()).expect("base64")).expect("text");
        assert!(text.contains("reason: ") && text.contains("Sent again"), "{text}");
    }
}
