//! R11 and R18 over an upgrade: nodes of an older release are replaced one by one under load. What only the newer release
//! knows is refused until all know it, and an older one neither serves nor joins afterwards.

use anyhow::{Context as _, Result, ensure};
use chaos::attack::{Attack, BOUND_LEADER_LOST, with};
use chaos::cluster::{PATIENCE, Setup, number};
use chaos::wait;

/// What the older release knows. Sinks need the next level.
const OLDER: u32 = 2;

#[test]
fn a_rolling_upgrade_across_a_feature_level() {
    let setup = Setup { older: Some(OLDER), spare: 1, ..Setup::default() };
    with(module_path!(), "a_rolling_upgrade_across_a_feature_level", setup, |attack| {
        attack.agents(5)?;
        attack.begin(0..5)?;
        ensure!(level(attack)? == u64::from(OLDER), "nobody knows more");
        for node in 0..3 {
            for at in 0..3 {
                let refused = put_sink(attack, at)?.fails(1)?;
                ensure!(refused.contains("feature level 2; the command needs 3"), "{refused}");
            }
            attack.fault("a node of the older release is replaced by one of the newer")?;
            attack.cluster.nodes[node].signal("TERM")?;
            attack.cluster.nodes[node].ended()?;
            attack.cluster.nodes[node].older(None);
            attack.revoke((node + 1) % 3)?;
            attack.cluster.restart(node)?;
            attack.cluster.settled()?;
            attack.successes(20)?;
        }
        wait::until("the level to rise", PATIENCE, || Ok((level(attack)? > u64::from(OLDER)).then_some(())))?;
        put_sink(attack, 0)?.ok()?;
        neither_serves_nor_joins(attack)?;
        attack.verdict(BOUND_LEADER_LOST).map(drop)
    });
}

/// A node goes back to the older release, and one of it wants to join: both are told why not.
fn neither_serves_nor_joins(attack: &mut Attack) -> Result<()> {
    let (_, follower) = attack.leader_and_follower()?;
    attack.cluster.kill(follower);
    let node = &mut attack.cluster.nodes[follower];
    node.older(Some(OLDER));
    attack.cluster.restart(follower)?;
    let node = &mut attack.cluster.nodes[follower];
    let signal = node.ended()?;
    ensure!(signal.is_none(), "it ends by itself: {signal:?}");
    let why = node.log_tail();
    ensure!(why.contains("this release knows levels up to 2: start the newer release"), "{why}");
    node.older(None);
    attack.cluster.restart(follower)?;
    attack.cluster.settled()?;
    let mut stranger = attack.cluster.prepare(4)?;
    stranger.older(Some(OLDER));
    let refused = format!("{:#}", attack.cluster.ask_to_join(&stranger, 0).err().context("an older release joined")?);
    ensure!(refused.contains("the node's release knows feature levels up to 2"), "{refused}");
    Ok(())
}

fn level(attack: &Attack) -> Result<u64> {
    Ok(number(&attack.cluster.json(&["cluster", "status"])?["featureLevel"]))
}

fn put_sink(attack: &Attack, node: usize) -> Result<chaos::cluster::Said> {
    attack.cluster.cli_at(node, &["sink", "put", "hook", "--webhook", "https://example.com/", "--event", "lock.created"])
}
