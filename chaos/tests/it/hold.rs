//! What is not granted waits for a person, is done once, and never inside a transaction.

use anyhow::{Context as _, Result, ensure};
use chaos::clients::python;
use chaos::cluster::{Cluster, PATIENCE, Said, Setup, id_in, said, with};
use chaos::process::Background;
use chaos::wait;

const PAYROLL: &str = "select salary from payroll where name = 'eve'";

#[test]
fn a_held_statement_is_approved_on_another_node_and_spent_once() {
    with(Setup::default(), |cluster| {
        let token = cluster.token("bot")?;
        let carol = cluster.admin_token("carol")?;
        let urls: Vec<String> = (0..3).map(|node| cluster.url(node, "bot", &token)).collect();

        let mut first = cluster.psql_in_background("first", &urls[0], PAYROLL)?;
        let request = cluster.held(&first)?;
        ensure!(!cluster.postgres.statements()?.contains("payroll where"), "nothing reached PostgreSQL");
        let listed = cluster.cli_as(&carol, 2, &["request", "list"])?.ok()?;
        ensure!(listed.contains(&request), "{listed}");
        let bob = cluster.admin_token("bob")?;
        cluster.cli_as(&bob, 1, &["request", "approve", &request])?.fails(1).context("the owner may not approve for its agent")?;
        ensure!(first.is_running(), "it still waits");
        cluster.cli_as(&carol, 2, &["request", "approve", &request, "--reason", "quarter end"])?.ok()?;
        ensure!(first.ended(PATIENCE)?.success(), "{}", first.tail());
        ensure!(first.tail().contains("4100"), "{}", first.tail());

        // Spent: the same statement is a new question, and a denial answers it with its reason.
        let mut second = cluster.psql_in_background("second", &urls[1], PAYROLL)?;
        let again = cluster.held(&second)?;
        ensure!(again != request, "{again} was used twice");
        cluster.cli_as(&carol, 0, &["request", "deny", &again, "--reason", "once was enough"])?.ok()?;
        ensure!(!second.ended(PATIENCE)?.success());
        ensure!(second.tail().contains("once was enough") && second.tail().contains("42501"), "{}", second.tail());

        // The client gives up; its request stays, and the next try finds the approval on any node.
        let third = cluster.psql_in_background("third", &urls[0], PAYROLL)?;
        let left = cluster.held(&third)?;
        drop(third);
        cluster.cli_as(&carol, 1, &["request", "approve", &left])?.ok()?;
        ensure!(cluster.sql(&urls[2], PAYROLL)?.ok()?.trim() == "4100");
        let status = cluster.json(&["request", "get", &left])?.to_string();
        ensure!(status.contains("spent"), "{status}");
        let fourth = cluster.psql_in_background("fourth", &urls[2], PAYROLL)?;
        ensure!(cluster.held(&fourth)? != left);
        drop(fourth);

        // Locks of an open transaction would wait with it: refused at once, with the request's id.
        let refused = in_transaction(cluster, &urls[1], "delete from payroll")?.fails(1)?;
        ensure!(refused.contains("42501"), "{refused}");
        let runs = cluster.postgres.statements()?.matches("payroll where").count();
        ensure!(runs == 2, "PostgreSQL ran it {runs} times for two approvals");
        Ok(())
    });
}

#[test]
fn two_of_three_must_approve_and_nobody_on_the_asking_side_may() {
    with(Setup::default(), |cluster| {
        cluster.cli(&["target", "update", "orders", "--approvals", "2"])?.ok()?;
        let token = cluster.token("bot")?;
        let [bob, carol, dave] = ["bob", "carol", "dave"].map(|person| cluster.admin_token(person));
        let (bob, carol, dave) = (bob?, carol?, dave?);
        let mut waiting = cluster.psql_in_background("waiting", &cluster.url(0, "bot", &token), PAYROLL)?;
        let request = cluster.held(&waiting)?;
        let refused = cluster.cli_as(&bob, 2, &["request", "approve", &request])?.fails(1)?;
        ensure!(refused.contains("answers for"), "bob owns the agent: {refused}");
        for node in [1, 2] {
            let one = cluster.cli_as(&carol, node, &["request", "approve", &request])?.ok()?;
            ensure!(one.contains("1 of 2"), "one person counts once: {one}");
        }
        ensure!(waiting.is_running() && !cluster.postgres.statements()?.contains("payroll where"), "one of two is not enough");
        cluster.cli_as(&dave, 2, &["request", "approve", &request])?.ok()?;
        ensure!(waiting.ended(PATIENCE)?.success() && waiting.tail().contains("4100"), "{}", waiting.tail());

        // Whoever opens a request for an agent is behind it like its owner, whatever they may decide otherwise.
        let read = ["-p", "postgres:select on app.public.payroll", "--for", "1h", "--reason", "month end"];
        let open = [&["request", "open", "--principal", "bot", "--target", "orders"], &read[..]].concat();
        let opened = cluster.cli(&open)?.ok()?;
        let window = id_in(&opened, "request-").with_context(|| opened.clone())?;
        let refused = cluster.cli(&["request", "approve", &window])?.fails(1)?;
        ensure!(refused.contains("behind"), "alice opened it: {refused}");
        let refused = cluster.cli_as(&bob, 2, &["request", "approve", &window])?.fails(1)?;
        ensure!(refused.contains("answers for"), "bob owns the agent: {refused}");
        let url = cluster.url(1, "bot", &token);
        ensure!(in_transaction(cluster, &url, PAYROLL)?.code == 1, "not yet");
        cluster.cli_as(&dave, 0, &["request", "approve", &window])?.ok()?;
        ensure!(in_transaction(cluster, &url, PAYROLL)?.code == 1, "one of two");
        let granted = cluster.cli_as(&carol, 1, &["request", "approve", &window])?.ok()?;
        ensure!(granted.contains("grant-"), "{granted}");
        cluster.settled()?;
        ensure!(cluster.sql(&url, PAYROLL)?.ok()?.trim() == "4100");
        Ok(())
    });
}

#[test]
fn a_ci_job_whose_driver_gives_up_gets_through_once_somebody_approved() {
    with(Setup::default(), |cluster| {
        let token = cluster.token("bot")?;
        let carol = cluster.admin_token("carol")?;
        let urls: Vec<String> = (0..3).map(|node| cluster.url(node, "bot", &token)).collect();
        let log = cluster.path("ci-job.log");
        let mut job = python("ci_job.py");
        let mut job = Background::start("ci job", job.env("DATABASE_URLS", urls.join(" ")).env("TIMEOUT", "3"), log.as_ref())?;
        wait::until("the driver to give up", PATIENCE, || Ok(job.tail().contains("timed out").then_some(())))?;
        let open = cluster.json(&["request", "list", "--principal", "bot"])?;
        let request = open["requests"][0]["id"].as_str().with_context(|| open.to_string())?.to_owned();
        ensure!(!cluster.postgres.statements()?.contains("payroll where"), "nothing reached PostgreSQL");
        cluster.cli_as(&carol, 2, &["request", "approve", &request])?.ok()?;
        ensure!(job.ended(PATIENCE)?.success() && job.tail().contains("got 4100"), "{}", job.tail());
        let all = cluster.json(&["request", "list", "--principal", "bot", "--all"])?;
        ensure!(all["requests"].as_array().map(Vec::len) == Some(1), "every attempt joined the first: {all:#}");
        ensure!(all["requests"][0]["status"].get("spent").is_some(), "{all:#}");
        Ok(())
    });
}

/// What may wait for a person at most.
const PENDING_PER_PRINCIPAL: usize = 32;
const PENDING_PER_TARGET: usize = 256;

#[test]
fn pending_requests_have_a_limit_per_principal_and_per_target() {
    with(Setup::default(), |cluster| -> Result<()> {
        let token = cluster.token("bot")?;
        let url = cluster.url(0, "bot", &token);
        // Inside a transaction each is refused at once and leaves its request behind.
        let mut last = String::new();
        for number in 0..PENDING_PER_PRINCIPAL + 2 {
            last = in_transaction(cluster, &url, &format!("select {number} from payroll"))?.fails(1)?;
        }
        ensure!(last.contains("54000") && last.contains("at most 32"), "told that no more may wait: {last}");
        ensure!(pending(cluster, &["--principal", "bot"])? == PENDING_PER_PRINCIPAL);
        ensure!(cluster.sql(&url, "select count(*) from orders")?.ok()?.trim() == "0", "granted work goes on");
        // Decided makes room again.
        let open = cluster.json(&["request", "list", "--principal", "bot"])?;
        let first = open["requests"][0]["id"].as_str().context("a request")?;
        cluster.cli(&["request", "deny", first])?.ok()?;
        in_transaction(cluster, &url, "select 'room' from payroll")?.fails(1)?;
        ensure!(pending(cluster, &["--principal", "bot"])? == PENDING_PER_PRINCIPAL);

        // Many principals together reach the target's limit, from any node.
        let crowd = PENDING_PER_TARGET / PENDING_PER_PRINCIPAL;
        for agent in 0..crowd {
            cluster.cli(&["agent", "create", &format!("crowd-{agent}"), "--owner", "bob", "--job", "keep-orders"])?.ok()?;
        }
        let ask = |agent: usize, number: usize| {
            let (who, what) = (format!("crowd-{agent}"), format!("postgres:select on app.public.table_{number}"));
            let open = ["request", "open", "--principal", &who, "--target", "orders", "-p", &what, "--for", "1h", "--reason", "crowd"];
            cluster.cli_at(agent % 3, &open)
        };
        for number in 0..PENDING_PER_TARGET - PENDING_PER_PRINCIPAL {
            ask(number % crowd, number / crowd)?.ok()?;
        }
        ensure!(pending(cluster, &["--target", "orders"])? == PENDING_PER_TARGET);
        for agent in 0..3 {
            let refused = ask(agent, PENDING_PER_PRINCIPAL)?.fails(1)?;
            ensure!(refused.contains("at orders") && refused.contains("256"), "{refused}");
        }
        ensure!(pending(cluster, &["--target", "orders"])? == PENDING_PER_TARGET);
        Ok(())
    });
}

fn pending(cluster: &Cluster, filter: &[&str]) -> Result<usize> {
    let listed = cluster.json(&[&["request", "list"], filter].concat())?;
    Ok(listed["requests"].as_array().map_or(0, Vec::len))
}

/// A statement after a `BEGIN` of its own, so that a transaction is open when it comes.
fn in_transaction(cluster: &Cluster, url: &str, sql: &str) -> Result<Said> {
    said(cluster.psql(url).args(["-v", "VERBOSITY=verbose", "-c", "begin", "-c", sql]))
}
