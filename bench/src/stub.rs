//! A server that speaks just enough of the protocol: it lets everybody in and answers each statement with one row.
//! With it, ten thousand sessions and a flood of statements need no ten thousand PostgreSQL processes.

use std::net::SocketAddr;

use anyhow::{Result, bail};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// The largest message it takes; its only peer is the gateway under test.
const MESSAGE_MAX: usize = 1 << 20;
const CHUNK: usize = 8 * 1024;

/// # Errors
/// When it cannot listen.
pub(crate) async fn run(listen: SocketAddr) -> Result<()> {
    let socket = tokio::net::TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind(listen)?;
    let listener: TcpListener = socket.listen(4_096)?;
    loop {
        let (client, _) = listener.accept().await?;
        tokio::spawn(async move {
            let _ = serve(client).await;
        });
    }
}

async fn serve(mut client: TcpStream) -> Result<()> {
    client.set_nodelay(true)?;
    let length = client.read_u32().await? as usize;
    if !(8..=MESSAGE_MAX).contains(&length) {
        bail!("a start-up message of {length} bytes");
    }
    let mut startup = vec![0; length - 4];
    client.read_exact(&mut startup).await?;
    client.write_all(&greeting()).await?;

    let mut input = Vec::new();
    let mut output = Vec::new();
    loop {
        let start = input.len();
        input.resize(start + CHUNK, 0);
        let read = client.read(&mut input[start..]).await?;
        input.truncate(start + read);
        if read == 0 {
            return Ok(());
        }
        let mut at = 0;
        while let Some(header) = input.get(at..at + 5) {
            let length = u32::from_be_bytes([header[1], header[2], header[3], header[4]]) as usize;
            if length > MESSAGE_MAX {
                bail!("a message of {length} bytes");
            }
            if input.len() < at + 1 + length {
                break;
            }
            if !answer(header[0], &input[at + 5..at + 1 + length], &mut output) {
                return Ok(());
            }
            at += 1 + length;
        }
        input.drain(..at);
        client.write_all(&output).await?;
        output.clear();
        if input.is_empty() {
            input.shrink_to(0);
        }
    }
}

/// Appends the answer to one message; false when the client says goodbye.
fn answer(tag: u8, body: &[u8], out: &mut Vec<u8>) -> bool {
    match tag {
        b'Q' => {
            if body.get(..6).is_some_and(|word| word.eq_ignore_ascii_case(b"select")) {
                row_description(out);
                row(out);
            } else {
                message(out, b'C', b"SET\0");
            }
            message(out, b'Z', b"I");
        }
        b'P' => message(out, b'1', b""),
        b'B' => message(out, b'2', b""),
        b'C' => message(out, b'3', b""),
        b'D' => {
            if body.first() == Some(&b'S') {
                message(out, b't', &[0, 0]);
            }
            row_description(out);
        }
        b'E' if body.starts_with(b"assize:") => session_row(out),
        b'E' => row(out),
        b'S' => message(out, b'Z', b"I"),
        b'X' => return false,
        _ => {}
    }
    true
}

fn row_description(out: &mut Vec<u8>) {
    // One column `n` of type int4 (object id 23), 4 bytes, no modifier, as text.
    message(out, b'T', &[0, 1, b'n', 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 23, 0, 4, 255, 255, 255, 255, 0, 0]);
}

fn row(out: &mut Vec<u8>) {
    message(out, b'D', &[0, 1, 0, 0, 0, 1, b'1']);
    message(out, b'C', b"SELECT 1\0");
}

/// What the gateway asks of a session: database, schemas, temporary and shadowing names, role, search path.
fn session_row(out: &mut Vec<u8>) {
    let values = [crate::postgres::DATABASE, "{public}", "{}", "{}", crate::postgres::GATEWAY, "public"];
    let mut body = vec![0, 6];
    for value in values {
        body.extend_from_slice(&(value.len() as u32).to_be_bytes());
        body.extend_from_slice(value.as_bytes());
    }
    message(out, b'D', &body);
    message(out, b'C', b"SELECT 1\0");
}

fn message(out: &mut Vec<u8>, tag: u8, body: &[u8]) {
    out.push(tag);
    let length = u32::try_from(body.len() + 4).expect("our answers are short");
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(body);
}

fn greeting() -> Vec<u8> {
    let mut out = Vec::new();
    message(&mut out, b'R', &[0, 0, 0, 0]);
    for (name, value) in [
        ("server_version", "15.0"),
        ("server_encoding", "UTF8"),
        ("client_encoding", "UTF8"),
        ("DateStyle", "ISO, MDY"),
        ("IntervalStyle", "postgres"),
        ("TimeZone", "UTC"),
        ("integer_datetimes", "on"),
        ("standard_conforming_strings", "on"),
        ("is_superuser", "off"),
        ("session_authorization", "bench"),
        ("in_hot_standby", "off"),
        ("default_transaction_read_only", "off"),
    ] {
        message(&mut out, b'S', format!("{name}\0{value}\0").as_bytes());
    }
    message(&mut out, b'K', &[0, 0, 0, 1, 0, 0, 0, 2]);
    message(&mut out, b'Z', b"I");
    out
}
