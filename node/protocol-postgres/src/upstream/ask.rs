//! Questions of our own to a target: one statement in the simple protocol, its rows as text.

use bytes::{BufMut, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{Connected, UpstreamError};
use crate::codec::{Backend, frame, write};

/// Bytes of one row of an answer.
const ROW_SIZE_MAX: u32 = 64 << 10;

pub(super) type Row = Vec<Option<String>>;

/// What was answered, and whether there were more rows than were to be kept.
pub(super) struct Answer {
    pub(super) rows: Vec<Row>,
    pub(super) cut: bool,
}

/// # Errors
/// [`UpstreamError::Refused`] when the target answers with an error: then, as after an answer, it is ready for another
/// question unless it has closed the connection.
pub(super) async fn ask(connected: &mut Connected, sql: &str, rows_max: usize) -> Result<Answer, UpstreamError> {
    let mut out = BytesMut::new();
    write::message(&mut out, b'Q', |out| {
        out.put_slice(sql.as_bytes());
        out.put_u8(0);
    });
    connected.stream.write_all_buf(&mut out).await?;
    connected.stream.flush().await?;
    let mut answer = Answer { rows: Vec::new(), cut: false };
    let mut refused = None;
    loop {
        let Some(frame) = frame::next(&mut connected.buffer, ROW_SIZE_MAX)? else {
            connected.buffer.reserve(16 * 1024);
            if connected.stream.read_buf(&mut connected.buffer).await? == 0 {
                return Err(refused.unwrap_or_else(|| std::io::Error::from(std::io::ErrorKind::UnexpectedEof).into()));
            }
            continue;
        };
        match Backend::parse(&frame)? {
            Backend::DataRow(_) if answer.rows.len() >= rows_max => answer.cut = true,
            Backend::DataRow(values) => {
                answer.rows.push(values.iter().map(|value| value.map(|bytes| String::from_utf8_lossy(bytes).into_owned())).collect());
            }
            Backend::ErrorResponse(fields) => refused = Some(super::login::refused(&fields)),
            Backend::ReadyForQuery(_) => return refused.map_or(Ok(answer), Err),
            _ => {}
        }
    }
}

pub(super) fn text(row: &Row, at: usize) -> String {
    row.get(at).and_then(Clone::clone).unwrap_or_default()
}
