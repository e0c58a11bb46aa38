//! What goes out: signed notifications and streams, to real receivers, with the delivering node killed.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, Result, ensure};
use chaos::cluster::{Cluster, PATIENCE, Setup, number, with};
use chaos::receiver::{Http, Posted, TlsServer, from_base64, hmac_sha256_base64};
use chaos::{ports, wait};
use serde_json::Value;

#[test]
fn no_notification_is_lost_with_its_leader_and_repeated_ones_keep_their_id() {
    with(Setup::default(), |cluster| {
        let receiver = Http::start()?;
        let url = format!("http://127.0.0.1:{}/in?x=1", receiver.port);
        let put = ["sink", "put", "hook", "--webhook", &url, "--event", "request.opened", "--event", "lock.created"];
        let made = cluster.json(&put)?;
        let key = made["secret"].as_str().and_then(|secret| secret.strip_prefix("whsec_")).context("a secret, shown once")?;
        let key = from_base64(key)?;
        let shown = cluster.cli(&["sink", "get", "hook", "-o", "json"])?.ok()?;
        ensure!(!shown.contains("whsec_"), "and never again: {shown}");
        cluster.cli(&["sink", "test", "hook"])?.ok()?;

        // Held: its statement is not in the message, the command that answers it is.
        let token = cluster.token("bot")?;
        let secret_statement = "select salary from payroll where name = 'very private'";
        let held = cluster.psql_in_background("held", &cluster.url(0, "bot", &token), secret_statement)?;
        let request = cluster.held(&held)?;
        let told = wait::until("the request to be told", PATIENCE, || {
            Ok(receiver.posted().into_iter().find(|posted| posted.body.contains("request.opened")))
        })?;
        verify(&told, &key)?;
        let body: Value = serde_json::from_str(&told.body)?;
        ensure!(told.body.contains(&format!("assize request approve {request}")), "{body:#}");
        ensure!(body["data"]["facts"]["principal"] == "bot" && body["data"]["facts"]["target"] == "orders", "{body:#}");
        ensure!(!told.body.contains("payroll") && !told.body.contains("private"), "no statement: {body:#}");

        // The receiver takes it all and says it failed: what the killed leader sent is sent again by the next.
        receiver.answer(503);
        let locks: BTreeSet<String> = (0..4).map(|n| lock(cluster, &format!("number {n}"))).collect::<Result<_>>()?;
        wait::until("the failure to be seen", PATIENCE, || {
            let sink = cluster.json(&["sink", "get", "hook"])?;
            Ok(sink["progress"]["error"].as_str().is_some_and(|error| error.contains("503")).then_some(()))
        })?;
        let leader = leader(cluster)?;
        cluster.kill(leader);
        receiver.answer(200);
        let told = wait::until("every lock to be told by the next leader", PATIENCE, || {
            let taken: Vec<Posted> = receiver.posted().into_iter().filter(|posted| posted.status == 200).collect();
            let all = locks.iter().all(|lock| taken.iter().any(|posted| posted.body.contains(lock)));
            Ok(all.then(|| receiver.posted()))
        })?;
        let mut ids: BTreeMap<String, Vec<&Posted>> = BTreeMap::new();
        for posted in told.iter().filter(|posted| posted.body.contains("lock.created")) {
            verify(posted, &key)?;
            ids.entry(posted.header("webhook-id").context("an id")?.to_owned()).or_default().push(posted);
        }
        ensure!(ids.len() == locks.len(), "an id for each lock, however often it was sent: {:#?}", ids.keys());
        for (id, sent) in &ids {
            ensure!(sent.iter().all(|posted| posted.body == sent[0].body), "{id} says the same each time");
            ensure!(sent[1..].iter().all(|again| again.header("assize-redelivered") == Some("true")), "{id} says that it was sent before");
        }
        ensure!(ids.values().any(|sent| sent.len() > 1), "the first was sent before and after the leader was lost");
        cluster.restart(leader)?;
        cluster.settled()?;
        let sink = cluster.json(&["sink", "get", "hook"])?;
        ensure!(sink["progress"].get("error").is_none_or(|error| error == ""), "{sink:#}");
        Ok(())
    });
}

#[test]
fn nothing_is_called_where_the_operator_has_not_opened_it() {
    with(Setup { nodes: 1, ..Setup::default() }, |cluster| {
        let receiver = Http::start()?;
        // 127.0.0.1 alone is opened in the fixture. The receiver answers a redirect to it.
        for (name, host) in [("loopback", "127.0.0.2"), ("mapped", "[::ffff:127.0.0.2]"), ("six", "[::1]"), ("metadata", "169.254.169.254")]
        {
            let url = format!("http://{host}:{}/", receiver.port);
            cluster.cli(&["sink", "put", name, "--webhook", &url, "--event", "lock.created"])?.ok()?;
            let refused = cluster.cli(&["sink", "test", name])?.fails(1)?;
            ensure!(refused.contains("outbound.allow"), "{host}: {refused}");
        }
        receiver.answer(302);
        let url = format!("http://127.0.0.1:{}/", receiver.port);
        cluster.cli(&["sink", "put", "redirects", "--webhook", &url, "--event", "lock.created"])?.ok()?;
        let refused = cluster.cli(&["sink", "test", "redirects"])?.fails(1)?;
        ensure!(refused.contains("redirects are not followed"), "{refused}");
        ensure!(receiver.posted().len() == 1, "{:#?}", receiver.posted());
        Ok(())
    });
}

#[test]
fn a_stream_over_tls_has_every_record_although_its_leader_is_killed() {
    with(Setup { tls: true, ..Setup::default() }, |cluster| {
        let port = ports::free();
        let collector = TlsServer::start(port, &cluster.path("server.pem"), &cluster.path("server.key"))?;
        let (address, ca) = (format!("localhost:{port}"), cluster.path("ca.pem"));
        let put = ["sink", "put", "siem", "--syslog", &address, "--roots-file", &ca, "--log", "audit/0", "--from-beginning"];
        cluster.cli(&put)?.ok()?;
        let token = cluster.token("bot")?;
        let work = |cluster: &Cluster, node: usize| -> Result<()> {
            for n in 0..5 {
                cluster.sql(&cluster.url(node, "bot", &token), &format!("select count(*) from orders where id > {n}"))?.ok()?;
            }
            Ok(())
        };
        work(cluster, 0)?;
        let leader = leader(cluster)?;
        let stays = (leader + 1) % 3;
        work(cluster, stays)?;
        cluster.kill(leader);
        wait::until("a node to serve", PATIENCE, || Ok(cluster.sql(&cluster.url(stays, "bot", &token), "select 1")?.ok().ok().map(drop)))?;
        work(cluster, stays)?;
        cluster.restart(leader)?;
        cluster.settled()?;

        let query = ["audit", "query", "--limit", "100000", "-o", "json"];
        let size = cluster.cli_at(stays, &query)?.ok()?.lines().filter(|line| line.contains("\"kind\"")).count() as u64;
        ensure!(size > 20, "{size} records");
        let messages = wait::until("the collector to have every record", PATIENCE, || {
            let messages = collector.messages()?;
            let numbers: BTreeSet<u64> = messages.iter().filter_map(|m| json(&m.text)).map(|r| number(&r["number"])).collect();
            Ok((0..size).all(|n| numbers.contains(&n)).then_some(messages))
        })?;
        let (mut next, mut seen) = (0, BTreeMap::new());
        for message in &messages {
            ensure!(message.app == "assize" && message.host.starts_with("node-"), "{message:?}");
            let record = json(&message.text).with_context(|| format!("JSON in {message:?}"))?;
            let at = number(&record["number"]);
            if let Some(before) = seen.insert(at, message.text.clone()) {
                ensure!(before == message.text, "record {at} reads as it did");
                ensure!(message.data.contains("redelivered=\"true\""), "and says that it was sent before: {message:?}");
            } else {
                ensure!(at == next, "record {at} comes after {next}");
                next += 1;
            }
        }
        Ok(())
    });
}

/// By the specification of Standard Webhooks, with OpenSSL's HMAC.
fn verify(posted: &Posted, key: &[u8]) -> Result<()> {
    let header = |name: &str| posted.header(name).with_context(|| format!("{name} in {posted:?}"));
    let (id, timestamp) = (header("webhook-id")?, header("webhook-timestamp")?);
    let age = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?.as_secs().abs_diff(timestamp.parse()?);
    ensure!(age < 300, "a timestamp of {age} s ago");
    let expected = format!("v1,{}", hmac_sha256_base64(key, format!("{id}.{timestamp}.{}", posted.body).as_bytes())?);
    ensure!(header("webhook-signature")?.split(' ').any(|signature| signature == expected), "{posted:?} is not signed as {expected}");
    ensure!(posted.path == "/in?x=1" && header("content-type")? == "application/json", "{posted:?}");
    Ok(())
}

fn lock(cluster: &Cluster, reason: &str) -> Result<String> {
    let made = cluster.cli(&["lock", "create", "--role", "reviewer", "--reason", reason])?.ok()?;
    chaos::cluster::id_in(&made, "lock-").with_context(|| made.clone())
}

fn leader(cluster: &Cluster) -> Result<usize> {
    let status = cluster.json(&["cluster", "status"])?;
    usize::try_from(number(&status["leader"]))?.checked_sub(1).context("a leader")
}

fn json(text: &str) -> Option<Value> {
    serde_json::from_str(text).ok()
}
