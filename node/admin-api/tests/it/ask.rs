//! What agents ask for themselves, glass that people break, and runs, through the API.

use domain::admission::{Cited, Outcome};
use domain::audit::record::{Admission, Event};
use proto::admin as pb;
use tonic::Code;

use crate::grants::{furnished, grant};
use crate::world::{As, World, check_told};

type Requests<T> = pb::requests_client::RequestsClient<T>;
type Glass<T> = pb::break_glass_client::BreakGlassClient<T>;
type Runs<T> = pb::runs_client::RunsClient<T>;

fn exact(principal: &str, statement: &str) -> pb::OpenRequestRequest {
    let exact = Some(pb::ExactAsk { statement: statement.into(), database: String::new() });
    pb::OpenRequestRequest { principal: principal.into(), target: "orders".into(), exact, reason: "once".into(), ..Default::default() }
}

fn window(length: i64) -> Option<pb::Window> {
    let length = Some(proto::types::Duration { seconds: length, nanos: 0 });
    Some(pb::Window { permissions: vec!["postgres:select on app.public.later".into()], length })
}

/// `bot` may read `app.public.orders`, and has an admin token.
async fn asking() -> (World, As, As) {
    let (world, admin) = furnished().await;
    pb::grants_client::GrantsClient::new(admin.clone())
        .create_grant(grant(&["postgres:select on app.public.orders"]))
        .await
        .expect("a grant");
    let bot = world.bearer(Some(world.cluster().admin_token("bot")));
    (world, admin, bot)
}

#[tokio::test]
async fn an_agent_asks_for_one_exact_statement_and_withdraws_it_and_does_nothing_else() {
    let (_world, admin, bot) = asking().await;
    let mut mine = Requests::new(bot.clone());
    let opened = mine.open_request(exact("", "SELECT FROM payroll")).await.expect("opened").into_inner();
    let Some(pb::access_request::Ask::Exact(asked)) = &opened.ask else { panic!("{opened:?}") };
    assert_eq!((asked.statement.as_str(), opened.principal.as_str()), ("SELECT FROM payroll", "bot"));
    assert_eq!(asked.missing, ["postgres:select on app.public.payroll"]);
    let context: Vec<(&str, &str)> = asked.context.iter().map(|c| (c.name.as_str(), c.value.as_str())).collect();
    assert_eq!(context, [("database", "app"), ("role", "app")]);
    let again = mine.open_request(exact("bot", "SELECT FROM payroll")).await.expect("joined").into_inner();
    assert_eq!((again.id.as_str(), again.joined), (opened.id.as_str(), 1), "the same is the same");
    check_told(mine.open_request(exact("", "SELECT FROM orders")).await, Code::FailedPrecondition, "INVALID", &[]);
    check_told(mine.open_request(exact("", "gibberish")).await, Code::FailedPrecondition, "INVALID", &[]);
    let both = pb::OpenRequestRequest { window: window(60), ..exact("", "SELECT FROM payroll") };
    check_told(mine.open_request(both).await, Code::InvalidArgument, "INVALID", &["exact"]);
    check_told(mine.open_request(exact("admin", "SELECT FROM payroll")).await, Code::PermissionDenied, "FORBIDDEN", &[]);
    let decide = pb::DecideRequestRequest { id: opened.id.clone(), ..Default::default() };
    check_told(mine.approve_request(decide).await, Code::PermissionDenied, "FORBIDDEN", &[]);
    let listed = mine.list_requests(pb::ListRequestsRequest::default()).await.expect("its own").into_inner();
    assert_eq!(listed.requests.len(), 1);
    let list = pb::grants_client::GrantsClient::new(bot.clone()).list_grants(pb::ListGrantsRequest::default()).await;
    check_told(list, Code::PermissionDenied, "FORBIDDEN", &[]);
    let withdraw = pb::WithdrawRequestRequest { id: opened.id.clone(), ..Default::default() };
    mine.withdraw_request(withdraw).await.expect("withdrawn");
    let seen = Requests::new(admin).get_request(pb::GetRequestRequest { id: opened.id }).await.expect("there").into_inner();
    assert!(matches!(seen.status.and_then(|s| s.status), Some(pb::request_status::Status::Withdrawn(by)) if by.by == "bot"));
}

fn smash() -> pb::BreakGlassRequest {
    pb::BreakGlassRequest {
        principal: "bot".into(),
        target: "orders".into(),
        permissions: vec!["postgres:delete on app.public.orders".into()],
        reason: "orders are stuck".into(),
        ticket: "INC-7".into(),
        ..Default::default()
    }
}

#[tokio::test]
async fn who_may_breaks_glass_and_somebody_else_reviews_it() {
    let (world, _admin, bot) = asking().await;
    let fay = world.person("fay", &["assize:operate on break-glass/orders", "assize:decide on request/*"]).await;
    let eve = world.person("eve", &["assize:decide on request/*"]).await;
    let gus = world.person("gus", &["assize:read on role/*"]).await;
    check_told(Glass::new(eve.clone()).break_glass(smash()).await, Code::PermissionDenied, "FORBIDDEN", &[]);
    check_told(Glass::new(bot).break_glass(smash()).await, Code::PermissionDenied, "FORBIDDEN", &[]);
    let mut broken = Glass::new(fay.clone());
    let nothing = pb::BreakGlassRequest { ticket: String::new(), ..smash() };
    check_told(broken.break_glass(nothing).await, Code::InvalidArgument, "INVALID", &["ticket"]);
    let made = broken.break_glass(smash()).await.expect("open").into_inner();
    assert!(made.live && !made.overdue && made.review.is_none() && made.by == "fay", "{made:?}");
    let get = |who: As| async { Glass::new(who).get_break_glass(pb::GetBreakGlassRequest { id: made.id.clone() }).await };
    get(eve.clone()).await.expect("who decides at the target sees it");
    check_told(get(gus).await, Code::PermissionDenied, "FORBIDDEN", &[]);
    let judge = |justified| pb::ReviewBreakGlassRequest { id: made.id.clone(), justified, note: "read".into(), ..Default::default() };
    check_told(broken.review_break_glass(judge(true)).await, Code::PermissionDenied, "SEPARATION_OF_DUTIES", &[]);
    let found = Glass::new(eve).review_break_glass(judge(false)).await.expect("reviewed").into_inner();
    assert!(found.receipt.is_some(), "what was not justified is taken away behind the barrier");
    assert!(found.broken.is_some_and(|b| !b.live && b.review.is_some_and(|r| r.by == "eve" && !r.justified)));
}

#[tokio::test]
async fn a_run_is_told_to_its_principal_and_to_who_may_read_all() {
    let (world, admin, bot) = asking().await;
    for principal in ["bot", "mole"] {
        let admission = Admission {
            principal,
            owner: None,
            on_behalf_of: None,
            target: "orders",
            outcome: &Outcome::Approved,
            cited: &Cited::default(),
            client_address: "127.0.0.1:1",
            application_name: "",
            notes: &[],
        };
        world.cluster().record_in_run(Some("nightly-17"), &Event::Admission(admission));
    }
    let ask = |principal: &str| pb::GetRunRequest { run: "nightly-17".into(), principal: principal.into(), ..Default::default() };
    let all = Runs::new(admin).get_run(ask("")).await.expect("told").into_inner();
    let names: Vec<&str> = all.runs.iter().map(|run| run.principal.as_str()).collect();
    assert_eq!(names, ["bot", "mole"], "one name, two runs");
    let mut own = Runs::new(bot);
    let mine = own.get_run(ask("")).await.expect("its own").into_inner();
    assert!(mine.runs.len() == 1 && mine.runs[0].principal == "bot" && mine.runs[0].approved == 1, "{mine:?}");
    check_told(own.get_run(ask("mole")).await, Code::PermissionDenied, "FORBIDDEN", &[]);
    let bad = pb::GetRunRequest { run: "a/b".into(), ..Default::default() };
    check_told(own.get_run(bad).await, Code::InvalidArgument, "INVALID", &["run"]);
}
