//! The report, section by section. In each, all targets take turns, so that what else the machine does hits all alike.

use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use crate::Plan;
use crate::cluster::Cluster;
use crate::machine::{Background, describe, listens, many_files, port, run, until};
use crate::postgres::{DATABASE, Postgres};
use crate::table::{Table, quantile};
use crate::targets::{Target, Targets};
use crate::{cpu, load};

const CLIENTS: [usize; 3] = [1, 8, 32];
const MODES: [&str; 3] = ["simple", "extended", "prepared"];
/// What an ORM does to show one page: a query for each object.
const ORM_READS: usize = 200;
const ORM: &str = "
import sys, time, psycopg
with psycopg.connect(sys.argv[1]) as connection:
    connection.execute('SELECT 1')
    start = time.perf_counter()
    for n in range(int(sys.argv[2])):
        connection.execute('SELECT abalance FROM pgbench_accounts WHERE aid = %s', (n * 4973 % 1000000 + 1,)).fetchone()
    print((time.perf_counter() - start) * 1000)
";

struct Bench {
    plan: Plan,
    home: PathBuf,
    postgres: Postgres,
    cluster: Cluster,
    targets: Targets,
    stub: (u16, u32),
}

type Section = (&'static str, fn(&Bench) -> Result<()>);

const SECTIONS: [Section; 7] = [
    ("statements", Bench::statements),
    ("latency", Bench::latency),
    ("churn", Bench::churn),
    ("orm", Bench::orm),
    ("stream", Bench::stream),
    ("records", Bench::records),
    ("idle", Bench::idle),
];

/// # Errors
/// When something cannot be started. A section that fails says so, and the others still run.
pub(crate) fn all(plan: &Plan) -> Result<()> {
    let home = tempfile::Builder::new().prefix("assize-bench-").tempdir()?;
    std::fs::set_permissions(home.path(), std::fs::Permissions::from_mode(0o755))?;
    let program = match &plan.assize {
        Some(program) => program.canonicalize()?,
        None => std::env::current_exe()?.with_file_name("assize"),
    };
    println!("{}", describe());
    let postgres = Postgres::start(home.path())?;
    let listen = port()?;
    let mut stub = many_files(&std::env::current_exe()?);
    let stub = Background::start(stub.arg("stub").arg(format!("127.0.0.1:{listen}")), &home.path().join("stub.log"))?;
    until("the stub", Duration::from_secs(10), || listens(listen))?;
    let cluster = Cluster::start(&program, home.path(), postgres.port, listen)?;
    let targets = Targets::start(home.path(), &postgres, &cluster)?;
    for note in &targets.notes {
        println!("\n{note}");
    }
    let stub_pid = stub.pid();
    let bench = Bench { plan: plan.clone(), home: home.path().to_owned(), postgres, cluster, targets, stub: (listen, stub_pid) };
    bench.standing();
    for (name, section) in SECTIONS {
        if !plan.only.is_empty() && !plan.only.iter().any(|only| only == name) {
            continue;
        }
        if let Err(error) = section(&bench) {
            println!("\nThe section {name} failed: {error:#}");
        }
    }
    if plan.keep {
        for target in &bench.targets.list {
            println!("{}: {}", target.name, target.conninfo());
        }
        println!("node 1 is process {}; end standard input to stop", bench.cluster.pids()[0]);
        std::io::stdin().lines().for_each(drop);
    }
    Ok(())
}

impl Bench {
    /// What the nodes take while nobody uses them; it is part of every figure below.
    fn standing(&self) {
        let pids = self.cluster.pids();
        let (start, before) = (Instant::now(), cpu::spent_by(&pids));
        std::thread::sleep(Duration::from_secs(2));
        let share = cpu::spent_by(&pids).saturating_sub(before) as f64 / 1e9 / start.elapsed().as_secs_f64();
        let memory: Vec<String> = pids.iter().map(|&pid| format!("{}", cpu::resident(pid) >> 20)).collect();
        println!("\nThree idle nodes: {:.1} % of one CPU together; resident {} MiB", share * 100.0, memory.join(", "));
    }

    fn each_round(&self, mut turn: impl FnMut(&Target) -> Result<()>) -> Result<()> {
        for _ in 0..self.plan.rounds {
            for target in &self.targets.list {
                turn(target)?;
            }
        }
        Ok(())
    }

    fn statements(&self) -> Result<()> {
        for mode in MODES {
            let mut cost =
                Table::new(&format!("`pgbench -S -M {mode}`: CPU-µs a statement of the process on the road, and of all three nodes"));
            let mut rate = Table::new(&format!("`pgbench -S -M {mode}`: statements a second, and as a share of direct in the same round"));
            for clients in CLIENTS {
                let mut direct = f64::NAN;
                self.each_round(|target| {
                    let turn = load::pgbench(target, mode, clients, self.plan.seconds)?;
                    if target.road.is_empty() {
                        direct = turn.per_second;
                    } else {
                        cost.add(target.name, &format!("{clients} clients"), turn.road);
                        rate.add(target.name, &format!("÷ direct, {clients}"), turn.per_second / direct);
                    }
                    if target.is_gateway() {
                        cost.add(&format!("{}, three nodes", target.name), &format!("{clients} clients"), turn.whole);
                    }
                    rate.add(target.name, &format!("{clients} clients"), turn.per_second);
                    Ok(())
                })?;
            }
            cost.print();
            rate.print();
        }
        Ok(())
    }

    fn latency(&self) -> Result<()> {
        let mut pids: Vec<u32> = self.targets.servers.iter().map(Background::pid).collect();
        pids.extend(self.cluster.pids());
        pids.push(self.postgres.pid());
        cpu::pin(&pids, "1");
        let result = self.added(&pids);
        cpu::pin(&pids, "0-1023");
        result
    }

    fn added(&self, _pinned: &[u32]) -> Result<()> {
        let mut table = Table::new("One client, everything on one CPU: latency added to direct of the same round, µs");
        let mut wait = Table::new("Commit wait of a record at one client, from `assize_record_wait_seconds`, ms");
        for mode in ["simple", "prepared"] {
            let mut direct = (f64::NAN, f64::NAN);
            self.each_round(|target| {
                let waited = |name: &str| self.cluster.metric(0, &format!("assize_record_wait_seconds_{name}")).unwrap_or(0.0);
                let before = (waited("sum"), waited("count"));
                let (p50, p99) = load::latency(target, mode, self.plan.seconds + 1, &self.home)?;
                let after = (waited("sum"), waited("count"));
                if target.road.is_empty() {
                    direct = (p50, p99);
                    table.add("direct itself", &format!("{mode} p50"), p50);
                    table.add("direct itself", &format!("{mode} p99"), p99);
                    return Ok(());
                }
                table.add(target.name, &format!("{mode} p50"), p50 - direct.0);
                table.add(target.name, &format!("{mode} p99"), p99 - direct.1);
                if target.is_gateway() && after.1 > before.1 {
                    wait.add(target.name, &format!("{mode}, mean"), (after.0 - before.0) / (after.1 - before.1) * 1e3);
                }
                Ok(())
            })?;
        }
        table.print();
        wait.print();
        Ok(())
    }

    fn churn(&self) -> Result<()> {
        let mut table = Table::new("`pgbench -S -C`, 8 clients: a login for each statement");
        self.each_round(|target| {
            let turn = load::churn(target, 8, self.plan.seconds + 1)?;
            table.add(target.name, "logins/s", turn.per_second);
            if !target.road.is_empty() {
                table.add(target.name, "CPU-µs a login and statement", turn.road);
            }
            if target.is_gateway() {
                table.add(target.name, "the same, three nodes", turn.whole);
            }
            Ok(())
        })?;
        table.print();
        Ok(())
    }

    fn orm(&self) -> Result<()> {
        let cache = std::env::var_os("HOME").map(|home| Path::new(&home).join(".cache/assize/clients/python/bin/python3"));
        let Some(python) = cache.filter(|python| python.exists()) else {
            println!("\nThe ORM loop was left out: `.ci/clients` has not installed psycopg.");
            return Ok(());
        };
        let mut table = Table::new(&format!("psycopg, {ORM_READS} reads one after another in a transaction"));
        let mut direct = f64::NAN;
        self.each_round(|target| {
            let out = run(Command::new(&python).args(["-c", ORM]).arg(target.conninfo()).arg(ORM_READS.to_string()))?;
            let time: f64 = out.trim().parse().context("the loop prints its time")?;
            table.add(target.name, "ms", time);
            if target.road.is_empty() {
                direct = time;
            }
            table.add(target.name, "÷ direct", time / direct);
            Ok(())
        })?;
        table.print();
        Ok(())
    }

    fn stream(&self) -> Result<()> {
        let file = self.home.join("million.copy");
        let rows = self.postgres.sql(DATABASE, "COPY million TO STDOUT")?;
        let wide = self.postgres.sql(DATABASE, "SELECT * FROM wide")?;
        let size = |text: &str| text.len() as f64 / 1e6;
        std::fs::write(&file, &rows)?;
        let work = [
            ("`COPY` out, 1 M rows", "COPY million TO STDOUT", None, size(&rows)),
            ("`SELECT`, 100 k × 10 columns", "SELECT * FROM wide", None, size(&wide)),
            ("`COPY` in, 1 M rows", "COPY taken FROM STDIN", Some(file.as_path()), size(&rows)),
        ];
        let mut rate = Table::new("Streaming: MB/s at the client, and as a share of direct in the same round");
        let mut cost = Table::new("Streaming: CPU-ms of the process on the road for each MB");
        for (what, statement, input, megabytes) in work {
            let mut direct = f64::NAN;
            self.each_round(|target| {
                if input.is_some() {
                    self.postgres.sql(DATABASE, "TRUNCATE taken")?;
                    if target.user == "reader" {
                        return Ok(());
                    }
                }
                let (speed, spent) = load::stream(target, statement, input, megabytes)?;
                rate.add(target.name, what, speed);
                if target.road.is_empty() {
                    direct = speed;
                } else {
                    rate.add(target.name, &format!("{what}, ÷ direct"), speed / direct);
                    cost.add(target.name, what, spent);
                }
                Ok(())
            })?;
        }
        rate.print();
        cost.print();
        Ok(())
    }

    /// Statements sent ahead through all three nodes at once, while an admin changes things.
    fn records(&self) -> Result<()> {
        let mut table = Table::new("Records committed by three nodes (stub target, one CPU-bound machine for nodes, clients and stub)");
        for _ in 0..self.plan.rounds {
            let count = || {
                Ok::<f64, anyhow::Error>((0..3).map(|node| self.cluster.metric(node, "assize_session_records_total").unwrap_or(0.0)).sum())
            };
            let backlog = || (0..3).map(|node| self.cluster.metric(node, "assize_records_backlog")).sum::<Result<f64>>();
            let (start, before) = (Instant::now(), (count()?, cpu::spent_by(&self.cluster.pids())));
            let mut loads = Vec::new();
            for port in self.cluster.ports() {
                let info = self.conninfo(port, "reader");
                let seconds = (self.plan.seconds + 2).to_string();
                let child = Command::new(std::env::current_exe()?)
                    .args(["flood", &info, "--clients", "4", "--pipeline", "64", "--seconds", &seconds])
                    .stdout(Stdio::piped())
                    .stderr(Stdio::piped())
                    .spawn()?;
                loads.push(child);
            }
            let mut writes = Vec::new();
            for _ in 0..20 {
                let began = Instant::now();
                self.cluster.assize(&["token", "issue", "bob", "--admin"]).ok();
                writes.push(began.elapsed().as_secs_f64() * 1e3);
                if loads.iter_mut().all(|child| matches!(child.try_wait(), Ok(Some(_)))) {
                    break;
                }
            }
            let mut statements = 0.0;
            for child in loads {
                let out = child.wait_with_output()?;
                if !out.status.success() {
                    bail!("{}", String::from_utf8_lossy(&out.stderr));
                }
                statements += String::from_utf8_lossy(&out.stdout).trim().parse::<f64>()?;
            }
            until("all records committed", Duration::from_secs(10), || backlog().is_ok_and(|left| left == 0.0))?;
            let time = start.elapsed().as_secs_f64();
            let (records, spent) = (count()? - before.0, cpu::spent_by(&self.cluster.pids()) - before.1);
            table.add("three nodes", "statements/s", statements);
            table.add("three nodes", "records/s", records / time);
            table.add("three nodes", "CPU-µs a record, three nodes", spent as f64 / 1e3 / records.max(1.0));
            writes.sort_by(f64::total_cmp);
            table.add("three nodes", "an admin command meanwhile, with the start of its process, ms, median", quantile(&writes, 0.5));
        }
        table.print();
        Ok(())
    }

    fn conninfo(&self, port: u16, user: &str) -> String {
        let secret = if user == "reader" { &self.cluster.reader } else { &self.cluster.writer };
        format!("host=127.0.0.1 port={port} user={user} password={secret} dbname=stub sslmode=disable")
    }

    /// Memory for each session that does nothing, at a target that is only the stub.
    fn idle(&self) -> Result<()> {
        let node = self.cluster.pids()[0];
        let before = cpu::resident(node);
        let start = Instant::now();
        let mut clients = many_files(&std::env::current_exe()?);
        let sessions = self.plan.sessions;
        clients.arg("idle").arg(self.conninfo(self.cluster.ports()[0], "reader")).arg("--sessions").arg(sessions.to_string());
        let mut clients = clients.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
        let mut line = String::new();
        BufReader::new(clients.stdout.take().context("standard output was asked for")?).read_line(&mut line)?;
        if line.trim().is_empty() {
            let out = clients.wait_with_output()?;
            bail!("{}", String::from_utf8_lossy(&out.stderr));
        }
        let time = start.elapsed().as_secs_f64();
        let held = cpu::resident(node).saturating_sub(before);
        let cpu_before = cpu::spent(node);
        std::thread::sleep(Duration::from_secs(2));
        let share = (cpu::spent(node) - cpu_before) as f64 / 2e9 * 100.0;
        let info = self.conninfo(self.cluster.ports()[0], "reader");
        let began = Instant::now();
        run(Command::new(crate::postgres::bin("psql")).args(["-X", "-A", "-t", "-c", "SELECT n FROM things"]).arg(&info))?;
        println!(
            "\n### Idle sessions\n\n{} sessions stand on node 1 after {time:.1} s of logins; {:.1} KiB of resident memory each \
             ({} MiB before, {} MiB with them); they take {share:.1} % of one CPU; one more psql session with a statement takes {:.0} ms; the stub \
             (port {}) takes {} MiB.",
            line.trim(),
            held as f64 / 1024.0 / sessions as f64,
            before >> 20,
            (before + held) >> 20,
            began.elapsed().as_secs_f64() * 1e3,
            self.stub.0,
            cpu::resident(self.stub.1) >> 20
        );
        drop(Background::from(clients));
        Ok(())
    }
}
