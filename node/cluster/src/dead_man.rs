//! The dead-man timer (DESIGN §4): the kernel kills this process when it did not fence itself by the end of its lease.
//!
//! A stopped process (SIGSTOP, freezer, stalled machine) cannot check a clock; when it goes on it would write what it
//! was about to. A POSIX timer on `CLOCK_BOOTTIME` needs nobody to run, no privilege, and fires before the first
//! instruction of a process that wakes too late. A process that is alive takes its gates at the lease's end and
//! disarms, so losing the quorum kills no node.

use nix::sys::signal::{SigEvent, SigevNotify, Signal};
use nix::sys::time::TimeSpec;
use nix::sys::timer::{Expiration, Timer, TimerSetTimeFlags};
use nix::time::ClockId;
use parking_lot::Mutex;

use crate::clock::Boottime;
use crate::limits::{FENCE_MARGIN, KILL_LATENCY};

struct KernelTimer(Timer);

// SAFETY: a POSIX timer belongs to the process, not to the thread that made it; the pointer in `timer_t` is its number,
// which nothing dereferences (timer_create(2)).
#[allow(unsafe_code, reason = "nix leaves open whether timer_t may change threads; POSIX does not")]
unsafe impl Send for KernelTimer {}

/// `None` inside where several nodes share a process, which then must not be killed for one of them.
pub(crate) struct DeadMan(Option<Mutex<KernelTimer>>);

impl DeadMan {
    pub(crate) fn unarmed() -> DeadMan {
        DeadMan(None)
    }

    /// # Errors
    /// When the kernel has no timer left for this user.
    pub(crate) fn new() -> std::io::Result<DeadMan> {
        let kill = SigEvent::new(SigevNotify::SigevSignal { signal: Signal::SIGKILL, si_value: 0 });
        Ok(DeadMan(Some(Mutex::new(KernelTimer(Timer::new(ClockId::CLOCK_BOOTTIME, kill)?)))))
    }

    /// A lease was extended. `end` says when it is over now; asked for under the lock, so that the last word counts.
    pub(crate) fn arm(&self, end: impl FnOnce() -> Boottime) {
        let Some(timer) = &self.0 else { return };
        let mut timer = timer.lock();
        set(&mut timer.0, end().0 + FENCE_MARGIN.saturating_sub(KILL_LATENCY));
    }

    /// The gates are taken. Disarms if the lease `is_over`: it may have been extended meanwhile.
    pub(crate) fn disarm_if(&self, is_over: impl FnOnce() -> bool) {
        let Some(timer) = &self.0 else { return };
        let mut timer = timer.lock();
        if is_over() {
            set(&mut timer.0, std::time::Duration::ZERO);
        }
    }
}

/// Zero disarms (timer_settime(2)).
fn set(timer: &mut Timer, at: std::time::Duration) {
    if let Err(error) = timer.set(Expiration::OneShot(TimeSpec::from_duration(at)), TimerSetTimeFlags::TFD_TIMER_ABSTIME) {
        // The kernel refuses only values that are none; without the timer a stopped node would not be fenced.
        tracing::error!(%error, "the dead-man timer could not be set: this node stops");
        std::process::abort();
    }
}
