//! Power that goes: what a node's folder had not made durable is taken away when its process is dead.
//!
//! `faults/disk.c`, preloaded into the node, keeps a journal of syncs, of what was overwritten and of names. From it and
//! from chance follows one of the states that a disk may be in afterwards: of each file all that a sync covered and some
//! part of what came later, whole or with a page of it never written; of names all that their folder's sync covered and
//! a first part of the later ones. A sync that lied is not in the journal, so it covered nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::ErrorKind;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail, ensure};

/// Bytes of an entry's head in the journal.
const HEAD: usize = 32;
/// What a disk writes at once.
const PAGE: u64 = 4096;

/// A node's folder and, beside it, what disk.c knows of it.
#[derive(Debug)]
pub struct Disk {
    data: PathBuf,
    beside: PathBuf,
}

/// What went with the power.
#[derive(Debug, Clone, Copy, Default)]
pub struct Lost {
    pub bytes: u64,
    /// Pages in the middle of what stayed that were never written.
    pub pages: u64,
    pub names: u64,
}

impl std::ops::AddAssign for Lost {
    fn add_assign(&mut self, other: Lost) {
        self.bytes += other.bytes;
        self.pages += other.pages;
        self.names += other.names;
    }
}

/// What of the things that no sync covered is on the disk all the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mercy {
    /// As chance says.
    Some,
    /// Nothing.
    Nothing,
    /// What was overwritten in place, and nothing else.
    Overwritten,
}

/// Numbers that a seed decides (splitmix64).
#[derive(Debug)]
pub struct Chance {
    state: u64,
    mercy: Mercy,
}

impl Chance {
    pub fn new(seed: u64) -> Chance {
        Chance::with(seed, Mercy::Some)
    }

    pub fn with(seed: u64, mercy: Mercy) -> Chance {
        Chance { state: seed, mercy }
    }

    /// From 0 up to, not including, `end`; 0 where that is 0.
    pub fn below(&mut self, end: u64) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)).checked_rem(end).unwrap_or(0)
    }

    /// How much of something stays: often nothing, sometimes all.
    fn part(&mut self, whole: u64) -> u64 {
        match self.below(4) {
            _ if self.mercy != Mercy::Some => 0,
            0 | 1 => 0,
            2 => whole,
            _ => self.below(whole + 1),
        }
    }
}

impl Disk {
    /// # Errors
    /// When the folder beside it cannot be made.
    pub fn new(data: &Path) -> Result<Disk> {
        let beside = data.with_extension("power");
        fs::create_dir_all(beside.join("grave"))?;
        Ok(Disk { data: data.to_owned(), beside })
    }

    /// What the node's environment must say.
    pub fn env(&self) -> [(String, String); 2] {
        [("ASSIZE_DATA".into(), self.data.display().to_string()), ("ASSIZE_POWER".into(), self.beside.display().to_string())]
    }

    /// Takes away what had not been made durable. The process must be dead.
    ///
    /// # Errors
    /// When the journal is not whole, or the folder is not what it says.
    pub fn lose_power(&self, chance: &mut Chance) -> Result<Lost> {
        let journal = self.beside.join("journal");
        let known = Known::read(&fs::read(&journal).unwrap_or_default())?;
        let mut lost = Lost::default();
        self.undo_names(&known.names, chance, &mut lost)?;
        let mut there = BTreeMap::new();
        files(&self.data, &mut there)?;
        for (inode, file) in &known.files {
            if let Some(path) = there.get(inode) {
                file.fall_back(path, chance, &mut lost).with_context(|| path.display().to_string())?;
            }
        }
        // What is on the disk now is durable.
        File::create(&journal)?;
        for grave in fs::read_dir(self.beside.join("grave"))? {
            fs::remove_file(grave?.path())?;
        }
        Ok(lost)
    }

    fn undo_names(&self, names: &[Name], chance: &mut Chance, lost: &mut Lost) -> Result<()> {
        let kept = usize::try_from(chance.part(names.len() as u64))?;
        for name in names[kept..].iter().rev() {
            lost.names += 1;
            let grave = || self.beside.join("grave").join(name.grave.to_string());
            match name.kind {
                b'C' | b'L' => gone(fs::remove_file(&name.one)),
                b'M' => gone(fs::remove_dir_all(&name.one)),
                b'D' => fs::create_dir(&name.one),
                b'U' if name.grave != 0 => fs::rename(grave(), &name.one),
                b'R' => fs::rename(&name.other, &name.one)
                    .and_then(|()| if name.grave == 0 { Ok(()) } else { fs::rename(grave(), &name.other) }),
                _ => Ok(()),
            }
            .with_context(|| format!("undoing {name:?}"))?;
        }
        Ok(())
    }
}

/// That it is not there is as good.
fn gone(result: std::io::Result<()>) -> std::io::Result<()> {
    match result {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// Every file below `folder`, by inode.
fn files(folder: &Path, found: &mut BTreeMap<u64, PathBuf>) -> Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let meta = entry.metadata()?;
        if meta.is_dir() {
            files(&entry.path(), found)?;
        } else {
            found.insert(meta.ino(), entry.path());
        }
    }
    Ok(())
}

/// One change of names that no sync of its folders has covered.
#[derive(Debug)]
struct Name {
    kind: u8,
    at: u64,
    grave: u64,
    one: PathBuf,
    other: PathBuf,
    unsynced: BTreeSet<PathBuf>,
}

#[derive(Debug, Default)]
struct Kept {
    /// Up to here a sync covered it.
    durable: u64,
    /// What stood where the file was overwritten since: when, where, what.
    overwritten: Vec<(u64, u64, Vec<u8>)>,
}

impl Kept {
    fn fall_back(&self, path: &Path, chance: &mut Chance, lost: &mut Lost) -> Result<()> {
        let file = File::options().read(true).write(true).open(path)?;
        let many = self.overwritten.len();
        let undone = if chance.mercy == Mercy::Overwritten { 0 } else { many - usize::try_from(chance.part(many as u64))? };
        for (_, at, bytes) in self.overwritten.iter().rev().take(undone) {
            file.write_all_at(bytes, *at)?;
            lost.bytes += bytes.len() as u64;
        }
        let size = file.metadata()?.len();
        let Some(tail) = size.checked_sub(self.durable).filter(|tail| *tail > 0) else { return Ok(()) };
        let stays = chance.part(tail);
        file.set_len(self.durable + stays)?;
        lost.bytes += tail - stays;
        if stays > PAGE && chance.below(4) == 0 {
            let page = (self.durable + chance.below(stays)) / PAGE * PAGE;
            let from = page.max(self.durable);
            let to = (page + PAGE).min(self.durable + stays);
            file.write_all_at(&vec![0; usize::try_from(to - from)?], from)?;
            lost.pages += 1;
        }
        Ok(())
    }
}

#[derive(Debug, Default)]
struct Known {
    files: BTreeMap<u64, Kept>,
    names: Vec<Name>,
}

impl Known {
    fn read(journal: &[u8]) -> Result<Known> {
        let mut known = Known::default();
        let mut at = 0;
        while at < journal.len() {
            let head = journal.get(at..at + HEAD).context("an entry is torn")?;
            let number = |from: usize| u64::from_ne_bytes(head[from..from + 8].try_into().expect("eight bytes"));
            let length = usize::try_from(u32::from_ne_bytes(head[4..8].try_into().expect("four bytes")))?;
            let bytes = journal.get(at + HEAD..at + HEAD + length).context("an entry is torn")?;
            known.take(head[0], at as u64, [number(8), number(16), number(24)], bytes)?;
            at += HEAD + length;
        }
        Ok(known)
    }

    fn take(&mut self, kind: u8, when: u64, [inode, at, since]: [u64; 3], bytes: &[u8]) -> Result<()> {
        match kind {
            b'O' => drop(self.files.entry(inode).or_insert(Kept { durable: at, overwritten: Vec::new() })),
            b'W' => self.files.entry(inode).or_default().overwritten.push((when, at, bytes.into())),
            b'S' => {
                let file = self.files.entry(inode).or_default();
                file.durable = at;
                file.overwritten.retain(|(written, ..)| *written >= since);
            }
            b'F' => {
                let folder = paths(bytes)?.0;
                for name in self.names.iter_mut().filter(|name| name.at < since) {
                    name.unsynced.remove(&folder);
                }
                self.names.retain(|name| !name.unsynced.is_empty());
            }
            b'C' | b'L' | b'M' | b'D' | b'U' | b'R' => {
                if kind == b'C' {
                    self.files.insert(inode, Kept::default());
                }
                let (one, other) = paths(bytes)?;
                let unsynced = [&one, &other].into_iter().filter_map(|path| path.parent()).map(Path::to_owned);
                self.names.push(Name { kind, at: when, grave: at, unsynced: unsynced.collect(), one, other });
            }
            _ => bail!("no entry is of the kind {kind}"),
        }
        Ok(())
    }
}

fn paths(bytes: &[u8]) -> Result<(PathBuf, PathBuf)> {
    let mut parts = std::str::from_utf8(bytes)?.split('\0');
    let one = parts.next().context("a path")?;
    ensure!(one.starts_with('/'), "{one:?} is no absolute path");
    Ok((one.into(), parts.next().unwrap_or_default().into()))
}
