//! kill -9 while entries are appended: nothing acknowledged is lost, and the log has no hole.

use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use openraft::RaftLogReader as _;

use crate::restart::{append, entry, open};

const KILLS: u64 = 200;
const FOLDER: &str = "ASSIZE_CRASH_FOLDER";

/// The child: appends until it is killed, and says what is durable. Does nothing unless told where.
#[tokio::test]
async fn appends_until_killed() {
    let Some(dir) = std::env::var_os(FOLDER).map(PathBuf::from) else { return };
    let engine = open(&dir).expect("opens after every kill");
    let mut log = engine.log_store(0).expect("the log is whole after every kill");
    let mut next = log.last_index().map_or(1, |n| n + 1);
    loop {
        let count = next % 7 + 1;
        append(&mut log, (next..next + count).map(|n| entry(1, n)).collect()).await;
        next += count;
        println!("durable {}", next - 1);
    }
}

#[tokio::test]
async fn nothing_acknowledged_is_lost_in_200_kills() {
    let dir = tempfile::tempdir().expect("a folder");
    let mut acknowledged = 0;
    // A fixed sequence of moments: how many acknowledgements the child lives for.
    let mut seed = 0x2545_f491_4f6c_dd1d_u64;
    for _ in 0..KILLS {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        let mut child = Command::new(std::env::current_exe().expect("this test"))
            .args(["--exact", "crash::appends_until_killed", "--nocapture"])
            .env(FOLDER, dir.path())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the child starts");
        let lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        let mut lives = seed % 24 + 1;
        for line in lines {
            let Some(durable) = line.expect("text").strip_prefix("durable ").map(|n| n.parse::<u64>().expect("a number")) else {
                continue;
            };
            acknowledged = durable;
            lives -= 1;
            if lives == 0 {
                break;
            }
        }
        assert_eq!(lives, 0, "the child lived until it was killed");
        child.kill().expect("killed");
        child.wait().expect("reaped");
    }
    let engine = open(dir.path()).expect("opens");
    let mut log = engine.log_store(0).expect("the log has no hole");
    let last = log.last_index().expect("is not empty");
    assert!(last >= acknowledged, "{last} < {acknowledged}");
    let entries = log.try_get_log_entries(..).await.expect("reads");
    assert_eq!(entries.len() as u64, last);
    assert!(entries.iter().zip(1..).all(|(found, n)| *found == entry(1, n)), "every entry is what was appended");
}
