//! Metadata kept aside: what stood on the members before the first write, and what was left there at the end.
//!
//! One JSON file a run, written durably before the arrays are opened for writing. Before the first write of a client
//! reaches an array the file says so, durably too: from then on going back would bring the metadata of another time to
//! the data. When the stack stops, the file also gets what was left, so that an undo can tell whether anybody else has
//! changed the metadata since. A run that changed nothing leaves no file. When a new file is written, the oldest of the
//! same arrays go, down to [`KEPT`]; never that of a run that has not been stopped.
//!
//! Of caches and backing devices of bcache the superblocks are kept. What is written back counts as written by a client: it changes
//! what the superblock of a backing device stands for.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use bcache::Examined;
use bcache_format::limits::SUPERBLOCK_SECTOR;
use block::{
    Arena, Cause, Counters, Dev, Device, Failed, Geometry, Origin, Range, Request, Sectors, State, Ticket,
};
use md::{Candidate, metadata_areas};
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// The version of the file.
const VERSION: u32 = 1;

/// Files kept of the same arrays, the newest among them: enough to go back over some days of tries, and few enough to
/// be looked through. Each is some ten KiB.
pub const KEPT: usize = 8;

/// Bytes read at a time: areas are a few KiB, a hostile superblock may claim more.
const PIECE_BYTES: usize = 64 << 10;

/// The file.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
#[serde(deny_unknown_fields)]
pub struct Snapshot {
    /// The version of the file's format.
    pub version: u32,
    /// The stack that was run.
    pub stack: String,
    /// When, in seconds since 1970.
    pub made_s: u64,
    /// When the first write of a client came, if one did.
    pub data_written_s: Option<u64>,
    /// When the stack was stopped; none if it was not, or runs.
    pub left_s: Option<u64>,
    /// Its members.
    pub members: Vec<MemberAreas>,
}

/// What a member is.
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Default, Debug)]
#[serde(rename_all = "snake_case")]
pub enum MemberKind {
    /// A member of an array.
    #[default]
    Array,
    /// A cache, or a backing device.
    Bcache,
}

/// What is kept of a member.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
#[serde(deny_unknown_fields)]
pub struct MemberAreas {
    /// As it was named.
    pub name: String,
    /// Its size.
    pub sectors: u64,
    /// What it is.
    #[serde(default)]
    pub kind: MemberKind,
    /// The array that it belongs to; of a cache or a backing device its own uuid.
    pub array_uuid: String,
    /// Its number in the array; 0 of a cache or a backing device.
    pub number: u32,
    /// Its metadata.
    pub areas: Vec<AreaBytes>,
}

/// A run of sectors: what was there, and what was left there. Hexadecimal.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
#[serde(deny_unknown_fields)]
pub struct AreaBytes {
    /// What it is.
    pub what: String,
    /// First sector.
    pub sector: u64,
    /// How many.
    pub sectors: u64,
    /// Before the first write.
    #[serde(with = "hexadecimal")]
    pub before: Vec<u8>,
    /// After the last; none if it could not be read, or nobody came so far.
    #[serde(with = "hexadecimal::option")]
    pub left: Option<Vec<u8>>,
}

/// Why metadata cannot be kept aside, or what was kept cannot be read.
#[derive(Error, Debug)]
pub enum SnapshotError {
    /// The file or its folder.
    #[error("{}: {error}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// A member.
    #[error("{member}: reading its metadata at sector {sector}: {failed}")]
    Member {
        /// Which.
        member: String,
        /// Where.
        sector: u64,
        /// Why.
        failed: Failed,
    },
    /// The file is none of ours.
    #[error("{}: is no snapshot: {error}", path.display())]
    Parse {
        /// The file.
        path: PathBuf,
        /// Why.
        error: serde_json::Error,
    },
    /// It is of another version.
    #[error("{}: found version {found}, expected {VERSION}", path.display())]
    Version {
        /// The file.
        path: PathBuf,
        /// What it says.
        found: u32,
    },
}

impl Snapshot {
    /// Reads the metadata of members that were examined.
    pub async fn take(
        stack: &str,
        candidates: &[Candidate],
        devices: &[Dev],
        arena: &Rc<Arena>,
    ) -> Result<Snapshot, SnapshotError> {
        let mut members = Vec::with_capacity(candidates.len());
        for (candidate, device) in candidates.iter().zip(devices) {
            let mut areas = Vec::new();
            for area in metadata_areas(&candidate.examined) {
                let range = whole_blocks(device, Range::new(Sectors(area.sector), Sectors(area.sectors)));
                let failed = |failed| {
                    let (member, sector) = (candidate.name.clone(), area.sector);
                    SnapshotError::Member { member, sector, failed }
                };
                let before = read(device, arena, range).await.map_err(failed)?;
                let (sector, sectors) = (range.start.0, range.count.0);
                areas.push(AreaBytes { what: area.what.to_owned(), sector, sectors, before, left: None });
            }
            let summary = &candidate.examined.summary;
            members.push(MemberAreas {
                name: candidate.name.clone(),
                sectors: device.geometry().size.0,
                kind: MemberKind::Array,
                array_uuid: summary.array_uuid_text().to_string(),
                number: summary.dev_number,
                areas,
            });
        }
        let made_s = runtime::wall_seconds();
        let stack = stack.to_owned();
        Ok(Snapshot { version: VERSION, stack, made_s, data_written_s: None, left_s: None, members })
    }

    /// Adds a cache or a backing device.
    pub fn add(&mut self, member: MemberAreas) {
        self.members.push(member);
    }

    /// Reads a file.
    pub fn load(path: &Path) -> Result<Snapshot, SnapshotError> {
        let text = fs::read(path).map_err(|error| SnapshotError::File { path: path.to_owned(), error })?;
        let parse = |error| SnapshotError::Parse { path: path.to_owned(), error };
        let snapshot: Snapshot = serde_json::from_slice(&text).map_err(parse)?;
        match snapshot.version {
            VERSION => Ok(snapshot),
            found => Err(SnapshotError::Version { path: path.to_owned(), found }),
        }
    }

    /// Writes the file so that it is there, whole, after a power cut: the new one or the old one.
    fn save(&self, path: &Path) -> io::Result<()> {
        let text = serde_json::to_vec_pretty(self).expect("a snapshot is plain data");
        let new = path.with_extension("new");
        let mut file = File::create(&new)?;
        file.write_all(&text)?;
        file.sync_all()?;
        fs::rename(&new, path)?;
        File::open(path.parent().unwrap_or(Path::new(".")))?.sync_all()
    }

    fn is_unchanged(&self) -> bool {
        let mut areas = self.members.iter().flat_map(|member| &member.areas);
        self.data_written_s.is_none() && areas.all(|area| area.left.as_ref() == Some(&area.before))
    }
}

impl MemberAreas {
    /// What is kept of a cache or a backing device that was examined: its superblock. Nothing else of it is ever put back.
    pub fn of_bcache(name: &str, examined: &Examined) -> MemberAreas {
        let superblock = AreaBytes {
            what: SUPERBLOCK.to_owned(),
            sector: SUPERBLOCK_SECTOR,
            sectors: examined.bytes.len() as u64 / block::SECTOR,
            before: examined.bytes.to_vec(),
            left: None,
        };
        MemberAreas {
            name: name.to_owned(),
            sectors: examined.geometry.size.0,
            kind: MemberKind::Bcache,
            array_uuid: crate::stack::bcache_uuid(&examined.summary.uuid),
            number: 0,
            areas: vec![superblock],
        }
    }
}

/// The area that is written last: as long as it is the old one, the others do not count.
pub(crate) const SUPERBLOCK: &str = "superblock";

/// Keeps the file of a running stack true.
pub struct Keeper {
    path: PathBuf,
    snapshot: RefCell<Snapshot>,
    noted: Cell<bool>,
}

impl Keeper {
    /// Writes the file into `dir`, which is made if need be.
    pub fn keep(dir: &Path, snapshot: Snapshot) -> Result<Rc<Keeper>, SnapshotError> {
        let file = |path: &Path| {
            let path = path.to_owned();
            move |error| SnapshotError::File { path, error }
        };
        fs::create_dir_all(dir).map_err(file(dir))?;
        let path = free_path(dir, &format!("{}-{}", snapshot.stack, snapshot.made_s));
        snapshot.save(&path).map_err(file(&path))?;
        prune(dir, &path, &snapshot);
        Ok(Rc::new(Keeper { path, snapshot: RefCell::new(snapshot), noted: Cell::new(false) }))
    }

    /// Where the file is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// `device`, with the first write noted in the file before it is passed on.
    pub fn guard(self: &Rc<Keeper>, device: Dev) -> Dev {
        Rc::new(Guarded { below: device, keeper: self.clone(), is_of_data: false })
    }

    /// The same of a backing device, to which its own superblock is written too: of that no note is taken.
    pub fn guard_data(self: &Rc<Keeper>, device: Dev) -> Dev {
        Rc::new(Guarded { below: device, keeper: self.clone(), is_of_data: true })
    }

    /// Keeps a disk that comes into the stack, durably, before anything of it is changed. One that is kept already stays as it is.
    pub fn add(&self, member: MemberAreas) -> Result<(), SnapshotError> {
        let mut snapshot = self.snapshot.borrow_mut();
        if !snapshot.members.iter().any(|known| known.name == member.name) {
            snapshot.add(member);
        }
        let file = |error| SnapshotError::File { path: self.path.clone(), error };
        snapshot.save(&self.path).map_err(file)
    }

    /// Remembers what is left on a member that is about to be let go of. A member that cannot be read any more leaves
    /// nothing that could be compared.
    pub async fn note_left(&self, name: &str, device: &Dev, arena: &Rc<Arena>) {
        let members = self.snapshot.borrow().members.clone();
        let Some(at) = members.iter().position(|member| member.name == name) else { return };
        let mut areas = members[at].areas.clone();
        for area in &mut areas {
            let range = Range::new(Sectors(area.sector), Sectors(area.sectors));
            area.left = read(device, arena, range).await.ok();
        }
        self.snapshot.borrow_mut().members[at].areas = areas;
    }

    /// The stack has stopped: writes what is left on the members into the file. True if there is a file; a run that
    /// changed nothing leaves none.
    pub fn close(&self) -> Result<bool, SnapshotError> {
        let mut snapshot = self.snapshot.borrow_mut();
        snapshot.left_s = Some(runtime::wall_seconds());
        let written = match snapshot.is_unchanged() {
            true => fs::remove_file(&self.path).map(|()| false),
            false => snapshot.save(&self.path).map(|()| true),
        };
        written.map_err(|error| SnapshotError::File { path: self.path.clone(), error })
    }

    /// Says durably that clients have written. Called from the core: it waits for a disk, once in the life of a stack.
    fn note_write(&self) -> io::Result<()> {
        let _freely = block::trap::freely();
        let mut snapshot = self.snapshot.borrow_mut();
        snapshot.data_written_s = Some(runtime::wall_seconds());
        snapshot.save(&self.path)?;
        self.noted.set(true);
        Ok(())
    }
}

/// Removes the oldest files of the same arrays. What cannot be read, or removed, stays: nothing depends on it. Nor does
/// anything go that was never closed: its run may go on, or was killed, and then it is the one that an undo needs.
fn prune(dir: &Path, own: &Path, newest: &Snapshot) {
    let Ok(entries) = fs::read_dir(dir) else { return };
    let paths = entries.flatten().map(|entry| entry.path());
    let is_other = |path: &PathBuf| path != own && path.extension().is_some_and(|name| name == "json");
    let paths = paths.filter(is_other);
    let snapshots = paths.filter_map(|path| Snapshot::load(&path).ok().map(|snapshot| (snapshot, path)));
    let wanted = arrays(newest);
    let mut same: Vec<(u64, PathBuf)> = snapshots
        .filter(|(snapshot, _)| arrays(snapshot) == wanted && snapshot.left_s.is_some())
        .map(|(snapshot, path)| (snapshot.made_s, path))
        .collect();
    same.sort_unstable_by(|one, other| other.cmp(one)); // the newest first
    for (_, path) in same.into_iter().skip(KEPT - 1) {
        let _ = fs::remove_file(path);
    }
}

/// The arrays whose metadata a snapshot keeps.
fn arrays(snapshot: &Snapshot) -> BTreeSet<&str> {
    snapshot.members.iter().map(|member| member.array_uuid.as_str()).collect()
}

fn free_path(dir: &Path, stem: &str) -> PathBuf {
    let plain = dir.join(format!("{stem}.json"));
    let numbered = (2..).map(|number| dir.join(format!("{stem}-{number}.json")));
    let mut paths = std::iter::once(plain).chain(numbered);
    paths.find(|path| !path.exists()).expect("some number is free")
}

/// A device whose first write is noted before it is passed on.
struct Guarded {
    below: Dev,
    keeper: Rc<Keeper>,
    /// Metadata is passed on without a note.
    is_of_data: bool,
}

impl Device for Guarded {
    fn start(&self, request: Request) -> Ticket {
        let counts = request.is_write() && !(self.is_of_data && request.origin == Origin::Metadata);
        if counts && !self.keeper.noted.get() && self.keeper.note_write().is_err() {
            // Without the note an undo would later do harm.
            return Ticket::ready(Err(Failed::new(Cause::NoSpace)));
        }
        self.below.start(request)
    }

    fn geometry(&self) -> Geometry {
        self.below.geometry()
    }

    fn height(&self) -> u8 {
        self.below.height()
    }

    fn state(&self) -> State {
        self.below.state()
    }

    fn quiesce(&self) -> Ticket {
        self.below.quiesce()
    }

    fn resume(&self) {
        self.below.resume();
    }

    fn counters(&self) -> Option<Rc<Counters>> {
        self.below.counters()
    }
}

/// The range widened to the device's logical blocks.
fn whole_blocks(device: &Dev, range: Range) -> Range {
    let geometry = device.geometry();
    let block = Sectors(u64::from(geometry.logical_block) / block::SECTOR);
    let start = range.start.round_down(block);
    let end = Sectors(range.end().0.next_multiple_of(block.0)).min(geometry.size);
    Range::new(start, end - start)
}

/// Reads `range`, in pieces.
pub(crate) async fn read(device: &Dev, arena: &Rc<Arena>, range: Range) -> Result<Vec<u8>, Failed> {
    let mut bytes = vec![0; range.count.byte_len()];
    for (number, piece) in bytes.chunks_mut(PIECE_BYTES).enumerate() {
        let start = range.start + Sectors::from_bytes((number * PIECE_BYTES) as u64);
        let buf = arena.wait_take(piece.len()).await;
        let request = Request::read(start, buf.clone()).from_origin(Origin::Metadata);
        device.start(request).await?;
        buf.copy_to_slice(0, piece);
    }
    Ok(bytes)
}

/// Bytes as hexadecimal text.
mod hexadecimal {
    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serializer};

    pub fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        let text: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        serializer.serialize_str(&text)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
        let text = String::deserialize(deserializer)?;
        let digits: Option<Vec<u8>> = text.chars().map(|c| c.to_digit(16).map(|digit| digit as u8)).collect();
        match digits.as_deref().map(<[u8]>::as_chunks::<2>) {
            Some((pairs, [])) => Ok(pairs.iter().map(|[high, low]| high << 4 | low).collect()),
            _ => Err(D::Error::custom("expected pairs of hexadecimal digits")),
        }
    }

    pub mod option {
        use serde::{Deserialize, Deserializer, Serializer};

        #[derive(Deserialize)]
        struct Bytes(#[serde(with = "super")] Vec<u8>);

        pub fn serialize<S: Serializer>(bytes: &Option<Vec<u8>>, serializer: S) -> Result<S::Ok, S::Error> {
            match bytes {
                Some(bytes) => super::serialize(bytes, serializer),
                None => serializer.serialize_none(),
            }
        }

        pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Vec<u8>>, D::Error> {
            Ok(Option::<Bytes>::deserialize(deserializer)?.map(|bytes| bytes.0))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn snapshot(array: &str, made_s: u64, left_s: Option<u64>) -> Snapshot {
        let array_uuid = array.to_owned();
        let (kind, areas) = (MemberKind::Array, Vec::new());
        let member = MemberAreas { name: "a".into(), sectors: 8, kind, array_uuid, number: 0, areas };
        let (stack, data_written_s) = (array.to_owned(), Some(made_s));
        Snapshot { version: VERSION, stack, made_s, data_written_s, left_s, members: vec![member] }
    }

    #[test]
    fn the_oldest_files_of_the_same_arrays_go_and_never_one_whose_run_was_not_stopped() {
        let dir = std::env::temp_dir().join(format!("ashlar-snapshots-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        for (array, made_s, left_s) in [("other", 1, Some(2)), ("m", 2, None), ("m", 3, None)] {
            Keeper::keep(&dir, snapshot(array, made_s, left_s)).unwrap();
        }
        fs::write(dir.join("stranger.json"), "{}").unwrap();
        for made_s in 10..10 + 2 * KEPT as u64 {
            Keeper::keep(&dir, snapshot("m", made_s, Some(made_s))).unwrap();
        }
        let mut left: Vec<String> = fs::read_dir(&dir)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        left.sort();
        let newest = 10 + 2 * KEPT as u64;
        let mut expected: Vec<String> =
            (newest - KEPT as u64..newest).map(|made_s| format!("m-{made_s}.json")).collect();
        expected.extend(["m-2.json", "m-3.json", "other-1.json", "stranger.json"].map(str::to_owned));
        expected.sort();
        fs::remove_dir_all(&dir).unwrap();
        assert_eq!(left, expected);
    }
}
