use proptest::collection::{btree_set, vec};
use proptest::prelude::*;
use proptest::sample::select;

use super::*;
use crate::operation::Resource;

/// Patterns use the first five, and prefixes the first four; the others are names that no pattern mentions, one for
/// each prefix and one for none.
const NAMES: [&str; 10] = ["a", "ab", "abc", "b", "c", "a1", "ab1", "abc1", "b1", "fresh"];
const COLUMNS: [&str; 4] = ["x", "y", "z", "fresh"];
const VERBS: [Verb; 3] = [Verb::Select, Verb::Insert, Verb::Update];

fn set(text: &str) -> PermissionSet {
    text.parse().unwrap_or_else(|e| panic!("{e}"))
}

fn access(text: &str) -> Access {
    let permission: Permission = text.parse().unwrap_or_else(|e| panic!("{e}"));
    let path = permission.on.segments.iter().map(|segment| match segment {
        Segment::Any => "*".into(),
        Segment::Exact(name) => name.clone(),
        Segment::Prefix(_) => panic!("an access has no prefixes"),
    });
    let verb = *permission.verbs.first().expect("a verb");
    Access { protocol: permission.protocol, verb, resource: Resource { path: path.collect(), columns: permission.on.columns } }
}

#[track_caller]
fn check_allows(permissions: &str, wanted: &str, expect: bool) {
    assert_eq!(set(permissions).allows(&access(wanted)), expect, "{permissions}\n  {wanted}");
}

#[test]
fn allows_what_a_pattern_holds() {
    check_allows("postgres:select on app.public.*", "postgres:select on app.public.orders", true);
    check_allows("postgres:select on app.public.*", "postgres:insert on app.public.orders", false);
    check_allows("postgres:select on app.public.*", "postgres:select on app.other.orders", false);
    check_allows("postgres:select on app.public.ord*", "postgres:select on app.public.orders", true);
    check_allows("postgres:select on app.public.ord*", "postgres:select on app.public.order", true);
    check_allows("postgres:select on app.public.ord*", "postgres:select on app.public.or", false);
    check_allows("postgres:* on *.*.*", "postgres:admin on app.public.orders", true);
    check_allows("assize:* on */*", "postgres:admin on app.public.orders", false);
}

#[test]
fn needs_all_columns_where_none_are_known() {
    check_allows("postgres:select on app.public.orders(id,status)", "postgres:select on app.public.orders(id)", true);
    check_allows("postgres:select on app.public.orders(id,status)", "postgres:select on app.public.orders", false);
    check_allows("postgres:select on app.public.orders(id,status)", "postgres:select on app.public.orders()", true);
    check_allows("postgres:select on app.public.orders", "postgres:select on app.public.orders", true);
    check_allows("postgres:select on app.public.* except app.public.orders(card)", "postgres:select on app.public.orders", false);
    check_allows("postgres:select on app.public.* except app.public.orders(card)", "postgres:select on app.public.orders(id)", true);
    check_allows("postgres:select on app.public.* except app.public.orders(card)", "postgres:select on app.public.orders(card,id)", false);
}

#[test]
fn needs_the_widest_where_a_name_is_not_known() {
    check_allows("postgres:select on app.public.*", "postgres:select on app.public.*", true);
    check_allows("postgres:select on app.public.o*", "postgres:select on app.public.*", false);
    check_allows("postgres:select on app.*.* except app.secret.*", "postgres:select on app.*.orders", false);
    check_allows("postgres:select on app.*.* except app.secret.keys", "postgres:select on app.*.orders", true);
}

#[test]
fn permissions_add_up_within_one_access() {
    let both = "postgres:select on app.public.orders(id) except app.public.other\npostgres:select on app.*.orders(status)";
    check_allows(both, "postgres:select on app.public.orders(id,status)", true);
    check_allows(both, "postgres:select on app.public.orders(id,status,card)", false);
    check_allows("postgres:select on app.*.* except app.s.*\npostgres:select on app.s.*", "postgres:select on app.*.*", true);
}

#[track_caller]
fn check_canonical(written: &str, expect: &str) {
    assert_eq!(set(written).to_string(), expect);
}

#[test]
fn equal_sets_are_written_alike() {
    check_canonical("postgres:insert,select on a.b.c\npostgres:select on a.b.c", "postgres:select,insert on a.b.c");
    check_canonical("postgres:select on a.b.c\npostgres:insert on a.b.c", "postgres:select,insert on a.b.c");
    check_canonical("postgres:select on a.b.c\npostgres:select on a.b.*", "postgres:select on a.b.*");
    check_canonical("postgres:select on a.b.c(x)\npostgres:select on a.b.c(y)", "postgres:select on a.b.c(x,y)");
    check_canonical("postgres:select on a.b.c(x,y) except a.b.c(y)", "postgres:select on a.b.c(x)");
    check_canonical("postgres:select on a.b.* except a.b.c, a.b.c(x), q.b.c", "postgres:select on a.b.* except a.b.c");
    check_canonical("postgres:select on a.b.* except *.b.c, a.*.c", "postgres:select on a.b.* except a.b.c");
    check_canonical(
        "postgres:select on a.b.* except a.b.c\npostgres:select on a.*.c",
        "postgres:select on a.*.c\npostgres:select on a.b.*",
    );
    check_canonical("postgres:select on a.b.c except a.*.*", "");
    check_canonical(
        "postgres:select,insert,update,delete,truncate,merge,call,copy,ddl,grant,session,admin on a.b.c",
        "postgres:* on a.b.c",
    );
    check_canonical("# what it needs\n\n  assize:decide  on  request/*  \n", "assize:decide on request/*");
}

#[test]
fn minus_makes_exceptions() {
    let left = set("postgres:select,insert on app.*.*").minus(&set("postgres:select on app.secret.*"));
    assert_eq!(left.to_string(), "postgres:select on app.*.* except app.secret.*\npostgres:insert on app.*.*");
    assert_eq!(left.union(&set("postgres:select on app.secret.*")), set("postgres:select,insert on app.*.*"));
    assert_eq!(set("postgres:select on a.b.c(x,y)").minus(&set("postgres:* on a.*.*(x)")), set("postgres:select on a.b.c(y)"));
    assert!(set("postgres:select on a.b.c(x)").minus(&set("postgres:select on a.b.c(x,y)")).is_empty());
    let given_back = set("postgres:select on a.*.*").minus(&set("postgres:select on *.*.* except *.s.t"));
    assert_eq!(given_back, set("postgres:select on a.s.t"));
}

#[test]
fn covers_by_several_together() {
    let halves = set("postgres:select on a.*.* except a.s.*\npostgres:select on a.s.*");
    assert!(halves.covers(&set("postgres:select on a.*.*")));
    assert!(set("postgres:select on a.b.c(x)\npostgres:select on a.*.c(y)").covers(&set("postgres:select on a.b.c(x,y)")));
    assert!(!set("postgres:select on a.b.c(x)").covers(&set("postgres:select on a.b.c")));
    assert!(set("postgres:select on a.b.c").covers(&PermissionSet::default()));
    assert!(!PermissionSet::default().covers(&set("postgres:select on a.b.c")));
}

#[test]
fn names_with_punctuation_stand_in_quotes() {
    let text = "postgres:select on \"my.db\".\"say \"\"hi\"\"\".\"a*b\"*(\"x,y\",\"z)\")";
    assert_eq!(set(text).to_string(), text);
    let lines = "postgres:select on a.b.\"c\nd\"";
    assert_eq!(set(lines).to_string(), lines);
    assert_eq!(set("assize:write on grant/team.one").to_string(), "assize:write on grant/team.one");
    assert_eq!(set("postgres:select on a.b.on except a.b.except").to_string(), "postgres:select on a.b.on");
}

#[track_caller]
fn check_error(text: &str, expect: &str) {
    let error = text.parse::<Permission>().expect_err("is no permission");
    assert_eq!(error.to_string(), expect);
}

#[test]
fn errors_say_what_is_wrong_and_where() {
    check_error(
        "select on a.b.c",
        "a permission begins with a protocol and a colon, like \"postgres:\", at character 1 of \"select on a.b.c\"",
    );
    check_error(
        "oracle:select on a.b.c",
        "\"oracle\" is no protocol; there are \"postgres\" and \"assize\", at character 1 of \"oracle:select on a.b.c\"",
    );
    check_error(
        "postgres:read on a.b.c",
        "\"read\" is no verb of postgres; it has select, insert, update, delete, truncate, merge, call, copy, ddl, grant, session, admin, or * for all, at character 10 of \"postgres:read on a.b.c\"",
    );
    check_error(
        "postgres:select a.b.c",
        "\"on database.schema.object\" is expected after the verbs, at character 16 of \"postgres:select a.b.c\"",
    );
    check_error(
        "postgres:select on a.b",
        "paths of postgres have 3 segments (database.schema.object), not 2 segments, at character 23 of \"postgres:select on a.b\"",
    );
    check_error("assize:read on a", "paths of assize have 2 segments (noun/name), not 1 segment, at character 17 of \"assize:read on a\"");
    check_error(
        "postgres:select on a.b.c(*)",
        "columns are named one by one; leave the list out to mean all, at character 26 of \"postgres:select on a.b.c(*)\"",
    );
    check_error("postgres:select on a.b.\"c", "the closing double quote is missing, at character 25 of \"postgres:select on a.b.\\\"c\"");
    check_error(
        "postgres:select on a.b.c and more",
        "the permission should end here, or go on with \"except\", at character 26 of \"postgres:select on a.b.c and more\"",
    );
    check_error(
        "postgres:select on a..c",
        "a name is expected, not '.'; names with punctuation stand in double quotes, at character 22 of \"postgres:select on a..c\"",
    );
    check_error(
        "postgres:select on a.b.\"\"*",
        "an empty name before * says nothing; write * alone, at character 27 of \"postgres:select on a.b.\\\"\\\"*\"",
    );
    let long = format!("postgres:select on a.b.{}", "c".repeat(PERMISSION_TEXT_MAX));
    assert!(long.parse::<Permission>().is_err());
}

/// Random sets found these.
#[test]
fn what_touches_no_column_and_what_has_only_other_columns_is_told_exactly() {
    let set = |text: &str| text.parse::<PermissionSet>().expect("a set");
    let wide = set("postgres:select on *.*.* except *.*.*(x)");
    assert!(wide.covers(&set("postgres:select on a.a.*(z)")) && !wide.covers(&set("postgres:select on a.a.*(x,z)")));

    let parts = ["postgres:update on a*.*.*(y)", "postgres:update on *.*.* except a*.*.*"].map(|text| text.parse().expect("a permission"));
    let [first, second]: [Permission; 2] = parts;
    let orders = [vec![first.clone(), second.clone()], vec![second, first]].map(PermissionSet::as_stored);
    for columns in [BTreeSet::new(), BTreeSet::from([Arc::from("y")])] {
        let mut resource = Resource::new(["*", "a", "a"]);
        resource.columns = Some(columns);
        let access = Access { protocol: Protocol::Postgres, verb: Verb::Update, resource };
        assert!(orders.iter().all(|set| set.allows(&access)), "{access}, in any order");
    }
    let mostly = set("postgres:select on a.*.*(y) except a.b.*(y)");
    assert!(!set("postgres:select on a.*.* except a.b.*").covers(&mostly), "counting rows of a.b.c is not covered");
}

fn segment() -> impl Strategy<Value = Segment> {
    prop_oneof![
        3 => Just(Segment::Any),
        4 => select(&NAMES[..5]).prop_map(|name| Segment::Exact(name.into())),
        2 => select(&NAMES[..4]).prop_map(|name| Segment::Prefix(name.into())),
    ]
}

fn columns() -> impl Strategy<Value = Option<BTreeSet<Arc<str>>>> {
    prop_oneof![
        2 => Just(None),
        1 => btree_set(select(&COLUMNS[..3]).prop_map(Arc::from), 0..3).prop_map(Some),
    ]
}

fn pattern() -> impl Strategy<Value = Pattern> {
    (vec(segment(), 3), columns()).prop_map(|(segments, columns)| Pattern { segments, columns })
}

fn permission() -> impl Strategy<Value = Permission> {
    (btree_set(select(&VERBS[..]), 1..3), pattern(), vec(pattern(), 0..3)).prop_map(|(verbs, on, except)| Permission {
        protocol: Protocol::Postgres,
        verbs,
        on,
        except,
    })
}

/// As written, not canonical.
fn permissions() -> impl Strategy<Value = Vec<Permission>> {
    vec(permission(), 0..5)
}

fn any_access() -> impl Strategy<Value = Access> {
    let name = prop_oneof![4 => select(&NAMES[..]), 1 => Just("*")];
    let columns = prop_oneof![1 => Just(None), 3 => btree_set(select(&COLUMNS[..]).prop_map(Arc::from), 0..4).prop_map(Some)];
    (select(&VERBS[..]), vec(name, 3), columns).prop_map(|(verb, path, columns)| {
        let mut resource = Resource::new(path);
        resource.columns = columns;
        Access { protocol: Protocol::Postgres, verb, resource }
    })
}

/// All there is to ask about: every path, with each column alone and with none.
fn points() -> Vec<Access> {
    let mut points = Vec::new();
    for verb in VERBS {
        for a in NAMES {
            for b in NAMES {
                for c in NAMES {
                    for columns in COLUMNS.chunks(1).chain([&[][..]]) {
                        let mut resource = Resource::new([a, b, c]);
                        resource.columns = Some(columns.iter().map(|column| Arc::from(*column)).collect());
                        points.push(Access { protocol: Protocol::Postgres, verb, resource });
                    }
                }
            }
        }
    }
    points
}

/// Membership by the definition, without any algebra.
fn holds(permissions: &[Permission], point: &Access) -> bool {
    permissions.iter().any(|permission| permission.allows(point))
}

fn touches_a_column(access: &Access) -> bool {
    access.resource.columns.as_ref().is_none_or(|columns| !columns.is_empty())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, ..ProptestConfig::default() })]

    #[test]
    fn operations_are_exact_on_points(a in permissions(), b in permissions()) {
        let (set_a, set_b) = (PermissionSet::new(a.clone()), PermissionSet::new(b.clone()));
        let (both, either, left) = (set_a.intersect(&set_b), set_a.union(&set_b), set_a.minus(&set_b));
        let mut subset = true;
        for point in points() {
            let (in_a, in_b) = (holds(&a, &point), holds(&b, &point));
            prop_assert_eq!(set_a.allows(&point), in_a, "canonical form, {}", point);
            prop_assert_eq!(both.allows(&point), in_a && in_b, "intersect, {}", point);
            prop_assert_eq!(either.allows(&point), in_a || in_b, "union, {}", point);
            if touches_a_column(&point) {
                prop_assert_eq!(left.allows(&point), in_a && !in_b, "minus, {}", point);
            }
            subset &= in_a || !in_b;
        }
        prop_assert_eq!(set_a.covers(&set_b), subset);
    }

    #[test]
    fn operations_are_sound_on_every_access(a in permissions(), b in permissions(), access in any_access()) {
        let (a, b) = (PermissionSet::new(a), PermissionSet::new(b));
        prop_assert_eq!(a.intersect(&b).allows(&access), a.allows(&access) && b.allows(&access));
        if a.allows(&access) || b.allows(&access) {
            prop_assert!(a.union(&b).allows(&access));
        }
        let left = a.minus(&b);
        if left.allows(&access) {
            prop_assert!(a.allows(&access));
            prop_assert!(!touches_a_column(&access) || !b.allows(&access));
        }
        if a.covers(&b) && b.allows(&access) {
            prop_assert!(a.allows(&access), "{} is covered", access);
        }
    }

    #[test]
    fn the_canonical_form_allows_the_same(a in permissions(), access in any_access()) {
        let canonical = PermissionSet::new(a.clone());
        prop_assert_eq!(canonical.allows(&access), PermissionSet::as_stored(a).allows(&access));
        prop_assert_eq!(PermissionSet::new(canonical.iter().cloned()), canonical);
    }

    #[test]
    fn text_reads_back(a in permissions()) {
        for permission in &a {
            prop_assert_eq!(&permission.to_string().parse::<Permission>().expect("own text"), permission);
        }
        let canonical = PermissionSet::new(a);
        prop_assert_eq!(canonical.to_string().parse::<PermissionSet>().expect("own text"), canonical);
    }

    #[test]
    fn any_name_reads_back(name in "\\PC{1,12}|[ -~\n]{1,8}", column in "\\PC{0,6}") {
        let on = Pattern {
            segments: vec![Segment::Exact(name.as_str().into()), Segment::Prefix(name.as_str().into()), Segment::Any],
            columns: Some(BTreeSet::from([Arc::from(column.as_str())])),
        };
        let permission = Permission { protocol: Protocol::Postgres, verbs: BTreeSet::from([Verb::Select]), on, except: Vec::new() };
        prop_assert_eq!(&permission.to_string().parse::<Permission>().expect("own text"), &permission);
        let line = format!("# say \"hi\n\n{permission}\n");
        prop_assert_eq!(line.parse::<PermissionSet>().expect("own text"), PermissionSet::new([permission]));
    }

    #[test]
    fn parsing_never_panics(text in "(postgres|assize|x):[*a-z,]{0,8} (on|in) [a-z.*/\"(), é]{0,24}") {
        let _ = text.parse::<Permission>();
        let _ = text.parse::<PermissionSet>();
    }

    #[test]
    fn the_narrowest_cover_is_narrowest(observed in vec(any_access(), 0..6), a in permissions()) {
        let cover = narrowest_cover(&observed);
        for access in &observed {
            prop_assert!(cover.allows(access), "{}", access);
        }
        // Wide enough to allow them in about half the cases.
        let wide = PermissionSet::new(a).union(&narrowest_cover(&observed[..observed.len() / 2]));
        if observed.iter().all(|access| wide.allows(access)) {
            prop_assert!(wide.covers(&cover));
        }
        let observed_points = |point: &Access| observed.iter().any(|access| Permission::exactly(access).allows(point));
        for point in points() {
            prop_assert_eq!(cover.allows(&point), observed_points(&point));
        }
    }
}
