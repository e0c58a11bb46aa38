//! What may be published, and what is said of what may not.

use std::io::Write as _;
use std::path::Path;

use policy::{Bundle, check};

use crate::world::bundle;

const GOOD: &str = "package assize.operation\n\ndeny contains \"no\" if input.operation.tag == \"DROP\"\n";

#[track_caller]
fn fault(files: &[(&str, &str)], place: &str, words: &str) {
    let made = Bundle::new(files.iter().map(|(path, text)| ((*path).to_owned(), text.as_bytes().to_vec())));
    let faults = match made {
        Ok(bundle) => check(&bundle).expect_err("something is wrong with it"),
        Err(fault) => vec![fault],
    };
    let shown: Vec<String> = faults.iter().map(ToString::to_string).collect();
    assert!(shown.iter().any(|fault| fault.starts_with(place) && fault.contains(words)), "{shown:#?}");
}

fn read(directory: &Path, under: &str, to: &mut Vec<(String, Vec<u8>)>) {
    for entry in std::fs::read_dir(directory).expect("a directory").map(|e| e.expect("an entry")) {
        let path = format!("{under}{}", entry.file_name().to_string_lossy());
        if entry.file_type().expect("a type").is_dir() {
            read(&entry.path(), &format!("{path}/"), to);
        } else {
            to.push((path, std::fs::read(entry.path()).expect("a file")));
        }
    }
}

#[test]
fn the_example_that_is_shipped_may_be_published() {
    let mut files = Vec::new();
    read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/policies/example"), "", &mut files);
    let checked = check(&Bundle::new(files).expect("a bundle")).expect("nothing is wrong with it");
    assert_eq!((checked.revision.as_str(), checked.two_people, checked.tests.len()), ("2026-11-23", true, 5));
    assert!(checked.tests.iter().all(|test| test.failed.is_none()));
}

#[test]
fn a_fault_names_file_and_line() {
    fault(&[("a.rego", "package assize.operation\n\ndeny contains \"no\" if {\n  input.x ==\n}\n")], "a.rego:5", "");
    fault(&[("lib/a.rego", "package assize.operation\n\ndeny contains x if {\n  x := nowhere(1)\n}\n")], "lib/a.rego:4", "nowhere");
    fault(&[("a.rego", "package assize.operation\n\ndeny contains \"x\" if {\n  data.lib.f(1)\n}\n")], "a.rego:4", "data.lib.f");
    fault(&[("a.rego", GOOD), ("windows/data.json", "{\n  \"a\": 1,\n}\n")], "windows/data.json:3", "");
    fault(&[("a.rego", GOOD), (".manifest", "{\"revision\": 1}")], ".manifest", "revision");
}

#[test]
fn only_what_is_the_same_everywhere_may_be_called() {
    for (called, words) in [
        ("time.now_ns() > 0", "input.time_ns"),
        ("rand.intn(\"a\", 2) == 1", "rand.intn"),
        ("http.send({\"method\": \"get\", \"url\": \"x\"}).status_code == 200", "http.send"),
        ("opa.runtime().env.HOME == \"x\"", "opa.runtime"),
        ("count(numbers.range(1, 1000000000)) > 1", "numbers.range"),
        ("print(input)", "for tests"),
        ("sprintf(input.operation.tag, []) == \"x\"", "stand there as a text"),
        ("sprintf(\"%4000000000d\", [1]) == \"x\"", "width"),
        ("bits.lsh(1, 1000000000000) > 0", "bits.lsh"),
    ] {
        let rego = format!("package assize.operation\n\ndeny contains \"x\" if {{\n\t{called}\n}}\n");
        fault(&[("a.rego", &rego)], "a.rego:4", words);
    }
}

#[test]
fn a_function_that_calls_itself_is_found_by_reading() {
    fault(&[("a.rego", "package assize.operation\n\nf(x) := f(x + 1)\n\ndeny contains \"x\" if f(1)\n")], "a.rego:3", "calls itself");
    let f = "package assize.operation\n\nimport data.lib\n\nf(x) := lib.g(x)\n\ndeny contains \"x\" if f(1)\n";
    let g = "package lib\n\ng(x) := data.assize.operation.f(x)\n";
    fault(&[("a.rego", f), ("lib.rego", g)], "lib.rego:3", "calls itself");
    fault(&[("a.rego", "package assize.operation\n\ndeny contains x if x := deny[_]\n")], "a.rego", "recursion");
    let with = "package assize.operation\n\nf(x) := count(x)\n\ndeny contains \"x\" if f([]) == 0 with count as data.assize.operation.f\n";
    fault(&[("a.rego", with)], "a.rego:5", "`with`");
}

#[test]
fn masking_is_refused_rather_than_ignored() {
    let mask = "package assize.operation\n\nmask contains {\"column\": \"app.public.people.email\"}\n";
    fault(&[("a.rego", mask)], "a.rego:3", "a policy cannot mask");
}

#[test]
fn a_bundle_that_nothing_asks_is_a_mistake() {
    fault(&[("a.rego", "package billing\n\ndeny contains \"x\" if true\n")], "", "assize.admission and assize.operation");
    fault(&[("a.rego", GOOD), ("b.rego", "package assize.operations\n\ndeny contains \"x\" if true\n")], "b.rego:1", "is not asked");
    fault(&[("a.rego", "package assize.operation\n\ndeny(x) := true if x\n")], "a.rego:3", "not a function");
    fault(&[("data.json", "{}")], "", "no .rego file");
}

#[test]
fn what_we_would_not_honour_is_refused() {
    fault(&[("a.rego", GOOD), ("data.yaml", "a: 1")], "data.yaml", "data.json");
    fault(&[("a.rego", GOOD), (".signatures.json", "{}")], ".signatures.json", "not verified");
    fault(&[("a.rego", GOOD), ("policy.wasm", "x")], "policy.wasm", "not run");
    fault(&[("a.rego", GOOD), ("../b.rego", GOOD)], "../b.rego", "no path");
    fault(&[("a.rego", GOOD), (".manifest", "{\"roots\": [\"other\"]}")], "a.rego:1", "outside the manifest's roots");
    fault(&[("a.rego", GOOD), ("x/data.json", "{}"), (".manifest", "{\"roots\": [\"assize\"]}")], "x/data.json", "outside");
    fault(&[("a.rego", GOOD), (".manifest", "{\"metadata\": {\"assize\": {\"twopeople\": true}}}")], ".manifest", "two_people");
    fault(&[("a.rego", GOOD), (".manifest", "{\"rego_version\": 0}")], ".manifest", "version 1");
    fault(&[("a.rego", &format!("{GOOD}# {}\n", "x".repeat(300_000)))], "", "bytes");
}

#[test]
fn a_test_that_fails_stops_the_bundle() {
    let test = "package assize.operation_test\n\nimport data.assize.operation\n\ntest_drop if \"no\" in operation.deny with input as {\"operation\": {\"tag\": \"SELECT\"}}\n\ntest_fine if print(1)\n";
    fault(&[("a.rego", GOOD), ("a_test.rego", test)], "a_test.rego:5", "test_drop failed: it is undefined");
    let passing = test.replace("SELECT", "DROP");
    assert_eq!(check(&bundle(&[("a.rego", GOOD), ("a_test.rego", &passing)])).expect("passes").tests.len(), 2);
    let endless = "package t\n\ntest_long if {\n  some a in data.n\n  some b in data.n\n  some c in data.n\n  some d in data.n\n  a + b + c + d == 0.5\n}\n";
    let numbers = format!("{{\"n\": {:?}}}", (0..500).collect::<Vec<u32>>());
    fault(&[("a.rego", GOOD), ("t_test.rego", endless), ("data.json", &numbers)], "t_test.rego:3", "took longer");
}

#[test]
fn one_content_has_one_digest() {
    let one = bundle(&[("a.rego", GOOD), ("x/data.json", "{}"), (".manifest", "{}")]);
    let packed = one.pack().expect("small");
    assert_eq!(Bundle::unpack(&packed).expect("own bytes"), one);
    // As another tool would write it: gzipped, with directories, `./`, other times and modes.
    let mut theirs = tar::Builder::new(flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default()));
    for (path, content) in [("./x/data.json", "{}"), ("/.manifest", "{}"), ("a.rego", GOOD)] {
        let mut header = tar::Header::new_gnu();
        header.set_mode(0o600);
        header.set_mtime(1_795_000_000);
        header.set_size(content.len() as u64);
        header.as_gnu_mut().expect("gnu").name[..path.len()].copy_from_slice(path.as_bytes());
        header.set_cksum();
        theirs.append(&header, content.as_bytes()).expect("in memory");
    }
    let mut gzip = theirs.into_inner().expect("in memory");
    gzip.flush().expect("in memory");
    let theirs = Bundle::unpack(&gzip.finish().expect("in memory")).expect("a bundle");
    assert_eq!(Bundle::digest(&theirs.pack().expect("small")), Bundle::digest(&packed));
}

#[test]
fn a_small_file_that_unpacks_to_a_large_one_is_refused() {
    let mut archive = tar::Builder::new(flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best()));
    let mut header = tar::Header::new_ustar();
    header.set_path("a.rego").expect("short");
    header.set_size(64 << 20);
    header.set_cksum();
    archive.append(&header, std::io::repeat(b' ').take_bytes(64 << 20)).expect("in memory");
    let bytes = archive.into_inner().expect("in memory").finish().expect("in memory");
    assert!(bytes.len() < 100_000);
    assert!(Bundle::unpack(&bytes).is_err());
    assert!(Bundle::unpack(b"not a tar file at all, nor anything like it").is_err());
}

trait TakeBytes {
    fn take_bytes(self, count: u64) -> std::io::Take<Self>
    where
        Self: Sized;
}

impl<R: std::io::Read> TakeBytes for R {
    fn take_bytes(self, count: u64) -> std::io::Take<Self> {
        std::io::Read::take(self, count)
    }
}
