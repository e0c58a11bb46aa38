//! Points of the code with a name: every one is reached, and a node that dies at one breaks no promise.

use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context as _, Result, ensure};
use chaos::attack::{Attack, BOUND_LEADER_LOST};
use chaos::cluster::{self, Cluster, PATIENCE, Setup};
use chaos::power::Chance;
use chaos::receiver::Http;
use chaos::{attack, wait};

/// The issue asks for so many.
const AT_LEAST: usize = 60;

/// A cluster that does all it can, each process a little late at each point.
#[test]
fn every_point_is_reached() {
    cluster::with(Setup { points: Some("*=pause:1"), ..Setup::default() }, |cluster| {
        let receiver = Http::start()?;
        let url = format!("http://127.0.0.1:{}/", receiver.port);
        cluster.cli(&["sink", "put", "hook", "--webhook", &url, "--event", "request.opened"])?.ok()?;
        let (token, carol) = (cluster.token("bot")?, cluster.admin_token("carol")?);
        let mut held =
            cluster.psql_in_background("held", &cluster.url(0, "bot", &token), "select salary from payroll where name = 'eve'")?;
        let request = cluster.held(&held)?;
        cluster.cli_as(&carol, 2, &["request", "approve", &request])?.ok()?;
        ensure!(held.ended(PATIENCE)?.success(), "{}", held.tail());
        let sleeper = cluster.psql_in_background("sleeper", &cluster.url(1, "bot", &token), "select pg_sleep(300)")?;
        wait::until("a statement that runs", PATIENCE, || Ok(cluster.postgres.statements()?.contains("pg_sleep(300)").then_some(())))?;
        cluster.cli_at(2, &["lock", "create", "--principal", "bot", "--reason", "now"])?.ok()?;
        drop(sleeper);
        wait::until("a message", PATIENCE, || Ok((!receiver.posted().is_empty()).then_some(())))?;
        cluster.signed()?;
        start_over(cluster)?;
        let (reached, all) = cluster.points()?;
        let missing: Vec<&String> = all.iter().filter(|point| !reached.contains(point)).collect();
        println!("{} of {} points were reached", reached.len(), all.len());
        ensure!(missing.is_empty() && all.len() >= AT_LEAST, "{} of {} points; not reached: {missing:?}", reached.len(), all.len());
        Ok(())
    });
}

/// From a backup, and once more from what the survivor holds.
fn start_over(cluster: &mut Cluster) -> Result<()> {
    let backup = cluster.path("assize.backup");
    cluster.cli(&["cluster", "backup", "--out", &backup])?.ok()?;
    (0..3).for_each(|node| cluster.kill(node));
    let nowhere = cluster.path("admin-of-the-new");
    cluster.recover_node(&cluster.nodes[0], None, &cluster.recovery_key, nowhere.as_ref())?.ok().map(drop)
}

/// What only happens when a node is made, joins, is saved or recovered, or for which people must decide: a node at work
/// does not come by.
const SELDOM: [&str; 21] = [
    "FloorMade",
    "LayoutWritten",
    "LayoutRenamed",
    "SnapshotBeforeSync",
    "SnapshotSynced",
    "SecretWritten",
    "SecretRenamed",
    "BackupSynced",
    "BackupRenamed",
    "RecoveryBuilt",
    "RecoveryMoved",
    "RecoverySettled",
    "MembershipBefore",
    "JoinBeforeRegistered",
    "JoinRegistered",
    "JoinAnswered",
    "FoundingCommitted",
    "RequestBeforeOpened",
    "ApprovalBeforeSpent",
    "ApprovalSpent",
    "SinkBeforeDelivery",
];
/// … and these, likewise.
const SELDOM_TOO: [&str; 4] = ["SinkDelivered", "SinkCursorMoved", "CancelBefore", "CancelSettled"];
/// Deaths in one run of `make test`: as the days go by all points have their turn.
const A_DAY: usize = 3;
/// For a node to come by a point, with all the work there is.
const WITHIN: Duration = Duration::from_secs(6);

#[test]
fn nodes_die_at_some_points_and_lose_power() {
    die(module_path!(), "nodes_die_at_some_points_and_lose_power", |all| {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let first = usize::try_from(since.as_secs() / 86_400).unwrap_or_default() * A_DAY;
        all.iter().cycle().skip(first % all.len()).take(A_DAY).cloned().collect()
    });
}

#[test]
#[ignore = "full set"]
fn nodes_die_at_every_point_and_lose_power() {
    die(module_path!(), "nodes_die_at_every_point_and_lose_power", <[String]>::to_vec);
}

fn die(module: &str, name: &str, choose: impl Fn(&[String]) -> Vec<String>) {
    attack::with(module, name, Setup { power: true, ..Setup::default() }, |attack| {
        let mut all = cluster::points()?;
        all.retain(|point| !SELDOM.contains(&point.as_str()) && !SELDOM_TOO.contains(&point.as_str()));
        let points = choose(&all);
        let mut chance = Chance::new(7);
        let agents = 3 + points.len() / 6;
        attack.agents(agents + 1)?;
        attack.begin(0..agents)?;
        let mut passed = Vec::new();
        for (turn, point) in points.iter().enumerate() {
            let victim = turn % 3;
            attack.fault(&format!("node {} dies at {point} and loses power", victim + 1))?;
            attack.cluster.kill(victim);
            // Not the first time: what a start does is done over and over.
            attack.cluster.nodes[victim].at_points(&format!("{point}=crash:{}", 1 + chance.below(4)), None);
            attack.cluster.restart(victim)?;
            if !dies(attack, victim, &format!("w{agents}")) {
                passed.push(point.clone());
            }
            attack.cluster.lose_power(&[victim], &mut chance)?;
            attack.cluster.nodes[victim].at_points("", None);
            attack.cluster.restart(victim)?;
            attack.cluster.settled().with_context(|| format!("after a death at {point}"))?;
            if turn % 6 == 0 {
                attack.revoke((victim + 1) % 3)?;
            }
        }
        println!("{} of {} nodes died where they were told to; not: {passed:?}", points.len() - passed.len(), points.len());
        ensure!(passed.len() * 5 <= points.len(), "too many were never where they were to die: {passed:?}");
        attack.verdict(BOUND_LEADER_LOST).map(drop)
    });
}

/// Grants and revocations through the victim and through another, until it is dead.
fn dies(attack: &mut Attack, victim: usize, agent: &str) -> bool {
    let begun = Instant::now();
    while begun.elapsed() < WITHIN {
        for node in [victim, (victim + 1) % 3] {
            let admin = attack.admin.clone();
            // Whatever becomes of it: the node may die of it.
            let _ = attack.runtime.block_on(async {
                let all = async {
                    let grant = admin.grant_until(node, agent, SystemTime::now() + Duration::from_secs(3_600)).await?;
                    admin.revoke(node, &grant).await.map(drop)
                };
                tokio::time::timeout(Duration::from_secs(2), all).await
            });
            if !attack.cluster.nodes[victim].is_up() {
                return true;
            }
        }
    }
    false
}
