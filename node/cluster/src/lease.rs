//! The serving lease of this node (DESIGN §4): a moment of BOOTTIME until which it may decide from its local state.
//!
//! Nothing of it survives a restart. It is extended only by [`crate::renewal`], to `s + D` where `s` was read before
//! the leader was asked. Should this process stand still when it ends, [`crate::dead_man`] ends it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use planted::{Bug, planted};
use tokio::sync::{Notify, watch};

use crate::clock::Boottime;
use crate::dead_man::DeadMan;
use crate::limits::{LEASE, LEASE_GUARD};

pub(crate) struct Lease {
    /// End of the lease, nanoseconds of BOOTTIME; 0 without one.
    end: AtomicU64,
    /// Last moment of forwarding, of this lease or the last one: what was sent late is measured by it.
    until: AtomicU64,
    serving: watch::Sender<bool>,
    changed: Notify,
    dead_man: DeadMan,
}

impl Lease {
    pub(crate) fn new(dead_man: DeadMan) -> Self {
        Self { end: AtomicU64::new(0), until: AtomicU64::new(0), serving: watch::channel(false).0, changed: Notify::new(), dead_man }
    }

    /// The last check before bytes leave for a target: two loads and a clock read, no lock.
    pub(crate) fn may_forward(&self) -> bool {
        let guard = LEASE_GUARD.as_nanos() as u64;
        if planted(Bug::LeaseNotChecked) {
            return self.until.load(Ordering::Acquire) > 0;
        }
        Boottime::now().nanos() + guard < self.end.load(Ordering::Acquire)
    }

    /// How long ago the right to forward ended; zero while it lasts.
    pub(crate) fn late_by(&self) -> Duration {
        Duration::from_nanos(Boottime::now().nanos().saturating_sub(self.until.load(Ordering::Acquire)))
    }

    pub(crate) fn serving(&self) -> watch::Receiver<bool> {
        self.serving.subscribe()
    }

    /// How long the lease still runs, without the guard; `None` when it is over.
    pub(crate) fn left(&self) -> Option<Duration> {
        let left = self.end.load(Ordering::Acquire).saturating_sub(Boottime::now().nanos());
        (left > 0).then(|| Duration::from_nanos(left))
    }

    /// A renewal asked for at `asked` was confirmed and what it needs is enforced.
    pub(crate) fn extend(&self, asked: Boottime) {
        let end = asked.plus(LEASE).nanos();
        self.until.fetch_max(end.saturating_sub(LEASE_GUARD.as_nanos() as u64), Ordering::AcqRel);
        self.end.fetch_max(end, Ordering::AcqRel);
        // A renewal that came too late extends nothing, and a timer set to the past would fire.
        if self.may_forward() {
            self.dead_man.arm(|| Boottime(Duration::from_nanos(self.end.load(Ordering::Acquire))));
        }
        self.serving.send_if_modified(|serving| {
            let now = self.may_forward();
            let modified = *serving != now;
            *serving = now;
            modified
        });
        self.changed.notify_waiters();
    }

    /// Gives the lease up at once: draining, shutdown, or this node left the serving set.
    pub(crate) fn give_up(&self) {
        self.until.fetch_min(Boottime::now().nanos(), Ordering::AcqRel);
        self.end.store(0, Ordering::Release);
        self.serving.send_if_modified(|serving| std::mem::replace(serving, false));
        self.changed.notify_waiters();
    }

    /// Every gate was taken after [`Lease::serving`] had said `false`: nothing leaves any more, and no fence is needed.
    pub(crate) fn fenced(&self) {
        self.dead_man.disarm_if(|| !self.may_forward());
    }

    /// Follows the lease and tells sessions when it ends.
    pub(crate) async fn watch_end(&self) {
        loop {
            let changed = self.changed.notified();
            let end = self.end.load(Ordering::Acquire);
            if end == 0 {
                changed.await;
                continue;
            }
            let guarded = Boottime(Duration::from_nanos(end).saturating_sub(LEASE_GUARD));
            tokio::select! {
                () = changed => {}
                () = guarded.reached() => {
                    if !self.may_forward() && self.serving.send_if_modified(|s| std::mem::replace(s, false)) {
                        tracing::warn!("the serving lease ended: no quorum confirmed a renewal in time");
                    }
                    let over = self.end.load(Ordering::Acquire) == end;
                    if over {
                        // Nothing to watch until the next renewal.
                        let _ = self.end.compare_exchange(end, 0, Ordering::AcqRel, Ordering::Acquire);
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_lease_counts_from_before_the_question() {
        let lease = Lease::new(DeadMan::unarmed());
        assert!(!lease.may_forward() && lease.left().is_none());
        let asked = Boottime::now();
        lease.extend(asked);
        assert!(lease.may_forward() && *lease.serving().borrow());
        assert!(lease.left().expect("running") <= LEASE);

        let stale = Lease::new(DeadMan::unarmed());
        stale.extend(Boottime(asked.0.saturating_sub(LEASE)));
        assert!(!stale.may_forward() && !*stale.serving().borrow());
    }

    #[tokio::test]
    async fn an_older_renewal_never_shortens_it_and_giving_up_ends_it() {
        let lease = Lease::new(DeadMan::unarmed());
        let asked = Boottime::now();
        lease.extend(asked);
        lease.extend(Boottime(asked.0.saturating_sub(Duration::from_secs(1))));
        assert!(lease.left().expect("running") > LEASE - Duration::from_millis(500));
        lease.give_up();
        assert!(!lease.may_forward() && !*lease.serving().borrow());
    }

    #[test]
    fn how_late_a_write_is_counts_from_the_last_moment_of_forwarding() {
        let over = Duration::from_millis(40);
        let lease = Lease::new(DeadMan::unarmed());
        lease.extend(Boottime(Boottime::now().0.saturating_sub(LEASE - LEASE_GUARD + over)));
        assert!(!lease.may_forward() && lease.late_by() >= over && lease.late_by() < over + Duration::from_secs(5));
        lease.extend(Boottime::now());
        assert_eq!(lease.late_by(), Duration::ZERO);
        lease.give_up();
        std::thread::sleep(Duration::from_millis(2));
        assert!(lease.late_by() >= Duration::from_millis(2) && lease.late_by() < Duration::from_secs(5));
    }

    #[tokio::test]
    async fn sessions_hear_of_its_end() {
        let lease = Lease::new(DeadMan::unarmed());
        // All but 150 ms of it is gone already.
        lease.extend(Boottime(Boottime::now().0.saturating_sub(LEASE - LEASE_GUARD - Duration::from_millis(150))));
        let mut serving = lease.serving();
        assert!(*serving.borrow_and_update());
        tokio::select! {
            () = lease.watch_end() => unreachable!("watches for ever"),
            heard = tokio::time::timeout(Duration::from_secs(5), serving.changed()) => heard.expect("in time").expect("open"),
        }
        assert!(!*serving.borrow() && !lease.may_forward());
    }
}
