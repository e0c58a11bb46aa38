//! psql through each node: what works as with PostgreSQL, what is refused and how.

use std::process::Command;

use anyhow::{Result, ensure};
use chaos::cluster::{Setup, said, tool, with};

#[test]
fn psql_works_through_each_node_and_is_refused_in_its_own_words() {
    with(Setup::default(), |cluster| {
        let token = cluster.token("bot")?;
        for node in 0..3 {
            let url = cluster.url(node, "bot", &token);
            let id = 100 * (node + 1);
            let described = said(tool("psql").args(["-X", &url, "-c", "\\d orders", "-c", "\\dt", "-c", "\\conninfo"]))?.ok()?;
            ensure!(described.contains("orders_pkey") && described.contains("payroll"), "{described}");

            let file = cluster.path(&format!("rows{node}"));
            std::fs::write(&file, format!("{id}\tone\n{}\ttwo\n", id + 1))?;
            cluster.sql(&url, &format!("\\copy orders from '{file}'"))?.ok()?;
            let back = cluster.path(&format!("back{node}"));
            cluster
                .sql(&url, &format!("\\copy (select * from orders where id between {id} and {id} + 1 order by id) to '{back}'"))?
                .ok()?;
            ensure!(std::fs::read(&file)? == std::fs::read(&back)?, "\\copy gives back what it took");

            let many = format!(
                "insert into orders values ({id} + 2, 'three'); update orders set note = 'x' where id = {id}; select note from orders where id = {id}"
            );
            ensure!(cluster.sql(&url, &many)?.ok()?.trim() == "x");

            let script = cluster.path("watch.sql");
            std::fs::write(
                &script,
                format!("set statement_timeout = '5s';\nselect count(*) from orders where id between {id} and {id} + 9 \\watch 0.2\n"),
            )?;
            let watched = said(
                Command::new("timeout")
                    .args(["-s", "INT", "3"])
                    .arg("/usr/lib/postgresql/15/bin/psql")
                    .args(["-X", "-A", "-t", "-q", &url, "-f", &script]),
            )?;
            ensure!(watched.out.lines().filter(|line| *line == "3").count() >= 2, "\\watch ran twice: {watched:?}");

            let wrong = cluster.sql(&url, "select nothing from orders")?.fails(1)?;
            ensure!(wrong.contains("42703"), "PostgreSQL's own errors pass: {wrong}");
            let parted = cluster.sql(&url, "select 1; select 1/0; select 2")?.fails(1)?;
            ensure!(parted.contains("22012"), "{parted}");
        }
        Ok(())
    });
}

#[test]
fn a_login_is_refused_alike_for_a_wrong_token_and_an_unknown_agent() {
    with(Setup { tls: true, ..Setup::default() }, |cluster| {
        let token = cluster.token("bot")?;
        let refusal = |agent: &str, token: &str| -> Result<String> {
            let said = cluster.sql(&cluster.url(1, agent, token), "select 1")?.fails(2)?;
            Ok(said.replace(agent, "AGENT"))
        };
        let wrong = refusal("bot", "assize_wrong")?;
        ensure!(wrong == refusal("nobody", "assize_wrong")? && wrong == refusal("nobody", &token)?, "they look the same: {wrong}");
        ensure!(wrong.contains("FATAL"), "{wrong}");
        let elsewhere = cluster.url(1, "bot", &token).replace("/orders", "/absent");
        ensure!(cluster.sql(&elsewhere, "select 1")?.code == 2, "an unknown target is refused at login");

        // TLS, both ways of asking for it, checked by the client against the operator's own authority; behind it the
        // gateway checks PostgreSQL's certificate likewise.
        let (ca, node) = (cluster.path("ca.pem"), &cluster.nodes[2]);
        let verified = |port: u16, database: &str, more: &str| {
            format!("host=localhost port={port} user=bot password={token} dbname={database} sslmode=verify-full sslrootcert={ca} {more}")
        };
        let scram = verified(node.tls, "orders", "channel_binding=prefer");
        ensure!(cluster.sql(&scram, "select count(*) from orders")?.ok()?.trim() == "0");
        let shown = said(tool("psql").args(["-X", &scram, "-c", "\\conninfo"]))?.ok()?;
        ensure!(shown.contains("SSL connection"), "{shown}");
        let upstream = cluster.postgres.superuser(
            "postgres",
            "select count(*) from pg_stat_ssl join pg_stat_activity using (pid) where usename = 'assize_gateway' and ssl",
        )?;
        ensure!(upstream == "0", "its sessions at PostgreSQL end with the client's: {upstream}");
        let seen = cluster.psql_in_background("sleeper", &scram, "select pg_sleep(2)")?;
        chaos::wait::until("a session under TLS at PostgreSQL", chaos::cluster::PATIENCE, || {
            let sql = "select count(*) from pg_stat_ssl join pg_stat_activity using (pid) where usename = 'assize_gateway' and ssl";
            Ok((cluster.postgres.superuser("postgres", sql)? != "0").then_some(()))
        })?;
        drop(seen);

        // Bound to one target: the database passes through, and the password is the token.
        ensure!(cluster.sql(&verified(node.password, "app", ""), "select current_database()")?.ok()?.trim() == "app");
        let refused = cluster.sql(&verified(node.password, "app", "").replace(&token, "wrong"), "select 1")?.fails(2)?;
        ensure!(refused.contains("FATAL"), "{refused}");
        let plain = format!("host=127.0.0.1 port={} user=bot password={token} dbname=app sslmode=disable", node.password);
        ensure!(cluster.sql(&plain, "select 1")?.code == 2, "without TLS this listener takes nobody");

        let direct = said(
            Command::new("openssl")
                .args(["s_client", "-alpn", "postgresql", "-CAfile", &ca, "-verify_return_error", "-verify_hostname", "localhost"])
                .args(["-connect", &format!("127.0.0.1:{}", node.tls)]),
        )?;
        ensure!(direct.out.contains("ALPN protocol: postgresql"), "direct TLS with ALPN: {direct:?}");
        Ok(())
    });
}
