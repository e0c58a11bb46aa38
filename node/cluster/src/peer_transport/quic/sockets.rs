//! Two sockets on one port, so that a flood of records stands in another queue than control, in the kernel too.
//!
//! Every packet carries a connection id that the receiver chose, or, before it could, that the caller drew for it. Its
//! first byte says on which [`Side`] the connection is, and a filter of two comparisons has the kernel put the packet
//! into that side's socket. RFC 8999 keeps the place of the connection id the same in all versions of QUIC.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use nix::libc;
use nix::sys::socket::setsockopt;
use nix::sys::socket::sockopt::{AttachReusePortCbpf, ReusePort};
use quinn::{ConnectionId, ConnectionIdGenerator};

use super::super::Class;

/// Length of connection ids. QUIC wants at least 8 bytes of those that callers draw.
const CID_LENGTH: usize = 12;

/// Which socket, and with it which runtime, a connection is on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Control = 0,
    /// Records and snapshots.
    Data = 1,
}

impl Side {
    pub(super) fn of(class: Class) -> Side {
        match class {
            Class::Control => Side::Control,
            Class::Audit | Class::Bulk => Side::Data,
        }
    }

    /// The side of an incoming connection, by the id its caller drew: of strangers to this scheme, the data side.
    pub(super) fn of_id(id: &ConnectionId) -> Side {
        if id.first() == Some(&(Side::Control as u8)) { Side::Control } else { Side::Data }
    }

    pub(super) fn draw_id(self) -> ConnectionId {
        let mut id: [u8; CID_LENGTH] = rand::random();
        id[0] = self as u8;
        ConnectionId::new(&id)
    }
}

impl ConnectionIdGenerator for Side {
    fn generate_cid(&mut self) -> ConnectionId {
        self.draw_id()
    }

    fn cid_len(&self) -> usize {
        CID_LENGTH
    }

    fn cid_lifetime(&self) -> Option<Duration> {
        None
    }
}

/// Binds `listen` for both sides. Where the kernel cannot sort packets there is one socket, and no second.
pub(super) fn bind(listen: SocketAddr) -> io::Result<(UdpSocket, Option<UdpSocket>)> {
    // Shared only once it is ours: a port that another process has is still an error.
    let control = UdpSocket::bind(listen)?;
    match beside(&control) {
        Ok(data) => Ok((control, Some(data))),
        Err(e) => {
            tracing::warn!(error = %e, "the kernel cannot keep records and control in sockets of their own");
            Ok((control, None))
        }
    }
}

/// The data side's socket. The kernel numbers the sockets of a port in the order in which they were bound.
fn beside(control: &UdpSocket) -> io::Result<UdpSocket> {
    setsockopt(control, ReusePort, &true)?;
    let address = control.local_addr()?;
    let data = socket2::Socket::new(socket2::Domain::for_address(address), socket2::Type::DGRAM, None)?;
    setsockopt(&data, ReusePort, &true)?;
    data.bind(&address.into())?;
    // A caller that comes before this stays on the socket it met: our connection ids tell which that is.
    sort(control)?;
    Ok(data.into())
}

/// Has the kernel choose a socket by the first byte of a packet's destination connection id.
fn sort(socket: &UdpSocket) -> io::Result<()> {
    const LOAD_BYTE: u16 = (libc::BPF_LD | libc::BPF_B | libc::BPF_ABS) as u16;
    const JUMP_IF_SET: u16 = (libc::BPF_JMP | libc::BPF_JSET | libc::BPF_K) as u16;
    const JUMP_IF_EQUAL: u16 = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
    const JUMP: u16 = (libc::BPF_JMP | libc::BPF_JA) as u16;
    const RETURN: u16 = (libc::BPF_RET | libc::BPF_K) as u16;
    let step = |code, jt, jf, k| libc::sock_filter { code, jt, jf, k };
    // Offsets are into the UDP payload. A packet that is too short goes to the first socket, whose endpoint drops it.
    let mut program = [
        step(LOAD_BYTE, 0, 0, 0),
        step(JUMP_IF_SET, 0, 2, 0x80),
        // Long header: one byte of flags, four of version, one of length.
        step(LOAD_BYTE, 0, 0, 6),
        step(JUMP, 0, 0, 1),
        // Short header: one byte of flags.
        step(LOAD_BYTE, 0, 0, 1),
        step(JUMP_IF_EQUAL, 0, 1, Side::Control as u32),
        step(RETURN, 0, 0, Side::Control as u32),
        step(RETURN, 0, 0, Side::Data as u32),
    ];
    let program = libc::sock_fprog { len: program.len() as u16, filter: program.as_mut_ptr() };
    setsockopt(socket, AttachReusePortCbpf, &program)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn took(socket: &UdpSocket) -> Vec<Vec<u8>> {
        let mut buffer = [0; 64];
        std::iter::from_fn(|| socket.recv(&mut buffer).ok().map(|n| buffer[..n].to_vec())).collect()
    }

    #[test]
    fn the_kernel_sorts_packets_by_their_connection_id() {
        let (control, data) = bind(([127, 0, 0, 1], 0).into()).expect("a free port");
        let data = data.expect("a kernel that sorts");
        for socket in [&control, &data] {
            socket.set_read_timeout(Some(Duration::from_millis(50))).expect("a timeout");
        }
        let packet = |long: bool, id: &[u8]| {
            let head: &[u8] = if long { &[0xC0, 0, 0, 0, 1, 12] } else { &[0x40] };
            [head, id].concat()
        };
        let (mut to_control, mut to_data) = (Vec::new(), Vec::new());
        for _ in 0..50 {
            for long in [true, false] {
                to_control.push(packet(long, &Side::Control.draw_id()));
                to_data.push(packet(long, &Side::Data.draw_id()));
            }
        }
        let address = control.local_addr().expect("bound");
        let caller = UdpSocket::bind("127.0.0.1:0").expect("a free port");
        for (one, other) in to_control.iter().zip(&to_data) {
            caller.send_to(one, address).expect("loopback takes it");
            caller.send_to(other, address).expect("loopback takes it");
        }
        assert_eq!(took(&control), to_control);
        assert_eq!(took(&data), to_data);
    }

    #[test]
    fn a_port_that_is_taken_is_not_shared() {
        let (first, _data) = bind(([127, 0, 0, 1], 0).into()).expect("a free port");
        let error = bind(first.local_addr().expect("bound")).expect_err("the first node has it");
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
    }
}
