//! The clocks of this machine, read in one place.

use std::time::Duration;

/// A moment of `CLOCK_BOOTTIME`: it counts time in suspend and never jumps. Compared only on this machine and boot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Boottime(pub(crate) Duration);

impl Boottime {
    pub(crate) fn now() -> Boottime {
        // Through libc, as the wall clock below. Cannot fail: the kernel has this clock since 2.6.39.
        let now = nix::time::clock_gettime(nix::time::ClockId::CLOCK_BOOTTIME).map(Duration::from);
        Boottime(now.expect("the kernel has CLOCK_BOOTTIME"))
    }

    pub(crate) fn nanos(self) -> u64 {
        u64::try_from(self.0.as_nanos()).unwrap_or(u64::MAX)
    }

    /// Time passed since this moment.
    pub(crate) fn elapsed(self) -> Duration {
        Boottime::now().0.saturating_sub(self.0)
    }

    pub(crate) fn plus(self, span: Duration) -> Boottime {
        Boottime(self.0 + span)
    }

    /// How long until this moment; zero when it has passed.
    pub(crate) fn until(self) -> Duration {
        self.0.saturating_sub(Boottime::now().0)
    }

    /// Sleeps until this moment. tokio's timers stop in suspend, so the moment is looked at again after each sleep.
    pub(crate) async fn reached(self) {
        loop {
            let left = self.until();
            if left.is_zero() {
                return;
            }
            tokio::time::sleep(left.min(Duration::from_millis(250))).await;
        }
    }
}

/// Milliseconds since 1970 by this machine's wall clock. Only ever one vote in a median; decides nothing alone.
pub(crate) fn wall_ms() -> u64 {
    // Through libc, so that whoever tests what a wrong clock does can set it for one process, and a simulation all clocks.
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
