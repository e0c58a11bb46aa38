//! Outside witnesses: real processes that co-sign the heads of a real cluster, and an auditor who asks how many.

use std::net::TcpStream;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use chaos::cluster::{Cluster, PATIENCE, Setup, number, said, with};
use chaos::process::{Background, run};
use chaos::receiver::post;
use chaos::{ports, wait};
use serde_json::Value;

/// A witness of somebody else.
struct Outside {
    name: &'static str,
    key: String,
    port: u16,
    process: Background,
}

impl Outside {
    fn start(cluster: &Cluster, name: &'static str) -> Result<Outside> {
        let (key_file, state_file) = (cluster.path(&format!("{name}.key")), cluster.path(&format!("{name}.state")));
        let mut init = cluster.offline();
        let key =
            said(init.args(["witness", "init", "--name", &format!("{name}.example/w"), "--key-file", &key_file, "--state", &state_file]))?;
        let (key, port) = (key.ok()?.trim().to_owned(), ports::free());
        let process = Outside::serve(cluster, name, port)?;
        let witness = Outside { name, key, port, process };
        witness.listens()?;
        Ok(witness)
    }

    fn serve(cluster: &Cluster, name: &str, port: u16) -> Result<Background> {
        let listed = cluster.json(&["witness", "list"])?;
        let trusted = listed["logKeys"].as_array().context("keys of the logs")?.iter().filter_map(Value::as_str);
        let mut serve = cluster.offline();
        serve.args(["witness", "serve", "--key-file", &cluster.path(&format!("{name}.key"))]);
        serve.args(["--state", &cluster.path(&format!("{name}.state")), "--listen", &format!("127.0.0.1:{port}")]);
        for key in trusted {
            serve.args(["--trust", key]);
        }
        Background::start(name, &mut serve, cluster.path(&format!("{name}.out")).as_ref())
    }

    fn listens(&self) -> Result<()> {
        wait::until("the witness to listen", PATIENCE, || Ok(TcpStream::connect(("127.0.0.1", self.port)).ok().map(drop)))
    }
}

#[test]
fn two_witnesses_vouch_for_a_log_and_neither_signs_a_fork() {
    with(Setup::default(), |cluster| {
        let mut witnesses = [Outside::start(cluster, "north")?, Outside::start(cluster, "south")?];
        for witness in &witnesses {
            let url = format!("http://127.0.0.1:{}", witness.port);
            cluster.cli(&["witness", "put", witness.name, "--url", &url, "--public-key", &witness.key, "--every", "1s"])?.ok()?;
        }
        let token = cluster.token("bot")?;
        cluster.sql(&cluster.url(0, "bot", &token), "select count(*) from orders")?.ok()?;
        let enough = cosigned(cluster, &witnesses, 1)?;

        // A witness that was killed and one that was asked by another leader both go on from what they signed.
        witnesses[0].process.kill();
        let leader = usize::try_from(number(&cluster.json(&["cluster", "status"])?["leader"]))? - 1;
        cluster.kill(leader);
        cluster.restart(leader)?;
        cluster.settled()?;
        witnesses[0].process = Outside::serve(cluster, witnesses[0].name, witnesses[0].port)?;
        witnesses[0].listens()?;
        cluster.sql(&cluster.url(1, "bot", &token), "select count(*) from orders")?.ok()?;
        cosigned(cluster, &witnesses, enough + 1)?;

        let export = cluster.export("witnessed.export")?;
        let keys: Vec<&str> = witnesses.iter().flat_map(|witness| ["--witness", witness.key.as_str()]).collect();
        let told = cluster.verify(&export, &[&keys[..], &["--min-witnesses", "2"]].concat())?.ok()?;
        ensure!(told.contains("audit/0: 2 of 2 witnesses vouch for it") && told.contains("control: 2 of 2 witnesses"), "{told}");
        // A witness that the auditor does not know counts for nothing.
        let stranger = said(cluster.offline().args([
            "witness",
            "init",
            "--name",
            "x",
            "--key-file",
            &cluster.path("x"),
            "--state",
            &cluster.path("y"),
        ]))?;
        let stranger = stranger.ok()?.trim().to_owned();
        let refused =
            cluster.verify(&export, &["--witness", &witnesses[0].key, "--witness", &stranger, "--min-witnesses", "2"])?.fails(1)?;
        ensure!(refused.contains("1 of 2 witnesses") && refused.contains("fewer than 2 witnesses"), "{refused}");

        // Asked by anybody as if it had signed nothing, it says where it is; without signatures of the nodes it signs nothing.
        let note = "assize/other/1/audit/0\n1\nAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n\n\u{2014} x AAAAAAAA\n";
        let (status, body) = post(witnesses[1].port, "/add-checkpoint", &format!("old 0\n\n{note}"))?;
        ensure!(status == 404, "another cluster: {status} {body}");
        let origin = told_origin(cluster)?;
        let forged = note.replacen("assize/other/1/audit/0", &origin, 1);
        let (status, body) = post(witnesses[1].port, "/add-checkpoint", &format!("old 0\n\n{forged}"))?;
        ensure!(status == 403, "no signature: {status} {body}");
        Ok(())
    });
}

/// The origin line of the cluster's audit log.
fn told_origin(cluster: &Cluster) -> Result<String> {
    let listed = cluster.json(&["witness", "list"])?;
    let key = listed["logKeys"][0].as_str().context("a key")?;
    let name = key.split('+').next().context("its name")?;
    Ok(format!("{}/audit/0", name.rsplit_once('/').context("assize/CLUSTER/INCARNATION/node-N")?.0))
}

/// Waits until every witness has co-signed at least so many leaves of both logs; the least it co-signed of `audit/0`.
fn cosigned(cluster: &Cluster, witnesses: &[Outside], least: u64) -> Result<u64> {
    wait::until("every witness to co-sign", PATIENCE, || {
        let mut found = u64::MAX;
        for witness in witnesses {
            let shown = cluster.json(&["witness", "get", witness.name])?;
            let heads = shown["cosigned"].as_array().cloned().unwrap_or_default();
            let of = |log: &str| heads.iter().find(|head| head["log"] == log).map_or(0, |head| number(&head["size"]));
            if of("control") == 0 {
                return Ok(None);
            }
            found = found.min(of("audit/0"));
        }
        Ok((found >= least).then_some(found))
    })
}

/// The same node, with the same keys, put back to where it was before: what it writes then is another log.
#[test]
fn t013_a_fork_signed_by_the_cluster_itself_is_not_co_signed() {
    with(Setup { nodes: 1, ..Setup::default() }, |cluster| {
        let witness = Outside::start(cluster, "north")?;
        let url = format!("http://127.0.0.1:{}", witness.port);
        cluster.cli(&["witness", "put", witness.name, "--url", &url, "--public-key", &witness.key, "--every", "1s"])?.ok()?;
        let token = cluster.token("bot")?;
        let work = |cluster: &Cluster, times: usize| -> Result<()> {
            (0..times).try_for_each(|_| cluster.sql(&cluster.url(0, "bot", &token), "select count(*) from orders")?.ok().map(drop))
        };
        work(cluster, 1)?;
        let witnesses = std::slice::from_ref(&witness);
        let before = cosigned(cluster, witnesses, 1)?;

        cluster.kill(0);
        let (data, kept) = (cluster.nodes[0].data.clone(), cluster.path("kept"));
        run(Command::new("cp").arg("-a").arg(&data).arg(&kept))?;
        cluster.restart(0)?;
        cluster.settled()?;
        work(cluster, 3)?;
        let signed = cosigned(cluster, witnesses, before + 6)?;

        cluster.kill(0);
        std::fs::remove_dir_all(&data)?;
        std::fs::rename(&kept, &data)?;
        cluster.restart(0)?;
        cluster.settled()?;
        let grows = |cluster: &Cluster| -> Result<u64> {
            let status = cluster.json(&["cluster", "status"])?;
            let logs = status["logs"].as_array().context("logs")?;
            Ok(logs.iter().find(|log| log["log"] == "audit/0").map_or(0, |log| number(&log["checkpointSize"])))
        };
        work(cluster, 8)?;
        wait::until("the fork to be longer than the log was", PATIENCE, || Ok((grows(cluster)? > signed).then_some(())))?;
        wait::until("the witness to see the fork", PATIENCE, || Ok(witness.process.tail().contains("FORK").then_some(())))?;
        ensure!(cosigned(cluster, witnesses, 0)? <= before, "the fork has nothing but what was signed before it");

        // An auditor sees it as well: nobody vouches for what this export adds.
        cluster.signed()?;
        let export = cluster.export("forked.export")?;
        let told = cluster.verify(&export, &["--witness", &witness.key])?.ok()?;
        ensure!(told.contains(&format!("audit/0: 1 of 1 witnesses vouch for it; all of them for the first {before} leaves")), "{told}");
        Ok(())
    });
}
