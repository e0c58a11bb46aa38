//! How long a judgement takes: for a text seen before, a shape seen before, and a new one.
//!
//! `cargo run --release -p protocol-postgres --example classify_bench`

use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

use protocol_postgres::operation::{Classifier, Context};

const ROUNDS: usize = 20_000;

/// What an ORM sends: long, with several constants.
fn statement(name: usize, constant: usize) -> String {
    format!(
        "SELECT \"orders\".\"id\", \"orders\".\"status\", \"orders\".\"total\", \"customers\".\"name\" AS \"n{name}\" FROM \"orders\" \
         INNER JOIN \"customers\" ON (\"orders\".\"customer_id\" = \"customers\".\"id\") WHERE (\"orders\".\"status\" = 'new' \
         AND \"orders\".\"total\" > {constant} AND lower(\"customers\".\"name\") LIKE 'a%') ORDER BY \"orders\".\"id\" DESC LIMIT 21"
    )
}

fn short(name: usize, constant: usize) -> String {
    format!("SELECT abalance AS n{name} FROM pgbench_accounts WHERE aid = {constant}")
}

/// Prints median and 99th percentile in microseconds.
fn measure(what: &str, texts: &[String], classifier: &Classifier, context: &Arc<Context>) {
    let mut times: Vec<u64> = texts
        .iter()
        .map(|text| {
            let start = Instant::now();
            black_box(classifier.classify(black_box(text), context));
            start.elapsed().as_nanos() as u64
        })
        .collect();
    times.sort_unstable();
    let at = |part: usize| times[(times.len() - 1) * part / 100] as f64 / 1_000.0;
    println!("{what:<44} median {:>8.2} µs   p99 {:>8.2} µs", at(50), at(99));
}

fn main() {
    let context = Arc::new(Context::with_schemas("app", ["public"]));
    for (size, make) in [("short (pgbench -S)", short as fn(usize, usize) -> String), ("long (ORM join)", statement)] {
        let classifier = Classifier::default();
        let new: Vec<String> = (0..ROUNDS / 10).map(|n| make(n, n)).collect();
        measure(&format!("{size}: new"), &new, &classifier, &context);
        let shape: Vec<String> = (0..ROUNDS).map(|n| make(1, n + 1_000_000)).collect();
        measure(&format!("{size}: shape seen before"), &shape, &classifier, &context);
        // A text without constants is kept by itself.
        let text =
            make(0, 0).replace("= 0", "= $1").replace("> 0", "> $1").replace("LIMIT 21", "").replace("'new'", "$2").replace("'a%'", "$3");
        let seen = vec![text; ROUNDS];
        measure(&format!("{size}: text seen before"), &seen, &classifier, &context);
        println!("{:<44} {:?}", "", classifier.counts());
    }
}
