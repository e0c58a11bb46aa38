//! Agents at work through every node at once, who never stop trying, whatever they are told.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result};
use tokio::runtime::Handle;
use tokio::task::JoinHandle;
use tokio_postgres::{Client, Error, NoTls};

use crate::history::{Event, History, Outcome, Statement};
use crate::recorder::mark;

/// Between two statements of a session: a machine of two cores also runs the nodes.
const PACE: Duration = Duration::from_millis(60);
/// Before another login after one failed.
const AGAIN: Duration = Duration::from_millis(150);
/// Whose logins failed so often in a row tries more slowly: it lost its access, and others need the machine.
const EAGER: u32 = 20;
const TIRED: Duration = Duration::from_secs(1);
/// … and gives up after so many, when it was told that its access is revoked.
const STUBBORN: u32 = 24;
/// What a client waits for an answer before it gives up.
const PATIENCE: Duration = Duration::from_secs(6);

/// Who sends what where.
#[derive(Debug, Clone)]
pub struct Work {
    pub agent: String,
    /// From 0.
    pub node: usize,
    pub url: String,
}

pub struct Load {
    history: Arc<History>,
    next: Arc<AtomicU32>,
    stop: Arc<AtomicBool>,
    /// Between two statements of the sessions that start from now on.
    pub pace: Duration,
    sessions: Vec<JoinHandle<()>>,
}

impl Load {
    pub fn new(history: Arc<History>) -> Load {
        Load { history, next: Arc::new(AtomicU32::new(1)), stop: Arc::default(), pace: PACE, sessions: Vec::new() }
    }

    /// A number that no statement has had.
    pub fn statement(&self) -> Statement {
        self.statements(1)
    }

    /// The first of so many numbers that no statement has had.
    pub fn statements(&self, count: u32) -> Statement {
        self.next.fetch_add(count, Ordering::Relaxed)
    }

    /// A client that logs in and writes, again and again, until all are stopped.
    pub fn start(&mut self, runtime: &Handle, work: Work) {
        let (history, next, stop, pace) = (Arc::clone(&self.history), Arc::clone(&self.next), Arc::clone(&self.stop), self.pace);
        self.sessions.push(runtime.spawn(async move {
            let mut failed = 0;
            while !stop.load(Ordering::Relaxed) {
                let client = match login(&work.url).await {
                    Ok(client) => client,
                    Err(why) => {
                        failed += 1;
                        if failed > STUBBORN && format!("{why:?}").contains("revoked") {
                            return;
                        }
                        tokio::time::sleep(if failed < EAGER { AGAIN } else { TIRED }).await;
                        continue;
                    }
                };
                failed = 0;
                while !stop.load(Ordering::Relaxed) && !client.is_closed() {
                    let statement = next.fetch_add(1, Ordering::Relaxed);
                    if !insert(&history, &client, &work, statement).await {
                        break;
                    }
                    tokio::time::sleep(pace).await;
                }
                tokio::time::sleep(AGAIN).await;
            }
        }));
    }

    /// All have had their last answer when this returns.
    pub async fn stop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for session in self.sessions.drain(..) {
            // A session that panicked has left its statement without an answer, which is a legal history.
            let _ = session.await;
        }
    }
}

/// # Errors
/// When the login is refused or not answered.
pub async fn login(url: &str) -> Result<Client> {
    let config: tokio_postgres::Config = url.parse()?;
    let (client, connection) = tokio::time::timeout(PATIENCE, config.connect(NoTls)).await.context("no answer to a login")??;
    tokio::spawn(connection);
    Ok(client)
}

/// One statement that writes. `false` when nothing more is to be expected of this session.
pub async fn insert(history: &History, client: &Client, work: &Work, statement: Statement) -> bool {
    let sql = format!("insert into orders values ({statement}, '{}')", mark(statement));
    send(history, client, work, statement, &sql).await
}

/// One statement with the mark of `statement` in its text, and what became of it.
pub async fn send(history: &History, client: &Client, work: &Work, statement: Statement, sql: &str) -> bool {
    let writes = sql.starts_with("insert");
    history.note(Event::Attempt { statement, agent: work.agent.clone(), node: work.node, writes });
    let (outcome, goes_on) = match tokio::time::timeout(PATIENCE, client.simple_query(sql)).await {
        Ok(Ok(_)) => (Outcome::Done, true),
        Ok(Err(error)) => told(&error),
        Err(_) => (Outcome::Unknown("no answer".into()), false),
    };
    history.note(Event::Answer { statement, outcome });
    goes_on
}

fn told(error: &Error) -> (Outcome, bool) {
    let Some(said) = error.as_db_error() else { return (Outcome::Unknown(error.to_string()), false) };
    let all = format!("{} {} {}", said.code().code(), said.message(), said.detail().unwrap_or_default());
    let nothing = all.contains("Nothing of this statement") || all.contains("passed nothing on");
    (if nothing { Outcome::NotDone(all) } else { Outcome::Refused(all) }, said.severity() != "FATAL")
}
