//! Receivers for what the cluster sends: an HTTP server that may fail, and a TLS listener that reads syslog frames
//! strictly. Written against the specifications, not against what Assize sends.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use anyhow::{Context as _, Result, bail, ensure};

/// One request, as it came.
#[derive(Debug, Clone)]
pub struct Posted {
    pub path: String,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    pub body: String,
    /// What was answered.
    pub status: u16,
}

impl Posted {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(is, _)| is == name).map(|(_, value)| value.as_str())
    }
}

/// An HTTP server on loopback.
pub struct Http {
    pub port: u16,
    posted: Arc<Mutex<Vec<Posted>>>,
    status: Arc<AtomicUsize>,
}

impl Http {
    /// # Errors
    /// When no port can be bound.
    pub fn start() -> Result<Http> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let port = listener.local_addr()?.port();
        let posted = Arc::new(Mutex::new(Vec::new()));
        let status = Arc::new(AtomicUsize::new(200));
        let (into, answer) = (posted.clone(), status.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (into, answer) = (into.clone(), answer.clone());
                std::thread::spawn(move || drop(serve(&stream, &into, &answer)));
            }
        });
        Ok(Http { port, posted, status })
    }

    /// What it answers from now on.
    pub fn answer(&self, status: u16) {
        self.status.store(usize::from(status), Ordering::SeqCst);
    }

    /// Everything that came so far, whatever was answered.
    pub fn posted(&self) -> Vec<Posted> {
        self.posted.lock().expect("no thread panicked").clone()
    }
}

fn serve(stream: &TcpStream, into: &Mutex<Vec<Posted>>, answer: &AtomicUsize) -> Result<()> {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let path = line.split(' ').nth(1).context("a path")?.to_owned();
    let mut headers = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    let length = headers.iter().find(|(name, _)| name == "content-length").map_or("0", |(_, value)| value);
    let mut body = vec![0; length.parse()?];
    reader.read_exact(&mut body)?;
    let status = u16::try_from(answer.load(Ordering::SeqCst))?;
    let posted = Posted { path, headers, body: String::from_utf8(body)?, status };
    into.lock().expect("no thread panicked").push(posted);
    let mut writer = stream;
    write!(writer, "HTTP/1.1 {status} Answer\r\ncontent-length: 0\r\nlocation: http://127.0.0.1:1/\r\nconnection: close\r\n\r\n")?;
    Ok(())
}

/// HMAC-SHA256 by OpenSSL: an implementation of its own.
///
/// # Errors
/// When it cannot be run.
pub fn hmac_sha256_base64(key: &[u8], message: &[u8]) -> Result<String> {
    let hex: String = key.iter().map(|byte| format!("{byte:02x}")).collect();
    let mut openssl = Command::new("openssl")
        .args(["dgst", "-sha256", "-mac", "HMAC", "-macopt", &format!("hexkey:{hex}"), "-binary"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    openssl.stdin.take().context("its input")?.write_all(message)?;
    let signed = openssl.wait_with_output()?;
    ensure!(signed.status.success(), "openssl dgst");
    base64(&["-A"], &signed.stdout)
}

/// # Errors
/// When the text is no base64.
pub fn from_base64(text: &str) -> Result<Vec<u8>> {
    let mut base64 = Command::new("base64").arg("-d").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    base64.stdin.take().context("its input")?.write_all(text.as_bytes())?;
    let decoded = base64.wait_with_output()?;
    ensure!(decoded.status.success(), "{text} is no base64");
    Ok(decoded.stdout)
}

fn base64(args: &[&str], bytes: &[u8]) -> Result<String> {
    let mut openssl = Command::new("openssl").arg("base64").args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    openssl.stdin.take().context("its input")?.write_all(bytes)?;
    Ok(String::from_utf8(openssl.wait_with_output()?.stdout)?.trim().to_owned())
}

/// One syslog message of RFC 5424, taken apart.
#[derive(Debug, Clone)]
pub struct SyslogMessage {
    pub priority: u16,
    pub host: String,
    pub app: String,
    pub kind: String,
    /// The structured data, between its brackets.
    pub data: String,
    pub text: String,
}

/// A TLS server that prints what it gets: `openssl s_server`, which is nobody's syslog and so forgives nothing.
pub struct TlsServer {
    child: Child,
    received: Arc<Mutex<Vec<u8>>>,
}

impl TlsServer {
    /// # Errors
    /// When it does not start.
    pub fn start(port: u16, certificate: &str, key: &str) -> Result<TlsServer> {
        let mut child = Command::new("openssl")
            .args(["s_server", "-quiet", "-accept", &format!("127.0.0.1:{port}"), "-cert", certificate, "-key", key])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        let received = Arc::new(Mutex::new(Vec::new()));
        let (into, mut from) = (received.clone(), child.stdout.take().context("its output")?);
        std::thread::spawn(move || {
            let mut chunk = vec![0; 1 << 16];
            while let Ok(count @ 1..) = from.read(&mut chunk) {
                into.lock().expect("no thread panicked").extend_from_slice(&chunk[..count]);
            }
        });
        Ok(TlsServer { child, received })
    }

    /// Every frame so far. Of several connections in a row, all.
    ///
    /// # Errors
    /// At the first byte that is not as RFC 5425 and 5424 say.
    pub fn messages(&self) -> Result<Vec<SyslogMessage>> {
        let received = self.received.lock().expect("no thread panicked").clone();
        let (mut rest, mut all) = (&received[..], Vec::new());
        while let Some(space) = rest.iter().position(|byte| *byte == b' ') {
            let length: usize = str::from_utf8(&rest[..space])?.parse().context("a length before each message")?;
            let Some(message) = rest.get(space + 1..space + 1 + length) else { break };
            all.push(message_of(str::from_utf8(message)?)?);
            rest = &rest[space + 1 + length..];
        }
        Ok(all)
    }
}

impl Drop for TlsServer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn message_of(text: &str) -> Result<SyslogMessage> {
    let (priority, rest) = text.strip_prefix('<').and_then(|rest| rest.split_once(">1 ")).context("<PRI>1")?;
    let parts: Vec<&str> = rest.splitn(6, ' ').collect();
    let [time, host, app, _process, kind, rest] = parts[..] else { bail!("six parts in {text}") };
    ensure!(time.len() == 24 && time.ends_with('Z') && time.as_bytes()[10] == b'T', "a time: {time}");
    ensure!(kind.len() <= 32 && host.len() <= 255, "{text}");
    let rest = rest.strip_prefix('[').context("structured data")?;
    let mut escaped = false;
    let end = rest.char_indices().find(|(_, c)| {
        let ends = *c == ']' && !escaped;
        escaped = *c == '\\' && !escaped;
        ends
    });
    let (end, _) = end.context("the end of the structured data")?;
    Ok(SyslogMessage {
        priority: priority.parse()?,
        host: host.into(),
        app: app.into(),
        kind: kind.into(),
        data: rest[..end].to_owned(),
        text: rest[end + 1..].strip_prefix(' ').context("a space before the text")?.to_owned(),
    })
}

/// A POST to loopback: status and body of the answer.
///
/// # Errors
/// When there is no answer.
pub fn post(port: u16, path: &str, body: &str) -> Result<(u16, String)> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    write!(stream, "POST {path} HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}", body.len())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok()).context("a status")?;
    let body = answer.split_once("\r\n\r\n").map(|(_, body)| body.to_owned()).unwrap_or_default();
    Ok((status, body))
}
