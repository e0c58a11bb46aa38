//! Who may do what where, as a table that a person can review: ✔ allowed, ? held for approval, ✘ not admitted.

use std::time::Duration;

use super::*;
use crate::command::Command;

const OPERATIONS: [(&str, &str); 8] = [
    ("read", "postgres:select on app.public.orders"),
    ("read column", "postgres:select on app.public.orders(id)"),
    ("insert", "postgres:insert on app.public.orders"),
    ("delete", "postgres:delete on app.public.orders"),
    ("ddl", "postgres:ddl on app.public.orders"),
    ("other schema", "postgres:select on app.secret.keys"),
    ("unknown", "postgres:admin on *.*.*"),
    ("read+delete", "postgres:select on app.public.orders\npostgres:delete on app.public.orders"),
];

/// A world with one of each kind of trouble.
fn world() -> World {
    let mut w = World::new();
    let ana = || by("ana");
    let select = "postgres:select on app.public.*";
    let minute = Some(w.stamp.after(Duration::from_secs(60)));
    w.done(ana(), target_command("archive"));
    let agent = |w: &mut World, agent: &str| w.done(ana(), agent_command(agent, "cora", Some("reports"), true));

    for name in ["wide", "overdue", "expired", "early", "window", "revoked", "locked", "inactive", "columns", "labels"] {
        agent(&mut w, name);
    }
    w.grant(ana(), grant_command("wide", "orders", "postgres:* on *.*.*"));
    w.grant(ana(), with_times(grant_command("overdue", "orders", select), None, None, minute));
    w.grant(ana(), with_times(grant_command("expired", "orders", select), None, minute, None));
    let tomorrow = Some(w.stamp.after(Duration::from_secs(24 * 3600)));
    w.grant(ana(), with_times(grant_command("early", "orders", select), tomorrow, None, None));
    let revoked = w.grant(ana(), grant_command("revoked", "orders", select));
    w.done(ana(), Command::RevokeGrant { grant: revoked, reason: "not needed".to_owned() });
    w.grant(ana(), grant_command("locked", "orders", select));
    w.lock(ana(), Command::CreateLock { on: LockOn::Principal(name("locked")), reason: "incident".to_owned(), expires: None });
    w.grant(ana(), grant_command("inactive", "orders", select));
    w.done(ana(), agent_command("inactive", "cora", Some("reports"), false));
    w.grant(ana(), grant_command("columns", "orders", "postgres:select on app.public.orders(id,status)"));
    let prod = [("env".to_owned(), "prod".to_owned())].into();
    w.grant(ana(), on_target(grant_command("labels", "orders", select), crate::grant::TargetSelector::Labels(prod)));

    w.done(ana(), agent_command("jobless", "cora", None, true));
    w.grant(ana(), grant_command("jobless", "orders", select));
    w.done(ana(), person_command("gus", true));
    w.done(ana(), agent_command("orphan", "gus", Some("reports"), true));
    w.grant(ana(), grant_command("orphan", "orders", select));
    w.done(ana(), person_command("gus", false));
    w.grant(ana(), grant_command("fay", "orders", "postgres:select,delete on app.public.*"));

    // Beyond the job, for a while, because ben said so.
    let ask = window("postgres:delete on app.public.orders", Duration::from_secs(3600));
    let (request, _) = w.request(by("window"), request_command("window", ask));
    w.done(by("ben"), decide(request, true));
    w.pass(Duration::from_secs(60));
    w
}

#[test]
fn matrix() {
    let w = world();
    let principals = [
        "bot", "wide", "columns", "labels", "window", "fay", "ana", "overdue", "expired", "early", "revoked", "locked", "inactive",
        "jobless", "orphan", "nobody",
    ];
    let mut lines =
        vec![format!("{:<9} {:<8} {} outcome", "principal", "target", OPERATIONS.map(|(title, _)| format!("{title:<12}")).join(" "))];
    for principal in principals {
        for target in ["orders", "archive", "nowhere"] {
            let admission = w.admit(principal, target);
            let cells = OPERATIONS.map(|(_, accesses)| {
                let verdict = admission
                    .permit
                    .as_ref()
                    .map(|permit| permit.judge(&w.state, &operation(accesses), &digest(99), w.state.now, &NoRules).verdict);
                format!(
                    "{:<12}",
                    match verdict {
                        Some(Verdict::Allow { .. } | Verdict::AllowByApproval { .. }) => "✔",
                        Some(Verdict::Hold { .. }) => "?",
                        Some(Verdict::Refuse(_) | Verdict::EndSession(_)) | None => "✘",
                    }
                )
            });
            let outcome = match &admission.outcome {
                Outcome::Approved => "approved".to_owned(),
                Outcome::Modified { dropped } => format!("modified, without {}", dropped.join("; ")),
                Outcome::Revoked(refusal) => format!("revoked: {refusal}"),
            };
            lines.push(format!("{principal:<9} {target:<8} {} {outcome}", cells.join(" ")));
        }
    }
    insta::assert_snapshot!(lines.join("\n"));
}
