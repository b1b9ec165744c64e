//! A disk that loses its power: every state that it may be in after that, for a record of what was done to it.
//!
//! What a sync came after is there. Of what came after the last sync anything may be there, or not: each write to a file
//! apart from the others, whole, or up to some byte, or some of its sectors alone, and each change of a name apart from the
//! others, whole or not at all. That is more than any file system of today loses.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::rc::Rc;

use crate::store::directory::recorder::{Change, Inode};

/// What a disk writes at once.
const SECTOR: usize = 512;

/// A write of as many sectors may leave any of them alone; a longer one is torn at one place.
const FEW_SECTORS: usize = 6;

/// How far apart the places are at which a write of few sectors is torn.
const STEP: usize = 16;

/// The files of one directory, by name.
pub(super) type Files = BTreeMap<String, Rc<Vec<u8>>>;

/// What is on a disk: which names there are, and what the files hold. A file may have no name.
#[derive(Clone, Debug, Default)]
pub(super) struct Disk {
    names: BTreeMap<String, Inode>,
    files: BTreeMap<Inode, Rc<Vec<u8>>>,
}

impl Disk {
    /// Returns what a directory has now. All of it counts as synced.
    pub(super) fn of(directory: &Path) -> Self {
        let mut disk = Self::default();
        for entry in fs::read_dir(directory).unwrap() {
            let entry = entry.unwrap();
            let inode = entry.metadata().unwrap().ino();
            disk.names.insert(entry.file_name().into_string().unwrap(), inode);
            disk.files.insert(inode, Rc::new(fs::read(entry.path()).unwrap()));
        }
        disk
    }

    /// Returns the files that have a name.
    pub(super) fn named(&self) -> Files {
        let content = |inode| self.files.get(inode).cloned().unwrap_or_default();
        self.names.iter().map(|(name, inode)| (name.clone(), content(inode))).collect()
    }

    /// Makes a change, or as much of it as is not lost.
    fn make(&mut self, effect: &Effect) {
        match effect {
            Effect::Named { name, file } => drop(self.names.insert(name.clone(), *file)),
            Effect::Renamed { from, to, file } => {
                self.names.remove(from);
                self.names.insert(to.clone(), *file);
            }
            Effect::Unnamed { name } => drop(self.names.remove(name)),
            Effect::Length { file, length } => {
                let content = Rc::make_mut(self.files.entry(*file).or_default());
                content.resize(content.len().max(*length), 0);
            }
            Effect::Bytes { file, offset, bytes } => {
                let content = Rc::make_mut(self.files.entry(*file).or_default());
                content.resize(content.len().max(offset + bytes.len()), 0);
                content[*offset..offset + bytes.len()].copy_from_slice(bytes);
            }
        }
    }
}

/// What a change does, told without the names that other changes may have lost.
#[derive(Clone, Debug)]
enum Effect {
    Named { name: String, file: Inode },
    Renamed { from: String, to: String, file: Inode },
    Unnamed { name: String },
    Length { file: Inode, length: usize },
    Bytes { file: Inode, offset: usize, bytes: Vec<u8> },
}

impl Effect {
    /// Tells whether a sync of a file is a sync of this.
    fn is_in(&self, synced: Inode) -> bool {
        match self {
            Self::Length { file, .. } | Self::Bytes { file, .. } => *file == synced,
            Self::Named { .. } | Self::Renamed { .. } | Self::Unnamed { .. } => false,
        }
    }

    fn is_of_a_name(&self) -> bool {
        match self {
            Self::Named { .. } | Self::Renamed { .. } | Self::Unnamed { .. } => true,
            Self::Length { .. } | Self::Bytes { .. } => false,
        }
    }

    /// Returns the parts that may be there where the effect is not wholly lost.
    fn whole_and_torn(&self) -> Vec<Vec<Self>> {
        let Self::Bytes { file, offset, bytes } = self else { return vec![vec![self.clone()]] };
        let part = |range: std::ops::Range<usize>| Self::Bytes {
            file: *file,
            offset: offset + range.start,
            bytes: bytes[range].to_vec(),
        };
        let sectors: Vec<_> =
            (0..bytes.len()).step_by(SECTOR).map(|at| at..bytes.len().min(at + SECTOR)).collect();
        let step = if sectors.len() > FEW_SECTORS { SECTOR } else { STEP };
        let mut ends: BTreeSet<_> = (step..bytes.len()).step_by(step).collect();
        ends.extend([1, 2, 3, 4, 5, bytes.len() - 1, bytes.len()]);
        let mut ways: Vec<_> = ends.into_iter().map(|end| vec![part(0..end)]).collect();
        if sectors.len() <= FEW_SECTORS {
            let is_in = |some: u32, at: usize| some & (1 << at) != 0;
            let chosen = (1..1_u32 << sectors.len()).map(|some| {
                let there = sectors.iter().enumerate().filter(|(at, _)| is_in(some, *at));
                there.map(|(_, range)| part(range.clone())).collect()
            });
            ways.extend(chosen);
        }
        ways
    }
}

/// A disk, and what was done to it and is not known to be there.
pub(super) struct Running {
    durable: Disk,
    /// As a process sees it.
    seen: Disk,
    pending: Vec<Effect>,
}

impl Running {
    pub(super) fn new(disk: Disk) -> Self {
        Self { durable: disk.clone(), seen: disk, pending: Vec::new() }
    }

    /// Returns what a process sees.
    pub(super) fn seen(&self) -> &Disk {
        &self.seen
    }

    /// Makes a change.
    pub(super) fn apply(&mut self, change: &Change) {
        match change {
            Change::SyncFile { file } => self.settle(|effect| effect.is_in(*file)),
            Change::SyncDirectory { .. } => self.settle(Effect::is_of_a_name),
            Change::Create { name, file, .. } => {
                // The number may have been that of a file that is gone.
                for disk in [&mut self.durable, &mut self.seen] {
                    disk.files.insert(*file, Rc::default());
                }
                self.add(Effect::Named { name: name.clone(), file: *file });
            }
            Change::Rename { from, to, .. } => {
                let file = self.seen.names[from];
                self.add(Effect::Renamed { from: from.clone(), to: to.clone(), file });
            }
            Change::Remove { name, .. } => self.add(Effect::Unnamed { name: name.clone() }),
            Change::Reserve { file, length } => {
                self.add(Effect::Length { file: *file, length: usize::try_from(*length).unwrap() });
            }
            Change::Write { file, offset, bytes } => {
                let offset = usize::try_from(*offset).unwrap();
                self.add(Effect::Bytes { file: *file, offset, bytes: bytes.clone() });
            }
        }
    }

    fn add(&mut self, effect: Effect) {
        self.seen.make(&effect);
        self.pending.push(effect);
    }

    fn settle(&mut self, is_synced: impl Fn(&Effect) -> bool) {
        let (synced, pending) =
            std::mem::take(&mut self.pending).into_iter().partition(|effect| is_synced(effect));
        self.pending = pending;
        let synced: Vec<_> = synced;
        for effect in &synced {
            self.durable.make(effect);
        }
    }

    /// Returns every state that a power loss may leave behind now, each once.
    pub(super) fn crash_states(&self) -> BTreeSet<Files> {
        let mut disks = vec![self.durable.clone()];
        for effect in &self.pending {
            let ways = effect.whole_and_torn();
            let made = disks.iter().flat_map(|disk| {
                ways.iter().map(|way| {
                    let mut disk = disk.clone();
                    way.iter().for_each(|part| disk.make(part));
                    disk
                })
            });
            let made: Vec<_> = made.collect();
            disks.extend(made);
        }
        disks.iter().map(Disk::named).collect()
    }
}

/// Puts files into a directory, in place of those there.
pub(super) fn materialise(files: &Files, directory: &Path) {
    for entry in fs::read_dir(directory).unwrap() {
        fs::remove_file(entry.unwrap().path()).unwrap();
    }
    for (name, content) in files {
        let path = directory.join(name);
        fs::write(&path, &**content).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
    }
}
