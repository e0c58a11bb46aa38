//! What a run learns of time and chance. The calls of libc by which a process asks for them are answered here, on the
//! thread of a run, from its seed: so the code under test is the code that ships, without a clock or a source of
//! chance of its own for tests.
//!
//! Time passes only where the runtime would sleep: in `epoll_wait`, which comes back at once and has waited as long
//! as it was asked to. On every other thread the kernel answers as always.

#![allow(unsafe_code, reason = "libc's own signatures")]

use std::cell::Cell;

use libc::{c_int, c_uint, c_void, clockid_t, epoll_event, size_t, ssize_t, timespec};

/// Where a run's clocks start: the machine has been up for a while, and it is 2027.
const UPTIME: u64 = 10_000_000_000_000;
const EPOCH: u64 = 1_800_000_000_000_000_000;

thread_local! {
    /// Nanoseconds since the run began; `None` on threads that are in no run.
    static NOW: Cell<Option<u64>> = const { Cell::new(None) };
    static CHANCE: Cell<u64> = const { Cell::new(0) };
}

/// From here on this thread's time and chance are those of `seed`.
pub(super) fn begin(seed: u64) {
    CHANCE.set(seed ^ 0x5851_f42d_4c95_7f2d);
    NOW.set(Some(0));
}

/// Nanoseconds since the run began.
pub(super) fn now() -> u64 {
    NOW.get().unwrap_or_default()
}

fn chance() -> u64 {
    let state = CHANCE.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
    CHANCE.set(state);
    let z = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[unsafe(no_mangle)]
unsafe extern "C" fn clock_gettime(clock: clockid_t, out: *mut timespec) -> c_int {
    let Some(now) = NOW.get() else {
        // SAFETY: as libc's own.
        return unsafe { libc::syscall(libc::SYS_clock_gettime, clock, out) as c_int };
    };
    let nanos = now + if clock == libc::CLOCK_REALTIME { EPOCH } else { UPTIME };
    // SAFETY: the caller's promise, as to libc.
    unsafe { *out = timespec { tv_sec: (nanos / 1_000_000_000) as i64, tv_nsec: (nanos % 1_000_000_000) as i64 } };
    0
}

#[unsafe(no_mangle)]
unsafe extern "C" fn getrandom(buffer: *mut c_void, length: size_t, flags: c_uint) -> ssize_t {
    if NOW.get().is_none() {
        // SAFETY: as libc's own.
        return unsafe { libc::syscall(libc::SYS_getrandom, buffer, length, flags) as ssize_t };
    }
    // SAFETY: the caller's promise, as to libc.
    let bytes = unsafe { std::slice::from_raw_parts_mut(buffer.cast::<u8>(), length) };
    for chunk in bytes.chunks_mut(8) {
        chunk.copy_from_slice(&chance().to_le_bytes()[..chunk.len()]);
    }
    length as ssize_t
}

#[unsafe(no_mangle)]
unsafe extern "C" fn epoll_wait(epoll: c_int, events: *mut epoll_event, many: c_int, timeout: c_int) -> c_int {
    let now = NOW.get();
    let wait = if now.is_some() { 0 } else { timeout };
    // SAFETY: as libc's own.
    let ready = unsafe { libc::syscall(libc::SYS_epoll_pwait, epoll, events, many, wait, std::ptr::null::<c_void>(), 8) as c_int };
    if let (Some(now), 0) = (now, ready) {
        if timeout < 0 {
            eprintln!("the run stands still: nothing is ready, and nothing waits for a time");
            std::process::abort();
        }
        NOW.set(Some(now + timeout as u64 * 1_000_000));
    }
    ready
}
