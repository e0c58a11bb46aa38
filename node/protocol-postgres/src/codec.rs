//! The bytes of the PostgreSQL protocol, versions 3.0 and 3.2, both directions, without I/O.
//!
//! ```text
//!   socket → BytesMut → startup::next   (before a session: no tag)
//!                     → FrontendScanner (client → server)  ┐ Frame, or a Run of row or copy data
//!                     → BackendScanner  (server → client)  ┘
//!   Frame → Frontend::parse / Backend::parse: borrowed views, checked to the last byte
//! ```
//!
//! What is judged is what is sent: a [`Frame`] keeps the very bytes it was read from, and is forwarded as they are.
//! Nothing here trusts a length before it is checked, and nothing reserves memory for a length that was announced.

pub mod backend;
pub mod cursor;
pub mod fields;
pub mod frame;
pub mod frontend;
pub mod scan;
pub mod startup;
pub mod values;
pub mod write;

pub use backend::{Authentication, Backend, TransactionStatus};
pub use fields::ErrorFields;
pub use frame::{FRAME_SIZE_MAX, Frame};
pub use frontend::Frontend;
pub use scan::{BackendScanner, FrontendScanner, Piece};
pub use startup::{CancelKey, ProtocolVersion, Startup};

/// Why bytes are not the protocol. But for [`CodecError::NotUtf8`] the connection they came from is not usable any more,
/// since the place of the next message is unknown or in doubt.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CodecError {
    #[error("message {} announces a length of {length}; it counts itself, so 4 is the least", tag_name(*tag))]
    LengthTooSmall { tag: u8, length: u32 },
    #[error("message {} announces {length} bytes; the limit is {limit}", tag_name(*tag))]
    TooLong { tag: u8, length: u32, limit: u32 },
    #[error("unknown message type {}", tag_name(*tag))]
    UnknownTag { tag: u8 },
    #[error("malformed {message} message: {problem}")]
    Malformed { message: &'static str, problem: &'static str },
    /// The only one after which the next message's place is known.
    #[error("malformed {message} message: a string that is not UTF-8")]
    NotUtf8 { message: &'static str },
    #[error("start-up packet of {length} bytes; between 8 and {limit} are taken")]
    StartupLength { length: u32, limit: u32 },
    #[error("protocol version {major}.{minor} is not supported")]
    Version { major: u16, minor: u16 },
}

/// A tag as people know it: the letter, or a number where it is none.
fn tag_name(tag: u8) -> String {
    if tag.is_ascii_graphic() { format!("'{}'", char::from(tag)) } else { format!("0x{tag:02x}") }
}

#[cfg(test)]
mod tests;
