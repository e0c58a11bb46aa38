//! While this node leads: a task for each sink, and one for each witness.

use std::collections::BTreeMap;
use std::sync::Arc;

use domain::id::{Index, Name};
use tokio::task::JoinHandle;
use tokio::time::sleep;

use crate::address::Allowed;
use crate::limits::TURN;
use crate::source::Source;
use crate::{metrics, witness, work};

/// Tasks by what they are for. Whoever is dropped stops at once: what was under way is done again by the next.
#[derive(Default)]
struct Running(BTreeMap<(&'static str, Name), (Index, JoinHandle<()>)>);

impl Running {
    fn stop_all(&mut self) {
        std::mem::take(&mut self.0).into_values().for_each(|(_, task)| task.abort());
    }

    /// Stops those that are not wanted, or wanted otherwise, and forgets those that ended.
    fn keep(&mut self, wanted: &BTreeMap<(&'static str, Name), Index>) {
        self.0.retain(|key, (version, task)| {
            let keep = wanted.get(key) == Some(version);
            if !keep {
                task.abort();
            }
            keep && !task.is_finished()
        });
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop_all();
    }
}

/// Delivers whenever this node leads, for ever.
pub async fn run(source: Arc<dyn Source>, allowed: Allowed) {
    metrics::describe();
    let allowed = Arc::new(allowed);
    let mut running = Running::default();
    loop {
        sleep(TURN).await;
        if !source.leads() {
            running.stop_all();
            continue;
        }
        let state = source.state();
        let sinks = state.sinks.values().filter(|sink| sink.terms.active).map(|sink| (("sink", sink.name.clone()), sink.version));
        let witnesses = state.witnesses.values().map(|witness| (("witness", witness.name.clone()), witness.version));
        let wanted: BTreeMap<_, _> = sinks.chain(witnesses).collect();
        running.keep(&wanted);
        for (key, version) in wanted {
            if running.0.contains_key(&key) {
                continue;
            }
            let task = match (key.0, state.sinks.get(&key.1), state.witnesses.get(&key.1)) {
                ("sink", Some(sink), _) => tokio::spawn(work::work(source.clone(), sink.clone(), allowed.clone())),
                (_, _, Some(witness)) => tokio::spawn(witness::ask(source.clone(), witness.clone(), allowed.clone())),
                _ => continue,
            };
            running.0.insert(key, (version, task));
        }
    }
}
