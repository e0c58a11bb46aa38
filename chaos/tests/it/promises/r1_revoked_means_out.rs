//! R1 and R1b: whatever happens to a minority, a revocation is acknowledged within its bound and nothing arrives at the
//! target afterwards; nor is anything left open (R13), untrue (R20), without a record (R2).

use std::time::Duration;

use anyhow::{Result, ensure};
use chaos::arena::Ways;
use chaos::attack::{Attack, BOUND, BOUND_LEADER_LOST, with};
use chaos::cluster::Setup;
use chaos::fault::Freezer;
use chaos::history::Event;
use chaos::process::SIGKILL;

/// Of what the switch loses, repeats and delays.
const SEED: u64 = 0x5eed_2026_1123;

#[test]
fn t003_a_node_cut_off_from_the_others() {
    with(module_path!(), "t003_a_node_cut_off_from_the_others", Setup::default(), |attack| {
        begin(attack, 4)?;
        let (_, victim) = attack.leader_and_follower()?;
        attack.fault("a node hears no other, and is heard by none")?;
        attack.arena.isolate(victim)?;
        revoke_beside(attack, &[victim], 4)?;
        ensure!(attack.was_silent(victim), "one of them had to wait for its lease");
        ensure!(attack.cluster.nodes[victim].is_up(), "losing the quorum kills no node");
        attack.verdict(BOUND).map(drop)
    });
}

#[test]
#[ignore = "full set"]
fn two_of_five_cut_off_together() {
    with(module_path!(), "two_of_five_cut_off_together", Setup { nodes: 5, ..Setup::default() }, |attack| {
        begin(attack, 4)?;
        let (leader, one) = attack.leader_and_follower()?;
        let other = (0..5).find(|node| ![leader, one].contains(node)).unwrap_or(0);
        attack.fault("two nodes hear each other only")?;
        for rest in (0..5).filter(|node| ![one, other].contains(node)) {
            attack.arena.cut(one, rest)?;
            attack.arena.cut(other, rest)?;
        }
        revoke_beside(attack, &[one, other], 4)?;
        ensure!(attack.was_silent(one) && attack.was_silent(other), "one of them had to wait for their leases");
        attack.verdict(BOUND).map(drop)
    });
}

/// It goes on sending, so the others may think well of it; it hears no answer and no entry.
#[test]
fn t003_a_deaf_node() {
    with(module_path!(), "t003_a_deaf_node", Setup::default(), |attack| {
        begin(attack, 4)?;
        let (_, victim) = attack.leader_and_follower()?;
        attack.fault("a node hears no other, and is heard by all")?;
        attack.arena.deafen(victim)?;
        revoke_beside(attack, &[victim], 4)?;
        ensure!(attack.was_silent(victim), "one of them had to wait for its lease");
        attack.verdict(BOUND).map(drop)
    });
}

/// It hears all, and nothing it says arrives: neither renewals nor what it has enforced.
#[test]
#[ignore = "full set"]
fn a_mute_node() {
    with(module_path!(), "a_mute_node", Setup::default(), |attack| {
        begin(attack, 4)?;
        let (_, victim) = attack.leader_and_follower()?;
        attack.fault("a node hears all, and is heard by none")?;
        attack.arena.silence(victim)?;
        revoke_beside(attack, &[victim], 4)?;
        ensure!(attack.was_silent(victim), "one of them had to wait for its lease");
        attack.verdict(BOUND).map(drop)
    });
}

/// One link of three: leader and follower do not hear each other, the third hears both.
#[test]
#[ignore = "full set"]
fn one_link_with_the_leader_cut() {
    with(module_path!(), "one_link_with_the_leader_cut", Setup::default(), |attack| {
        begin(attack, 4)?;
        let (leader, victim) = attack.leader_and_follower()?;
        let third = 3 - leader - victim;
        attack.fault("leader and one node do not hear each other")?;
        attack.arena.cut(leader, victim)?;
        for _ in 0..4 {
            attack.revoke(third)?;
            attack.successes(20)?;
        }
        attack.verdict(BOUND_LEADER_LOST).map(drop)
    });
}

#[test]
fn t005_the_leader_killed() {
    with(module_path!(), "t005_the_leader_killed", Setup::default(), |attack| {
        begin(attack, 6)?;
        for _ in 0..2 {
            let (leader, _) = attack.leader_and_follower()?;
            attack.fault("SIGKILL of the leader")?;
            attack.cluster.kill(leader);
            revoke_beside(attack, &[leader], 2)?;
            attack.cluster.restart(leader)?;
            attack.cluster.settled()?;
        }
        attack.verdict(BOUND_LEADER_LOST).map(drop)
    });
}

#[test]
#[ignore = "full set"]
fn the_leader_stopped() {
    with(module_path!(), "the_leader_stopped", Setup::default(), |attack| {
        begin(attack, 4)?;
        let (leader, _) = attack.leader_and_follower()?;
        attack.fault("SIGSTOP of the leader")?;
        attack.cluster.nodes[leader].signal("STOP")?;
        revoke_beside(attack, &[leader], 3)?;
        ensure!(attack.cluster.nodes[leader].ended()? == Some(SIGKILL), "the dead-man timer ends a stopped node");
        attack.verdict(BOUND_LEADER_LOST).map(drop)
    });
}

#[test]
#[ignore = "full set"]
fn the_leader_frozen_by_its_cgroup() {
    with(module_path!(), "the_leader_frozen_by_its_cgroup", Setup::default(), |attack| {
        begin(attack, 4)?;
        let (leader, _) = attack.leader_and_follower()?;
        let freezer = Freezer::new()?;
        attack.fault("the leader is frozen")?;
        freezer.freeze(attack.cluster.nodes[leader].pid().unwrap_or(0))?;
        revoke_beside(attack, &[leader], 3)?;
        freezer.thaw()?;
        ensure!(attack.cluster.nodes[leader].ended()? == Some(SIGKILL), "the dead-man timer ends a frozen node");
        attack.verdict(BOUND_LEADER_LOST).map(drop)
    });
}

#[test]
#[ignore = "full set"]
fn t004_the_leader_cut_off_from_the_others() {
    with(module_path!(), "t004_the_leader_cut_off_from_the_others", Setup::default(), |attack| {
        begin(attack, 4)?;
        let (leader, _) = attack.leader_and_follower()?;
        attack.fault("the leader hears no other, and is heard by none")?;
        attack.arena.isolate(leader)?;
        revoke_beside(attack, &[leader], 3)?;
        ensure!(attack.was_silent(leader), "one of them had to wait for its lease");
        attack.verdict(BOUND_LEADER_LOST).map(drop)
    });
}

/// Stops shorter and longer than a lease, always with statements between check and write, or in the kernel.
#[test]
fn t001_a_node_that_is_stopped_and_wakes() {
    with(module_path!(), "t001_a_node_that_is_stopped_and_wakes", Setup::default(), |attack| {
        begin(attack, 5)?;
        let mut died = 0;
        for stopped in [600, 1_500, 1_900, 2_150, 2_400] {
            let (_, victim) = attack.leader_and_follower()?;
            attack.fault(&format!("SIGSTOP of a node for {stopped} ms"))?;
            attack.cluster.nodes[victim].signal("STOP")?;
            let begun = std::time::Instant::now();
            let waking = attack.cluster.nodes[victim].pid().unwrap_or(0);
            let wakes = std::thread::spawn(move || {
                std::thread::sleep(Duration::from_millis(stopped).saturating_sub(begun.elapsed()));
                // Gone already where the timer was faster.
                let _ =
                    std::process::Command::new("kill").args(["-CONT", &waking.to_string()]).stderr(std::process::Stdio::null()).status();
            });
            attack.revoke((victim + 1) % 3)?;
            ensure!(wakes.join().is_ok(), "the waker");
            std::thread::sleep(Duration::from_millis(100));
            if !attack.cluster.nodes[victim].is_up() {
                died += 1;
                attack.cluster.restart(victim)?;
            }
            attack.cluster.settled()?;
        }
        ensure!(died >= 1, "one of them slept too long to wake");
        attack.verdict(BOUND).map(drop)
    });
}

/// What its kernel holds for a target that cannot be reached must not arrive once it can, although nobody is left to take it back.
#[test]
fn t002_statements_in_the_kernel_of_a_stopped_node() {
    with(module_path!(), "t002_statements_in_the_kernel_of_a_stopped_node", Setup::default(), |attack| {
        begin(attack, 4)?;
        let (_, victim) = attack.leader_and_follower()?;
        attack.fault("a node's way to the target is cut, then it is stopped")?;
        attack.arena.cut_from_target(victim)?;
        // Each session there has one statement in the kernel's queue by now.
        std::thread::sleep(Duration::from_millis(400));
        attack.cluster.nodes[victim].signal("STOP")?;
        attack.revoke((victim + 1) % 3)?;
        attack.arena.heal()?;
        ensure!(attack.cluster.nodes[victim].ended()? == Some(SIGKILL), "the dead-man timer ends a stopped node");
        attack.successes(20)?;
        attack.revoke((victim + 2) % 3)?;
        attack.verdict(BOUND).map(drop)
    });
}

/// The same with a node that lives: it drains what it can and resets the rest, in milliseconds.
#[test]
#[ignore = "full set"]
fn t002_statements_in_the_kernel_of_a_living_node() {
    with(module_path!(), "t002_statements_in_the_kernel_of_a_living_node", Setup::default(), |attack| {
        begin(attack, 6)?;
        for victim in 0..3 {
            attack.fault("a node's way to the target is cut")?;
            attack.arena.cut_from_target(victim)?;
            std::thread::sleep(Duration::from_millis(400));
            let took = attack.revoke(victim)?;
            ensure!(took < Duration::from_millis(1_000), "draining has a deadline, and takes {took:?}");
            attack.arena.heal()?;
            attack.successes(20)?;
        }
        attack.verdict(BOUND).map(drop)
    });
}

/// A target that takes cancel requests and does nothing delays no acknowledgement.
#[test]
fn a_target_that_swallows_cancels() {
    with(module_path!(), "a_target_that_swallows_cancels", Setup::default(), |attack| {
        begin(attack, 5)?;
        attack.fault("cancel requests vanish at the target")?;
        attack.recorder.swallow_cancels(true);
        for turn in 0..4 {
            for node in 0..3 {
                attack.sleeper(turn, node)?;
            }
            let took = attack.revoke(turn % 3)?;
            ensure!(took < Duration::from_millis(1_000), "waiting for the target took {took:?}");
            attack.successes(10)?;
        }
        let cancels = attack.history.events().iter().filter(|noted| noted.event == Event::CancelSeen).count();
        ensure!(cancels >= 4, "it was asked to cancel {cancels} times");
        attack.recorder.swallow_cancels(false);
        attack.verdict(BOUND).map(drop)
    });
}

#[test]
#[ignore = "full set"]
fn frames_lost_and_repeated_between_nodes() {
    with(module_path!(), "frames_lost_and_repeated_between_nodes", Setup::default(), |attack| {
        begin(attack, 13)?;
        attack.fault("of a hundred frames 15 are lost and 15 arrive twice")?;
        attack.arena.lose_and_repeat(15)?;
        for turn in 0..12 {
            attack.revoke(turn % 3)?;
            attack.successes(10)?;
        }
        attack.verdict(BOUND_LEADER_LOST).map(drop)
    });
}

/// Nodes a continent apart, over a line that loses, repeats and reorders. Beyond what a cluster is meant for, within what it must
/// survive.
#[test]
#[ignore = "full set"]
fn slow_lossy_ways_between_nodes() {
    let setup = Setup { ways: Ways::Switch(SEED), ..Setup::default() };
    with(module_path!(), "slow_lossy_ways_between_nodes", setup, |attack| {
        begin(attack, 13)?;
        let ms = Duration::from_millis;
        for (delay, jitter, lost, repeated) in
            [(ms(5), ms(5), 0, 0), (ms(20), ms(10), 20, 20), (ms(5), ms(60), 50, 50), (ms(0), ms(2), 150, 150)]
        {
            attack.fault(&format!("frames {delay:?} to {:?} late, {lost} ‰ lost, {repeated} ‰ repeated", delay + jitter))?;
            attack.arena.switch()?.tell(delay, jitter, lost, repeated)?;
            for turn in 0..3 {
                attack.revoke(turn)?;
                attack.successes(10)?;
            }
        }
        let [delayed, lost, repeated] = attack.arena.switch()?.counted()?;
        println!("{delayed} frames late, {lost} lost, {repeated} repeated");
        ensure!(delayed > 1_000 && lost > 50 && repeated > 50, "the switch did what it was told");
        attack.verdict(BOUND_LEADER_LOST).map(drop)
    });
}

/// So many agents at work, of whom the last keeps its access: healing must show that it still works.
fn begin(attack: &mut Attack, agents: usize) -> Result<()> {
    attack.agents(agents + 1)?;
    attack.begin(0..agents + 1)
}

/// Revocations asked of nodes other than the victims, in turn.
fn revoke_beside(attack: &mut Attack, victims: &[usize], times: usize) -> Result<()> {
    let others: Vec<usize> = (0..attack.cluster.nodes.len()).filter(|node| !victims.contains(node)).collect();
    for turn in 0..times {
        attack.revoke(others[turn % others.len()])?;
        attack.successes(20)?;
    }
    Ok(())
}
