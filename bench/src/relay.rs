//! A bare byte pump on one thread: two sockets, two copies, no thought. No gateway of this shape can cost less.

use std::net::SocketAddr;

use anyhow::Result;
use tokio::io::copy_bidirectional_with_sizes;
use tokio::net::{TcpListener, TcpStream};

/// Bytes copied at once each way.
const CHUNK: usize = 16 * 1024;

/// # Errors
/// When it cannot listen.
pub(crate) async fn run(listen: SocketAddr, upstream: SocketAddr) -> Result<()> {
    let listener = TcpListener::bind(listen).await?;
    loop {
        let (mut client, _) = listener.accept().await?;
        tokio::spawn(async move {
            let Ok(mut server) = TcpStream::connect(upstream).await else { return };
            let _ = (client.set_nodelay(true), server.set_nodelay(true));
            let _ = copy_bidirectional_with_sizes(&mut client, &mut server, CHUNK, CHUNK).await;
        });
    }
}
