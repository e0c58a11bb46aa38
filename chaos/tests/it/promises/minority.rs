//! R1 and R1b with a minority cut off, stopped or deaf: a revocation is acknowledged within its bound, and nothing arrives
//! at the target afterwards.

use anyhow::{Result, ensure};
use chaos::attack::{Attack, BOUND, with};
use chaos::cluster::Setup;

#[test]
fn a_node_cut_off_from_the_others() {
    with(module_path!(), "a_node_cut_off_from_the_others", Setup::default(), |attack| {
        attack.agents(6)?;
        attack.begin(0..5)?;
        let (_, victim) = attack.leader_and_follower()?;
        attack.fault("one node hears no other, and is heard by none");
        attack.arena.isolate(victim)?;
        revoke_beside(attack, victim, 4)?;
        ensure!(attack.was_silent(victim), "the first of them had to wait for its lease");
        attack.verdict(BOUND).map(drop)
    });
}

/// Revocations asked of nodes other than the victim, in turn.
fn revoke_beside(attack: &mut Attack, victim: usize, times: usize) -> Result<()> {
    let others: Vec<usize> = (0..attack.arena.nodes()).filter(|node| *node != victim).collect();
    for turn in 0..times {
        attack.revoke(others[turn % others.len()])?;
        attack.successes(20)?;
    }
    Ok(())
}
