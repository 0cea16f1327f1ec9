//! Every kind of damage is found: each is planted, with true checksums where it has any, in a set that a real kernel left, or in a new
//! one.

use std::rc::Rc;

use bcache::{Examined, Finding, Plan, Reader, Report, SetError, check, create, examine, found};
use bcache_format::bset::{Bset, HEADER_BYTES, Owner};
use bcache_format::jset::{self, Jset, Roots};
use bcache_format::prio::PrioSet;
use bcache_format::superblock::{Cache, CachePlan, Kind};
use bcache_format::uuids::UuidEntry;
use bcache_format::{BucketNo, Geometry, Key, Pointer, Position, Replacement};
use block::{Arena, Dev, Range, Sectors};
use runtime::Runtime;
use runtime::sim::World;

/// A small cache: buckets, sectors of each, buckets of its journal.
const BUCKETS: u64 = 520;
const BUCKET: u64 = 8;
const JOURNAL_BUCKETS: u16 = 8;
/// Keys that one of its journal's entries has room for.
const KEYS_OF_AN_ENTRY: usize = 160;

/// The cache of a golden image, its bytes to be damaged.
struct Patient {
    bytes: Vec<u8>,
    geometry: Geometry,
    roots: Roots,
}

impl Patient {
    fn new(image: &str) -> Patient {
        let folder = tempfile::tempdir().unwrap();
        let paths = oracle::golden::unpack(image, folder.path()).unwrap();
        Patient::of(std::fs::read(&paths[0]).unwrap())
    }

    fn of(bytes: Vec<u8>) -> Patient {
        let examined = look(&bytes, async |_, examined| examined);
        let Kind::Cache(Cache { geometry, .. }) = examined.summary.kind else { panic!("a cache") };
        let mut patient = Patient { bytes, geometry, roots: roots_of_nothing() };
        let (_, newest) = patient.entries().pop().unwrap();
        patient.roots = Jset::view(&patient.bytes[newest..], geometry.set_magic).unwrap().roots().unwrap();
        patient
    }

    fn at(&self, bucket: BucketNo) -> usize {
        self.geometry.sector(bucket) as usize * 512
    }

    /// Number and place of every entry of the journal, in the order of their numbers.
    fn entries(&self) -> Vec<(u64, usize)> {
        let start = self.at(self.geometry.journal_bucket(0));
        let end = self.at(self.geometry.first_free());
        let whole = |at: &usize| Jset::check(&self.bytes[*at..], self.geometry.set_magic).is_ok();
        let blocks = (start..end).step_by(512).filter(whole);
        let seq = |at| Jset::view(&self.bytes[at..], self.geometry.set_magic).unwrap().seq.get();
        let mut entries: Vec<_> = blocks.map(|at| (seq(at), at)).collect();
        entries.sort();
        entries
    }

    /// Where the longest set of keys of a node lies.
    fn longest_set(&self, node: &Key) -> usize {
        let start = node.pointer().unwrap().sector() as usize * 512;
        let seq = Bset::view(&self.bytes[start..]).unwrap().seq.get();
        let blocks = (start..start + node.sectors() as usize * 512).step_by(512);
        let keys = |at: &usize| {
            let set = Bset::view(&self.bytes[*at..]).unwrap();
            if set.seq.get() == seq { set.keys.get() } else { 0 }
        };
        blocks.max_by_key(keys).unwrap()
    }

    /// The keys of the longest set of a node.
    fn keys(&self, node: &Key) -> Vec<Key> {
        let owner = Owner { set_magic: self.geometry.set_magic, pointer: node.pointer().unwrap() };
        let bytes = &self.bytes[self.longest_set(node)..];
        Bset::check(bytes, owner).unwrap().collect::<Result<_, _>>().unwrap()
    }

    /// Changes them.
    fn edit(&mut self, node: &Key, change: impl FnOnce(&mut Vec<Key>)) {
        let (mut keys, at) = (self.keys(node), self.longest_set(node));
        change(&mut keys);
        let mut words = 0;
        for key in keys {
            key.write(&mut self.bytes[at + HEADER_BYTES + words * 8..]);
            words += key.words();
        }
        Bset::seal(&mut self.bytes[at..], words, node.pointer().unwrap()).unwrap();
    }

    /// The first leaf.
    fn leaf(&self) -> Key {
        let mut key = self.roots.root;
        for _ in 0..self.roots.level {
            key = self.keys(&key).into_iter().find(|key| key.end() > Position::default()).unwrap();
        }
        key
    }

    /// Changes the generation of the bucket of the first dirty extent of the first leaf.
    fn age_bucket(&mut self, by: u8) {
        let dirty = |key: &Key| key.is_dirty() && key.sectors() > 0;
        let key = self.keys(&self.leaf()).into_iter().find(dirty).unwrap();
        let bucket = key.pointer().unwrap().bucket(self.geometry.bucket_sectors);
        let per = self.geometry.prios_per_bucket();
        let mut part = BucketNo(self.roots.prios);
        for _ in 0..bucket.0 / per {
            let bytes = &self.bytes[self.at(part)..][..self.geometry.meta_bucket_bytes()];
            part = BucketNo(PrioSet::check(bytes, self.geometry.set_magic).unwrap().1);
        }
        let (start, length) = (self.at(part), self.geometry.meta_bucket_bytes());
        let bytes = &mut self.bytes[start..start + length];
        let place = 40 + (bucket.0 % per) as usize * 3 + 2;
        bytes[place] = bytes[place].wrapping_add(by);
        PrioSet::seal(bytes);
    }

    fn check(&self) -> Report {
        let geometry = self.geometry;
        look(&self.bytes, async |dev, _| {
            check(&Reader::new(dev, geometry, Arena::new(4 << 20)).unwrap()).await
        })
    }

    /// That the check finds something like this.
    #[track_caller]
    fn finds(&self, what: impl Fn(&Finding) -> bool) {
        let report = self.check();
        assert!(report.findings.iter().any(what), "{:#?}", report.findings);
        report.findings.iter().for_each(|finding| assert!(!finding.to_string().is_empty()));
    }
}

fn roots_of_nothing() -> Roots {
    Roots { uuids: Key::default(), root: Key::default(), level: 0, prios: 0 }
}

/// Does something with the bytes as a disk.
fn look<T>(bytes: &[u8], what: impl AsyncFnOnce(Dev, Examined) -> T) -> T {
    let world = World::new(1);
    let disk = world.add_disk(Sectors::from_bytes(bytes.len() as u64), 512);
    disk.poke(Sectors::ZERO, bytes);
    let runtime = Runtime::new(world.clone());
    runtime.block_on(async {
        let dev: Dev = disk.clone();
        let examined = examine(&dev, &Arena::new(1 << 20)).await.unwrap();
        let result = what(dev, examined).await;
        assert_eq!(disk.writes(), 0, "nothing is written");
        result
    })
}

fn shallow() -> Patient {
    Patient::new("bcache-writeback")
}

fn deep() -> Patient {
    Patient::new("bcache-deep-cut")
}

#[test]
fn nothing_is_found_where_nothing_is_wrong() {
    for patient in [shallow(), deep()] {
        assert_eq!(patient.check().findings, []);
    }
    let deep = deep().check().counts;
    assert!(deep.levels == 2 && deep.nodes > 50 && deep.dirty_sectors > 5000, "{deep:?}");
}

#[test]
fn an_entry_that_is_needed_and_damaged() {
    let mut patient = deep();
    let entries = patient.entries();
    let (newest, at) = entries[entries.len() - 1];
    let oldest = Jset::view(&patient.bytes[at..], patient.geometry.set_magic).unwrap().last_seq.get();
    let damaged = (oldest + newest) / 2;
    let (_, at) = entries.iter().find(|(seq, _)| *seq == damaged).unwrap();
    patient.bytes[at + 50] ^= 1;
    // What follows in the same bucket is not found behind it either.
    let gap = |from: u64, to: u64| from == damaged && to >= damaged;
    patient.finds(|finding| matches!(finding, Finding::Unreadable(SetError::JournalGap { from, to }) if gap(*from, *to)));
}

#[test]
fn a_journal_without_an_entry() {
    let mut patient = shallow();
    let (start, end) =
        (patient.at(patient.geometry.journal_bucket(0)), patient.at(patient.geometry.first_free()));
    patient.bytes[start..end].fill(0);
    patient.finds(|finding| matches!(finding, Finding::Unreadable(SetError::JournalEmpty)));
}

#[test]
fn priorities_that_were_damaged() {
    let mut patient = shallow();
    let at = patient.at(BucketNo(patient.roots.prios));
    patient.bytes[at + 100] ^= 1;
    patient
        .finds(|finding| matches!(finding, Finding::Unreadable(SetError::Form { what: "priorities", .. })));
}

#[test]
fn volumes_of_one_uuid() {
    let mut patient = shallow();
    let at = patient.roots.uuids.pointer().unwrap().sector() as usize * 512;
    let entries = UuidEntry::edit(&mut patient.bytes[at..at + 4096]).unwrap();
    entries[3] = entries[0];
    patient.finds(|finding| *finding == Finding::SameUuid { first: 0, second: 3 });
}

#[test]
fn a_set_of_keys_that_was_damaged() {
    for patient in [shallow(), deep()] {
        let mut patient = patient;
        let at = patient.leaf().pointer().unwrap().sector() as usize * 512;
        patient.bytes[at + 20] ^= 1;
        patient.finds(|finding| matches!(finding, Finding::Unreadable(SetError::Node { level: 0, .. })));
    }
}

#[test]
fn a_set_of_keys_behind_the_end_of_its_log() {
    let mut patient = shallow();
    let node = patient.leaf();
    let at = node.pointer().unwrap().sector() as usize * 512;
    let end = at + node.sectors() as usize * 512;
    patient.bytes.copy_within(at..at + 32, end - 512);
    patient.finds(|finding| matches!(finding, Finding::Unreadable(SetError::Node { .. })));
}

#[test]
fn an_extent_that_lies_outside_the_cache() {
    let mut patient = shallow();
    let beyond = Pointer::new(patient.geometry.buckets * patient.geometry.bucket_sectors, 0);
    patient.edit(&patient.leaf(), |keys| keys[0] = Key::extent(keys[0].start(), 1, beyond, true));
    patient.finds(|finding| matches!(finding, Finding::Unreadable(SetError::Node { .. })));
}

#[test]
fn a_key_behind_the_end_of_its_node() {
    let mut patient = deep();
    let leaf = patient.leaf();
    let behind = Position::new(0, leaf.end().offset + 64);
    patient.edit(&leaf, |keys| {
        let last = keys.last_mut().unwrap();
        *last = Key::extent(behind, 1, last.pointer().unwrap(), true);
    });
    patient.finds(|finding| matches!(finding, Finding::Unreadable(SetError::Node { level: 0, .. })));
}

#[test]
fn extents_at_the_same_sectors() {
    let mut patient = deep();
    patient.edit(&patient.leaf(), |keys| {
        let pointer = keys[0].pointer().unwrap();
        keys[1] = Key::extent(keys[1].start(), keys[1].sectors(), pointer, true);
    });
    patient.finds(|finding| matches!(finding, Finding::Overlap { .. }));
}

#[test]
fn a_node_that_is_not_reached() {
    let mut patient = deep();
    let root = patient.roots.root;
    patient.edit(&root, |keys| {
        keys.pop();
    });
    patient.finds(|finding| matches!(finding, Finding::Unreached { end, .. } if *end < Position::MAX));
}

#[test]
fn data_of_a_volume_that_there_is_not() {
    let mut patient = shallow();
    patient.edit(&patient.leaf(), |keys| {
        let last = keys.last_mut().unwrap();
        *last = Key::extent(Position::new(5, 100), last.sectors(), last.pointer().unwrap(), true);
    });
    patient.finds(|finding| matches!(finding, Finding::NoVolume { found } if found.inode() == 5));
}

#[test]
fn data_that_is_nowhere_else_in_a_bucket_that_was_given_up() {
    let mut patient = deep();
    patient.age_bucket(1);
    patient.finds(|finding| matches!(finding, Finding::StaleDirty { .. }));
}

#[test]
fn a_pointer_that_is_about_to_be_taken_for_a_newer_one() {
    let mut patient = deep();
    patient.age_bucket(100);
    patient.finds(|finding| matches!(finding, Finding::TooStale { .. }));
}

#[test]
fn data_in_the_bucket_of_a_node() {
    let mut patient = shallow();
    let node = patient.leaf();
    patient.edit(&node, |keys| {
        let last = keys.last_mut().unwrap();
        *last = Key::extent(last.start(), last.sectors(), node.pointer().unwrap(), true);
    });
    patient.finds(|finding| matches!(finding, Finding::Shared { first: "a node", second: "data", .. }));
}

#[test]
fn an_extent_before_its_leaf() {
    let mut patient = deep();
    let root = patient.roots.root;
    let first = Rc::new(std::cell::Cell::new(Key::default()));
    // The node behind the first one begins later than its keys do.
    let seen = first.clone();
    patient.edit(&root, |keys| {
        let at = keys.iter().position(|key| key.end() > Position::default()).unwrap();
        seen.set(keys[at]);
        let moved = Position::new(0, keys[at].end().offset + 8);
        keys[at] = Key::node(moved, keys[at].sectors(), keys[at].pointer().unwrap());
    });
    assert!(first.get().sectors() > 0);
    patient.finds(|finding| matches!(finding, Finding::Outside { .. } | Finding::Unreached { .. }));
}

/// A cache of which the journal says that nearly every bucket holds data, but for so many.
fn nearly_full(left: u64) -> Patient {
    let world = World::new(1);
    let disk = world.add_disk(Sectors(BUCKETS * BUCKET), 512);
    Runtime::new(world.clone()).block_on(async {
        let dev: Dev = disk.clone();
        let arena = Arena::new(1 << 20);
        let plan = Plan::Cache(CachePlan {
            device_sectors: BUCKETS * BUCKET,
            bucket_sectors: BUCKET,
            block_sectors: 1,
            uuid: [1; 16],
            set_uuid: [2; 16],
            replacement: Replacement::Lru,
        });
        let superblock = plan.superblock().unwrap();
        create(&[superblock], std::slice::from_ref(&dev), &arena).await.unwrap();
        let examined = examine(&dev, &arena).await.unwrap();
        found(&dev, &examined, &arena, Some(JOURNAL_BUCKETS)).await.unwrap();
    });
    let mut patient = Patient::of(disk.peek(Range::new(Sectors::ZERO, Sectors(BUCKETS * BUCKET))));
    let own = [patient.roots.uuids, patient.roots.root].map(|key| key.pointer().unwrap().bucket(BUCKET).0);
    let pool = (patient.geometry.first_free().0..BUCKETS - left)
        .filter(|number| !own.contains(number) && *number != patient.roots.prios);
    let keys: Vec<Key> = pool
        .map(|number| {
            let pointer = Pointer::new(patient.geometry.sector(BucketNo(number)), 0);
            Key::extent(Position::new(0, number * BUCKET), BUCKET, pointer, false)
        })
        .collect();
    for (seq, keys) in (1..).zip(keys.chunks(KEYS_OF_AN_ENTRY)) {
        let at = patient.at(patient.geometry.journal_bucket(seq));
        let entry = &mut patient.bytes[at..at + BUCKET as usize * 512];
        Jset::create(entry, patient.geometry.set_magic).unwrap();
        for (number, key) in keys.iter().enumerate() {
            key.write(&mut entry[jset::HEADER_BYTES + 24 * number..]);
        }
        Jset::seal(entry, seq, 1, &patient.roots, 3 * keys.len()).unwrap();
    }
    patient
}

/// The kernel's lists of free buckets have to be filled before it begins.
#[test]
fn too_few_buckets_for_the_kernel_to_begin_with() {
    let expected = 1 + u64::from(JOURNAL_BUCKETS);
    assert_eq!(nearly_full(expected).check().findings, []);
    let found = expected - 1;
    nearly_full(found).finds(|finding| *finding == Finding::FewFree { found, expected });
}
