//! Runs, requests that agents open themselves, and glass that people break (THREATS 14, 16, 17, 73, 81).

use std::io::Write as _;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};
use chaos::cluster::{Cluster, PATIENCE, Setup, id_in, number, with};
use chaos::wait;
use serde_json::{Value, json};

const PAYROLL: &str = "select salary from payroll where name = 'eve'";

/// An answer over HTTPS.
#[derive(Debug)]
struct Answer {
    status: u16,
    body: Value,
}

/// One call of an agent with curl, as any program would make it.
fn call(cluster: &Cluster, node: usize, token: &str, method: &str, path: &str, key: &str, body: &[u8]) -> Result<Answer> {
    let node = &cluster.nodes[node];
    let mut curl = Command::new("curl");
    curl.args(["-sS", "--max-time", "20", "-w", "\n%{http_code}", "-X", method, "--cacert", &cluster.path("ca.pem")]);
    curl.args(["--resolve", &format!("localhost:{}:{}", node.authzen, node.place.host)]);
    curl.args(["-H", &format!("Authorization: Bearer {token}"), "-H", "Content-Type: application/json", "-H", "Expect:"]);
    if !key.is_empty() {
        curl.args(["-H", &format!("Idempotency-Key: {key}")]);
    }
    if !body.is_empty() {
        curl.args(["--data-binary", "@-"]);
    }
    curl.arg(format!("https://localhost:{}{path}", node.authzen)).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut running = curl.spawn().context("curl")?;
    // A server that has read enough may close before it has read all.
    let _ = running.stdin.take().context("curl's input")?.write_all(body);
    let output = running.wait_with_output()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let (body, status) = text.rsplit_once('\n').with_context(|| String::from_utf8_lossy(&output.stderr).into_owned())?;
    Ok(Answer { status: status.parse()?, body: serde_json::from_str(body).unwrap_or(Value::Null) })
}

fn post(cluster: &Cluster, node: usize, token: &str, path: &str, body: &Value) -> Result<Answer> {
    call(cluster, node, token, "POST", path, "", body.to_string().as_bytes())
}

fn poll(cluster: &Cluster, node: usize, token: &str, task: &str) -> Result<Answer> {
    call(cluster, node, token, "GET", &format!("/access/v1/requests/{task}"), "", b"")
}

fn to_read(table: &str) -> Value {
    json!({
        "subject": {"type": "agent", "id": "bot"},
        "resource": {"type": "postgres", "id": format!("app.public.{table}"), "properties": {"target": "orders"}},
        "action": {"name": "select"},
    })
}

fn to_run(statement: &str) -> Value {
    json!({
        "subject": {"type": "agent", "id": "bot"},
        "resource": {"type": "target", "id": "orders"},
        "action": {"name": "execute", "properties": {"statement": statement}},
    })
}

/// What was denied, with the denial it answers.
fn submission(mut asked: Value, denied: &Answer) -> Result<Value> {
    let offer = &denied.body["context"]["access_request"];
    ensure!(denied.body["decision"] == json!(false) && offer.is_object(), "{denied:?}");
    asked["denial"] = json!({"binding_token": offer["binding_token"], "expires_at": offer["expires_at"]});
    asked["context"] = json!({"reason": "month end"});
    Ok(asked)
}

fn submitted(cluster: &Cluster, node: usize, token: &str, asked: Value, key: &str) -> Result<String> {
    let denied = post(cluster, node, token, "/access/v1/evaluation", &asked)?;
    let body = submission(asked, &denied)?.to_string();
    let answer = call(cluster, node, token, "POST", "/access/v1/requests", key, body.as_bytes())?;
    ensure!(answer.status == 201 && answer.body["task"]["status"] == "pending", "{answer:?}");
    let id = answer.body["task"]["id"].as_str().with_context(|| format!("{answer:?}"))?.to_owned();
    let endpoint = answer.body["task"]["status_endpoint"].as_str().unwrap_or_default();
    ensure!(endpoint.starts_with("https://localhost:") && endpoint.ends_with(&id), "{endpoint}");
    Ok(id)
}

fn leader(cluster: &Cluster, through: usize) -> Result<usize> {
    let status = cluster.cli_at(through, &["cluster", "status", "-o", "json"])?.ok()?;
    let status: Value = serde_json::from_str(&status)?;
    usize::try_from(number(&status["leader"]))?.checked_sub(1).with_context(|| status.to_string())
}

#[test]
fn an_agent_asks_at_one_node_is_answered_at_another_and_works_at_a_third() {
    with(Setup { tls: true, ..Setup::default() }, |cluster| {
        let (token, other) = (cluster.token("bot")?, cluster.token("builder")?);
        let [bob, carol] = ["bob", "carol"].map(|person| cluster.admin_token(person));
        let (bob, carol) = (bob?, carol?);

        let known = post(cluster, 0, &token, "/access/v1/evaluation", &to_read("orders"))?;
        ensure!(known.status == 200 && known.body["decision"] == json!(true), "{known:?}");
        let nobody = post(cluster, 0, "not-a-token", "/access/v1/evaluation", &to_read("orders"))?;
        ensure!(nobody.status == 401 && nobody.body["status"] == 401, "{nobody:?}");
        let another = post(cluster, 0, &other, "/access/v1/evaluation", &to_read("orders"))?;
        ensure!(another.status == 403, "builder asks about bot: {another:?}");
        let large = call(cluster, 0, &token, "POST", "/access/v1/evaluation", "", &vec![b' '; 400 << 10])?;
        ensure!(large.status == 413, "{large:?}");
        let denied = post(cluster, 0, &token, "/access/v1/evaluation", &to_read("payroll"))?;
        let elsewhere = submission(to_read("orders"), &denied)?;
        let forged = post(cluster, 1, &token, "/access/v1/requests", &elsewhere)?;
        ensure!(forged.status == 400 && forged.body["type"].to_string().contains("invalid_denial_binding"), "{forged:?}");

        // A window: submitted at node 1, its leader gone, decided and polled at those that are left.
        let first = submitted(cluster, 0, &token, to_read("payroll"), "month-end")?;
        ensure!(submitted(cluster, 2, &token, to_read("payroll"), "month-end")? == first, "the same key is the same request");
        ensure!(poll(cluster, 1, &other, &first)?.status == 404, "not builder's");
        let gone = leader(cluster, 0)?;
        cluster.kill(gone);
        let (left, right) = ((gone + 1) % 3, (gone + 2) % 3);
        wait::until("another leader", PATIENCE, || Ok((leader(cluster, left)? != gone).then_some(())))?;
        let pending = wait::until("an answer without the leader", PATIENCE, || {
            let answer = poll(cluster, right, &token, &first)?;
            Ok((answer.status == 200).then_some(answer))
        })?;
        ensure!(pending.body["task"]["status"] == "pending", "{pending:?}");
        [left, right].iter().try_for_each(|node| cluster.nodes[*node].ready())?;
        let refused = cluster.cli_as(&bob, left, &["request", "approve", &first])?.fails(1)?;
        ensure!(refused.contains("answers for"), "bob owns the agent: {refused}");
        cluster.cli_as(&carol, left, &["request", "approve", &first])?.ok()?;
        let approved = wait::until("the approval at the other node", PATIENCE, || {
            let answer = poll(cluster, right, &token, &first)?;
            Ok((answer.body["task"]["status"] == "approved").then_some(answer))
        })?;
        let grant = approved.body["result"]["approval"]["id"].as_str().with_context(|| format!("{approved:?}"))?.to_owned();
        ensure!(approved.body["result"]["mode"] == "reevaluate" && grant.starts_with("grant-"), "{approved:?}");
        let again = post(cluster, right, &token, "/access/v1/evaluation", &to_read("payroll"))?;
        ensure!(again.body["decision"] == json!(true), "{again:?}");
        ensure!(cluster.sql(&cluster.url(left, "bot", &token), PAYROLL)?.ok()?.trim() == "4100");
        cluster.restart(gone)?;
        wait::until("the handle at the node that was gone", PATIENCE, || {
            Ok((poll(cluster, gone, &token, &first)?.body["task"]["status"] == "approved").then_some(()))
        })?;

        // The window is a grant, and goes like one.
        cluster.cli_as(&carol, left, &["grant", "revoke", &grant, "--reason", "mine"])?.fails(1).context("reviewers revoke nothing")?;
        cluster.cli_at(left, &["grant", "revoke", &grant, "--reason", "closed"])?.ok()?;
        let after = post(cluster, right, &token, "/access/v1/evaluation", &to_read("payroll"))?;
        ensure!(after.body["decision"] == json!(false), "{after:?}");

        let taken = submitted(cluster, right, &token, to_read("payroll"), "")?;
        let cancelled = call(cluster, left, &token, "DELETE", &format!("/access/v1/requests/{taken}"), "", b"")?;
        ensure!(cancelled.body["task"]["status"] == "cancelled", "{cancelled:?}");
        Ok(())
    });
}

#[test]
fn one_exact_statement_is_approved_before_it_is_run_and_runs_once() {
    with(Setup { tls: true, ..Setup::default() }, |cluster| {
        const RAISE: &str = "update payroll set salary = 4200 where name = 'eve'";
        let (token, carol) = (cluster.token("bot")?, cluster.admin_token("carol")?);
        let task = submitted(cluster, 0, &token, to_run(RAISE), "")?;
        let shown = cluster.cli_as(&carol, 1, &["request", "get", &task])?.ok()?;
        ensure!(shown.contains(RAISE) && shown.contains("digest ") && shown.contains("role = "), "{shown}");
        cluster.cli_as(&carol, 1, &["request", "approve", &task])?.ok()?;
        wait::until("the approval at another node", PATIENCE, || {
            Ok((poll(cluster, 2, &token, &task)?.body["task"]["status"] == "approved").then_some(()))
        })?;
        let again = post(cluster, 2, &token, "/access/v1/evaluation", &to_run(RAISE))?;
        ensure!(again.body["decision"] == json!(true), "{again:?}");
        let other = post(cluster, 2, &token, "/access/v1/evaluation", &to_run("update payroll set salary = 9999 where name = 'eve'"))?;
        ensure!(other.body["decision"] == json!(false), "{other:?}");
        cluster.sql(&cluster.url(2, "bot", &token), RAISE)?.ok().context("what was approved is not held")?;
        let spent = wait::until("the approval to be spent", PATIENCE, || {
            let answer = poll(cluster, 1, &token, &task)?;
            Ok((answer.body["result"]["approval"]["state"] == "spent").then_some(answer))
        })?;
        ensure!(spent.body["task"]["status"] == "approved", "a task ends once: {spent:?}");
        let once = post(cluster, 0, &token, "/access/v1/evaluation", &to_run(RAISE))?;
        ensure!(once.body["decision"] == json!(false), "{once:?}");

        // Over gRPC an agent opens, reads and withdraws its own, and nothing else.
        let mine = cluster.admin_token("bot")?;
        let opened =
            cluster.cli_as(&mine, 1, &["request", "open", "--target", "orders", "--statement", RAISE, "--reason", "again"])?.ok()?;
        let request = id_in(&opened, "request-").with_context(|| opened.clone())?;
        ensure!(cluster.cli_as(&mine, 2, &["request", "list"])?.ok()?.contains(&request));
        for refused in [
            &["request", "approve", request.as_str()][..],
            &["request", "open", "--principal", "builder", "--target", "orders", "--statement", RAISE, "--reason", "not mine"],
            &["grant", "list"],
            &["session", "list"],
            &["audit", "query"],
        ] {
            cluster.cli_as(&mine, 0, refused)?.fails(1).with_context(|| format!("{refused:?}"))?;
        }
        cluster.cli_as(&mine, 0, &["request", "withdraw", &request])?.ok()?;
        Ok(())
    });
}

#[test]
fn a_run_is_one_over_all_nodes_and_its_principals_own() {
    with(Setup::default(), |cluster| {
        let (bot, builder) = (cluster.token("bot")?, cluster.token("builder")?);
        let named = |node, agent: &str, token: &str, more: &str| format!("{}?{more}", cluster.url(node, agent, token));
        let by_name = "application_name=run:nightly-17";
        let by_option = "options=-c%20assize.run%3Dnightly-17";
        let count = "select count(*) from orders";
        cluster.sql(&named(0, "bot", &bot, by_name), count)?.ok()?;
        let unset = "select current_setting('assize.run', true) is null";
        ensure!(cluster.sql(&named(1, "bot", &bot, by_option), unset)?.ok()?.trim() == "t", "the target is told of it");
        cluster.sql(&named(2, "builder", &builder, by_name), count)?.ok()?;

        let bad = cluster.sql(&named(0, "bot", &bot, "application_name=run:no/slash"), count)?;
        ensure!(bad.code != 0 && bad.err.contains("invalid run"), "{bad:?}");
        let two = cluster.sql(&named(0, "bot", &bot, &format!("application_name=run:other&{by_option}")), count)?;
        ensure!(two.code != 0 && two.err.contains("name two"), "{two:?}");

        let held = cluster.psql_in_background("held", &named(2, "bot", &bot, by_option), PAYROLL)?;
        let request = cluster.held(&held)?;
        let live = cluster.cli(&["session", "list", "--run", "nightly-17"])?.ok()?;
        ensure!(live.matches("session-").count() == 1 && live.contains("nightly-17"), "{live}");
        ensure!(cluster.cli(&["request", "get", &request])?.ok()?.contains("of run nightly-17"));
        drop(held);

        let told = wait::until("the run to be told whole", PATIENCE, || {
            let told = cluster.json(&["run", "get", "nightly-17", "--principal", "bot"])?;
            let sessions = told["runs"][0]["sessions"].as_array().cloned().unwrap_or_default();
            let ended = sessions.iter().filter(|session| session.get("ended").is_some()).count();
            Ok((sessions.len() == 3 && ended == 3).then_some(told))
        })?;
        let run = &told["runs"][0];
        let mut nodes: Vec<String> = run["sessions"].as_array().into_iter().flatten().map(|session| session["node"].to_string()).collect();
        nodes.sort();
        nodes.dedup();
        ensure!(nodes.len() == 3 && told["runs"].as_array().map(Vec::len) == Some(1), "{told:#}");
        ensure!(run["approved"] == "3" && run["requests"] == json!([request]), "{run:#}");
        let both = cluster.json(&["run", "get", "nightly-17"])?;
        ensure!(both["runs"].as_array().map(Vec::len) == Some(2), "builder's is another: {both:#}");
        let records = cluster.cli(&["audit", "query", "--run", "nightly-17", "--principal", "bot", "--kind", "admission"])?.ok()?;
        ensure!(records.lines().count() == 3, "{records}");
        let nobody = cluster.admin_token("builder")?;
        let own = cluster.cli_as(&nobody, 1, &["run", "get", "nightly-17"])?.ok()?;
        ensure!(own.contains("builder") && !own.contains("bot "), "an agent reads its own: {own}");
        cluster.cli_as(&nobody, 1, &["run", "get", "nightly-17", "--principal", "bot"])?.fails(1)?;
        Ok(())
    });
}

#[test]
fn broken_glass_is_loud_reviewed_by_another_and_owed_until_then() {
    with(Setup::default(), |cluster| {
        let token = cluster.token("bot")?;
        let [bob, carol, dave] = ["bob", "carol", "dave"].map(|person| cluster.admin_token(person));
        let (bob, carol, dave) = (bob?, carol?, dave?);
        let smash = |within: &'static str| {
            let what = ["--target", "orders", "-p", "postgres:select on app.public.payroll", "--for", "10m", "--review-within", within];
            let why = ["--reason", "payroll is stuck", "--ticket", "INC-7"];
            [&["break-glass", "open", "--principal", "bot"][..], &what[..], &why[..]].concat()
        };
        cluster.cli_as(&dave, 0, &smash("1h"))?.fails(1).context("a reviewer has no such right")?;
        cluster
            .cli(&["grant", "create", "--principal", "dave", "--target", "assize", "-p", "assize:operate on break-glass/orders"])?
            .ok()?;
        let url = cluster.url(2, "bot", &token);
        let opened = cluster.cli_as(&dave, 0, &smash("3s"))?.ok()?;
        let (id, grant) = (id_in(&opened, "break-glass-"), id_in(&opened, "grant-"));
        let (id, grant) = (id.with_context(|| opened.clone())?, grant.with_context(|| opened.clone())?);
        cluster.settled()?;
        ensure!(cluster.sql(&url, PAYROLL)?.ok()?.trim() == "4100", "open at another node");

        let loud = wait::until("every node to say so", PATIENCE, || {
            let said = (1..=3).filter(|n| {
                std::fs::read_to_string(cluster.path(&format!("node{n}.log"))).is_ok_and(|log| log.contains("glass was broken"))
            });
            let said = said.count();
            Ok((said == cluster.nodes.len()).then_some(cluster.nodes[1].get("/metrics")?))
        })?;
        ensure!(loud.contains("assize_break_glass_live 1") && loud.contains("assize_break_glass_total 1"), "{loud}");
        for list in [&["cluster", "status"][..], &["request", "list"], &["break-glass", "list"]] {
            let shown = cluster.cli(list)?.ok()?;
            ensure!(shown.contains(&id) && shown.contains("payroll is stuck"), "{list:?}: {shown}");
        }
        let record = cluster.cli(&["audit", "query", "--log", "control", "--full"])?.ok()?;
        ensure!(record.contains("break glass at orders for bot") && record.contains("INC-7"), "{record}");

        // Due and not looked at: no more of it, until somebody else has.
        wait::until("the review to be overdue", PATIENCE, || {
            Ok(cluster.cli(&["break-glass", "list"])?.ok()?.contains("OVERDUE").then_some(()))
        })?;
        let owed = cluster.cli_as(&dave, 1, &smash("1h"))?.fails(1)?;
        ensure!(owed.contains(&id), "{owed}");
        let judge = |how| ["break-glass", "review", id.as_str(), how, "--note", "read the log"];
        for (who, why) in [(&dave, "broke the glass"), (&bob, "answers for")] {
            let refused = cluster.cli_as(who, 2, &judge("--justified"))?.fails(1)?;
            ensure!(refused.contains(why), "{refused}");
        }
        cluster.cli_as(&carol, 1, &judge("--not-justified"))?.ok()?;
        let closed = cluster.cli(&["grant", "get", &grant])?.ok()?;
        ensure!(closed.contains("was not justified"), "{closed}");
        let refused = cluster.cli(&["explain", "--principal", "bot", "--target", "orders", "--statement", PAYROLL])?;
        ensure!(refused.out.contains("hold"), "{refused:?}");

        // Paid: and what is broken now goes like any grant.
        let second = cluster.cli_as(&dave, 2, &smash("1h"))?.ok()?;
        let second = id_in(&second, "grant-").with_context(|| second.clone())?;
        cluster.cli(&["grant", "revoke", &second, "--reason", "enough"])?.ok()?;
        let after = cluster.nodes[0].get("/metrics")?;
        ensure!(after.contains("assize_break_glass_live 0"), "{after}");
        Ok(())
    });
}
