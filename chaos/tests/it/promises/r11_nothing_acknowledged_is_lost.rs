//! R11 and R18: what was acknowledged survives restarts, replaced nodes and bad disks, and all nodes agree afterwards. What
//! clients were told is done stands in the table, what was revoked stays revoked, everything is on record.

use std::process::Command;
use std::time::Duration;

use anyhow::{Result, ensure};
use chaos::attack::{Attack, BOUND, BOUND_LEADER_LOST, with};
use chaos::cluster::Setup;
use chaos::fault::EIO;
use chaos::process::run;

#[test]
fn a_rolling_restart() {
    with(module_path!(), "a_rolling_restart", Setup::default(), |attack| {
        begin(attack, 6)?;
        for node in 0..3 {
            attack.fault("SIGTERM of a node")?;
            attack.cluster.nodes[node].signal("TERM")?;
            attack.revoke((node + 1) % 3)?;
            attack.cluster.nodes[node].ended()?;
            attack.revoke((node + 2) % 3)?;
            attack.cluster.restart(node)?;
            attack.cluster.settled()?;
            attack.successes(20)?;
        }
        attack.verdict(BOUND_LEADER_LOST).map(drop)
    });
}

/// All power lost at once, three times.
#[test]
#[ignore = "full set"]
fn all_nodes_killed_at_once() {
    with(module_path!(), "all_nodes_killed_at_once", Setup::default(), |attack| {
        begin(attack, 6)?;
        for _ in 0..3 {
            attack.fault("SIGKILL of all nodes")?;
            attack.revoke(0)?;
            for node in 0..3 {
                attack.cluster.kill(node);
            }
            for node in 0..3 {
                attack.cluster.restart(node)?;
            }
            attack.cluster.settled()?;
            attack.revoke(1)?;
            attack.successes(20)?;
        }
        attack.verdict(BOUND_LEADER_LOST).map(drop)
    });
}

#[test]
fn t012_a_disk_whose_syncs_fail() {
    with(module_path!(), "t012_a_disk_whose_syncs_fail", Setup { shims: true, ..Setup::default() }, |attack| {
        begin(attack, 4)?;
        let (_, victim) = attack.leader_and_follower()?;
        ensure!(attack.cluster.shims[victim].syncs()? > 0, "the node syncs through the shim");
        attack.fault("every sync of a node fails")?;
        attack.cluster.shims[victim].failing_disk(EIO)?;
        revoke_beside(attack, victim, 3)?;
        attack.cluster.shims[victim].failing_disk(0)?;
        // What it could not write it does not hold: it must start again from what it has.
        attack.cluster.kill(victim);
        attack.verdict(BOUND).map(drop)
    });
}

#[test]
#[ignore = "full set"]
fn a_slow_disk() {
    with(module_path!(), "a_slow_disk", Setup { shims: true, ..Setup::default() }, |attack| {
        begin(attack, 6)?;
        let (leader, follower) = attack.leader_and_follower()?;
        for (node, by) in [(follower, 400), (leader, 150)] {
            attack.fault(&format!("every sync of node {} takes {by} ms longer", node + 1))?;
            attack.cluster.shims[node].slow_disk(Duration::from_millis(by))?;
            attack.revoke((node + 1) % 3)?;
            attack.revoke(node)?;
            attack.revoke((node + 2) % 3)?;
            attack.successes(20)?;
            attack.cluster.shims[node].slow_disk(Duration::ZERO)?;
            attack.cluster.settled()?;
        }
        attack.verdict(BOUND_LEADER_LOST).map(drop)
    });
}

/// A node is lost for good, taken out, and another takes its place.
#[test]
#[ignore = "full set"]
fn a_node_replaced() {
    with(module_path!(), "a_node_replaced", Setup { spare: 1, ..Setup::default() }, |attack| {
        begin(attack, 6)?;
        let (_, victim) = attack.leader_and_follower()?;
        attack.fault("a node is lost for good")?;
        attack.cluster.kill(victim);
        attack.revoke((victim + 1) % 3)?;
        let other = (victim + 1) % 3;
        attack.cluster.cli_at(other, &["cluster", "remove", &(victim + 1).to_string()])?.ok()?;
        attack.revoke(other)?;
        attack.replace(victim, other)?;
        attack.revoke(other)?;
        attack.successes(20)?;
        attack.verdict(BOUND).map(drop)
    });
}

/// A node's folder is put back to what it was before a revocation: an old vote, an old log, access that is gone. It
/// forwards nothing from it: it catches up first, or stays out and is replaced.
#[test]
fn t007_a_folder_from_a_backup() {
    with(module_path!(), "t007_a_folder_from_a_backup", Setup { spare: 1, ..Setup::default() }, |attack| {
        begin(attack, 4)?;
        let (_, victim) = attack.leader_and_follower()?;
        attack.cluster.kill(victim);
        let data = attack.cluster.nodes[victim].data.clone();
        let backup = data.with_extension("backup");
        run(Command::new("cp").arg("-a").arg(&data).arg(&backup))?;
        attack.cluster.restart(victim)?;
        attack.cluster.settled()?;
        attack.successes(20)?;
        for turn in 0..2 {
            attack.revoke(turn)?;
            attack.successes(20)?;
        }
        attack.fault("a node comes back with a folder from before")?;
        attack.cluster.kill(victim);
        std::fs::remove_dir_all(&data)?;
        std::fs::rename(&backup, &data)?;
        attack.cluster.restart(victim)?;
        attack.revoke((victim + 1) % 3)?;
        attack.back_or_replaced(victim)?;
        attack.successes(20)?;
        attack.verdict(BOUND_LEADER_LOST).map(drop)
    });
}

fn begin(attack: &mut Attack, agents: usize) -> Result<()> {
    attack.agents(agents + 1)?;
    attack.begin(0..agents + 1)
}

fn revoke_beside(attack: &mut Attack, victim: usize, times: usize) -> Result<()> {
    for turn in 0..times {
        attack.revoke((victim + 1 + turn % 2) % 3)?;
        attack.successes(20)?;
    }
    Ok(())
}
