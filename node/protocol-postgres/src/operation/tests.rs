//! The corpus, judged and printed for review, and what must hold for any text.

use std::fmt::Write;

use domain::operation::{Access, Effect, Operation};
use proptest::prelude::*;

use super::*;

fn context() -> Context {
    Context::with_schemas("app", ["public"])
}

/// `verb path(columns)`, as a person reads it.
fn access(access: &Access) -> String {
    let path = access.resource.path.join(".");
    let columns = access
        .resource
        .columns
        .as_ref()
        .map(|c| format!("({})", c.iter().map(AsRef::as_ref).collect::<Vec<_>>().join(",")))
        .unwrap_or_default();
    format!("{} {path}{columns}", access.verb.as_str())
}

fn step(step: &Step) -> String {
    let list =
        |operation: &Operation| format!("{:?}: {}", operation.effect, operation.accesses.iter().map(access).collect::<Vec<_>>().join("; "));
    match step {
        Step::Prepare(p) => format!("prepare {} {{{}}}", p.name, list(&p.operation)),
        Step::Declare(c) => format!("declare {}{} {{{}}}", c.name, if c.hold { " with hold" } else { "" }, list(&c.operation)),
        Step::Setting(c) => {
            format!(
                "setting {} {:?}{}{}",
                c.name,
                c.value,
                if c.local { " local" } else { "" },
                if c.breaks_pin { " BREAKS A PIN" } else { "" }
            )
        }
        other => format!("{other:?}"),
    }
}

fn render(sql: &str) -> String {
    let judged = classify(sql, &context());
    let mut out = format!("{sql}\n    {} {:?}", judged.operation.tag, judged.operation.effect);
    if judged.changes_context {
        out.push_str(", changes context");
    }
    if let Some(copy) = judged.copy {
        write!(out, ", copy {copy:?}").expect("writing to a string");
    }
    if let Some(message) = &judged.unparseable {
        write!(out, ", {message}").expect("writing to a string");
    }
    for needed in judged.operation.accesses.iter() {
        write!(out, "\n    needs {}", access(needed)).expect("writing to a string");
    }
    for done in &judged.steps {
        write!(out, "\n    does {}", step(done)).expect("writing to a string");
    }
    out
}

fn corpus() -> impl Iterator<Item = &'static str> {
    include_str!("../../tests/corpus.sql").lines().filter(|line| !line.starts_with('#'))
}

#[test]
fn the_corpus_is_judged_as_reviewed() {
    let rendered: Vec<String> = corpus().map(render).collect();
    assert!(rendered.len() >= 250);
    insta::with_settings!({ prepend_module_to_snapshot => false, snapshot_path => "tests" }, {
        insta::assert_snapshot!("corpus", rendered.join("\n\n"));
    });
}

/// Every line of `expect` is an access, in order; the effect stands first.
#[track_caller]
fn check(sql: &str, context: &Context, expect: &[&str]) {
    let judged = classify(sql, context);
    let mut found = vec![format!("{:?}", judged.operation.effect)];
    found.extend(judged.operation.accesses.iter().map(access));
    assert_eq!(found, expect, "{sql}");
}

#[test]
fn an_unqualified_name_needs_every_schema_it_may_stand_in() {
    let two = Context::with_schemas("app", ["one", "two"]);
    check("SELECT a FROM t", &two, &["Read", "select app.one.t(a)", "select app.two.t(a)"]);
    check("SELECT f()", &two, &["Lasting", "call app.one.f", "call app.two.f"]);
    check("CREATE TABLE t (a int)", &two, &["Transactional", "ddl app.one.t"]);
    check("DROP TABLE t", &two, &["Transactional", "ddl app.one.t", "ddl app.two.t"]);
    check("SELECT relname FROM pg_class", &two, &["Read", "select app.pg_catalog.pg_class(relname)"]);
    let shadowing = Context::with_schemas("app", ["one", "pg_catalog"]);
    check("SELECT * FROM pg_class", &shadowing, &["Read", "select app.one.pg_class", "select app.pg_catalog.pg_class"]);
}

#[test]
fn an_unknown_path_needs_any_schema() {
    let unknown = Context::unknown("app");
    check("SELECT a FROM t", &unknown, &["Read", "select app.*.t(a)"]);
    check("SELECT relname FROM pg_class", &unknown, &["Read", "select app.*.pg_class(relname)"]);
    check("SELECT f()", &unknown, &["Lasting", "call app.*.f"]);
    check("SELECT lower('A')", &unknown, &["Lasting", "call app.*.lower"]);
    check("SELECT pg_catalog.lower('A')", &unknown, &["Read"]);
    check("SELECT a FROM public.t", &unknown, &["Read", "select app.public.t(a)"]);
    check("SELECT a FROM t", &Context::with_schemas("app", [""; 0]), &["Read", "select app.*.t(a)"]);
}

#[test]
fn a_built_in_name_that_a_user_overloads_is_the_users() {
    let mut shadowed = context();
    shadowed.shadowed = ["lower".into(), "nextval".into(), "json_scalar".into(), "pg_get_sequence_data".into()].into();
    check("SELECT lower('A')", &shadowed, &["Lasting", "call app.public.lower"]);
    check("SELECT pg_catalog.lower('A')", &shadowed, &["Read"]);
    check("SELECT upper('a')", &shadowed, &["Read"]);
    check("SELECT nextval('s')", &shadowed, &["Lasting", "update app.public.s", "call app.public.nextval"]);
    check("SELECT pg_get_sequence_data(1)", &context(), &["Read", "select app.pg_catalog.pg_sequences"]);
    check(
        "SELECT pg_get_sequence_data(1)",
        &shadowed,
        &["Lasting", "select app.pg_catalog.pg_sequences", "call app.public.pg_get_sequence_data"],
    );
    check("SELECT json_scalar(1)", &shadowed, &["Lasting", "call app.public.json_scalar"]);
}

#[test]
fn a_temporary_relation_hides_all_others() {
    let mut temporary = context();
    temporary.temporary = ["orders".into()].into();
    check("SELECT id FROM orders", &temporary, &["Read", "select app.pg_temp.orders(id)"]);
    check("SELECT id FROM public.orders", &temporary, &["Read", "select app.public.orders(id)"]);
}

#[test]
fn what_runs_a_function_without_naming_it_needs_the_right_to_call() {
    let mut code = context();
    code.shadowed = ["###".into(), "::mood".into(), ".leak".into()].into();
    check("SELECT 1 ### 2", &code, &["Lasting", "call app.public.###"]);
    check("SELECT id FROM orders ORDER BY id USING ###", &code, &["Lasting", "select app.public.orders(id)", "call app.public.###"]);
    check("SELECT 1::mood, CAST(2 AS mood)", &code, &["Lasting", "call app.public.mood"]);
    check("SELECT o.leak FROM orders o", &code, &["Lasting", "select app.public.orders(leak)", "call app.public.leak"]);
    check("SELECT (o).leak FROM orders o", &code, &["Lasting", "select app.public.orders", "call app.public.leak"]);
    check("SELECT 1 + 2, 3::int", &code, &["Read"]);
    check("SELECT 1 ### 2", &context(), &["Read"]);
}

#[test]
fn a_temporary_relation_hides_nothing_where_the_path_may_place_its_schema() {
    let mut placed = context();
    placed.temporary_first = false;
    placed.temporary = ["orders".into()].into();
    check("SELECT id FROM orders", &placed, &["Read", "select app.pg_temp.orders(id)", "select app.public.orders(id)"]);
    let mut first = placed.clone();
    first.temporary_first = true;
    check(
        "SET search_path = public, pg_temp; SELECT id FROM orders",
        &first,
        &["Transactional", "select app.*.orders(id)", "select app.pg_temp.orders(id)", "session app.setting.search_path"],
    );
}

#[test]
fn a_string_that_changes_the_path_leaves_later_names_open() {
    let context = context();
    check(
        "SET search_path = secret; SELECT a FROM t",
        &context,
        &["Transactional", "select app.*.t(a)", "session app.setting.search_path"],
    );
    check("ROLLBACK; SELECT a FROM t", &context, &["Commit", "select app.*.t(a)"]);
    check("BEGIN; SELECT a FROM t; COMMIT", &context, &["Commit", "select app.public.t(a)"]);
    check("SELECT f(); SELECT a FROM t", &context, &["Lasting", "select app.*.t(a)", "call app.public.f"]);
    check("SET search_path = secret; SELECT lower('A')", &context, &["Lasting", "call app.*.lower", "session app.setting.search_path"]);
    check("SET search_path = secret; SELECT pg_catalog.lower('A')", &context, &["Transactional", "session app.setting.search_path"]);
    let mut temporary = context.clone();
    temporary.temporary = ["t".into()].into();
    check("DROP TABLE t; SELECT a FROM t", &temporary, &["Transactional", "select app.public.t(a)", "ddl app.pg_temp.t"]);
}

#[test]
fn a_row_lock_reaches_into_subqueries() {
    check(
        "SELECT * FROM (SELECT id FROM orders) s FOR UPDATE",
        &context(),
        &["Transactional", "select app.public.orders(id)", "update app.public.orders()"],
    );
}

#[test]
fn what_is_too_large_or_too_deep_is_the_widest_class() {
    let widest = ["Lasting", "admin app.*.*"];
    let context = context();
    check(&format!("SELECT {}1{}", "(".repeat(5_000), ")".repeat(5_000)), &context, &widest);
    check(&format!("SELECT {} true", "NOT ".repeat(20_000)), &context, &widest);
    check(&format!("SELECT {}1", "- ".repeat(20_000)), &context, &widest);
    check(&format!("SELECT 1{}", " + 1".repeat(5_000)), &context, &widest);
    check(&format!("SELECT {}1{}", "CASE WHEN true THEN ".repeat(3_000), " END".repeat(3_000)), &context, &widest);
    check(&format!("SELECT '{}'", "x".repeat(STATEMENT_SIZE_MAX)), &context, &widest);
    check("SELECT 1\0; DROP TABLE orders", &context, &widest);
    // Long but flat is fine.
    let many = (0..10_000).map(|n| n.to_string()).collect::<Vec<_>>().join(",");
    check(&format!("SELECT id FROM orders WHERE id IN ({many})"), &context, &["Read", "select app.public.orders(id)"]);
    let or = vec!["id = 1"; 500].join(" OR ");
    check(&format!("SELECT id FROM orders WHERE {or}"), &context, &["Read", "select app.public.orders(id)"]);
}

#[test]
fn names_of_prepared_statements_are_resolved_by_the_relay() {
    let context = context();
    let prepared = classify("PREPARE q AS DELETE FROM orders", &context);
    let Some(Step::Prepare(prepared)) = prepared.steps.first().cloned() else { panic!("no PREPARE") };
    assert_eq!(prepared.statement.as_ref(), "PREPARE q AS DELETE FROM orders");

    let executed = classify("SELECT 1; EXECUTE q", &context);
    assert_eq!(executed.operation.effect, Effect::Lasting);
    let resolved = executed.resolved(|step| (*step == Step::Execute("q".into())).then(|| prepared.operation.clone()));
    assert_eq!(resolved.effect, Effect::Transactional);
    assert_eq!(resolved.accesses.iter().map(access).collect::<Vec<_>>(), ["delete app.public.orders"]);
    assert_eq!(executed.resolved(|_| None), executed.operation);

    let redefined = classify("PREPARE q AS SELECT id FROM orders; EXECUTE q", &context);
    assert_eq!(redefined.resolved(|_| panic!("the string defines it itself")), redefined.operation);
    let dropped = classify("PREPARE q AS SELECT 1; DEALLOCATE q; EXECUTE q", &context);
    assert_eq!(dropped.operation.effect, Effect::Lasting);
}

#[test]
fn the_text_of_a_prepared_statement_is_its_own_part_of_the_string() {
    let judged = classify("SELECT 'ü'; PREPARE q AS SELECT 2; SELECT 3", &context());
    let Some(Step::Prepare(prepared)) = judged.steps.first() else { panic!("no PREPARE") };
    assert_eq!(prepared.statement.trim(), "PREPARE q AS SELECT 2");
}

#[test]
fn every_relation_call_and_query_of_the_corpus_is_seen() {
    for sql in corpus() {
        let Ok(parsed) = pg_query::parse(sql, 0) else { continue };
        let context = context();
        for raw in &parsed.protobuf.stmts {
            let mut walk = Walk::new(&context);
            let node = raw.stmt.as_ref().and_then(|s| s.node.as_ref()).expect("a statement");
            walk.statement(node, sql);
            assert!(walk.opaque || Tally::of(&raw.stmt) == Some(walk.seen), "{sql}: saw {:?} of {:?}", walk.seen, Tally::of(&raw.stmt));
        }
    }
}

fn covers(wide: &Operation, narrow: &Operation) -> bool {
    let all_held =
        narrow.accesses.iter().all(|a| wide.accesses.contains(a) || wide.accesses.iter().any(|w| w.resource.path[1].as_ref() == "*"));
    all_held && wide.effect >= narrow.effect
}

fn any_statement() -> impl Strategy<Value = &'static str> {
    prop::sample::select(corpus().collect::<Vec<_>>())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn any_text_is_judged(sql in "\\PC{0,200}") {
        classify(&sql, &context());
    }

    #[test]
    fn any_broken_statement_is_judged(sql in any_statement(), at in 0usize..200, byte in "\\PC") {
        let at = (0..=at.min(sql.len())).rev().find(|at| sql.is_char_boundary(*at)).unwrap_or(0);
        classify(&format!("{}{byte}{}", &sql[..at], &sql[at..]), &context());
    }

    #[test]
    fn another_statement_never_narrows(first in any_statement(), second in any_statement()) {
        let alone = classify(first, &context());
        let both = classify(&format!("{first}\n;{second}"), &context());
        prop_assert!(covers(&both.operation, &alone.operation), "{first} ; {second}");
    }

    #[test]
    fn explain_analyze_keeps_the_effect(sql in any_statement()) {
        let inner = classify(sql, &context());
        let explained = classify(&format!("EXPLAIN ANALYZE {sql}"), &context());
        if explained.unparseable.is_none() && inner.unparseable.is_none() {
            prop_assert!(covers(&explained.operation, &inner.operation), "{sql}");
        }
    }

    #[test]
    fn a_shared_shape_is_judged_as_the_text_itself(sql in any_statement(), number in 0u32..5_000, word in "[a-z;' ]{0,8}") {
        let word = word.replace('\'', "''");
        let other: String = sql.replace("'new'", &format!("'{word}'")).replace("= 1", &format!("= {number}")).replace("> 10", &format!("> {number}"));
        let classifier = Classifier::default();
        let context = std::sync::Arc::new(context());
        classifier.classify(sql, &context);
        prop_assert_eq!(&*classifier.classify(&other, &context), &classify(&other, &context));
    }
}
