//! How often one principal may ask. Each node counts its share of the cluster's rate, so that going round the nodes
//! gains nothing.

use std::collections::BTreeMap;
use std::time::Instant;

use domain::id::Name;
use parking_lot::Mutex;

use super::Problem;
use crate::limits::{AUTHZEN_BURST, AUTHZEN_PER_SECOND};

/// Only names that were proved get in, so there are no more than principals.
#[derive(Default)]
pub(super) struct Rates(Mutex<BTreeMap<Name, Bucket>>);

struct Bucket {
    left: f64,
    at: Instant,
}

impl Rates {
    pub(super) fn take(&self, name: &Name, nodes: usize) -> Result<(), Problem> {
        self.take_at(name, nodes, Instant::now())
    }

    fn take_at(&self, name: &Name, nodes: usize, now: Instant) -> Result<(), Problem> {
        let share = nodes.max(1) as f64;
        let (burst, rate) = ((AUTHZEN_BURST / share).max(1.0), AUTHZEN_PER_SECOND / share);
        let mut buckets = self.0.lock();
        let bucket = buckets.entry(name.clone()).or_insert(Bucket { left: burst, at: now });
        bucket.left = (bucket.left + now.saturating_duration_since(bucket.at).as_secs_f64() * rate).min(burst);
        bucket.at = now;
        if bucket.left < 1.0 {
            return Err(Problem::too_many(std::time::Duration::from_secs_f64((1.0 - bucket.left) / rate)));
        }
        bucket.left -= 1.0;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn nodes_share_the_rate_and_principals_do_not() {
        let (rates, start) = (Rates::default(), Instant::now());
        let (bot, other): (Name, Name) = ("bot".parse().expect("a name"), "other".parse().expect("a name"));
        let taken = (0..1000).take_while(|_| rates.take_at(&bot, 3, start).is_ok()).count();
        assert_eq!(taken, (AUTHZEN_BURST / 3.0) as usize);
        assert!(rates.take_at(&other, 3, start).is_ok());
        let later = start + Duration::from_secs(3);
        let more = (0..1000).take_while(|_| rates.take_at(&bot, 3, later).is_ok()).count();
        assert_eq!(more, (AUTHZEN_PER_SECOND as usize).min(taken), "three seconds of a third");
    }
}
