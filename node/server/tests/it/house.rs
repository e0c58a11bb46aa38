//! Who may know whom (DESIGN §7), read from `cargo metadata`: only what a crate is built with counts, not what its
//! tests and build scripts use.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// One rule. Names are of packages; a trailing `*` stands for any ending.
#[derive(Debug, Clone, Copy)]
enum Rule {
    /// What `from` is built with, however far away, has none of these.
    ReachesNone { from: &'static str, none_of: &'static [&'static str] },
    /// Of all packages, only these depend on `dependency` by themselves.
    KnownOnlyTo { dependency: &'static str, to: &'static [&'static str] },
    /// What `from` is built with has no crate of the folder `node/`.
    StaysOutOfNode { from: &'static str },
    /// Nothing in the workspace is built with it.
    Banned { name: &'static str },
}

const RULES: &[Rule] = &[
    Rule::ReachesNone { from: "domain", none_of: &["tokio", "rocksdb", "tonic", "rand", "quinn", "openraft"] },
    Rule::ReachesNone { from: "identity", none_of: &["tokio", "rocksdb", "tonic", "quinn", "openraft", "cluster", "proto"] },
    Rule::ReachesNone { from: "socket", none_of: &["domain", "session", "protocol-*", "cluster", "tonic", "quinn"] },
    Rule::ReachesNone { from: "session", none_of: &["raft-store", "cluster", "proto", "rocksdb", "openraft", "tonic"] },
    Rule::ReachesNone { from: "protocol-*", none_of: &["raft-store", "cluster", "proto", "rocksdb", "openraft", "tonic"] },
    Rule::ReachesNone { from: "admin-api", none_of: &["raft-store", "cluster", "session", "rocksdb", "openraft", "quinn"] },
    Rule::ReachesNone { from: "ctl", none_of: &["raft-store", "cluster", "session", "rocksdb", "openraft", "quinn"] },
    Rule::ReachesNone { from: "cluster", none_of: &["session", "protocol-*", "admin-api", "ctl"] },
    Rule::ReachesNone { from: "raft-store", none_of: &["cluster", "session", "protocol-*", "tonic", "quinn"] },
    Rule::ReachesNone {
        from: "outbound",
        none_of: &["raft-store", "cluster", "session", "rocksdb", "openraft", "quinn", "admin-api", "ctl"],
    },
    Rule::ReachesNone { from: "record-formats", none_of: &["raft-store", "cluster", "session", "rocksdb", "openraft", "quinn"] },
    Rule::ReachesNone {
        from: "witness",
        none_of: &["raft-store", "cluster", "session", "rocksdb", "openraft", "quinn", "proto", "outbound"],
    },
    Rule::KnownOnlyTo { dependency: "rocksdb", to: &["raft-store"] },
    Rule::KnownOnlyTo { dependency: "raft-store", to: &["cluster"] },
    Rule::KnownOnlyTo { dependency: "openraft", to: &["cluster", "raft-store", "openraft-*"] },
    Rule::KnownOnlyTo { dependency: "regorus", to: &["policy"] },
    Rule::ReachesNone { from: "policy", none_of: &["tokio", "tonic", "rocksdb", "openraft", "session", "cluster", "proto"] },
    Rule::KnownOnlyTo { dependency: "pg_query", to: &["protocol-postgres"] },
    Rule::StaysOutOfNode { from: "chaos" },
    Rule::StaysOutOfNode { from: "bench" },
    // One TLS provider, aws-lc-rs; a second would be a second set of defaults and of advisories.
    Rule::Banned { name: "ring" },
];

/// The packages that are built, and what each is built with.
#[derive(Debug, Default)]
struct House {
    /// Package id → name. Two versions of a package are two ids with one name.
    names: BTreeMap<String, String>,
    edges: BTreeMap<String, BTreeSet<String>>,
    /// Members of the workspace, with the folder of each.
    members: BTreeMap<String, PathBuf>,
    /// Members under `node/`.
    rooms: BTreeSet<String>,
}

impl House {
    fn read(metadata: &Value, root: &Path) -> House {
        let mut house = House::default();
        let packages = metadata["packages"].as_array().expect("metadata lists packages");
        for package in packages {
            let id = text(&package["id"]);
            house.names.insert(id.clone(), text(&package["name"]));
            let folder = Path::new(package["manifest_path"].as_str().expect("a manifest path")).parent().expect("a folder");
            if metadata["workspace_members"].as_array().is_some_and(|members| members.contains(&package["id"])) {
                if folder.strip_prefix(root).is_ok_and(|inside| inside.starts_with("node")) {
                    house.rooms.insert(id.clone());
                }
                house.members.insert(id, folder.to_owned());
            }
        }
        for node in metadata["resolve"]["nodes"].as_array().expect("metadata resolves") {
            let built_with = node["deps"].as_array().expect("a node has deps").iter();
            let normal =
                built_with.filter(|dep| dep["dep_kinds"].as_array().is_some_and(|kinds| kinds.iter().any(|kind| kind["kind"].is_null())));
            let package = packages.iter().find(|package| package["id"] == node["id"]).expect("a node is a package");
            let on = normal.map(|dep| text(&dep["pkg"])).filter(|id| switched_on(package, &node["features"], &house.names[id]));
            house.edges.insert(text(&node["id"]), on.collect());
        }
        house
    }

    /// Everything a package is built with, each with the way to it.
    fn reached(&self, from: &str) -> BTreeMap<String, Vec<String>> {
        let mut ways = BTreeMap::new();
        let mut queue = VecDeque::from([(from.to_owned(), vec![self.names[from].clone()])]);
        while let Some((at, way)) = queue.pop_front() {
            for next in self.edges.get(&at).into_iter().flatten() {
                if ways.contains_key(next) {
                    continue;
                }
                let mut onward = way.clone();
                onward.push(self.names[next].clone());
                ways.insert(next.clone(), onward.clone());
                queue.push_back((next.clone(), onward));
            }
        }
        ways
    }

    fn members_named(&self, pattern: &str) -> impl Iterator<Item = &String> {
        self.members.keys().filter(move |id| matches(pattern, &self.names[*id]))
    }

    /// What is broken, each with the way that breaks it.
    fn violations(&self, rules: &[Rule]) -> Vec<String> {
        rules.iter().flat_map(|rule| self.violations_of(*rule)).collect()
    }

    fn violations_of(&self, rule: Rule) -> Vec<String> {
        let ways_from = |from, forbidden: &dyn Fn(&String) -> bool| -> Vec<String> {
            let ways = self.members_named(from).flat_map(|id| self.reached(id));
            ways.filter(|(id, _)| forbidden(id)).map(|(_, way)| way.join(" → ")).collect()
        };
        match rule {
            Rule::ReachesNone { from, none_of } => ways_from(from, &|id| none_of.iter().any(|name| matches(name, &self.names[id]))),
            Rule::StaysOutOfNode { from } => ways_from(from, &|id| self.rooms.contains(id)),
            Rule::Banned { name } => ways_from("*", &|id| self.names[id] == name),
            Rule::KnownOnlyTo { dependency, to } => {
                let knows = |dependencies: &BTreeSet<String>| dependencies.iter().any(|id| self.names[id] == dependency);
                let knowing = self.edges.iter().filter(|(_, dependencies)| knows(dependencies));
                let strangers = knowing.map(|(id, _)| &self.names[id]).filter(|name| !to.iter().any(|allowed| matches(allowed, name)));
                strangers.map(|name| format!("{name} → {dependency}")).collect()
            }
        }
    }
}

/// Whether a package is really built with `dependency`. The resolve graph also lists optional dependencies that only a
/// weak feature (`dependency?/feature`) speaks of; those are built with nothing.
fn switched_on(package: &Value, features: &Value, dependency: &str) -> bool {
    let declared = package["dependencies"].as_array().into_iter().flatten();
    let mut declared = declared.filter(|declared| declared["name"] == dependency && declared["kind"].is_null()).peekable();
    if declared.peek().is_none() {
        return true;
    }
    declared.any(|declared| {
        let key = declared["rename"].as_str().unwrap_or(dependency);
        let switches = |entry: &str| entry == format!("dep:{key}") || entry.starts_with(&format!("{key}/"));
        let mut enabled = features.as_array().into_iter().flatten().filter_map(Value::as_str);
        let entries = |feature: &str| package["features"][feature].as_array().into_iter().flatten().filter_map(Value::as_str).any(switches);
        declared["optional"] != true || enabled.any(entries)
    })
}

fn text(value: &Value) -> String {
    value.as_str().expect("a string").to_owned()
}

fn matches(pattern: &str, name: &str) -> bool {
    pattern.strip_suffix('*').map_or(pattern == name, |start| name.starts_with(start))
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).expect("node/server lies two folders down").to_owned()
}

fn this_house() -> House {
    // Only this platform's packages: others may not have been downloaded, and nothing may be here.
    let platform = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--locked", "--offline", "--filter-platform", &platform])
        .current_dir(root())
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "cargo metadata: {}", String::from_utf8_lossy(&output.stderr));
    House::read(&serde_json::from_slice(&output.stdout).expect("metadata is JSON"), &root())
}

#[test]
fn the_house_keeps_its_rules() {
    let violations = this_house().violations(RULES);
    assert!(violations.is_empty(), "who may know whom (DESIGN §7):\n  {}", violations.join("\n  "));
}

/// A rule about a crate that is not there would hold for ever.
#[test]
fn every_rule_is_about_crates_that_exist() {
    let house = this_house();
    let exists = |pattern: &str| house.names.values().any(|name| matches(pattern, name));
    for rule in RULES {
        match rule {
            Rule::ReachesNone { from, none_of } => {
                assert!(house.members_named(from).next().is_some(), "{from} is no member");
                assert!(none_of.iter().all(|name| exists(name)), "{rule:?} names a package that is not built");
            }
            Rule::StaysOutOfNode { from } => assert!(house.members_named(from).next().is_some(), "{from} is no member"),
            Rule::KnownOnlyTo { dependency, .. } => assert!(exists(dependency), "{dependency} is not built"),
            Rule::Banned { .. } => {}
        }
    }
    assert!(house.rooms.len() >= 8, "the rooms under node/ were found: {:?}", house.rooms);
}

#[test]
fn every_crate_says_what_it_must_not_know() {
    for (id, folder) in &this_house().members {
        let source = ["src/lib.rs", "src/main.rs"].iter().map(|file| folder.join(file)).find(|file| file.exists());
        let source = source.unwrap_or_else(|| panic!("{id} has neither lib.rs nor main.rs"));
        let code = std::fs::read_to_string(&source).expect("the file can be read");
        let header: String = code.lines().take_while(|line| line.starts_with("//!")).collect::<Vec<_>>().join("\n").replace("**", "");
        assert!(
            header.contains("must not know") || header.contains("must not do"),
            "{} does not say what the crate must not know",
            source.display()
        );
    }
}

/// `a -> b c` a line; what stands before the colon is a member, `node/` before a name puts it into that folder.
fn planted(lines: &[&str]) -> House {
    let mut house = House::default();
    for line in lines {
        let (from, to) = line.split_once(" -> ").expect("an arrow");
        let name = from.strip_prefix("node/").unwrap_or(from);
        for package in to.split(' ').chain([name]) {
            house.names.insert(package.into(), package.into());
        }
        house.members.insert(name.into(), PathBuf::from(from));
        if from != name {
            house.rooms.insert(name.into());
        }
        house.edges.insert(name.into(), to.split(' ').map(Into::into).collect());
    }
    house
}

fn check(lines: &[&str], expected: &[&str]) {
    assert_eq!(planted(lines).violations(RULES), expected, "{lines:?}");
}

#[test]
fn a_planted_violation_is_found() {
    check(&["node/domain -> imbl serde", "raft-store -> rocksdb openraft", "node/cluster -> raft-store openraft"], &[]);
    // Near and far.
    check(&["node/domain -> tokio"], &["domain → tokio"]);
    check(&["node/domain -> innocent", "innocent -> rand"], &["domain → innocent → rand"]);
    check(&["node/session -> proto"], &["session → proto"]);
    check(&["node/protocol-new -> cluster"], &["protocol-new → cluster"]);
    check(&["node/server -> rocksdb"], &["server → rocksdb"]);
    check(&["node/admin-api -> openraft"], &["admin-api → openraft", "admin-api → openraft"]);
    check(&["chaos -> domain", "node/domain -> serde"], &["chaos → domain"]);
    check(&["bench -> proto", "proto -> session", "node/session -> bytes"], &["bench → proto → session"]);
    check(&["node/ctl -> tls", "tls -> ring"], &["ctl → tls → ring", "tls → ring"]);
}

#[test]
fn what_only_tests_or_build_scripts_use_does_not_count() {
    let metadata = serde_json::json!({
        "packages": [
            { "id": "d", "name": "domain", "manifest_path": "/house/node/domain/Cargo.toml" },
            { "id": "t", "name": "tokio", "manifest_path": "/elsewhere/tokio/Cargo.toml" },
        ],
        "workspace_members": ["d"],
        "resolve": { "nodes": [
            { "id": "d", "deps": [{ "pkg": "t", "dep_kinds": [{ "kind": "dev" }, { "kind": "build" }] }] },
            { "id": "t", "deps": [] },
        ] },
    });
    let read = |metadata: &Value| House::read(metadata, Path::new("/house")).violations(RULES);
    assert_eq!(read(&metadata), Vec::<String>::new());
    let mut built = metadata;
    built["resolve"]["nodes"][0]["deps"][0]["dep_kinds"][0]["kind"] = Value::Null;
    assert_eq!(read(&built), ["domain → tokio"]);

    // An optional dependency counts when a feature that is on brings it, not when one only speaks of it.
    built["packages"][0]["dependencies"] = serde_json::json!([{ "name": "tokio", "kind": null, "optional": true }]);
    built["packages"][0]["features"] = serde_json::json!({ "std": ["tokio?/full"], "net": ["dep:tokio"] });
    built["resolve"]["nodes"][0]["features"] = serde_json::json!(["std"]);
    assert_eq!(read(&built), Vec::<String>::new());
    built["resolve"]["nodes"][0]["features"] = serde_json::json!(["std", "net"]);
    assert_eq!(read(&built), ["domain → tokio"]);
}
