//! What was co-signed last of each log, on disk before anybody gets the signature.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use data_encoding::BASE64;
use domain::audit::add_checkpoint::Seen;
use serde::{Deserialize, Serialize};

#[derive(Debug, thiserror::Error)]
pub enum StateError {
    #[error("{path}: {source}")]
    File { path: String, source: std::io::Error },
    #[error("{0} exists already: a witness begins once")]
    Exists(String),
    #[error("{path} is damaged: {why}; a witness that does not know what it signed must not go on")]
    Damaged { path: String, why: String },
}

/// By origin.
#[derive(Debug)]
pub struct State {
    path: PathBuf,
    heads: BTreeMap<String, Seen>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    format: u32,
    heads: BTreeMap<String, StoredHead>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StoredHead {
    size: u64,
    root: String,
}

const FORMAT: u32 = 1;

impl State {
    /// Writes the state of a witness that has seen nothing.
    ///
    /// # Errors
    /// [`StateError`].
    pub fn create(path: &Path) -> Result<State, StateError> {
        if path.exists() {
            return Err(StateError::Exists(path.display().to_string()));
        }
        let state = State { path: path.to_owned(), heads: BTreeMap::new() };
        state.write(&state.heads)?;
        Ok(state)
    }

    /// # Errors
    /// [`StateError`], also when there is no file: nothing is begun anew by accident.
    pub fn read(path: &Path) -> Result<State, StateError> {
        let text = std::fs::read_to_string(path).map_err(|source| StateError::File { path: path.display().to_string(), source })?;
        let damaged = |why: String| StateError::Damaged { path: path.display().to_string(), why };
        let stored: Stored = serde_json::from_str(&text).map_err(|error| damaged(error.to_string()))?;
        if stored.format != FORMAT {
            return Err(damaged(format!("format {}", stored.format)));
        }
        let head = |(origin, head): (String, StoredHead)| {
            let root = BASE64.decode(head.root.as_bytes()).ok()?.try_into().ok()?;
            Some((origin.clone(), Seen { origin, size: head.size, root }))
        };
        let heads: Option<BTreeMap<String, Seen>> = stored.heads.into_iter().map(head).collect();
        Ok(State { path: path.to_owned(), heads: heads.ok_or_else(|| damaged("a root is no hash".into()))? })
    }

    pub fn last(&self, origin: &str) -> Option<&Seen> {
        self.heads.get(origin)
    }

    /// Takes the head down. On disk when this returns; unchanged when it fails.
    ///
    /// # Errors
    /// [`StateError::File`].
    pub fn keep(&mut self, head: Seen) -> Result<(), StateError> {
        let mut heads = self.heads.clone();
        heads.insert(head.origin.clone(), head);
        self.write(&heads)?;
        self.heads = heads;
        Ok(())
    }

    /// A file beside it, synced, then put in its place: a crash leaves the old or the new.
    fn write(&self, heads: &BTreeMap<String, Seen>) -> Result<(), StateError> {
        let stored = |head: &Seen| StoredHead { size: head.size, root: BASE64.encode(&head.root) };
        let heads = heads.iter().map(|(origin, head)| (origin.clone(), stored(head))).collect();
        let text = serde_json::to_string_pretty(&Stored { format: FORMAT, heads }).expect("plain data has a JSON form");
        let write = || {
            let beside = self.path.with_extension("new");
            let mut file = File::create(&beside)?;
            file.write_all(text.as_bytes())?;
            file.sync_all()?;
            std::fs::rename(&beside, &self.path)?;
            let folder = self.path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
            File::open(folder)?.sync_all()
        };
        write().map_err(|source| StateError::File { path: self.path.display().to_string(), source })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_signed_is_known_after_a_restart_and_never_begun_anew() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("state.json");
        assert!(matches!(State::read(&path), Err(StateError::File { .. })), "no file is no state");
        let mut state = State::create(&path).expect("a state");
        let head = Seen { origin: "log".into(), size: 7, root: [9; 32] };
        state.keep(head.clone()).expect("kept");
        assert_eq!(State::read(&path).expect("the state").last("log"), Some(&head));
        assert!(matches!(State::create(&path), Err(StateError::Exists(_))));
        std::fs::write(&path, "{\"format\": 1, \"heads\": {").expect("written");
        assert!(matches!(State::read(&path), Err(StateError::Damaged { .. })));
    }

    #[test]
    fn what_could_not_be_written_is_not_known() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("state.json");
        let mut state = State::create(&path).expect("a state");
        // The place of the file beside it is taken by a folder.
        std::fs::create_dir(dir.path().join("state.new")).expect("a folder");
        state.keep(Seen { origin: "log".into(), size: 7, root: [9; 32] }).expect_err("cannot be written");
        assert_eq!(state.last("log"), None);
    }
}
