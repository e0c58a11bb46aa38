//! Nothing happens without a record, and the records prove themselves to somebody who has only the export.

use std::io::Write as _;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use chaos::cluster::{Cluster, PATIENCE, Setup, number, with};
use chaos::process::SIGKILL;
use chaos::wait;

#[test]
fn t013_an_export_verifies_offline_and_a_flipped_byte_does_not() {
    with(Setup::default(), |cluster| {
        let token = cluster.token("bot")?;
        for number in 0..20 {
            cluster.sql(&cluster.url(number % 3, "bot", &token), &format!("insert into orders values ({number}, 'kept')"))?.ok()?;
        }
        let first = checkpoint(cluster)?;
        let earlier = cluster.export("earlier.bin")?;
        cluster.sql(&cluster.url(0, "bot", &token), "delete from orders where id = 3")?.ok()?;
        let second = wait::until("a later checkpoint", PATIENCE, || Ok(Some(checkpoint(cluster)?).filter(|size| *size > first)))?;
        cluster.signed()?;
        let later = cluster.export("later.bin")?;
        for node in 0..3 {
            cluster.kill(node);
        }
        ensure!(!cluster.genesis.is_empty(), "cluster init printed the genesis");
        cluster.verify(&earlier, &[])?.ok()?;
        cluster.verify(&later, &["--record", "5"])?.ok()?;
        cluster.verify(&later, &["--between", &first.to_string(), &second.to_string()])?.ok()?;

        let whole = std::fs::read(&later)?;
        // Inside a record's own statement: what somebody who wants to hide what was done would change.
        for statement in ["values (1, 'kept')", "values (7, 'kept')", "delete from orders where id = 3"] {
            let at = whole.windows(statement.len()).position(|w| w == statement.as_bytes()).context("the statement is in the export")?;
            let mut forged = whole.clone();
            forged[at] ^= 1;
            let path = cluster.path("forged.bin");
            std::fs::write(&path, forged)?;
            cluster.verify(path.as_ref(), &[])?.fails(1).with_context(|| format!("byte {at} of {}", whole.len()))?;
        }
        Ok(())
    });
}

#[test]
fn t010_without_a_quorum_nothing_is_forwarded_and_the_client_is_told_within_three_seconds() {
    with(Setup::default(), |cluster| {
        let token = cluster.token("bot")?;
        let url = cluster.url(0, "bot", &token);
        let log = std::fs::File::create(cluster.path("lost.out"))?;
        let mut session =
            cluster.psql(&url).args(["-v", "VERBOSITY=verbose"]).stdin(Stdio::piped()).stdout(log.try_clone()?).stderr(log).spawn()?;
        let mut typed = session.stdin.take().context("a pipe")?;
        let told = |cluster: &chaos::cluster::Cluster| std::fs::read_to_string(cluster.path("lost.out")).unwrap_or_default();
        writeln!(typed, "insert into orders values (1, 'before') returning note;")?;
        wait::until("the first insert", PATIENCE, || Ok(told(cluster).contains("before").then_some(())))?;
        cluster.nodes[1].signal("STOP")?;
        cluster.nodes[2].signal("STOP")?;
        let begun = Instant::now();
        writeln!(typed, "insert into orders values (2, 'after-the-quorum') returning note;")?;
        let outcome = wait::until("an answer", PATIENCE, || {
            Ok((told(cluster).contains("ERROR") || told(cluster).contains("FATAL")).then_some(begun.elapsed()))
        });
        let seen = cluster.postgres.statements()?;
        // What stands still when its lease ends does not get up again; who lives without a quorum waits for one.
        for node in 1..3 {
            ensure!(cluster.nodes[node].ended()? == Some(SIGKILL), "the dead-man timer ends a stopped node");
            cluster.restart(node)?;
        }
        ensure!(cluster.nodes[0].is_up(), "losing the quorum kills no node");
        session.kill()?;
        session.wait()?;
        ensure!(outcome? < Duration::from_millis(3_200), "told after {begun:?}: {}", told(cluster));
        ensure!(told(cluster).contains("57014") || told(cluster).contains("57P03"), "{}", told(cluster));
        ensure!(!seen.contains("after-the-quorum"), "PostgreSQL saw a statement that no quorum had recorded");
        cluster.settled()?;
        ensure!(!cluster.postgres.statements()?.contains("after-the-quorum"), "nor later");
        ensure!(cluster.sql(&url, "select count(*) from orders")?.ok()?.trim() == "1", "with the quorum back, work goes on");
        Ok(())
    });
}

#[test]
fn collectors_get_each_record_once_with_its_parties() {
    with(Setup::default(), |cluster| {
        let token = cluster.token("bot")?;
        cluster.sql(&cluster.url(1, "bot", &token), "insert into orders values (1, 'a=b|c')")?.ok()?;
        cluster.sql(&cluster.url(2, "bot", "wrong"), "select 1")?.fails(2)?;
        let outcomes = |format: &str| cluster.cli(&["audit", "export", "--format", format])?.ok();
        let events = wait::until("the insert's outcome", PATIENCE, || {
            let lines = outcomes("ocsf")?;
            let events: Vec<serde_json::Value> = lines.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
            let done = |e: &serde_json::Value| e["metadata"]["event_code"] == "outcome" && e["activity_name"] == "Write";
            Ok(events.iter().any(done).then_some(events))
        })?;
        for (number, event) in events.iter().enumerate() {
            ensure!(event["metadata"]["sequence"] == number, "record {number} is missing or twice: {event:#}");
            ensure!(event["metadata"]["version"] == "1.8.0" && event["type_uid"].is_u64() && event["time"].is_u64(), "{event:#}");
        }
        let outcome =
            events.iter().find(|e| e["metadata"]["event_code"] == "outcome" && e["activity_name"] == "Write").context("it is there")?;
        ensure!(outcome["actor"]["user"]["name"] == "bot" && outcome["database"]["name"] == "orders", "{outcome:#}");
        ensure!(outcome["src_endpoint"]["ip"] == "127.0.0.1" && outcome["status_id"] == 1, "{outcome:#}");
        let cef = outcomes("cef")?;
        ensure!(cef.lines().count() >= events.len() && cef.lines().all(|line| line.starts_with("CEF:0|Assize|Assize|")), "{cef}");
        ensure!(cef.contains("'a\\=b|c'"), "escaped: {cef}");
        let administration = cluster.cli(&["audit", "export", "--format", "json", "--log", "control"])?.ok()?;
        ensure!(administration.lines().any(|line| line.contains("\"schema\":\"assize.audit.v1\"") && line.contains("put target orders")));
        Ok(())
    });
}

#[test]
fn what_was_reachable_is_told_alike_by_every_node() {
    with(Setup::default(), |cluster| {
        let before = cluster.json(&["access", "at", "--target", "orders"])?;
        let time = before["time"].as_str().context("a time")?.to_owned();
        let who = |answer: &serde_json::Value| -> Vec<String> {
            let rows = answer["reached"].as_array().cloned().unwrap_or_default();
            let row =
                |r: &serde_json::Value| format!("{} {} {} {}", r["principal"], r["outcome"], r["grants"][0]["grant"]["name"], r["job"]);
            rows.iter().map(row).collect()
        };
        let expected = ["bot-orders", "builder-schema"]
            .map(|g| format!("\"{}\" \"approved\" \"{g}\" \"keep-orders\"", &g[..g.find('-').unwrap_or(0)]));
        ensure!(who(&before) == expected, "{before:#}");
        std::thread::sleep(Duration::from_millis(300));
        cluster.cli(&["grant", "revoke", "bot-orders", "--reason", "over"])?.ok()?;
        cluster.cli(&["lock", "create", "--target", "orders", "--reason", "stop"])?.ok()?;
        cluster.settled()?;
        for node in 0..3 {
            let now = cluster.cli_at(node, &["access", "at", "--target", "orders", "-o", "json"])?.ok()?;
            let now: serde_json::Value = serde_json::from_str(&now)?;
            ensure!(who(&now) == ["\"builder\" \"revoked\" \"builder-schema\" \"keep-orders\""], "node {node}: {now:#}");
            ensure!(now["locks"][0]["target"] == "orders", "{now:#}");
            let then = cluster.cli_at(node, &["access", "at", "--target", "orders", "--time", &time, "-o", "json"])?.ok()?;
            let then: serde_json::Value = serde_json::from_str(&then)?;
            ensure!(then["reached"] == before["reached"], "node {node}: {then:#}");
        }
        Ok(())
    });
}

#[test]
fn what_goes_round_the_gateway_is_found_and_on_record() {
    with(Setup::default(), |cluster| {
        let codes = |answer: &serde_json::Value| -> Vec<String> {
            let all = answer["findings"].as_array().cloned().unwrap_or_default();
            all.iter().map(|f| format!("{} {}", f["severity"].as_str().unwrap_or(""), f["code"].as_str().unwrap_or(""))).collect()
        };
        let before = cluster.json(&["target", "check", "orders"])?;
        let found = codes(&before);
        // Nobody deletes from the tables of the schema `public` but through grants; the superuser of the test is a way round.
        ensure!(found.contains(&"medium superuser-logins".to_owned()), "{before:#}");
        ensure!(!found.iter().any(|code| code.starts_with("high")), "{before:#}");

        cluster.postgres.superuser("app", "ALTER ROLE assize_gateway BYPASSRLS; CREATE ROLE stranger LOGIN")?;
        cluster.postgres.superuser(
            "app",
            "CREATE SCHEMA hr; CREATE TABLE hr.files (id int); GRANT USAGE ON SCHEMA hr TO assize_gateway; \
             GRANT DELETE ON hr.files TO assize_gateway",
        )?;
        let said = cluster.cli(&["target", "check", "orders"])?.fails(1)?;
        for expected in
            ["role-bypasses-rls", "may delete where no live grant does: hr.files", "other-logins", "stranger", "findings are high"]
        {
            ensure!(said.contains(expected), "{expected} is missing in {said}");
        }
        let record = wait::until("the check's record", PATIENCE, || {
            let lines = cluster.cli(&["audit", "query", "--kind", "target-check", "--full"])?.ok()?;
            Ok(lines.contains("high role-bypasses-rls").then_some(lines))
        })?;
        ensure!(record.contains("alice") && record.contains("orders"), "{record}");
        Ok(())
    });
}

/// Size of the audit log at its newest checkpoint.
fn checkpoint(cluster: &Cluster) -> Result<u64> {
    let status = cluster.json(&["cluster", "status"])?;
    let logs = status["logs"].as_array().context("logs")?;
    let audit = logs.iter().find(|log| log["log"] == "audit/0").context("an audit log")?;
    Ok(number(&audit["checkpointSize"]))
}
