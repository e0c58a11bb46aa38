//! How nodes reach each other, as little as this crate needs: ordered streams of frames to a node, in a class of
//! traffic. [`quic`] is the real one, [`memory`] serves tests and simulation.

pub mod memory;
pub mod quic;

use bytes::{Bytes, BytesMut};
use domain::id::NodeId;
use futures_util::future::BoxFuture;
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::limits::FRAME_SIZE_MAX;

/// Traffic that must not delay other traffic has its own connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    /// The control group, every heartbeat and vote, leases, barriers, proposals.
    Control = 0,
    /// Records and the replication of audit groups.
    Audit = 1,
    /// Snapshots.
    Bulk = 2,
}

/// Who opened a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Caller {
    /// A node of this cluster, proved by its certificate.
    Node(NodeId),
    /// A machine without a certificate: it may only ask to join.
    Stranger,
}

#[derive(Debug, Clone, thiserror::Error)]
pub enum PeerError {
    #[error("cannot reach node {node}: {why}")]
    Unreachable { node: NodeId, why: String },
    #[error("the connection was lost: {0}")]
    Lost(String),
    #[error("the peer broke the protocol: {0}")]
    Protocol(String),
    #[error("no answer in time")]
    Timeout,
}

/// Opens streams to other nodes. Incoming ones go to the [`PeerHandler`] the transport was started with.
pub trait PeerTransport: Send + Sync + 'static {
    fn open(&self, to: NodeId, class: Class) -> BoxFuture<'_, Result<Channel, PeerError>>;
    /// Stops taking and making streams.
    fn close(&self);
}

/// Serves one incoming stream to its end.
pub trait PeerHandler: Send + Sync + 'static {
    fn serve(&self, from: Caller, channel: Channel) -> BoxFuture<'static, ()>;
}

/// Two directions of frames, each in order.
pub struct Channel {
    pub tx: FrameTx,
    pub rx: FrameRx,
}

pub enum FrameTx {
    Quic(quinn::SendStream),
    Memory(mpsc::Sender<memory::Carried>),
}

pub enum FrameRx {
    Quic(quinn::RecvStream, BytesMut),
    Memory(mpsc::Receiver<memory::Carried>),
}

impl FrameTx {
    /// Sends one frame. Not cancel-safe: a cancelled send leaves the stream unusable.
    pub async fn send(&mut self, frame: Bytes) -> Result<(), PeerError> {
        if frame.len() > FRAME_SIZE_MAX {
            return Err(PeerError::Protocol(format!("a frame of {} bytes is too large", frame.len())));
        }
        match self {
            FrameTx::Quic(stream) => {
                let length = Bytes::copy_from_slice(&(frame.len() as u32).to_be_bytes());
                stream.write_all_chunks(&mut [length, frame]).await.map_err(|e| PeerError::Lost(e.to_string()))
            }
            FrameTx::Memory(tx) => tx.send(Ok((Instant::now(), frame))).await.map_err(|_| PeerError::Lost("closed".into())),
        }
    }

    /// Tells the peer that no more frames come.
    pub fn finish(&mut self) {
        match self {
            FrameTx::Quic(stream) => {
                // An error means the stream is gone already, which tells the peer the same.
                let _ = stream.finish();
            }
            FrameTx::Memory(tx) => *tx = mpsc::channel(1).0,
        }
    }
}

impl FrameRx {
    /// The next frame, or `None` when the peer finished. Cancel-safe.
    pub async fn next(&mut self) -> Result<Option<Bytes>, PeerError> {
        match self {
            FrameRx::Memory(rx) => rx.recv().await.transpose().map(|carried| carried.map(|(_, frame)| frame)),
            FrameRx::Quic(stream, buffer) => loop {
                if let Some(frame) = split_frame(buffer)? {
                    return Ok(Some(frame));
                }
                match stream.read_chunk(usize::MAX, true).await {
                    Ok(Some(chunk)) => buffer.extend_from_slice(&chunk.bytes),
                    Ok(None) if buffer.is_empty() => return Ok(None),
                    Ok(None) => return Err(PeerError::Lost("the stream ended inside a frame".into())),
                    Err(e) => return Err(PeerError::Lost(e.to_string())),
                }
            },
        }
    }

    /// The next frame; its absence is an error.
    pub async fn expect(&mut self) -> Result<Bytes, PeerError> {
        self.next().await?.ok_or_else(|| PeerError::Lost("the peer ended the stream".into()))
    }
}

/// Takes one whole frame off the front of `buffer`, if there is one.
fn split_frame(buffer: &mut BytesMut) -> Result<Option<Bytes>, PeerError> {
    let Some(head) = buffer.first_chunk::<4>() else { return Ok(None) };
    let length = u32::from_be_bytes(*head) as usize;
    if length > FRAME_SIZE_MAX {
        return Err(PeerError::Protocol(format!("a frame of {length} bytes is too large")));
    }
    if buffer.len() < 4 + length {
        buffer.reserve(4 + length - buffer.len());
        return Ok(None);
    }
    let mut frame = buffer.split_to(4 + length);
    Ok(Some(frame.split_off(4).freeze()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_come_out_whole_however_the_bytes_are_split() {
        let mut wire = Vec::new();
        for body in [&b"one"[..], b"", b"three"] {
            wire.extend_from_slice(&(body.len() as u32).to_be_bytes());
            wire.extend_from_slice(body);
        }
        for split in 0..=wire.len() {
            let mut buffer = BytesMut::new();
            let mut frames = Vec::new();
            for part in [&wire[..split], &wire[split..]] {
                buffer.extend_from_slice(part);
                while let Some(frame) = split_frame(&mut buffer).expect("well-formed") {
                    frames.push(frame);
                }
            }
            assert_eq!(frames, [&b"one"[..], b"", b"three"], "split at {split}");
            assert!(buffer.is_empty());
        }
    }

    #[test]
    fn a_frame_beyond_the_limit_is_refused_before_it_is_read() {
        let mut buffer = BytesMut::from(&u32::MAX.to_be_bytes()[..]);
        assert!(matches!(split_frame(&mut buffer), Err(PeerError::Protocol(_))));
    }
}
