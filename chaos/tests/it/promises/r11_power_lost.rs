//! R11 on disks that lose what was not synced: power of all nodes at once, again and again, also while they start; and
//! disks whose syncs lie. What was acknowledged stands afterwards, as [`super::r11_nothing_acknowledged_is_lost`] has it.

use std::time::{Duration, SystemTime};

use anyhow::{Context as _, Result, ensure};
use chaos::attack::{Attack, BOUND_LEADER_LOST, with};
use chaos::cluster::Setup;
use chaos::power::{Chance, Lost, Mercy};

/// Every so many rounds an agent loses its access; the agents at work are few, the machine is small.
const ROUNDS_A_REVOCATION: usize = 10;

#[test]
fn t011_all_nodes_lose_power() {
    with(module_path!(), "t011_all_nodes_lose_power", disks(), |attack| all_lose_power(attack, 6, 1));
}

#[test]
#[ignore = "full set"]
fn t011_all_nodes_lose_power_two_hundred_times() {
    with(module_path!(), "t011_all_nodes_lose_power_two_hundred_times", disks(), |attack| all_lose_power(attack, 200, 2));
}

fn disks() -> Setup {
    Setup { power: true, ..Setup::default() }
}

/// A round: all serve, something is acknowledged, the power goes at some moment; and up to twice more while they start.
fn all_lose_power(attack: &mut Attack, points: usize, seed: u64) -> Result<()> {
    let seed = std::env::var("SEED").ok().and_then(|text| text.parse().ok()).unwrap_or(seed);
    println!("SEED={seed}");
    let (mut chance, mut lost, mut grants) = (Chance::new(seed), Lost::default(), Vec::new());
    let worker = points.div_ceil(2 * ROUNDS_A_REVOCATION) + 1;
    attack.agents(worker + 1)?;
    attack.begin(0..worker + 1)?;
    let (mut point, mut round) = (0, 0);
    while point < points {
        attack.fault("the power of all nodes goes")?;
        if round % ROUNDS_A_REVOCATION == 0 {
            attack.revoke(round % 3)?;
        }
        let ends = SystemTime::now() + Duration::from_secs(36_000);
        let made = attack.runtime.block_on(attack.admin.grant_until(round % 3, &format!("w{worker}"), ends));
        grants.push(made.with_context(|| format!("a grant after {point} losses of power"))?);
        let pause = |chance: &mut Chance, most: u64| std::thread::sleep(Duration::from_millis(chance.below(most)));
        pause(&mut chance, 250);
        let (times, all) = (1 + chance.below(3), [0, 1, 2]);
        for time in 0..times {
            if time > 0 {
                pause(&mut chance, 1_200);
            }
            lost += attack.cluster.lose_power(&all, &mut chance)?;
            point += 1;
            all.iter().try_for_each(|node| attack.cluster.restart(*node))?;
        }
        attack.cluster.settled().with_context(|| format!("after {point} losses of power"))?;
        attack.successes(8)?;
        round += 1;
    }
    let verdict = attack.verdict(BOUND_LEADER_LOST)?;
    ensure!(lost.bytes > 0 && lost.names > 0, "nothing was lost: {lost:?}");
    let kept = grants.len();
    for (at, grant) in grants.into_iter().enumerate() {
        let known = attack.runtime.block_on(attack.admin.revoke(at % 3, &grant));
        known.with_context(|| format!("{grant}, the {at}. of {kept} that were acknowledged"))?;
    }
    println!(
        "{point} losses of power of all nodes, which took {} bytes, {} pages and {} names; {kept} grants and {} revocations stand",
        lost.bytes, lost.pages, lost.names, verdict.revoked
    );
    Ok(())
}

/// Syncs of one node lie, and it loses its power: the others hold what was acknowledged. It does not come back as what it
/// was: it forwards nothing until it is replaced.
#[test]
#[ignore = "full set"]
fn one_disk_lies_and_loses_power() {
    with(module_path!(), "one_disk_lies_and_loses_power", Setup { spare: 1, ..disks() }, |attack| {
        attack.agents(6)?;
        attack.begin(0..6)?;
        let (_, victim) = attack.leader_and_follower()?;
        attack.fault("a node's syncs lie, and its power goes")?;
        attack.cluster.shims[victim].lying_disk(true)?;
        attack.revoke((victim + 1) % 3)?;
        attack.successes(40)?;
        let lost = attack.cluster.lose_power(&[victim], &mut Chance::with(3, Mercy::Nothing))?;
        ensure!(lost.bytes > 0, "its disk lost something: {lost:?}");
        attack.cluster.shims[victim].lying_disk(false)?;
        attack.revoke((victim + 2) % 3)?;
        attack.cluster.restart(victim)?;
        println!("{lost:?}");
        attack.back_or_replaced(victim)?;
        attack.revoke((victim + 1) % 3)?;
        attack.verdict(BOUND_LEADER_LOST).map(drop)
    });
}

/// Syncs of all nodes lie, and all lose power. Nobody can bring back what is on no disk; where a disk kept its floor, the
/// node knows that something is gone, says so and does not start.
#[test]
#[ignore = "full set"]
fn all_disks_lie_and_lose_power() {
    with(module_path!(), "all_disks_lie_and_lose_power", disks(), |attack| {
        attack.agents(3)?;
        attack.begin(0..3)?;
        attack.fault("all syncs lie, and all power goes")?;
        attack.cluster.shims.iter().try_for_each(|shim| shim.lying_disk(true))?;
        attack.revoke(0)?;
        attack.successes(40)?;
        let lost = attack.cluster.lose_power(&[0, 1, 2], &mut Chance::with(4, Mercy::Overwritten))?;
        attack.cluster.shims.iter().try_for_each(|shim| shim.lying_disk(false))?;
        let seen = attack.seen();
        for node in 0..3 {
            attack.cluster.restart(node)?;
            let signal = attack.cluster.nodes[node].ended()?;
            let said = attack.cluster.nodes[node].log_tail();
            ensure!(signal.is_none() && said.contains("had been made durable: something after it is lost"), "node {}: {said}", node + 1);
        }
        ensure!(attack.seen() == seen, "nothing was served");
        println!("{lost:?}: each of three nodes says that writes are lost, and none starts");
        Ok(())
    });
}
