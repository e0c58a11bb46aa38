//! What is not granted waits for a person, is done once, and never inside a transaction.

use anyhow::{Context as _, Result, ensure};
use chaos::cluster::{Cluster, PATIENCE, Said, Setup, said, with};

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
fn pending_requests_of_one_agent_have_a_limit() {
    with(Setup::default(), |cluster| -> Result<()> {
        let token = cluster.token("bot")?;
        let url = cluster.url(0, "bot", &token);
        // Inside a transaction each is refused at once and leaves its request behind.
        for number in 0..40 {
            in_transaction(cluster, &url, &format!("select {number} from payroll"))?.fails(1)?;
        }
        let pending = cluster.json(&["request", "list", "--principal", "bot"])?;
        let count = pending["requests"].as_array().map_or(0, Vec::len);
        ensure!(count <= 32, "{count} requests pend");
        ensure!(cluster.sql(&url, "select count(*) from orders")?.ok()?.trim() == "0", "granted work goes on");
        Ok(())
    });
}

/// A statement after a `BEGIN` of its own, so that a transaction is open when it comes.
fn in_transaction(cluster: &Cluster, url: &str, sql: &str) -> Result<Said> {
    said(cluster.psql(url).args(["-v", "VERBOSITY=verbose", "-c", "begin", "-c", sql]))
}
