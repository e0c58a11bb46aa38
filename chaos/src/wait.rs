//! Waiting for conditions, never for luck.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// Tries `probe` until it yields something, at most for `limit`. The last error is the one reported.
///
/// # Errors
/// When `limit` passes first.
pub fn until<T>(what: &str, limit: Duration, mut probe: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    let begun = Instant::now();
    let mut last = None;
    loop {
        match probe() {
            Ok(Some(found)) => return Ok(found),
            Ok(None) => {}
            Err(error) => last = Some(error),
        }
        if begun.elapsed() > limit {
            match last {
                Some(error) => return Err(error.context(format!("waited {limit:?} for {what}"))),
                None => bail!("waited {limit:?} for {what}"),
            }
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}
