//! What goes wrong, and when.

use std::time::Duration;

use domain::id::NodeId;
use tokio::time::sleep;

use super::history::Fact;
use super::world::{NODES, World};
use crate::simulation::rng::Rng;

/// How long a run is attacked.
const ATTACK: Duration = Duration::from_secs(12);

const fn id(node: u64) -> NodeId {
    NodeId(node)
}

/// Attacks until the time is over, then heals everything.
pub(super) async fn attack(world: &mut World, rng: &mut Rng) {
    let end = tokio::time::Instant::now() + ATTACK;
    while tokio::time::Instant::now() < end {
        sleep(Duration::from_millis(rng.range(150, 1_200))).await;
        match rng.below(100) {
            0..22 => power_loss(world, rng).await,
            22..28 => power_loss_of_all(world, rng).await,
            28..48 => partition(world, rng).await,
            48..62 => stalls(world, rng).await,
            62..72 => slow_disk(world, rng).await,
            72..84 => slow_links(world, rng).await,
            84..92 => transfer(world, rng).await,
            _ => heal(world),
        }
    }
    heal(world);
    world.start_all().await;
}

fn some(rng: &mut Rng) -> u64 {
    rng.range(1, NODES + 1)
}

fn heal(world: &World) {
    world.note(Fact::Fault("all is healed".into()));
    world.network.heal();
    world.delay_up_to(2);
    world.machines.values().for_each(|machine| machine.slow(Duration::ZERO));
}

async fn power_loss(world: &mut World, rng: &mut Rng) {
    let node = some(rng);
    world.note(Fact::Fault(format!("node {node} loses power")));
    world.power_off(node, rng);
    sleep(Duration::from_millis(rng.range(5, 2_500))).await;
    world.start(node).await;
}

async fn power_loss_of_all(world: &mut World, rng: &mut Rng) {
    world.note(Fact::Fault("all lose power".into()));
    (1..=NODES).for_each(|node| world.power_off(node, rng));
    sleep(Duration::from_millis(rng.range(5, 300))).await;
    for node in 1..=NODES {
        sleep(Duration::from_millis(rng.range(0, 500))).await;
        world.start(node).await;
    }
}

async fn partition(world: &World, rng: &mut Rng) {
    let node = some(rng);
    let other = 1 + node % NODES;
    let others = (1..=NODES).filter(|n| *n != node);
    match rng.below(4) {
        0 => {
            world.note(Fact::Fault(format!("cut: {node} is alone")));
            for other in others {
                world.network.cut(id(node), id(other));
                world.network.cut(id(other), id(node));
            }
        }
        1 => {
            world.note(Fact::Fault(format!("cut: {node} is deaf")));
            others.for_each(|other| world.network.cut(id(other), id(node)));
        }
        2 => {
            world.note(Fact::Fault(format!("cut: {node} is mute")));
            others.for_each(|other| world.network.cut(id(node), id(other)));
        }
        _ => {
            world.note(Fact::Fault(format!("cut: {node} and {other} do not hear each other")));
            world.network.cut(id(node), id(other));
            world.network.cut(id(other), id(node));
        }
    }
    sleep(Duration::from_millis(rng.range(100, 4_500))).await;
    if rng.in_thousand(700) {
        world.note(Fact::Fault("the links are healed".into()));
        world.network.heal();
    }
}

/// One way stalls again and again, shorter than anybody gives up: what was asked is answered late.
async fn stalls(world: &World, rng: &mut Rng) {
    let node = some(rng);
    let deaf = rng.in_thousand(700);
    world.note(Fact::Fault(format!("cut: {node} is {} for moments", if deaf { "deaf" } else { "mute" })));
    for _ in 0..rng.range(3, 8) {
        for other in (1..=NODES).filter(|other| *other != node) {
            let (from, to) = if deaf { (other, node) } else { (node, other) };
            world.network.cut(id(from), id(to));
        }
        sleep(Duration::from_millis(rng.range(150, 850))).await;
        world.network.heal();
        sleep(Duration::from_millis(rng.range(20, 300))).await;
    }
}

async fn slow_disk(world: &World, rng: &mut Rng) {
    let (node, by) = (some(rng), Duration::from_millis(rng.range(10, 400)));
    world.note(Fact::Fault(format!("syncs of {node} take {} ms longer", by.as_millis())));
    world.machines[&node].slow(by);
    sleep(Duration::from_millis(rng.range(100, 1_500))).await;
    if rng.in_thousand(600) {
        world.machines[&node].slow(Duration::ZERO);
    }
}

async fn slow_links(world: &World, rng: &mut Rng) {
    let up_to = rng.range(5, 90);
    world.note(Fact::Fault(format!("frames take up to {up_to} ms")));
    world.delay_up_to(up_to);
    sleep(Duration::from_millis(rng.range(100, 1_500))).await;
}

async fn transfer(world: &World, rng: &mut Rng) {
    let (from, to) = (some(rng), some(rng));
    if let Some((_, cluster)) = world.directory.all().into_iter().find(|(node, _)| *node == from) {
        world.note(Fact::Fault(format!("node {from} asks that {to} lead")));
        // Whether it works is not the point.
        let _ = tokio::time::timeout(Duration::from_millis(400), cluster.transfer_leader(id(to))).await;
    }
}
