//! One attack: agents at work on every node of a cluster in an arena, faults, revocations during them, healing, and the
//! verdict over the history of it all.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use tokio::runtime::Runtime;

use crate::admin::Admin;
use crate::arena::{self, Arena};
use crate::cluster::{Cluster, PATIENCE, Setup};
use crate::history::check::{self, Coverage};
use crate::history::{Event, History, Moment, Noted, Outcome, Statement};
use crate::load::{Load, Work, login};
use crate::recorder::Recorder;
use crate::wait;

/// `W` of the design (2.25 s), and what it takes to ask and answer.
pub const BOUND: Duration = Duration::from_millis(2_500);
/// … when the node that failed was the leader: and an election.
pub const BOUND_LEADER_LOST: Duration = Duration::from_millis(4_000);
/// What a phase of a run must have succeeded with, or the run is void.
const SUCCESSES: usize = 20;
/// Until all nodes serve again after everything was healed.
const CONVERGED_WITHIN: Duration = Duration::from_secs(15);
/// A node that catches up has done so by then.
const BACK_WITHIN: Duration = Duration::from_secs(5);
/// How long the target is watched after the last acknowledgement: a kernel repeated a statement 3.4 s after its process was stopped.
const WATCHED: Duration = Duration::from_secs(4);

pub struct Attack {
    pub arena: Arena,
    pub cluster: Cluster,
    pub history: Arc<History>,
    pub recorder: Recorder,
    pub load: Load,
    pub admin: Admin,
    pub runtime: Runtime,
    tokens: Vec<String>,
    /// Agents that lost their access, from the first.
    gone: usize,
}

/// An attack in an arena of so many nodes; see [`arena::within`].
///
/// # Panics
/// When it fails.
pub fn with(module: &str, name: &str, setup: Setup, test: impl FnOnce(&mut Attack) -> Result<()>) {
    arena::within(module, name, setup.nodes + setup.spare, setup.ways, |arena| {
        let mut attack = Attack::prepare(arena, setup)?;
        let result = test(&mut attack);
        if result.is_err() {
            for node in &attack.cluster.nodes {
                eprintln!("--- end of the log of node {}\n{}", node.number, node.log_tail());
            }
            eprintln!("--- history around the revocations\n{}", attack.excerpt());
        }
        result
    });
}

impl Attack {
    fn prepare(arena: Arena, setup: Setup) -> Result<Attack> {
        let cluster = Cluster::start(Setup { arena: true, ..setup })?;
        let history = Arc::new(History::default());
        let recorder = Recorder::start(arena::TARGET, cluster.postgres.port, Arc::clone(&history))?;
        let addresses: Vec<String> = cluster.nodes.iter().map(crate::cluster::node::Node::admin_address).collect();
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        let admin = runtime.block_on(async { Admin::new(cluster.admin_folder(), &addresses) })?;
        let load = Load::new(Arc::clone(&history));
        Ok(Attack { arena, cluster, history, recorder, load, admin, runtime, tokens: Vec::new(), gone: 0 })
    }

    /// So many agents, each with a grant of its own. Nobody works yet.
    ///
    /// # Errors
    /// When the cluster refuses one.
    pub fn agents(&mut self, count: usize) -> Result<()> {
        let mut text = String::new();
        for agent in 0..count {
            write!(
                text,
                "---\nkind: Agent\nname: w{agent}\nspec: {{ owner: bob, job: keep-orders }}\n---\nkind: Grant\nname: w{agent}-orders\nspec:\n  \
                 principal: w{agent}\n  target: orders\n  roles: [client]\n  permissions: [\"postgres:select,insert on app.public.orders\"]\n  \
                 expires: 90d\n"
            )?;
        }
        self.cluster.declare("agents.yaml", &text)?;
        self.cluster.cli(&["apply", "-f", &self.cluster.path("agents.yaml")])?.ok()?;
        self.cluster.settled()?;
        self.tokens = self.runtime.block_on(async {
            let mut tokens = Vec::new();
            for agent in 0..count {
                tokens.push(self.admin.token(agent % self.cluster.nodes.len(), &format!("w{agent}")).await?);
            }
            anyhow::Ok(tokens)
        })?;
        Ok(())
    }

    /// Where and as whom this agent (from 0) works at a node.
    pub fn work(&self, agent: usize, node: usize) -> Work {
        let name = format!("w{agent}");
        let url = self.cluster.url(node, &name, &self.tokens[agent]);
        Work { agent: name, node, url }
    }

    /// These agents begin to work, on every node, and have all succeeded on every node when this returns.
    ///
    /// # Errors
    /// When one does not.
    pub fn begin(&mut self, agents: std::ops::Range<usize>) -> Result<()> {
        for agent in agents.clone() {
            for node in 0..self.cluster.nodes.len() {
                let work = self.work(agent, node);
                self.load.start(self.runtime.handle(), work);
            }
        }
        let nodes = self.cluster.nodes.len();
        wait::until("every agent to have written through every node", PATIENCE, || {
            let worked = |agent: usize| (0..nodes).all(|node| self.history.has_succeeded(&format!("w{agent}"), node));
            Ok(agents.clone().all(worked).then_some(()))
        })
    }

    /// Waits for so many more statements that succeed.
    ///
    /// # Errors
    /// When they do not come.
    pub fn successes(&self, more: usize) -> Result<()> {
        let before = self.history.successes();
        wait::until("statements that succeed", PATIENCE, || Ok((self.history.successes() >= before + more).then_some(())))
    }

    /// Something goes wrong from here on.
    ///
    /// # Errors
    /// When not enough has succeeded before.
    pub fn fault(&self, what: &str) -> Result<()> {
        if self.history.successes() < SUCCESSES {
            self.successes(SUCCESSES)?;
        }
        self.history.note(Event::Fault(what.to_owned()));
        Ok(())
    }

    /// Revokes the access of the next agent that works, at this node (from 0). How long it took, as the caller saw it.
    ///
    /// # Errors
    /// When it is not acknowledged.
    pub fn revoke(&mut self, node: usize) -> Result<Duration> {
        let agent = format!("w{}", self.gone);
        self.gone += 1;
        let asked = self.history.note(Event::Revoke { agent: agent.clone() });
        let answer = self.runtime.block_on(self.admin.revoke(node, &format!("{agent}-orders")));
        match answer {
            Ok((reported, silent)) => {
                let acknowledged = self.history.note(Event::Revoked { agent, reported, silent });
                Ok(acknowledged - asked)
            }
            Err(error) => {
                self.history.note(Event::RevokeUnknown { agent: agent.clone(), why: format!("{error:#}") });
                Err(error.context(format!("revoking {agent} at node {}", node + 1)))
            }
        }
    }

    /// Some revocation was acknowledged without this node (from 0), because its lease had run out.
    pub fn was_silent(&self, node: usize) -> bool {
        let without = |noted: &Noted| matches!(&noted.event, Event::Revoked { silent, .. } if silent.contains(&(node as u64 + 1)));
        self.history.events().iter().any(without)
    }

    /// A statement of this agent that runs for a minute at the target, and has arrived there when this returns.
    ///
    /// # Errors
    /// When it does not.
    pub fn sleeper(&self, agent: usize, node: usize) -> Result<()> {
        let (work, statement, history) = (self.work(agent, node), self.load.statement(), Arc::clone(&self.history));
        let client = self.runtime.block_on(login(&work.url))?;
        self.runtime.spawn(async move {
            let sql = format!("select pg_sleep(60), '{}'", crate::recorder::mark(statement));
            crate::load::send(&history, &client, &work, statement, &sql).await;
        });
        wait::until("a long statement to arrive", PATIENCE, || {
            let arrived = |n: &Noted| matches!(n.event, Event::Seen { statement: seen, .. } if seen == statement);
            Ok(self.history.events().iter().any(arrived).then_some(()))
        })
    }

    /// So many more agents whose grants end by themselves, the first `after` now, the others a `step` after each other. Each
    /// has an idle session at every node, every fourth also works. All have ended when this returns.
    ///
    /// # Errors
    /// When one does not come to life before its end.
    pub fn expiring(&mut self, count: usize, after: Duration, step: Duration) -> Result<()> {
        let mut text = String::new();
        for agent in 0..count {
            write!(text, "---\nkind: Agent\nname: e{agent}\nspec: {{ owner: bob, job: keep-orders }}\n")?;
        }
        self.cluster.declare("expiring.yaml", &text)?;
        self.cluster.cli(&["apply", "-f", &self.cluster.path("expiring.yaml")])?.ok()?;
        let (boot, wall) = (crate::history::now(), SystemTime::now());
        let nodes = self.cluster.nodes.len();
        let mut coming = Vec::new();
        for agent in 0..count {
            let name = format!("e{agent}");
            let ends = after + step * u32::try_from(agent)?;
            self.history.note_at(boot + ends, Event::Expired { agent: name.clone() });
            let urls: Vec<String> = (0..nodes).map(|node| self.cluster.url(node, &name, "TOKEN")).collect();
            let statements: Vec<Statement> = (0..nodes).map(|_| self.load.statement()).collect();
            let (admin, history) = (self.admin.clone(), Arc::clone(&self.history));
            coming.push(self.runtime.spawn(async move {
                admin.grant_until(agent % nodes, &name, wall + ends).await?;
                let token = admin.token(agent % nodes, &name).await?;
                let mut sessions = Vec::new();
                for (node, url) in urls.into_iter().enumerate() {
                    let work = Work { agent: name.clone(), node, url: url.replace("TOKEN", &token) };
                    let client = login(&work.url).await.with_context(|| format!("{name} at node {}", node + 1))?;
                    ensure!(crate::load::insert(&history, &client, &work, statements[node]).await, "a write of {name}");
                    sessions.push((client, work));
                }
                Ok(sessions)
            }));
        }
        let mut sessions = Vec::new();
        for (agent, coming) in coming.into_iter().enumerate() {
            for (client, work) in self.runtime.block_on(coming)?? {
                if agent % 4 == 0 {
                    self.load.start(self.runtime.handle(), work);
                }
                sessions.push(client);
            }
        }
        ensure!(crate::history::now() < boot + after, "the first ended before the last had begun");
        let last = boot + after + step * u32::try_from(count)?;
        std::thread::sleep(last.saturating_sub(crate::history::now()));
        wait::until("all idle clients to be told", PATIENCE, || Ok(sessions.iter().all(tokio_postgres::Client::is_closed).then_some(())))
    }

    /// Which node (from 0) leads the control group, and one that leads no group.
    ///
    /// # Errors
    /// When the cluster does not say.
    pub fn leader_and_follower(&self) -> Result<(usize, usize)> {
        let status = self.cluster.json(&["cluster", "status"])?;
        let leader = usize::try_from(crate::cluster::number(&status["leader"]))?.checked_sub(1).context("a leader")?;
        let logs = status["logs"].as_array().with_context(|| status.to_string())?;
        let leads = |node: usize| logs.iter().any(|log| crate::cluster::number(&log["leader"]) == node as u64 + 1);
        let follower = (0..self.cluster.nodes.len()).find(|node| *node != leader && !leads(*node)).with_context(|| status.to_string())?;
        Ok((leader, follower))
    }

    /// A new node takes the place of one that was removed; it joins through `peer` (both from 0).
    ///
    /// # Errors
    /// When it does not become a voter that serves.
    pub fn replace(&mut self, node: usize, peer: usize) -> Result<()> {
        self.cluster.replace(node, peer)?;
        let addresses: Vec<String> = self.cluster.nodes.iter().map(crate::cluster::node::Node::admin_address).collect();
        self.admin = self.runtime.block_on(async { Admin::new(self.cluster.admin_folder(), &addresses) })?;
        Ok(())
    }

    /// A node that was started on a folder that has lost what it had acknowledged serves again, or stays out and forwards
    /// nothing; then an operator takes it out, and another takes its place.
    ///
    /// # Errors
    /// When neither works.
    pub fn back_or_replaced(&mut self, node: usize) -> Result<()> {
        let back = wait::until("a node that is back", BACK_WITHIN, || {
            Ok(self.cluster.nodes[node].get("/readyz")?.contains(" 200 ").then_some(()))
        });
        println!("the node {}", if back.is_ok() { "came back by itself" } else { "stayed out, and was replaced" });
        if back.is_ok() {
            return Ok(());
        }
        self.cluster.kill(node);
        let other = (node + 1) % self.cluster.nodes.len();
        self.cluster.cli_at(other, &["cluster", "remove", &self.cluster.nodes[node].number.to_string()])?.ok()?;
        self.replace(node, other)
    }

    /// Statements that have arrived at the target.
    pub fn seen(&self) -> usize {
        self.history.events().iter().filter(|noted| matches!(noted.event, Event::Seen { .. })).count()
    }

    /// Everything works again from here on, as the test saw to: nodes that died are started, all converge, and work goes on.
    /// The target is watched for what may still arrive late, the load ends, and the history is judged.
    ///
    /// # Errors
    /// With the promise that was broken, or what makes the run void.
    pub fn verdict(&mut self, bound: Duration) -> Result<Verdict> {
        self.arena.heal()?;
        for node in 0..self.cluster.nodes.len() {
            if !self.cluster.nodes[node].is_up() {
                self.cluster.restart(node)?;
            }
        }
        self.history.note(Event::Healed);
        let begun = Instant::now();
        self.cluster.settled()?;
        let converged = begun.elapsed();
        ensure!(converged < CONVERGED_WITHIN, "R18: {converged:?} until all nodes served again");
        for node in 0..self.cluster.nodes.len() {
            let work = self.work(self.gone, node);
            let statement = self.load.statement();
            self.runtime.block_on(async {
                let client = login(&work.url).await.with_context(|| format!("a login at node {} after all was healed", node + 1))?;
                ensure!(crate::load::insert(&self.history, &client, &work, statement).await, "a write at node {}", node + 1);
                Ok(())
            })?;
        }
        self.successes(SUCCESSES)?;
        let last = self.history.events().iter().rev().find(|n| matches!(n.event, Event::Revoked { .. })).map(|n| n.at);
        if let Some(left) = last.and_then(|last| (last + WATCHED).checked_sub(crate::history::now())) {
            std::thread::sleep(left);
        }
        self.runtime.block_on(self.load.stop());
        let recorded = self.recorded()?;
        let events = self.history.events();
        let revoked = check::revoked_means_out(&events)?;
        let took = check::acknowledged_in_time(&events, bound)?;
        check::nothing_left_open(&events)?;
        check::told_the_truth(&events)?;
        check::forwarded_once(&events)?;
        check::nothing_without_a_record(&events, &recorded)?;
        self.rows_agree(&events)?;
        let covered = check::covered(&events, SUCCESSES)?;
        let seen = events.iter().filter(|n| matches!(n.event, Event::Seen { .. })).count();
        let verdict = Verdict { revoked, took, seen, covered, converged };
        println!("{verdict}");
        Ok(verdict)
    }

    /// Each statement on record as an intent, with whose it was.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub fn recorded(&self) -> Result<BTreeMap<Statement, String>> {
        let lines = self.cluster.cli(&["audit", "query", "--kind", "intent", "--limit", "1000000", "-o", "json"])?.ok()?;
        let mut recorded = BTreeMap::new();
        for line in lines.lines() {
            let record: Value = serde_json::from_str(line).with_context(|| line.to_owned())?;
            let principal = record["principal"].as_str().unwrap_or_default();
            if let Some(statement) = marked(line) {
                recorded.insert(statement, principal.to_owned());
            }
        }
        Ok(recorded)
    }

    /// What clients were told is done stands in the table, once.
    fn rows_agree(&self, events: &[Noted]) -> Result<()> {
        let rows = self.cluster.postgres.superuser("app", "select id from orders")?;
        let rows: BTreeSet<Statement> = rows.lines().filter_map(|row| row.parse().ok()).collect();
        let mut writes = BTreeSet::new();
        for noted in events {
            if let Event::Attempt { statement, writes: true, .. } = &noted.event {
                writes.insert(*statement);
            }
            if let Event::Answer { statement, outcome: Outcome::Done } = &noted.event {
                ensure!(
                    !writes.contains(statement) || rows.contains(statement),
                    "statement {statement} was acknowledged and is not in the table"
                );
            }
        }
        Ok(())
    }

    /// Lines for whoever has to find out why.
    fn excerpt(&self) -> String {
        let events = self.history.events();
        let turning =
            |n: &Noted| !matches!(n.event, Event::Attempt { .. } | Event::Answer { .. } | Event::Seen { .. } | Event::Closed { .. });
        let mut text = String::new();
        for noted in events.iter().filter(|n| turning(n)) {
            let _ = writeln!(text, "{:?} {:?}", noted.at, noted.event);
        }
        let mut told: BTreeMap<String, usize> = BTreeMap::new();
        for noted in &events {
            if let Event::Answer { outcome, .. } = &noted.event {
                *told.entry(format!("{outcome:?}")).or_default() += 1;
            }
        }
        for (outcome, times) in told {
            let _ = writeln!(text, "{times} × {outcome}");
        }
        text
    }
}

fn marked(text: &str) -> Option<Statement> {
    let (_, rest) = text.split_once("m:")?;
    rest.split_once(';')?.0.parse().ok()
}

#[derive(Debug)]
pub struct Verdict {
    pub revoked: usize,
    pub took: Vec<Moment>,
    /// Statements that arrived at the target.
    pub seen: usize,
    pub covered: Coverage,
    pub converged: Duration,
}

impl std::fmt::Display for Verdict {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Coverage { before, during, after, revoked } = self.covered;
        write!(
            f,
            "{} revocations ({revoked} during the fault), acknowledged p50 {:?} p99 {:?} max {:?}; {} statements at the target, 0 after an \
             acknowledgement; successes {before} before, {during} during, {after} after; all serve again after {:?}",
            self.revoked,
            quantile(&self.took, 50),
            quantile(&self.took, 99),
            quantile(&self.took, 100),
            self.seen,
            self.converged
        )
    }
}

/// The smallest that so many of a hundred do not exceed.
pub fn quantile(times: &[Duration], percent: usize) -> Duration {
    let mut sorted = times.to_vec();
    sorted.sort_unstable();
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    sorted.get(rank - 1).copied().unwrap_or_default()
}
