//! The target as the gateway sees it: a relay before the real PostgreSQL that stamps what arrives, statement by statement.
//! Effects are judged here, behind every queue of the gateway's kernel.
//!
//! Its threads run at real-time priority, so that a busy machine does not stamp what came in time as late.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result};

use crate::history::{Event, History, Statement, now};
use crate::process::run;

/// A statement of the load carries `m:NUMBER;` somewhere in its text.
const MARK: &[u8] = b"m:";
/// Protocol number of a CancelRequest.
const CANCEL: [u8; 4] = 80_877_102_u32.to_be_bytes();

/// The mark of a statement, to be put into a literal.
pub fn mark(statement: Statement) -> String {
    format!("m:{statement};")
}

#[derive(Debug, Clone, Default)]
pub struct Recorder {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    /// Cancel requests are taken and never passed on.
    swallows_cancels: AtomicBool,
    connections: AtomicU64,
}

impl Recorder {
    /// Listens at `address` and passes on to PostgreSQL at this loopback port.
    ///
    /// # Errors
    /// When it cannot listen.
    pub fn start(address: &str, postgres: u16, history: Arc<History>) -> Result<Recorder> {
        let listener = TcpListener::bind(address).with_context(|| address.to_owned())?;
        let recorder = Recorder::default();
        let shared = Arc::clone(&recorder.shared);
        std::thread::spawn(move || {
            // Threads it starts inherit this.
            let thread = std::fs::read_link("/proc/thread-self").ok();
            let id = thread.as_deref().and_then(|path| path.file_name()).map(|name| name.to_string_lossy().into_owned());
            if let Err(error) = run(Command::new("chrt").args(["-f", "-p", "5", id.as_deref().unwrap_or("0")])) {
                eprintln!("the recorder runs at ordinary priority: {error:#}");
            }
            for client in listener.incoming().flatten() {
                let connection = shared.connections.fetch_add(1, Ordering::Relaxed);
                let (shared, history) = (Arc::clone(&shared), Arc::clone(&history));
                std::thread::spawn(move || {
                    // Whoever breaks off is noted either way.
                    let _ = relay(&shared, &history, client, connection, postgres);
                    history.note(Event::Closed { connection });
                });
            }
        });
        Ok(recorder)
    }

    pub fn swallow_cancels(&self, on: bool) {
        self.shared.swallows_cancels.store(on, Ordering::Relaxed);
    }
}

fn relay(shared: &Shared, history: &History, mut client: TcpStream, connection: u64, postgres: u16) -> Result<()> {
    let mut server = TcpStream::connect(("127.0.0.1", postgres))?;
    client.set_nodelay(true)?;
    // A reset that was lost on a cut way is found out soon after the way is back, as a server with keepalives does.
    rustix::net::sockopt::set_socket_keepalive(&client, true)?;
    rustix::net::sockopt::set_tcp_keepidle(&client, Duration::from_secs(1))?;
    rustix::net::sockopt::set_tcp_keepintvl(&client, Duration::from_secs(1))?;
    server.set_nodelay(true)?;
    let (mut from, mut to) = (server.try_clone()?, client.try_clone()?);
    std::thread::spawn(move || {
        let _ = std::io::copy(&mut from, &mut to);
        let _ = to.shutdown(Shutdown::Both);
    });
    let mut buffer = vec![0; 64 << 10];
    let mut rest = Vec::new();
    let mut first = true;
    loop {
        let got = match client.read(&mut buffer) {
            Ok(0) | Err(_) => break,
            Ok(got) => got,
        };
        let at = now();
        let bytes = &buffer[..got];
        if std::mem::take(&mut first) && bytes.get(4..8) == Some(&CANCEL) {
            history.note_at(at, Event::CancelSeen);
            if shared.swallows_cancels.load(Ordering::Relaxed) {
                let _ = client.read(&mut buffer);
                break;
            }
        }
        rest.extend_from_slice(bytes);
        for statement in take_marks(&mut rest) {
            history.note_at(at, Event::Seen { statement, connection });
        }
        if server.write_all(bytes).is_err() {
            break;
        }
    }
    let _ = server.shutdown(Shutdown::Both);
    Ok(())
}

/// The statements marked in these bytes; leaves what may be the beginning of another mark.
fn take_marks(bytes: &mut Vec<u8>) -> Vec<Statement> {
    let mut found = Vec::new();
    let mut keep = bytes.len();
    let mut at = 0;
    while let Some(next) = bytes[at..].windows(MARK.len()).position(|window| window == MARK) {
        let start = at + next;
        let digits = &bytes[start + MARK.len()..];
        let length = digits.iter().take_while(|byte| byte.is_ascii_digit()).count();
        match digits.get(length) {
            Some(b';') => found.extend(std::str::from_utf8(&digits[..length]).ok().and_then(|text| text.parse::<Statement>().ok())),
            Some(_) => {}
            None => {
                keep = start;
                break;
            }
        }
        at = start + MARK.len();
    }
    if keep == bytes.len() && bytes.last() == Some(&MARK[0]) {
        keep -= 1;
    }
    bytes.drain(..keep);
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_found_wherever_the_bytes_are_cut_and_each_once() {
        let text = b"insert 'm:17;' m:x m:4 m:18;;m:9999;m".to_vec();
        for cut in 0..=text.len() {
            let mut rest = text[..cut].to_vec();
            let mut found = take_marks(&mut rest);
            rest.extend_from_slice(&text[cut..]);
            found.extend(take_marks(&mut rest));
            assert_eq!(found, [17, 18, 9999], "cut at {cut}");
            assert_eq!(rest, b"m", "cut at {cut}");
        }
    }
}
