//! Ordinary clients with their ordinary work, with the role `client` and grants on what that work touches.

use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use chaos::clients::{java, node, python};
use chaos::cluster::{Cluster, PATIENCE, Setup, number, said, tool, with};
use chaos::postgres::{GATEWAY_USER, Release, SUPERUSER};
use chaos::process::Background;
use chaos::wait;

/// Each client has something refused that nobody approves: it need not wait long for that.
const HOLD: u64 = 2;

#[test]
fn clients_do_their_work_against_postgresql_15_and_outlive_a_node() {
    with(Setup { hold: HOLD, ..Setup::default() }, |cluster| {
        all(cluster)?;
        a_node_is_lost(cluster)
    });
}

#[test]
fn clients_do_their_work_against_postgresql_18() {
    with(Setup { release: Release::Eighteen, hold: HOLD, ..Setup::default() }, all);
}

fn all(cluster: &mut Cluster) -> Result<()> {
    let (bot, builder) = (cluster.token("bot")?, cluster.token("builder")?);
    let mut failures = Vec::new();
    let mut check = |name: &str, result: Result<()>| {
        if let Err(error) = result {
            failures.push(format!("{name}: {error:#}"));
        }
    };
    let script = |command: &mut Command, url: &str| said(command.env("DATABASE_URL", url)).and_then(|said| said.ok().map(drop));
    check("psycopg", script(&mut python("psycopg_work.py"), &cluster.url(0, "bot", &bot)));
    check("asyncpg", script(&mut python("asyncpg_work.py"), &cluster.url(1, "bot", &bot)));
    check("node-postgres", script(&mut node("node_work.js"), &cluster.url(2, "bot", &bot)));
    check("SQLAlchemy and Alembic", script(&mut python("sqlalchemy_work.py"), &cluster.url(0, "builder", &builder)));
    check("Django", script(&mut python("django_work.py"), &cluster.url(1, "builder", &builder)));
    check("JDBC", jdbc(cluster, &bot));
    check("pgbench", pgbench(cluster, &builder));
    check("pg_dump and pg_restore", dump_and_restore(cluster, &builder));
    ensure!(failures.is_empty(), "{}", failures.join("\n\n"));
    Ok(())
}

fn jdbc(cluster: &Cluster, token: &str) -> Result<()> {
    let url = format!("jdbc:postgresql://127.0.0.1:{}/orders", cluster.nodes[2].postgres);
    said(java("JdbcWork.java").env("JDBC_URL", url).env("JDBC_USER", "bot").env("JDBC_PASSWORD", token))?.ok().map(drop)
}

fn pgbench(cluster: &Cluster, token: &str) -> Result<()> {
    let port = cluster.postgres.port.to_string();
    said(tool("pgbench").args(["-i", "-q", "-U", SUPERUSER, "-p", &port, "-h"]).arg(cluster.postgres.socket()).arg("app"))?.ok()?;
    for table in ["accounts", "branches", "history", "tellers"] {
        cluster.postgres.superuser("app", &format!("ALTER TABLE pgbench_{table} OWNER TO {GATEWAY_USER}"))?;
    }
    for (at, mode) in ["simple", "extended", "prepared"].into_iter().enumerate() {
        let url = cluster.url(at, "builder", token);
        let told = said(tool("pgbench").args(["-n", "-c", "2", "-t", "40", "-M", mode, &url]))?.ok()?;
        ensure!(told.contains("80/80") && told.contains("number of failed transactions: 0"), "{told}");
    }
    ensure!(cluster.postgres.superuser("app", "select count(*) from pgbench_history")? == "240");
    Ok(())
}

/// Dumped through one node, restored through another. The dump program must not be older than the server.
fn dump_and_restore(cluster: &Cluster, token: &str) -> Result<()> {
    let bin = cluster.postgres.programs();
    cluster.postgres.superuser("app", "INSERT INTO orders SELECT n, 'dumped' FROM generate_series(70001, 70100) n")?;
    let file = cluster.path("dump");
    said(Command::new(bin.join("pg_dump")).args(["-Fc", "-t", "public.orders", "-f", &file]).arg(cluster.url(0, "builder", token)))?
        .ok()?;
    cluster.postgres.superuser("app", "DROP TABLE orders")?;
    let restored = said(
        Command::new(bin.join("pg_restore")).args(["--no-owner", "--exit-on-error", &file, "-d"]).arg(cluster.url(1, "builder", token)),
    )?
    .ok();
    if restored.is_err() {
        cluster.postgres.superuser(
            "app",
            &format!("CREATE TABLE IF NOT EXISTS orders (id int primary key, note text); ALTER TABLE orders OWNER TO {GATEWAY_USER}"),
        )?;
    }
    restored?;
    ensure!(cluster.postgres.superuser("app", "SELECT count(*) FROM orders WHERE note = 'dumped'")? == "100");
    Ok(())
}

/// The load goes through the node that leads, which is killed under it; the client goes on at the next address.
fn a_node_is_lost(cluster: &mut Cluster) -> Result<()> {
    cluster.postgres.superuser("app", &format!("SET ROLE {GATEWAY_USER}; CREATE TABLE ledger (number int)"))?;
    cluster.cli(&["cluster", "transfer", "--to", "1"])?.ok()?;
    wait::until("node 1 to lead", PATIENCE, || Ok((number(&cluster.json(&["cluster", "status"])?["leader"]) == 1).then_some(())))?;
    let token = cluster.token("builder")?;
    let urls: Vec<String> = (0..3).map(|node| cluster.url(node, "builder", &token)).collect();
    let (log, stop) = (cluster.path("failover.log"), cluster.path("failover.stop"));
    let mut command = python("failover_work.py");
    command.env("DATABASE_URLS", urls.join(" ")).env("STOP_FILE", &stop);
    let mut load = Background::start("failover", &mut command, log.as_ref())?;
    let told = || std::fs::read_to_string(&log).unwrap_or_default();
    let acknowledged = || -> Vec<u32> {
        let numbers = told();
        numbers.lines().filter_map(|line| line.strip_prefix("acknowledged ")?.parse().ok()).collect()
    };
    wait::until("the load to run", PATIENCE, || Ok((acknowledged().len() >= 50).then_some(())))?;
    cluster.kill(0);
    let before = acknowledged().len();
    wait::until("the load to go on", PATIENCE, || Ok((acknowledged().len() >= before + 50).then_some(())))?;
    cluster.restart(0)?;
    cluster.nodes[0].ready()?;
    std::fs::write(&stop, "")?;
    ensure!(load.ended(PATIENCE)?.success(), "{}", load.tail());
    ensure!(told().lines().any(|line| !line.starts_with("acknowledged")), "the client noticed that its node was lost");
    let rows = cluster.postgres.superuser("app", "SELECT number FROM ledger ORDER BY number")?;
    let rows: Vec<u32> = rows.lines().map(|row| row.parse().context("a number")).collect::<Result<_>>()?;
    ensure!(rows.is_sorted_by(|a, b| a < b), "some insert was done twice: {rows:?}\n{}", load.tail());
    let lost: Vec<u32> = acknowledged().into_iter().filter(|number| rows.binary_search(number).is_err()).collect();
    ensure!(lost.is_empty(), "acknowledged and lost: {lost:?}");
    let bot = cluster.token("bot")?;
    said(python("psycopg_work.py").env("DATABASE_URL", cluster.url(0, "bot", &bot)))?.ok().map(drop)
}
