//! Hostile caches: a small set, damaged wherever something is believed, checked, opened, and read through a backing device.
//! Nothing is written, and all of it ends.

use std::rc::Rc;

use bcache::{CacheSet, Dump, Options, Reader, Volume, check, examine};
use bcache_format::bset::{self, Bset};
use bcache_format::jset::{self, Jset, Roots};
use bcache_format::prio::PrioSet;
use bcache_format::superblock::{Backing, Cache, CachePlan, Kind, journal_buckets};
use bcache_format::uuids::UuidEntry;
use bcache_format::{BucketNo, CacheMode, Geometry, Key, Pointer, Position, Replacement, State, Superblock};
use block::{Arena, Dev, Request, Sectors};
use runtime::sim::{Random, World};
use runtime::{Driver, Runtime};

use crate::mutate::damage;
use crate::require;

const BUCKETS: u64 = 600;
const BUCKET_SECTORS: u64 = 8;
/// Sectors of the backing device.
const BACKING: u64 = 2048;
/// Events after which a case has surely gone wrong (P3).
const FAR_TOO_MANY_EVENTS: u64 = 400_000;

/// Builds, damages, opens and reads.
pub fn play(mut random: Random) -> Result<(), String> {
    let bytes = cache(&mut random);
    let world = World::new(random.word());
    let disk = world.add_disk(Sectors(BUCKETS * BUCKET_SECTORS), 512);
    disk.poke(Sectors::ZERO, &bytes);
    world.add_disk(Sectors(BACKING), 512);
    let start = world.events_done();
    let runtime = Runtime::new(world.clone());
    let ended = runtime
        .run_until(looks(&world), |_| !world.is_stuck() && world.events_done() - start < FAR_TOO_MANY_EVENTS);
    drop(runtime);
    require(ended.is_some(), || "requests are pending and nothing completes".into())?;
    require(world.disks().iter().all(|disk| disk.writes() == 0), || "something was written".into())
}

/// Examines the cache, and looks into it in every way there is.
async fn looks(world: &Rc<World>) {
    let disks: Vec<Dev> = world.disks().into_iter().map(|disk| disk as Dev).collect();
    let arena = Arena::new(4 << 20);
    let Ok(examined) = examine(&disks[0], &arena).await else { return };
    let Kind::Cache(Cache { geometry, is_used: true, .. }) = examined.summary.kind else { return };
    let reader = || Reader::new(disks[0].clone(), geometry, arena.clone());
    if let Ok(reader) = reader() {
        check(&reader).await.findings.iter().for_each(|finding| drop(finding.to_string()));
    }
    if let Ok(Ok(mut dump)) = async { Ok::<_, bcache::SetError>(Dump::open(reader()?).await) }.await {
        let _ = dump.journal(|_, keys| keys.iter().for_each(|key| drop(key.to_string()))).await;
        let _ = dump.tree(|_, key, _, _| drop(key.to_string())).await;
    }
    let options = Options { node_cache_bytes: 0, ..Options::default() };
    let Ok(set) = CacheSet::open(disks[0].clone(), &examined, &arena, options).await else { return };
    let backing = Backing {
        data_offset: 16,
        data_sectors: BACKING - 16,
        mode: CacheMode::Writeback,
        state: State::Dirty,
    };
    let volume = Volume::of_backing("it", disks[1].clone(), &backing, 1, Some((Rc::new(set), 0)));
    let buf = arena.wait_take(512 << 10).await;
    for start in (0..BACKING - 1024).step_by(1024) {
        let _ = volume.start(Request::read(Sectors(start), buf.clone())).await;
    }
}

/// The bytes of a cache with a tree of one level or two, each form damaged now and then, most of them sealed afterwards.
fn cache(random: &mut Random) -> Vec<u8> {
    let mut bytes = vec![0; (BUCKETS * BUCKET_SECTORS * 512) as usize];
    let geometry = superblock(random, &mut bytes[4096..8192]);
    let mut free = (geometry.first_free().0..).map(BucketNo);
    let mut bucket = || free.next().expect("there are enough");
    let (prios, uuids, root) = (bucket(), bucket(), bucket());
    let place = |bucket: BucketNo| geometry.sector(bucket) as usize * 512;
    let node = |end, bucket| Key::node(end, BUCKET_SECTORS, Pointer::new(geometry.sector(bucket), 0));

    let whole = &mut bytes[place(prios)..][..4096];
    let _ = PrioSet::create(whole, geometry.set_magic, 1, prios.0);
    damage(random, whole);
    if !random.one_in(4) {
        PrioSet::seal(whole);
    }
    if let Ok(entries) = UuidEntry::edit(&mut bytes[place(uuids)..][..4096]) {
        entries[0].uuid = [5; 16];
    }
    damage(random, &mut bytes[place(uuids)..][..4096]);

    let level = random.below(2) as u16;
    let data = geometry.sector(bucket());
    if level == 1 {
        let ends = [Position::new(0, 700), Position::MAX];
        let leaves = ends.map(|end| node(end, bucket()));
        log(random, &mut bytes, &geometry, &node(Position::MAX, root), |_| leaves.to_vec());
        for (leaf, from) in leaves.iter().zip([16, 700]) {
            log(random, &mut bytes, &geometry, leaf, |random| extents(random, from, data));
        }
    } else {
        log(random, &mut bytes, &geometry, &node(Position::MAX, root), |random| extents(random, 16, data));
    }
    let roots = Roots {
        uuids: Key::extent(Position::default(), 0, Pointer::new(geometry.sector(uuids), 0), false),
        root: node(Position::MAX, root),
        level,
        prios: prios.0,
    };
    journal(random, &mut bytes[place(geometry.journal_bucket(0))..], &geometry, &roots, data);
    bytes
}

fn superblock(random: &mut Random, bytes: &mut [u8]) -> Geometry {
    let plan = CachePlan {
        uuid: [1; 16],
        set_uuid: [2; 16],
        device_sectors: BUCKETS * BUCKET_SECTORS,
        block_sectors: 1,
        bucket_sectors: BUCKET_SECTORS,
        replacement: Replacement::Lru,
    };
    Superblock::create_cache(bytes, &plan).expect("it can be");
    let superblock = Superblock::edit(bytes).expect("it was made");
    superblock.set_used(journal_buckets(BUCKETS));
    superblock.seal();
    let checked = Superblock::view(bytes).expect("made").check(BUCKETS * BUCKET_SECTORS, 512);
    let Kind::Cache(Cache { geometry, .. }) = checked.expect("sealed").kind else { unreachable!("a cache") };
    if random.one_in(3) {
        damage(random, bytes);
        if let Ok(superblock) = Superblock::edit(bytes) {
            superblock.seal();
        }
    }
    geometry
}

/// Extents in order, from a sector of the volume on.
fn extents(random: &mut Random, from: u64, data: u64) -> Vec<Key> {
    let mut at = from;
    let mut keys = Vec::new();
    for _ in 0..random.below(30) {
        at += random.below(12);
        let sectors = 1 + random.below(8);
        let start = Position::new(0, at);
        keys.push(match random.below(5) {
            0 => Key::hole(start, sectors),
            kind => Key::extent(start, sectors, Pointer::new(data, random.below(2) as u8), kind == 1),
        });
        at += sectors;
    }
    keys
}

/// A node of one to three sets of keys.
fn log(
    random: &mut Random,
    bytes: &mut [u8],
    geometry: &Geometry,
    node: &Key,
    mut keys: impl FnMut(&mut Random) -> Vec<Key>,
) {
    let pointer = node.pointer().expect("a node has a place");
    let whole = &mut bytes[pointer.sector() as usize * 512..][..BUCKET_SECTORS as usize * 512];
    let mut at = 0;
    for _ in 0..1 + random.below(3) {
        let set = &mut whole[at..];
        let keys = keys(random);
        let words: usize = keys.iter().map(Key::words).sum();
        if Bset::create(set, geometry.set_magic, 77).is_err() || set.len() < bset::HEADER_BYTES + 8 * words {
            return;
        }
        put(&keys, &mut set[bset::HEADER_BYTES..]);
        let _ = Bset::seal(set, words, pointer);
        damage(random, set);
        if !random.one_in(4) {
            let words = Bset::view(set).map_or(0, |set| set.keys.get() as usize);
            let _ = Bset::seal(set, words, pointer);
        }
        at += geometry.whole_blocks(bset::HEADER_BYTES + 8 * words);
    }
}

/// Up to four entries, one after the other.
fn journal(random: &mut Random, bytes: &mut [u8], geometry: &Geometry, roots: &Roots, data: u64) {
    let mut at = 0;
    for number in 0..1 + random.below(4) {
        let entry = &mut bytes[at..];
        let keys = extents(random, 16, data);
        let words: usize = keys.iter().map(Key::words).sum();
        let _ = Jset::create(entry, geometry.set_magic);
        put(&keys, &mut entry[jset::HEADER_BYTES..]);
        let seal = |entry: &mut [u8], words| {
            let _ = Jset::seal(entry, 10 + number, 10, roots, words);
        };
        seal(entry, words);
        damage(random, &mut entry[..512]);
        if !random.one_in(4) {
            // What was damaged of the header is put right again, what was of the keys is not.
            seal(entry, words);
        }
        at += geometry.whole_blocks(jset::HEADER_BYTES + 8 * words);
    }
}

fn put(keys: &[Key], bytes: &mut [u8]) {
    let mut at = 0;
    for key in keys {
        key.write(&mut bytes[at..]);
        at += 8 * key.words();
    }
}
