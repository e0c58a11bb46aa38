//! CPU time and memory of a process, from `/proc`.

use std::fs;
use std::process::Command;

/// CPU time of all live threads, in nanoseconds. `schedstat` counts to the nanosecond, `stat` in ticks of 10 ms.
pub(crate) fn spent(pid: u32) -> u64 {
    let Ok(threads) = fs::read_dir(format!("/proc/{pid}/task")) else { return 0 };
    threads
        .flatten()
        .filter_map(|thread| fs::read_to_string(thread.path().join("schedstat")).ok())
        .filter_map(|line| line.split(' ').next()?.parse::<u64>().ok())
        .sum()
}

pub(crate) fn spent_by(pids: &[u32]) -> u64 {
    pids.iter().map(|&pid| spent(pid)).sum()
}

/// Resident memory in bytes.
pub(crate) fn resident(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|l| l.strip_prefix("VmRSS:"));
    line.and_then(|l| l.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or(0) * 1024
}

/// Binds every thread of the processes to these CPUs (`taskset` syntax); their children to come inherit it.
pub(crate) fn pin(pids: &[u32], cpus: &str) {
    for pid in pids {
        let _ = Command::new("taskset").args(["-a", "-c", "-p", cpus, &pid.to_string()]).output();
    }
}
