//! A RocksDB in a folder, with its layout's version and its durable floor beside it.

use std::io;
use std::path::{Path, PathBuf};

use planted::{Point, reach};
use rocksdb::checkpoint::Checkpoint;
use rocksdb::{
    BlockBasedOptions, BottommostLevelCompaction, ColumnFamilyDescriptor, CompactOptions, DB, DBRecoveryMode, Direction, IteratorMode,
    Options, ReadOptions, WriteBatch, WriteOptions,
};

use super::{LAYOUT, OpenError, floor, manifest};
use crate::columns;

/// Bytes of a memtable: control is small, audit is not.
const MEMTABLE_SMALL: usize = 8 << 20;
const MEMTABLE_LARGE: usize = 64 << 20;

pub(super) struct Rocks {
    db: DB,
    dir: PathBuf,
    floor: floor::Floor,
}

impl Rocks {
    /// Reads everything once, so that damage is found now and not when it is needed.
    pub(super) fn open(dir: &Path, large: bool) -> Result<Rocks, OpenError> {
        make_durably(dir).map_err(|source| OpenError::Io { path: dir.into(), source })?;
        check_layout(dir)?;
        let damaged = |message: String| OpenError::Damaged { path: dir.into(), message };
        let unusable = |error: rocksdb::Error| match error.kind() {
            rocksdb::ErrorKind::IOError if error.as_ref().contains("lock") => {
                OpenError::Unusable { path: dir.into(), message: format!("in use by another process ({error})") }
            }
            _ => damaged(error.to_string()),
        };
        let floor = floor::Floor::open(dir).map_err(|e| damaged(e.to_string()))?;
        manifest::check(dir).map_err(|e| damaged(e.to_string()))?;
        let mut database = database_options();
        // A family that is missing where something was durable has been lost; it is not begun anew.
        database.create_missing_column_families(floor.value() == 0);
        reach(Point::DatabaseBeforeOpen);
        let db = DB::open_cf_descriptors(&database, dir, families(large)).map_err(unusable)?;
        reach(Point::DatabaseOpened);
        let recovered = db.latest_sequence_number();
        if recovered < floor.value() {
            return Err(damaged(format!(
                "the log ends at write {recovered}, but write {} had been made durable: something after it is lost",
                floor.value()
            )));
        }
        read_everything(&db).map_err(|e| damaged(e.to_string()))?;
        Ok(Rocks { db, dir: dir.into(), floor })
    }

    pub(super) fn family(&self, name: &str) -> &rocksdb::ColumnFamily {
        self.db.cf_handle(name).expect("all families are opened together")
    }

    pub(super) fn write(&self, batch: WriteBatch) -> io::Result<()> {
        let mut options = WriteOptions::default();
        options.set_sync(false);
        self.db.write_opt(batch, &options).map_err(io::Error::other)
    }

    pub(super) fn get(&self, family: &str, key: &[u8]) -> io::Result<Option<Vec<u8>>> {
        self.db.get_cf(self.family(family), key).map_err(io::Error::other)
    }

    pub(super) fn scan(
        &self,
        family: &str,
        from: &[u8],
        to: &[u8],
        mut see: impl FnMut(&[u8], Vec<u8>) -> io::Result<bool>,
    ) -> io::Result<()> {
        let mut options = ReadOptions::default();
        options.set_iterate_upper_bound(to.to_vec());
        for item in self.db.iterator_cf_opt(self.family(family), options, IteratorMode::From(from, Direction::Forward)) {
            let (key, value) = item.map_err(io::Error::other)?;
            if !see(&key, value.into_vec())? {
                break;
            }
        }
        Ok(())
    }

    pub(super) fn drop_files(&self, family: &str, from: &[u8], to: &[u8]) -> io::Result<()> {
        self.db.delete_file_in_range_cf(self.family(family), from, to).map_err(io::Error::other)
    }

    pub(super) fn compact(&self, family: &str, from: &[u8], to: &[u8]) -> io::Result<()> {
        let mut options = CompactOptions::default();
        // The files at the bottom are where old bodies are; ordinary compactions go on beside it.
        options.set_bottommost_level_compaction(BottommostLevelCompaction::Force);
        options.set_exclusive_manual_compaction(false);
        self.db.flush_cf(self.family(family)).map_err(io::Error::other)?;
        self.db.compact_range_cf_opt(self.family(family), Some(from), Some(to), &options);
        Ok(())
    }

    pub(super) fn copy_to(&self, dir: &Path) -> io::Result<()> {
        let covered = self.db.latest_sequence_number();
        let copied = Checkpoint::new(&self.db).and_then(|checkpoint| checkpoint.create_checkpoint(dir));
        copied.map_err(io::Error::other)?;
        floor::Floor::note(dir, covered)?;
        std::fs::copy(self.dir.join("VERSION"), dir.join("VERSION")).map(drop)
    }

    pub(super) fn sync(&self) -> Result<(), String> {
        // Read before the sync: all of it is covered by it.
        let covered = self.db.latest_sequence_number();
        self.db.flush_wal(true).map_err(|e| e.to_string())?;
        reach(Point::FloorBeforeRaise);
        if let Err(error) = self.floor.raise(covered) {
            tracing::warn!(%error, "the durable floor could not be noted");
        }
        reach(Point::FloorRaised);
        Ok(())
    }
}

/// Makes a folder whose name survives a power loss: what a later sync covers in it is worth no more than the name.
fn make_durably(dir: &Path) -> io::Result<()> {
    if dir.is_dir() {
        return Ok(());
    }
    let parent = dir.parent().filter(|parent| !parent.as_os_str().is_empty());
    parent.map_or(Ok(()), make_durably)?;
    std::fs::create_dir(dir)?;
    std::fs::File::open(parent.unwrap_or(Path::new(".")))?.sync_all()
}

fn check_layout(dir: &Path) -> Result<(), OpenError> {
    let path = dir.join("VERSION");
    let expected = format!("assize layout {LAYOUT}\n");
    match std::fs::read_to_string(&path) {
        Ok(found) if found == expected => Ok(()),
        Ok(found) => Err(OpenError::UnknownLayout { path, found: found.trim().chars().take(64).collect() }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            if dir.join("CURRENT").exists() {
                return Err(OpenError::Damaged { path, message: "missing beside existing data".into() });
            }
            // Renamed into place when whole: a crash here must not leave a folder that no start understands.
            let write = || {
                let whole = dir.join("VERSION.tmp");
                std::fs::write(&whole, &expected)?;
                std::fs::File::open(&whole)?.sync_all()?;
                reach(Point::LayoutWritten);
                std::fs::rename(&whole, &path)?;
                reach(Point::LayoutRenamed);
                std::fs::File::open(dir)?.sync_all()
            };
            write().map_err(|source| OpenError::Io { path: path.clone(), source })
        }
        Err(error) if error.kind() == io::ErrorKind::InvalidData => Err(OpenError::UnknownLayout { path, found: "no text".into() }),
        Err(source) => Err(OpenError::Io { path, source }),
    }
}

fn database_options() -> Options {
    let mut options = Options::default();
    options.create_if_missing(true);
    options.set_paranoid_checks(true);
    // What was never made durable may be there in pieces after a power loss: a disk writes pages in any order. The log
    // ends before the first that is missing; what it must not lose is kept by the floor.
    options.set_wal_recovery_mode(DBRecoveryMode::PointInTime);
    options.set_track_and_verify_wals_in_manifest(true);
    options.set_max_total_wal_size(512 << 20);
    options.set_max_background_jobs(2);
    options.set_bytes_per_sync(1 << 20);
    options.set_max_open_files(-1);
    options.set_keep_log_file_num(2);
    options.set_max_log_file_size(4 << 20);
    options
}

fn families(large: bool) -> Vec<ColumnFamilyDescriptor> {
    let memtable = if large { MEMTABLE_LARGE } else { MEMTABLE_SMALL };
    let options_of = |name: &str| {
        let mut options = Options::default();
        let mut table = BlockBasedOptions::default();
        table.set_block_size(16 << 10);
        match name {
            columns::LOG => {
                // Entries purged before a flush then never reach a table file.
                options.set_min_write_buffer_number_to_merge(2);
                options.set_max_write_buffer_number(4);
            }
            columns::LEAVES => options.set_compression_type(rocksdb::DBCompressionType::Lz4),
            columns::HASHES => table.set_bloom_filter(10.0, false),
            _ => {}
        }
        options.set_write_buffer_size(memtable);
        options.set_block_based_table_factory(&table);
        options.set_level_compaction_dynamic_level_bytes(true);
        options
    };
    columns::ALL.iter().map(|name| ColumnFamilyDescriptor::new(*name, options_of(name))).collect()
}

/// Reads every block of every family with its checksum.
fn read_everything(db: &DB) -> Result<(), rocksdb::Error> {
    for name in columns::ALL {
        let family = db.cf_handle(name).expect("all families are opened together");
        let mut options = ReadOptions::default();
        options.set_verify_checksums(true);
        options.fill_cache(false);
        for item in db.iterator_cf_opt(family, options, IteratorMode::Start) {
            item?;
        }
    }
    Ok(())
}
