//! R22: with all nodes healthy, what is granted works and a revocation takes milliseconds. Otherwise refusing everything
//! would keep every other promise.

use std::time::Duration;

use anyhow::{Result, ensure};
use chaos::attack::{Attack, BOUND, with};
use chaos::cluster::Setup;
use chaos::history::{Event, Outcome};

#[test]
fn three_healthy_nodes() {
    with(module_path!(), "three_healthy_nodes", Setup::default(), |attack| healthy(attack, 24));
}

#[test]
#[ignore = "full set"]
fn five_healthy_nodes() {
    with(module_path!(), "five_healthy_nodes", Setup { nodes: 5, ..Setup::default() }, |attack| healthy(attack, 100));
}

/// Of each session: two cores also run the nodes.
const PACE: Duration = Duration::from_millis(300);
/// What is asserted leaves room for a debug build on two cores that others use too; what is printed does not.
const P50: Duration = Duration::from_millis(250);
const P99: Duration = Duration::from_millis(1_000);
/// Agents at work at a time.
const AT_WORK: usize = 2;

fn healthy(attack: &mut Attack, revocations: usize) -> Result<()> {
    attack.load.pace = PACE;
    attack.agents(revocations + AT_WORK + 1)?;
    attack.begin(0..AT_WORK)?;
    attack.fault("none")?;
    let nodes = attack.cluster.nodes.len();
    for turn in 0..revocations {
        attack.begin(turn + AT_WORK..turn + AT_WORK + 1)?;
        attack.revoke(turn % nodes)?;
    }
    let verdict = attack.verdict(BOUND)?;
    let events = attack.history.events();
    let mut refused = Vec::new();
    let mut answers = 0;
    // Of the agents that nobody revoked.
    let kept: Vec<String> = (revocations..revocations + AT_WORK + 1).map(|agent| format!("w{agent}")).collect();
    let mut theirs = std::collections::BTreeSet::new();
    for noted in &events {
        match &noted.event {
            Event::Attempt { statement, agent, .. } if kept.contains(agent) => {
                theirs.insert(*statement);
            }
            Event::Answer { statement, outcome } if theirs.contains(statement) => {
                answers += 1;
                if *outcome != Outcome::Done {
                    refused.push(outcome.clone());
                }
            }
            _ => {}
        }
    }
    println!("{answers} statements of agents that keep their access, {} not done", refused.len());
    ensure!(refused.len() * 1_000 <= answers, "R22: {} of {answers}: {refused:?}", refused.len());
    let (p50, p99) = (chaos::attack::quantile(&verdict.took, 50), chaos::attack::quantile(&verdict.took, 99));
    ensure!(p50 <= P50 && p99 <= P99, "p50 {p50:?}, p99 {p99:?}");
    Ok(())
}
