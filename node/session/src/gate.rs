//! The gate of one session: the last thing a byte passes on its way to the target, and what enforcement takes.
//!
//! ```text
//!            forward()                 shut()
//!  Open ───────────────► write   Open ────────► Shut (for good)
//!   │ freeze() ▲ thaw()
//!   ▼          │
//!  Frozen ─────┘  forward() answers "no lease"
//! ```
//! The lock is held for one non-blocking write at most, so taking the gate never waits for a peer.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use domain::admission::Permit;
use domain::id::Index;
use domain::member::Cancelled;
use domain::refusal::Refusal;
use domain::state::State;
use domain::time::LogTime;
use futures_util::task::AtomicWaker;
use parking_lot::Mutex;
use planted::{Bug, Point, planted, reach};

use crate::authority::Authority;
use crate::protocol::Activity;
use socket::Stream;

pub struct Gate {
    /// When the client's proof of identity ends.
    expires: Option<LogTime>,
    inner: Mutex<Inner>,
    activity: AtomicU8,
    /// The client asked to cancel.
    cancel: AtomicBool,
    /// The node drains: end when idle.
    drain: AtomicBool,
    /// Something changed that the relay should look at.
    knocked: AtomicBool,
    waker: AtomicWaker,
}

struct Inner {
    shut: Option<Refusal>,
    frozen: bool,
    permit: Arc<Permit>,
    /// The state index at which `permit` was last seen to be current.
    checked: Index,
    /// The same session as it was last reviewed, by itself or by whoever watches the clock: the state may have given
    /// `permit` an end that it does not know of.
    standing: Arc<Permit>,
    /// A second handle on the upstream socket, so that it can be drained and reset from outside.
    upstream: Option<OwnedFd>,
    /// The stream holds bytes in user space that it took but has not sent.
    unsent: bool,
    aborted: bool,
    cancelled: Cancelled,
}

/// Why a write did not happen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stopped {
    Shut(Refusal),
    /// The control state changed in a way that touches this permit, or time did: admit again first.
    Stale,
    NoLease,
    /// The write happened, but when it was done the lease was over, for so long: the socket was reset.
    Late(Duration),
}

impl Gate {
    pub fn new(permit: Arc<Permit>, expires: Option<LogTime>) -> Self {
        let inner = Inner {
            shut: None,
            frozen: false,
            standing: permit.clone(),
            permit,
            checked: Index(0),
            upstream: None,
            unsent: false,
            aborted: false,
            cancelled: Cancelled::Idle,
        };
        Gate {
            expires,
            inner: Mutex::new(inner),
            activity: AtomicU8::new(Activity::Idle as u8),
            cancel: AtomicBool::new(false),
            drain: AtomicBool::new(false),
            knocked: AtomicBool::new(false),
            waker: AtomicWaker::new(),
        }
    }

    pub fn permit(&self) -> Arc<Permit> {
        self.inner.lock().permit.clone()
    }

    /// A permit that was admitted anew takes the place of the old one, unless the gate was shut meanwhile.
    pub fn renew(&self, permit: Arc<Permit>) {
        let mut inner = self.inner.lock();
        inner.standing = permit.clone();
        inner.permit = permit;
        inner.checked = Index(0);
    }

    /// The proof of identity is over.
    pub fn is_expired(&self, now: LogTime) -> bool {
        self.expires.is_some_and(|end| end <= now)
    }

    /// What the session stands on, where time or the state has gone past it and nobody has seen to that.
    pub fn unsettled(&self, state: &State, now: LogTime) -> Option<Arc<Permit>> {
        let inner = self.inner.lock();
        let settled = inner.shut.is_some() || (!inner.standing.is_over(now) && inner.standing.is_current(state));
        (!settled).then(|| inner.standing.clone())
    }

    /// A new review lets the session go on. It still asks for one itself before it writes.
    pub fn stands_on(&self, permit: Permit) {
        self.inner.lock().standing = Arc::new(permit);
    }

    /// From now on the upstream socket can be reset from outside.
    ///
    /// # Errors
    /// When no file descriptor is left.
    pub fn attach(&self, upstream: &Stream) -> io::Result<()> {
        let handle = upstream.tcp().as_fd().try_clone_to_owned()?;
        self.inner.lock().upstream = Some(handle);
        Ok(())
    }

    /// Lets go of the upstream socket: after this, closing the stream closes the connection.
    pub fn detach(&self) {
        let mut inner = self.inner.lock();
        inner.upstream = None;
        inner.unsent = false;
    }

    /// The only way bytes go to a target. `write` is one non-blocking write; its second value says whether the
    /// stream still holds bytes in user space.
    ///
    /// # Errors
    /// When the session may not forward now; nothing was written then, except for [`Stopped::Late`].
    pub fn forward<T>(&self, authority: &dyn Authority, write: impl FnOnce() -> (T, bool)) -> Result<T, Stopped> {
        let mut inner = self.inner.lock();
        if let Some(refusal) = &inner.shut {
            return Err(Stopped::Shut(refusal.clone()));
        }
        let state = authority.state();
        if state.applied != inner.checked {
            if !inner.permit.is_current(&state) && !planted(Bug::StalePermitForwards) {
                return Err(Stopped::Stale);
            }
            inner.checked = state.applied;
        }
        if self.is_expired(authority.now()) {
            return Err(Stopped::Shut(Refusal::GrantExpired));
        }
        if inner.permit.is_over(authority.now()) {
            return Err(Stopped::Stale);
        }
        if inner.frozen || !authority.may_forward() {
            return Err(Stopped::NoLease);
        }
        reach(Point::GateBeforeWrite);
        let (written, unsent) = write();
        reach(Point::GateWritten);
        inner.unsent = unsent;
        if authority.may_forward() || planted(Bug::LateNotNoticed) {
            Ok(written)
        } else {
            let late = authority.late_by();
            inner.abort();
            Err(Stopped::Late(late))
        }
    }

    /// Ends the session from outside. Nothing is forwarded after this returns. The first reason stays.
    pub fn shut(&self, refusal: Refusal) {
        {
            let mut inner = self.inner.lock();
            inner.shut.get_or_insert(refusal);
            if self.activity() != Activity::Idle && inner.cancelled == Cancelled::Idle {
                inner.cancelled = Cancelled::Pending;
            }
        }
        self.knock();
    }

    pub fn shut_reason(&self) -> Option<Refusal> {
        self.inner.lock().shut.clone()
    }

    /// Nothing of ours is on its way to the target any more: the kernel's queue is empty (acknowledged by the peer)
    /// and so is the stream's own.
    pub fn is_drained(&self) -> bool {
        let inner = self.inner.lock();
        match &inner.upstream {
            Some(socket) => !inner.unsent && !has_unacknowledged(socket),
            None => true,
        }
    }

    /// Resets the upstream connection: bytes the kernel still holds are dropped, not delivered.
    pub fn abort(&self) {
        self.inner.lock().abort();
        self.knock();
    }

    /// For ends that nobody waits for: what is not with the target by now does not get there.
    pub fn abort_unless_drained(&self) {
        if !self.is_drained() {
            self.abort();
        }
    }

    pub fn was_aborted(&self) -> bool {
        self.inner.lock().aborted
    }

    /// The lease is over. A session with work at the target is ended, see [`Gate::shut`]; the others wait.
    pub fn freeze(&self) {
        let mut inner = self.inner.lock();
        inner.frozen = true;
        let undrained = inner.unsent || inner.upstream.as_ref().is_some_and(has_unacknowledged);
        if undrained || self.activity() != Activity::Idle {
            inner.abort();
            inner.shut.get_or_insert(Refusal::NoLease);
        }
        drop(inner);
        self.knock();
    }

    pub fn thaw(&self) {
        self.inner.lock().frozen = false;
        self.knock();
    }

    pub fn activity(&self) -> Activity {
        match self.activity.load(Ordering::Relaxed) {
            0 => Activity::Idle,
            1 => Activity::InTransaction,
            _ => Activity::Busy,
        }
    }

    pub fn set_activity(&self, activity: Activity) {
        self.activity.store(activity as u8, Ordering::Relaxed);
    }

    pub fn cancelled(&self) -> Cancelled {
        self.inner.lock().cancelled
    }

    pub fn set_cancelled(&self, cancelled: Cancelled) {
        self.inner.lock().cancelled = cancelled;
    }

    /// The client asks to cancel what the session does.
    pub fn ask_cancel(&self) {
        self.cancel.store(true, Ordering::Release);
        self.knock();
    }

    pub fn take_cancel(&self) -> bool {
        self.cancel.swap(false, Ordering::AcqRel)
    }

    pub fn ask_drain(&self) {
        self.drain.store(true, Ordering::Release);
        self.knock();
    }

    pub fn is_draining(&self) -> bool {
        self.drain.load(Ordering::Acquire)
    }

    fn knock(&self) {
        self.knocked.store(true, Ordering::Release);
        self.waker.wake();
    }

    /// Ready when something changed since the last time it was ready.
    pub fn poll_knocked(&self, cx: &mut Context<'_>) -> Poll<()> {
        if self.knocked.swap(false, Ordering::AcqRel) {
            return Poll::Ready(());
        }
        self.waker.register(cx.waker());
        if self.knocked.swap(false, Ordering::AcqRel) { Poll::Ready(()) } else { Poll::Pending }
    }
}

impl Inner {
    fn abort(&mut self) {
        self.aborted = true;
        self.unsent = false;
        if let Some(socket) = &self.upstream {
            reset(socket);
        }
    }
}

/// Sends RST and drops what is queued, at once, whoever else holds the socket: `connect` to no address is
/// `tcp_disconnect` (tcp(7); Linux `net/ipv4/tcp.c`). Linger 0 makes a later close do the same.
fn reset(socket: &OwnedFd) {
    let _ = socket2::SockRef::from(socket).set_linger(Some(Duration::ZERO));
    if let Err(error) = rustix::net::connect_unspec(socket)
        && error != rustix::io::Errno::NOTCONN
    {
        tracing::warn!(%error, "an upstream socket could not be reset; it is shut down instead");
        let _ = rustix::net::shutdown(socket, rustix::net::Shutdown::Both);
    }
}

/// Whether the target's kernel may lack bytes that ours took. Unknown counts as yes.
fn has_unacknowledged(socket: &OwnedFd) -> bool {
    socket::unacknowledged(socket).map_or(true, |left| left > 0)
}
