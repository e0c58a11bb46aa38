//! Accepts connections and gives each its own task. Nothing a stranger does here delays the next one.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::AbortHandle;
use tokio::time::Instant;

use crate::limits::{ACCEPT_PAUSE, HANDSHAKES_MAX, LISTEN_BACKLOG};
use crate::metrics::meters;
use crate::protocol::Protocol;
use crate::stage::{self, Parts};
use crate::tasks::Kind;

/// Opens a listening socket.
///
/// # Errors
/// When the address is taken or not ours.
pub fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = socket2::Socket::new(socket2::Domain::for_address(address), socket2::Type::STREAM, Some(socket2::Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(LISTEN_BACKLOG)?;
    TcpListener::from_std(socket.into())
}

/// Serves `listener` with `protocol` until the node drains. Returns at once; the work is a task of `parts.tasks`.
pub fn serve(listener: TcpListener, protocol: Arc<dyn Protocol>, parts: Arc<Parts>) {
    let tasks = parts.tasks.clone();
    tasks.spawn(Kind::Listener, accept_loop(listener, protocol, parts));
}

async fn accept_loop(listener: TcpListener, protocol: Arc<dyn Protocol>, parts: Arc<Parts>) {
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                meters().accepted.increment(1);
                welcome(stream, peer, &protocol, &parts);
            }
            Err(error) => {
                // Out of file descriptors mostly, or a peer that left while queued: neither may end the loop.
                meters().accept_errors.increment(1);
                tracing::warn!(%error, protocol = protocol.name(), "accept failed");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

fn welcome(stream: TcpStream, peer: SocketAddr, protocol: &Arc<dyn Protocol>, parts: &Arc<Parts>) {
    // A request is one small write that waits for its answer: Nagle would only add delay.
    let _ = stream.set_nodelay(true);
    let slot = parts.handshakes.enter();
    let number = slot.number;
    let task = parts.tasks.spawn(Kind::Connection, stage::walk(stream, peer, protocol.clone(), parts.clone(), slot));
    parts.handshakes.entered(number, task.abort_handle());
}

/// The strangers of this node, oldest first. When one more comes than may be, the oldest is dropped.
#[derive(Default)]
pub struct Handshakes {
    strangers: Mutex<Strangers>,
}

#[derive(Default)]
struct Strangers {
    next: u64,
    waiting: VecDeque<Stranger>,
}

struct Stranger {
    number: u64,
    since: Instant,
    /// `None` between entering and being spawned.
    task: Option<AbortHandle>,
}

/// A stranger's place; given back when it has proved who it is, or when dropped.
pub(crate) struct Slot {
    pub(crate) number: u64,
    handshakes: Arc<Handshakes>,
}

impl Handshakes {
    fn enter(self: &Arc<Self>) -> Slot {
        let mut strangers = self.strangers.lock();
        if strangers.waiting.len() >= HANDSHAKES_MAX
            && let Some(oldest) = strangers.waiting.pop_front()
        {
            meters().handshakes_evicted.increment(1);
            tracing::debug!(age_ms = oldest.since.elapsed().as_millis() as u64, "the oldest handshake gave way");
            if let Some(task) = oldest.task {
                task.abort();
            }
        }
        let number = strangers.next;
        strangers.next += 1;
        strangers.waiting.push_back(Stranger { number, since: Instant::now(), task: None });
        meters().handshakes.increment(1.0);
        Slot { number, handshakes: self.clone() }
    }

    /// The stranger's task is known. If it has left already, this changes nothing.
    fn entered(&self, number: u64, task: AbortHandle) {
        let mut strangers = self.strangers.lock();
        if let Some(stranger) = strangers.find(number) {
            stranger.task = Some(task);
        }
    }

    pub fn len(&self) -> usize {
        self.strangers.lock().waiting.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Strangers {
    /// Numbers ascend, so a stranger is found by bisection.
    fn find(&mut self, number: u64) -> Option<&mut Stranger> {
        let at = self.waiting.binary_search_by_key(&number, |s| s.number).ok()?;
        self.waiting.get_mut(at)
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut strangers = self.handshakes.strangers.lock();
        if let Ok(at) = strangers.waiting.binary_search_by_key(&self.number, |s| s.number) {
            strangers.waiting.remove(at);
        }
        meters().handshakes.decrement(1.0);
    }
}
