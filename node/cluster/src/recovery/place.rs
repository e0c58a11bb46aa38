//! Where a recovery is built, and how it takes the place of what was there.
//!
//! ```text
//! data/recovering/   built here; removed if the recovery fails
//! data/              takes over what was built, `node` last: without it the folder belongs to nobody
//! data/lost-1/       all that the folder held before, of incarnation 1
//! ```
//! Everything stays inside the data folder, which may be a mount point.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use planted::{Point, reach};

use super::RecoveryError;
use crate::home::{self, Home};

const STAGE: &str = "recovering";
const LOST: &str = "lost-";

/// A data folder in which a recovery is under way. Unless it settles, the folder is left as it was.
pub struct Place {
    dir: PathBuf,
    /// Incarnation of the survivor that makes room.
    lost: Option<u64>,
}

impl Place {
    /// For a recovery from a backup: the folder must belong to no node.
    pub fn empty(dir: &Path) -> Result<Place, RecoveryError> {
        home::ensure_free(dir)?;
        Self::begin(dir, None)
    }

    /// For a recovery from the node that lies in `dir`.
    pub fn of_survivor(dir: &Path) -> Result<Place, RecoveryError> {
        let lost = Home::open(dir)?.incarnation;
        let place = Self::begin(dir, Some(lost))?;
        if place.lost_dir().is_some_and(|lost| lost.exists()) {
            return Err(RecoveryError::Unavailable(format!("{}/{LOST}{lost} is there already", dir.display())));
        }
        Ok(place)
    }

    fn begin(dir: &Path, lost: Option<u64>) -> Result<Place, RecoveryError> {
        let place = Place { dir: dir.to_owned(), lost };
        // Of a recovery that was cut short: nobody's.
        remove(&place.stage())?;
        fs::create_dir_all(place.stage()).map_err(failed(&place.stage()))?;
        Ok(place)
    }

    /// Where the new node's folder is to be built.
    pub fn stage(&self) -> PathBuf {
        self.dir.join(STAGE)
    }

    /// Where the survivor's data will lie.
    pub fn lost_dir(&self) -> Option<PathBuf> {
        self.lost.map(|incarnation| self.dir.join(format!("{LOST}{incarnation}")))
    }

    /// Puts what was built in the place of what was there.
    pub fn settle(self) -> Result<(), RecoveryError> {
        reach(Point::RecoveryBuilt);
        let mut moved = Vec::new();
        let result = self.exchange(&mut moved);
        if result.is_err() {
            for (from, to) in moved.iter().rev() {
                if let Err(error) = fs::rename(to, from) {
                    tracing::error!(%error, from = %to.display(), to = %from.display(), "could not be put back");
                }
            }
            if let Some(lost) = self.lost_dir() {
                let _ = fs::remove_dir(lost);
            }
        }
        result
    }

    fn exchange(&self, moved: &mut Vec<(PathBuf, PathBuf)>) -> Result<(), RecoveryError> {
        let mut shift = |from: PathBuf, to: PathBuf| {
            fs::rename(&from, &to).map_err(failed(&from))?;
            reach(Point::RecoveryMoved);
            moved.push((from, to));
            Ok::<(), RecoveryError>(())
        };
        if let Some(lost) = self.lost_dir() {
            fs::create_dir(&lost).map_err(failed(&lost))?;
            let stays = |name: &str| name == STAGE || name.starts_with(LOST);
            for name in node_first(names(&self.dir)?).into_iter().filter(|name| !stays(name)) {
                shift(self.dir.join(&name), lost.join(&name))?;
            }
            // Before their old names go for good.
            fs::File::open(&lost).and_then(|lost| lost.sync_all()).map_err(failed(&lost))?;
        }
        for name in node_first(names(&self.stage())?).into_iter().rev() {
            shift(self.stage().join(&name), self.dir.join(&name))?;
        }
        fs::File::open(&self.dir).and_then(|dir| dir.sync_all()).map_err(failed(&self.dir))?;
        reach(Point::RecoverySettled);
        Ok(())
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Err(error) = remove(&self.stage()) {
            tracing::warn!(%error, "what was built for the recovery stays behind");
        }
    }
}

fn failed(path: &Path) -> impl FnOnce(io::Error) -> RecoveryError {
    let path = path.to_owned();
    move |source| RecoveryError::Io { path, source }
}

fn remove(dir: &Path) -> Result<(), RecoveryError> {
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed(dir)(error)),
        _ => Ok(()),
    }
}

fn names(dir: &Path) -> Result<Vec<String>, RecoveryError> {
    let entries = fs::read_dir(dir).and_then(Iterator::collect::<io::Result<Vec<_>>>).map_err(failed(dir))?;
    Ok(entries.into_iter().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect())
}

fn node_first(mut names: Vec<String>) -> Vec<String> {
    names.sort_by_key(|name| name != "node");
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed(dir: &Path) -> Vec<String> {
        let mut names = names(dir).expect("readable");
        names.sort();
        names
    }

    #[test]
    fn what_does_not_settle_leaves_the_folder_as_it_was() {
        let dir = tempfile::tempdir().expect("a folder");
        let place = Place::empty(dir.path()).expect("begins");
        fs::write(place.stage().join("node"), "").expect("written");
        drop(place);
        assert!(listed(dir.path()).is_empty());
    }

    #[test]
    fn what_fails_half_way_is_undone() {
        let dir = tempfile::tempdir().expect("a folder");
        let at = |name: &str| dir.path().join(name);
        for name in ["node", "started"] {
            fs::write(at(name), "old").expect("written");
        }
        let place = Place::begin(dir.path(), Some(1)).expect("begins");
        fs::create_dir_all(at("lost-1/started/in-the-way")).expect("made");
        assert!(place.exchange(&mut Vec::new()).is_err(), "`lost-1` was made by somebody else");
        fs::remove_dir_all(at("lost-1")).expect("removed");
        // A file cannot take the place of a folder with something in it.
        fs::create_dir_all(at("lost-0")).expect("made");
        fs::write(at("lost-0/kept"), "").expect("written");
        fs::write(place.stage().join("node"), "new").expect("written");
        fs::write(place.stage().join("lost-0"), "").expect("written");
        assert!(place.settle().is_err());
        assert_eq!(listed(dir.path()), ["lost-0", "node", "started"]);
        assert_eq!(fs::read_to_string(at("node")).expect("readable"), "old");
    }

    #[test]
    fn what_settles_keeps_what_was_there() {
        let dir = tempfile::tempdir().expect("a folder");
        for name in ["node", "started"] {
            fs::write(dir.path().join(name), "old").expect("written");
        }
        let place = Place::begin(dir.path(), Some(1)).expect("begins");
        fs::write(place.stage().join("node"), "new").expect("written");
        place.settle().expect("settles");
        assert_eq!(listed(dir.path()), ["lost-1", "node"]);
        assert_eq!(listed(&dir.path().join("lost-1")), ["node", "started"]);
        assert_eq!(fs::read_to_string(dir.path().join("node")).expect("readable"), "new");
    }
}
