//! `assize cluster backup`: the cluster crate writes an encrypted file; here it goes out in pieces.

use std::io::Read as _;

use admin_api::control::ControlError;
use cluster::Cluster;
use futures_util::stream::{self, BoxStream, StreamExt as _};

/// Bytes a piece.
const CHUNK: usize = 256 << 10;

fn failed(error: impl std::fmt::Display) -> ControlError {
    ControlError::Unavailable(error.to_string())
}

/// Writes the backup beside the data, then streams it and lets it go.
pub(crate) async fn stream(cluster: &Cluster) -> Result<BoxStream<'static, Result<Vec<u8>, ControlError>>, ControlError> {
    let folder = std::env::temp_dir();
    let path = folder.join(format!("assize-backup-{}-{}", std::process::id(), cluster.now()));
    cluster.backup(&path, true).await.map_err(failed)?;
    let opened = std::fs::File::open(&path);
    // The open file stays readable; nobody else finds it.
    std::fs::remove_file(&path).map_err(failed)?;
    let mut file = opened.map_err(failed)?;
    let pieces = std::iter::from_fn(move || {
        let mut piece = vec![0; CHUNK];
        match file.read(&mut piece) {
            Ok(0) => None,
            Ok(length) => {
                piece.truncate(length);
                Some(Ok(piece))
            }
            Err(error) => Some(Err(failed(error))),
        }
    });
    Ok(stream::iter(pieces).boxed())
}
