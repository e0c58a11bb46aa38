//! Free loopback ports. Handed out from a range above the ephemeral one of most systems is not possible without
//! asking the kernel, so each is bound once, remembered, and let go just before its user binds it.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::sync::Mutex;

static GIVEN: Mutex<BTreeSet<u16>> = Mutex::new(BTreeSet::new());

/// A port free for TCP and UDP on 127.0.0.1 now, not given to anybody in this process before.
///
/// # Panics
/// When the machine has none left.
pub fn free() -> u16 {
    for _ in 0..1_000 {
        let tcp = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback has a free port");
        let port = tcp.local_addr().expect("a bound socket has an address").port();
        if UdpSocket::bind((Ipv4Addr::LOCALHOST, port)).is_ok() && GIVEN.lock().expect("no holder panics").insert(port) {
            return port;
        }
    }
    panic!("no port is free for both TCP and UDP");
}
