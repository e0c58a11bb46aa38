//! The server's process behind a session: which one it is, and ending it from another node.
//!
//! A process is told by its number *and* the time it began, because numbers are given again, and it is ended only if
//! it belongs to the role that asks: that role may end no other's, unless it is a superuser, and then the question
//! still leaves them alone.

#[cfg(test)]
mod tests;

use std::fmt::Write as _;
use std::time::Duration;

use domain::audit::record;
use tokio::io::AsyncWriteExt;
use tokio::time::{Instant, sleep};

use super::ask::{Row, ask, text};
use super::{Address, Connected, Login, UpstreamError, establish};

/// How long a process may take to go once it was told.
const GONE_WITHIN: Duration = Duration::from_secs(2);
/// How often it is looked whether it has gone.
const LOOK: Duration = Duration::from_millis(50);
/// Processes in one question.
pub const BACKENDS_PER_QUESTION_MAX: usize = 256;

/// In microseconds: the same server says the same of the same process at any time.
const STARTED: &str = "(extract(epoch FROM a.backend_start) * 1000000)::bigint";

/// Which processes are to go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Which {
    All,
    /// Those with a statement or a transaction now. One whose state the server does not tell is none of them.
    Busy,
}

/// What became of a process that was to go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It was not there any more, or is not of this role; with [`Which::Busy`], or it was at rest.
    NotFound,
    /// It was told to go, and has gone.
    Ended { was_idle: bool },
    /// It was told to go, and is still there.
    Told { was_idle: bool },
}

/// Which process serves the session. `None` where the server does not say, or where the number it gave at login is
/// another one: then something in between shares its sessions among clients, and to end one would be to end somebody
/// else's.
///
/// # Errors
/// [`UpstreamError`], when the session cannot go on.
pub async fn identify(connected: &mut Connected) -> Result<Option<record::Backend>, UpstreamError> {
    let sql = format!("SELECT a.pid, {STARTED} FROM pg_catalog.pg_stat_get_activity(pg_catalog.pg_backend_pid()) AS a");
    let answer = match ask(connected, &sql, 2).await {
        Ok(answer) => answer,
        Err(UpstreamError::Refused { sqlstate, message }) => {
            tracing::debug!(sqlstate, message, "the target does not say which process serves a session");
            return Ok(None);
        }
        Err(error) => return Err(error),
    };
    let [row] = answer.rows.as_slice() else { return Ok(None) };
    let given = connected.key.as_ref().map(|key| key.pid);
    Ok(read(row).filter(|backend| given == Some(backend.process)))
}

/// Logs in and ends what is left of these processes, at most [`BACKENDS_PER_QUESTION_MAX`]; tells the fate of each, in
/// their order. Ends by itself within [`GONE_WITHIN`] and what the target takes to answer, which the caller bounds.
///
/// # Errors
/// [`UpstreamError`]: some may have been told to go.
pub async fn terminate(
    address: &Address,
    login: &Login<'_>,
    backends: &[record::Backend],
    which: Which,
) -> Result<Vec<Fate>, UpstreamError> {
    let backends = &backends[..backends.len().min(BACKENDS_PER_QUESTION_MAX)];
    if backends.is_empty() {
        return Ok(Vec::new());
    }
    let mut connected = establish(address, login).await?;
    let deadline = Instant::now() + GONE_WITHIN;
    let told = tell(&mut connected, backends, which).await?;
    let fate = |backend: &record::Backend| {
        let told = told.iter().find(|(there, _)| there == backend);
        told.map_or(Fate::NotFound, |(_, was_idle)| Fate::Told { was_idle: *was_idle })
    };
    let mut fates: Vec<Fate> = backends.iter().map(fate).collect();
    // Only those are looked at again: another may have begun to work meanwhile, and was not meant.
    let mut still: Vec<record::Backend> = told.iter().map(|(backend, _)| *backend).collect();
    while !still.is_empty() && Instant::now() < deadline {
        sleep(LOOK).await;
        still = tell(&mut connected, &still, Which::All).await?.into_iter().map(|(backend, _)| backend).collect();
    }
    for (fate, backend) in fates.iter_mut().zip(backends) {
        if let Fate::Told { was_idle } = *fate
            && !still.contains(backend)
        {
            *fate = Fate::Ended { was_idle };
        }
    }
    connected.stream.write_all(b"X\0\0\0\x04").await?;
    Ok(fates)
}

/// Tells those of them that are there to go; with each, whether it was idle.
async fn tell(
    connected: &mut Connected,
    backends: &[record::Backend],
    which: Which,
) -> Result<Vec<(record::Backend, bool)>, UpstreamError> {
    let answer = ask(connected, &question(backends, which), BACKENDS_PER_QUESTION_MAX).await?;
    Ok(answer.rows.iter().filter_map(|row| Some((read(row)?, text(row, 2) == "t"))).collect())
}

fn question(backends: &[record::Backend], which: Which) -> String {
    let mut wanted = String::new();
    for record::Backend { process, started_us } in backends {
        let separator = if wanted.is_empty() { "" } else { ", " };
        write!(wanted, "{separator}({process}, {started_us})").expect("writing to a string does not fail");
    }
    let busy = match which {
        Which::All => "",
        Which::Busy => " AND a.state IN ('active', 'idle in transaction', 'idle in transaction (aborted)', 'fastpath function call')",
    };
    format!(
        "SELECT a.pid, {STARTED}, a.state = 'idle', pg_catalog.pg_terminate_backend(a.pid) FROM pg_catalog.pg_stat_activity AS a \
         WHERE a.usename = session_user AND a.pid <> pg_catalog.pg_backend_pid() AND (a.pid, {STARTED}) IN ({wanted}){busy}"
    )
}

fn read(row: &Row) -> Option<record::Backend> {
    let backend = record::Backend { process: text(row, 0).parse().ok()?, started_us: text(row, 1).parse().ok()? };
    (backend.process != 0 && backend.started_us != 0).then_some(backend)
}
