//! One turn of a load: pgbench, psql or a Python loop, with the CPU time of the process it goes through.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::Stdio;
use std::time::Instant;

use anyhow::{Context as _, Result, bail};

use crate::cpu;
use crate::machine::run;
use crate::postgres::bin;
use crate::table::quantile;
use crate::targets::Target;

pub(crate) struct Turn {
    pub(crate) per_second: f64,
    /// CPU-µs per statement of the process on the road, and with all nodes.
    pub(crate) road: f64,
    pub(crate) whole: f64,
}

/// `pgbench -S` after a second to log in and warm up. Logins are outside the measured time.
///
/// # Errors
/// When pgbench fails or prints no progress.
pub(crate) fn pgbench(target: &Target, mode: &str, clients: usize, seconds: usize) -> Result<Turn> {
    let database = if mode == "prepared" { target.session_database } else { target.database };
    let mut child = target
        .client(&bin("pgbench"))
        .args(["-n", "-S", "-M", mode, "-P", "1", "-c", &clients.to_string(), "-T", &(seconds + 1).to_string(), database])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()?;
    let errors = BufReader::new(child.stderr.take().context("standard error was asked for")?);
    let mut seen = Vec::new();
    let (mut statements, mut start, mut end) = (0.0, None, None);
    let sample = || (Instant::now(), cpu::spent_by(&target.road), cpu::spent_by(&target.whole));
    for line in errors.lines() {
        let line = line?;
        if let Some(rate) = rate_of(&line) {
            if start.is_none() {
                start = Some(sample());
            } else {
                statements += rate;
                end = Some(sample());
            }
        }
        seen.push(line);
    }
    let status = child.wait()?;
    let (true, Some(start), Some(end)) = (status.success(), start, end) else {
        bail!("pgbench at {}: {status}\n{}", target.name, seen.join("\n"));
    };
    // Progress comes once a second, so a rate is also a count; the wall clock only corrects for late lines.
    let time = (end.0 - start.0).as_secs_f64();
    let per = |from: u64, to: u64| to.saturating_sub(from) as f64 / 1_000.0 / statements.max(1.0);
    Ok(Turn { per_second: statements / time, road: per(start.1, end.1), whole: per(start.2, end.2) })
}

/// `progress: 2.0 s, 9051.9 tps, lat 0.881 ms …`
fn rate_of(line: &str) -> Option<f64> {
    line.strip_prefix("progress: ")?.split(' ').nth(2)?.parse().ok()
}

/// Median and 99th percentile, in microseconds, of one client's statements, from pgbench's log of each.
///
/// # Errors
/// When pgbench fails.
pub(crate) fn latency(target: &Target, mode: &str, seconds: usize, folder: &Path) -> Result<(f64, f64)> {
    let prefix = folder.join("latency");
    let database = if mode == "prepared" { target.session_database } else { target.database };
    // The same CPU for the client as for the servers: see the README on what an unpinned ping-pong measures here.
    let mut pgbench = target.client(&bin("pgbench"));
    pgbench.args(["-n", "-S", "-M", mode, "-c", "1", "-T", &seconds.to_string(), "--log"]);
    pgbench.arg(format!("--log-prefix={}", prefix.display())).arg(database);
    run(&mut pinned(&pgbench))?;
    let mut times = Vec::new();
    for file in std::fs::read_dir(folder)?.flatten() {
        if file.file_name().to_string_lossy().starts_with("latency.") {
            let text = std::fs::read_to_string(file.path())?;
            times.extend(text.lines().filter_map(|line| line.split(' ').nth(2)?.parse::<f64>().ok()));
            std::fs::remove_file(file.path())?;
        }
    }
    // The first statements pay for logins and empty caches.
    times.drain(..times.len() / 10);
    times.sort_by(f64::total_cmp);
    Ok((quantile(&times, 0.5), quantile(&times, 0.99)))
}

/// The command on the CPU that [`cpu::pin`] is used with.
fn pinned(command: &std::process::Command) -> std::process::Command {
    let mut taskset = std::process::Command::new("taskset");
    taskset.args(["-c", "1"]).arg(command.get_program()).args(command.get_args());
    taskset.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    taskset
}

/// Connections a second when each statement opens its own, and CPU-µs of the road for one.
///
/// # Errors
/// When pgbench fails.
pub(crate) fn churn(target: &Target, clients: usize, seconds: usize) -> Result<Turn> {
    let before = (cpu::spent_by(&target.road), cpu::spent_by(&target.whole));
    let out = run(target.client(&bin("pgbench")).args([
        "-n",
        "-S",
        "-C",
        "-c",
        &clients.to_string(),
        "-T",
        &seconds.to_string(),
        target.database,
    ]))?;
    let after = (cpu::spent_by(&target.road), cpu::spent_by(&target.whole));
    let number = |name: &str| out.lines().find_map(|line| line.strip_prefix(name)?.split_whitespace().next()?.parse::<f64>().ok());
    let count = number("number of transactions actually processed: ").context("pgbench prints a count")?;
    let per_second = number("tps = ").context("pgbench prints a rate")?;
    let per = |from: u64, to: u64| to.saturating_sub(from) as f64 / 1_000.0 / count.max(1.0);
    Ok(Turn { per_second, road: per(before.0, after.0), whole: per(before.1, after.1) })
}

/// Megabytes a second of one statement whose rows are thrown away by the client, and CPU-ms of the road for each.
///
/// # Errors
/// When psql fails.
pub(crate) fn stream(target: &Target, statement: &str, input: Option<&Path>, megabytes: f64) -> Result<(f64, f64)> {
    let mut psql = target.client(&bin("psql"));
    psql.args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-d", target.database, "-c", statement]);
    psql.stdin(match input {
        Some(file) => std::fs::File::open(file)?.into(),
        None => Stdio::null(),
    });
    let before = cpu::spent_by(&target.road);
    let start = Instant::now();
    let out = psql.stdout(Stdio::null()).stderr(Stdio::piped()).spawn()?.wait_with_output()?;
    let time = start.elapsed().as_secs_f64();
    if !out.status.success() {
        bail!("{statement} at {}: {}", target.name, String::from_utf8_lossy(&out.stderr));
    }
    Ok((megabytes / time, cpu::spent_by(&target.road).saturating_sub(before) as f64 / 1e6 / megabytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_lines_give_their_rate() {
        assert_eq!(rate_of("progress: 2.0 s, 9051.9 tps, lat 0.881 ms stddev 0.3, 0 failed"), Some(9051.9));
        assert_eq!(rate_of("pgbench (15.20)"), None);
    }
}
