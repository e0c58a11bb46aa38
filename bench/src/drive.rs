//! Two loads that no ready-made client makes: very many idle sessions, and statements sent ahead of their answers.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use futures_util::StreamExt as _;
use tokio_postgres::{Client, NoTls};

/// Logins under way at once while opening the idle sessions.
const LOGINS: usize = 32;

async fn connect(conninfo: &str) -> Result<Client> {
    let (client, connection) = tokio_postgres::connect(conninfo, NoTls).await?;
    tokio::spawn(async move {
        let _ = connection.await;
    });
    Ok(client)
}

/// Opens the sessions, prints how many stand, and keeps them until standard input ends.
///
/// # Errors
/// When a login fails.
pub(crate) async fn idle(conninfo: &str, sessions: usize) -> Result<()> {
    let mut logins = futures_util::stream::iter(0..sessions).map(|_| connect(conninfo)).buffer_unordered(LOGINS);
    let mut open = Vec::with_capacity(sessions);
    while let Some(client) = logins.next().await {
        open.push(client.with_context(|| format!("login {}", open.len() + 1))?);
    }
    drop(logins);
    println!("{}", open.iter().filter(|client| !client.is_closed()).count());
    tokio::task::spawn_blocking(|| std::io::stdin().lines().for_each(drop)).await?;
    println!("{}", open.iter().filter(|client| !client.is_closed()).count());
    Ok(())
}

/// Keeps `pipeline` statements of each client on their way and prints how many were answered a second.
///
/// # Errors
/// When a login or a statement fails.
pub(crate) async fn flood(conninfo: &str, clients: usize, pipeline: usize, time: Duration) -> Result<()> {
    let answered = Arc::new(AtomicU64::new(0));
    let mut open = Vec::new();
    for _ in 0..clients {
        open.push(Arc::new(connect(conninfo).await?));
    }
    let start = Instant::now();
    let mut lanes = Vec::new();
    for client in open {
        for _ in 0..pipeline {
            let (client, answered) = (Arc::clone(&client), Arc::clone(&answered));
            lanes.push(tokio::spawn(async move {
                while start.elapsed() < time {
                    client.simple_query("SELECT n FROM things").await?;
                    answered.fetch_add(1, Ordering::Relaxed);
                }
                Ok::<(), tokio_postgres::Error>(())
            }));
        }
    }
    for lane in lanes {
        lane.await??;
    }
    println!("{:.0}", answered.load(Ordering::Relaxed) as f64 / start.elapsed().as_secs_f64());
    Ok(())
}
