//! What is done under which grant, gathered in memory and told to the cluster now and then, never on a statement's way.
//! What was gathered since the last report is lost with the process: it is evidence, not truth (the records are).

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use domain::admission::Permit;
use domain::command::{Actor, Command, is_known};
use domain::id::{GrantId, Name, ProposalId};
use domain::limits::{USAGE_ACCESSES_MAX, USAGE_LINES_MAX};
use domain::operation::Access;
use domain::usage::{Denied, UsedAccess, UsedGrant};
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::authority::Authority;

/// How long a failed report waits for its next try.
const AGAIN: Duration = Duration::from_secs(1);
/// How long the last report may take while the node stops.
const LAST: Duration = Duration::from_secs(1);

/// Which grant each access of an operation is covered by. Worked out once for a statement that repeats.
#[derive(Debug)]
pub(crate) struct Uses {
    accesses: Arc<[Access]>,
    /// Places in `accesses`, by grant.
    by: Vec<(GrantId, Vec<usize>)>,
}

impl Uses {
    pub(crate) fn new(permit: &Permit, accesses: &Arc<[Access]>) -> Self {
        let mut by: BTreeMap<GrantId, Vec<usize>> = BTreeMap::new();
        for (place, access) in accesses.iter().enumerate() {
            if let Some(grant) = permit.covers(access) {
                by.entry(grant).or_default().push(place);
            }
        }
        Uses { accesses: accesses.clone(), by: by.into_iter().collect() }
    }
}

/// What this node gathered since its last report.
#[derive(Default)]
pub(crate) struct Tally {
    gathered: Mutex<Gathered>,
    /// There is as much as fits into one report.
    full: Notify,
}

#[derive(Default)]
struct Gathered {
    grants: HashMap<GrantId, Line>,
    denials: HashMap<(Name, Name), u64>,
    accesses: usize,
}

#[derive(Default)]
struct Line {
    operations: u64,
    rows: u64,
    accesses: HashMap<Access, (u64, u64)>,
}

impl Gathered {
    fn has_room(&self) -> bool {
        self.grants.len() + self.denials.len() < USAGE_LINES_MAX && self.accesses < USAGE_ACCESSES_MAX
    }
}

impl Tally {
    /// An operation came to its end.
    pub(crate) fn used(&self, uses: &Uses, rows: u64) {
        let mut gathered = self.gathered.lock();
        for (grant, places) in &uses.by {
            if !gathered.grants.contains_key(grant) && !gathered.has_room() {
                self.dropped();
                continue;
            }
            let room = USAGE_ACCESSES_MAX.saturating_sub(gathered.accesses);
            let line = gathered.grants.entry(*grant).or_default();
            line.operations += 1;
            line.rows += rows;
            let before = line.accesses.len();
            for place in places {
                let access = &uses.accesses[*place];
                if let Some((operations, of_it)) = line.accesses.get_mut(access) {
                    *operations += 1;
                    *of_it += rows;
                } else if line.accesses.len() - before < room {
                    line.accesses.insert(access.clone(), (1, rows));
                } else {
                    self.dropped();
                }
            }
            let more = line.accesses.len() - before;
            gathered.accesses += more;
        }
        if !gathered.has_room() {
            self.full.notify_one();
        }
    }

    pub(crate) fn denied(&self, principal: &Name, target: &Name) {
        let mut gathered = self.gathered.lock();
        let key = (principal.clone(), target.clone());
        if let Some(operations) = gathered.denials.get_mut(&key) {
            *operations += 1;
        } else if gathered.has_room() {
            gathered.denials.insert(key, 1);
        } else {
            self.dropped();
            self.full.notify_one();
        }
    }

    fn dropped(&self) {
        metrics::counter!("assize_usage_dropped_total").increment(1);
    }

    fn take(&self) -> Option<Command> {
        let Gathered { grants, denials, .. } = std::mem::take(&mut *self.gathered.lock());
        if grants.is_empty() && denials.is_empty() {
            return None;
        }
        let used = |(access, (operations, rows))| UsedAccess { access, operations, rows };
        let line = |(grant, Line { operations, rows, accesses }): (GrantId, Line)| {
            let mut accesses: Vec<UsedAccess> = accesses.into_iter().map(used).collect();
            accesses.sort_by(|a, b| a.access.cmp(&b.access));
            UsedGrant { grant, operations, rows, accesses }
        };
        let mut grants: Vec<UsedGrant> = grants.into_iter().map(line).collect();
        grants.sort_by_key(|used| used.grant);
        let mut denials: Vec<Denied> =
            denials.into_iter().map(|((principal, target), operations)| Denied { principal, target, operations }).collect();
        denials.sort_by(|a, b| (&a.principal, &a.target).cmp(&(&b.principal, &b.target)));
        Some(Command::ReportUsage { grants, denials })
    }
}

/// The reports of one process, numbered, so that one whose outcome is unknown is repeated and counted once.
pub(crate) struct Reporter {
    authority: Arc<dyn Authority>,
    tally: Arc<Tally>,
    number: tokio::sync::Mutex<u64>,
}

impl Reporter {
    pub(crate) fn new(authority: Arc<dyn Authority>, tally: Arc<Tally>) -> Self {
        Reporter { authority, tally, number: tokio::sync::Mutex::new(0) }
    }

    /// Reports every `every`, for ever; sooner when one report is full.
    pub(crate) async fn run(&self, every: Duration) {
        loop {
            tokio::select! {
                () = tokio::time::sleep(every) => {}
                () = self.tally.full.notified() => {}
            }
            self.report().await;
        }
    }

    /// What was gathered while the node drained.
    pub(crate) async fn last(&self) {
        // Without a quorum there is nobody to tell.
        if tokio::time::timeout(LAST, self.report()).await.is_err() {
            tracing::info!("what was used last is not told");
        }
    }

    async fn report(&self) {
        let mut number = self.number.lock().await;
        let state = self.authority.state();
        let begun = state.cluster.usage_since.is_some();
        // The first report of all says that use is counted from now on, though there was none yet.
        let nothing = || (!begun).then(|| Command::ReportUsage { grants: Vec::new(), denials: Vec::new() });
        let Some(command) = self.tally.take().or_else(nothing) else { return };
        if !is_known(&state, &command) {
            // Some node does not know of it yet: use is not counted yet.
            return;
        }
        *number += 1;
        let id = format!("usage-{}-{:016x}-{number}", self.authority.node(), self.authority.boot().0);
        let id: ProposalId = id.parse().expect("a short text is an id");
        loop {
            let proposed = self.authority.propose(id.clone(), Actor::Node(self.authority.node()), command.clone()).await;
            match proposed {
                Ok(reply) => return tracing::trace!(?reply, "use is told"),
                Err(error) => tracing::debug!(%error, "use has to be told again"),
            }
            tokio::time::sleep(AGAIN).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use domain::operation::{Protocol, Resource, Verb};

    use super::*;

    fn access(table: usize) -> Access {
        let resource = Resource::new(["app", "public", &format!("t{table}")]);
        Access { protocol: Protocol::Postgres, verb: Verb::Select, resource }
    }

    fn uses(tables: std::ops::Range<usize>) -> Uses {
        let places = (0..tables.len()).collect();
        Uses { accesses: tables.map(access).collect(), by: vec![(GrantId(7), places)] }
    }

    #[test]
    fn a_report_holds_what_was_done_once() {
        let tally = Tally::default();
        let (bot, orders): (Name, Name) = ("bot".parse().expect("a name"), "orders".parse().expect("a name"));
        tally.used(&uses(0..2), 3);
        tally.used(&uses(1..2), 4);
        tally.denied(&bot, &orders);
        tally.denied(&bot, &orders);
        let used = |table, operations, rows| UsedAccess { access: access(table), operations, rows };
        let grants = vec![UsedGrant { grant: GrantId(7), operations: 2, rows: 7, accesses: vec![used(0, 1, 3), used(1, 2, 7)] }];
        let denials = vec![Denied { principal: bot, target: orders, operations: 2 }];
        assert_eq!(tally.take(), Some(Command::ReportUsage { grants, denials }));
        assert_eq!(tally.take(), None);
    }

    #[tokio::test]
    async fn what_fits_no_report_is_dropped_and_a_full_one_is_told_at_once() {
        let tally = Tally::default();
        tally.used(&uses(0..USAGE_ACCESSES_MAX + 5), 1);
        tally.full.notified().await;
        tally.used(&uses(USAGE_ACCESSES_MAX..USAGE_ACCESSES_MAX + 1), 1);
        let Some(Command::ReportUsage { grants, .. }) = tally.take() else { panic!("there is something to tell") };
        assert_eq!((grants[0].operations, grants[0].accesses.len()), (2, USAGE_ACCESSES_MAX));
    }
}
