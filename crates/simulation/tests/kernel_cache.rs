//! What a power cut left of a cache that was written here, in a simulated world, is taken by a real kernel: it finds the same
//! content, writes, and what it leaves is read here and has nothing wrong with it.
//!
//! `ASHLAR_SEEDS=FROM..TO` plays other seeds, as many as wanted.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use bcache::{CacheSet, Options, Reader, Volume, check, examine};
use bcache_format::superblock::Kind;
use bcache_format::{Position, State};
use block::{Arena, Dev, Request, Sectors};
use oracle::{DiskOpts, Kernel, Run, required};
use runtime::Runtime;
use runtime::sim::World;
use simulation::cache::play_to_images;

/// Seeds that are played in the test suite.
const SEEDS: Range<u64> = 0..6;

/// Buckets of a journal that a kernel can go on with when the newest is full: of two it keeps one, and waits for ever for
/// another (seed 119). None that it makes itself has fewer than four.
const LEAST_JOURNAL: u16 = 3;

/// What the sectors of a volume may be read as.
struct Content {
    /// As it is read here.
    here: Vec<u8>,
    /// The same without the cache, which is as good where nothing is dirty: what nobody had flushed when the power went may
    /// be new on the backing device and old in the cache, until the cache gives it up.
    below: Vec<u8>,
    /// Sectors that only the cache has.
    dirty: Vec<bool>,
}

impl Content {
    /// The first sector that is not as it may be.
    fn differs(&self, read: &[u8]) -> Option<usize> {
        (0..self.dirty.len()).find(|sector| {
            let found = sector_of(read, *sector);
            let may_be_below = !self.dirty[*sector] && found == sector_of(&self.below, *sector);
            found != sector_of(&self.here, *sector) && !may_be_below
        })
    }

    /// The first sector that is not as it is here now, of those that could be read as one thing alone before.
    fn changed(&self, read: &[u8], before: &Content) -> Option<usize> {
        (0..self.dirty.len()).find(|sector| {
            let [here, below] = [&before.here, &before.below].map(|bytes| sector_of(bytes, *sector));
            let was_settled = before.dirty[*sector] || here == below || WRITTEN.contains(sector);
            was_settled && sector_of(read, *sector) != sector_of(&self.here, *sector)
        })
    }
}

fn sector_of(bytes: &[u8], sector: usize) -> &[u8] {
    &bytes[sector * 512..][..512]
}

/// Sectors that the kernel writes.
const WRITTEN: Range<usize> = 32..112;

/// What each backing device's volume may be read as; and nothing is wrong with the cache.
fn read(cache: &[u8], backing: &[Vec<u8>]) -> Vec<Content> {
    let world = World::new(1);
    let disk = |bytes: &[u8]| -> Dev {
        let disk = world.add_disk(Sectors::from_bytes(bytes.len() as u64), 512);
        disk.poke(Sectors::ZERO, bytes);
        disk
    };
    let (cache, backing): (Dev, Vec<Dev>) = (disk(cache), backing.iter().map(|bytes| disk(bytes)).collect());
    Runtime::new(world.clone()).block_on(async {
        let arena = Arena::new(8 << 20);
        let examined = examine(&cache, &arena).await.unwrap();
        let Kind::Cache(facts) = examined.summary.kind else { panic!("it was a cache") };
        let reader = Reader::new(cache.clone(), facts.geometry, arena.clone()).unwrap();
        assert_eq!(check(&reader).await.findings, []);
        let set = CacheSet::open(cache, &examined, &arena, Options::default()).await.unwrap();
        let set = Rc::new(set);
        let mut contents = Vec::new();
        for dev in backing {
            let examined = examine(&dev, &arena).await.unwrap();
            let Kind::Backing(facts) = examined.summary.kind else { panic!("it was a backing device") };
            let inode = set.inode_of(&examined.summary.uuid);
            let through = inode.filter(|_| facts.state != State::Detached).map(|inode| (set.clone(), inode));
            let block = examined.summary.block_sectors;
            let sectors = facts.data_sectors as usize;
            let mut dirty = vec![false; sectors];
            if let Some((set, inode)) = &through {
                dirty_sectors(set, *inode, facts.data_offset, &mut dirty).await;
            }
            let below = Volume::of_backing("it", dev.clone(), &facts, block, None);
            let volume = Volume::of_backing("it", dev, &facts, block, through);
            let (here, below) = (content(&volume, &arena).await, content(&below, &arena).await);
            contents.push(Content { here, below, dirty });
        }
        contents
    })
}

/// Says of each sector of a volume whether only the cache has it.
async fn dirty_sectors(set: &CacheSet, inode: u32, data_offset: u64, dirty: &mut [bool]) {
    let mut at = 0;
    while at < dirty.len() {
        let position = Position::new(inode, data_offset + at as u64);
        let found = set.find(position, (dirty.len() - at) as u64).await.unwrap();
        let is_dirty = found.at.is_some_and(|(_, is_dirty)| is_dirty);
        dirty[at..at + found.sectors as usize].fill(is_dirty);
        at += found.sectors as usize;
    }
}

async fn content(volume: &Dev, arena: &Rc<Arena>) -> Vec<u8> {
    let size = volume.geometry().size.0;
    let mut all = Vec::new();
    for start in (0..size).step_by(1024) {
        let count = (size - start).min(1024);
        let buf = arena.wait_take(count as usize * 512).await;
        volume.start(Request::read(Sectors(start), buf.clone())).await.unwrap();
        let mut bytes = vec![0; buf.len()];
        buf.copy_to_slice(0, &mut bytes);
        all.extend(bytes);
    }
    all
}

/// Leaves what every volume has beside it, writes to it, and leaves what it has then.
fn script(volumes: usize) -> String {
    let devices: String = (0..=volumes).map(|disk| format!(" /dev/d{disk}")).collect();
    let mut script = format!("bcache_register{devices} || exit 10\n");
    for volume in 0..volumes {
        let backing = 1 + volume;
        let (before, after) = (1 + volumes + volume, 1 + 2 * volumes + volume);
        script += &format!(
            "own=$(basename $(readlink -f /dev/d{backing}))\n\
             v=/dev/$(basename $(readlink -f /sys/block/$own/bcache/dev))\n\
             dd if=$v of=/dev/d{before} bs=4k conv=fsync 2> /dev/null || exit 11\n\
             echo 0 > /sys/block/$(basename $v)/bcache/sequential_cutoff\n\
             pattern fill $v 16k 40k {volume} || exit 12\n\
             dd if=$v of=/dev/d{after} bs=4k conv=fsync 2> /dev/null || exit 13\n"
        );
    }
    // The entry that was being written when the power went may be torn, and the kernel says so of the journal's end.
    script
        + "dmesg | grep -iE 'bcache.*(error|corrupt|bad|stale)' | grep -v 'journal_read_bucket.*bad csum' && exit 14
           bcache_stop\n"
}

fn write(folder: &Path, name: &str, bytes: &[u8]) -> PathBuf {
    let path = folder.join(name);
    std::fs::write(&path, bytes).unwrap();
    path
}

fn seeds() -> Range<u64> {
    let Ok(text) = std::env::var("ASHLAR_SEEDS") else { return SEEDS };
    let (from, to) = text.split_once("..").expect("ASHLAR_SEEDS=FROM..TO");
    from.parse().expect("a number")..to.parse().expect("a number")
}

#[test]
fn a_kernel_takes_what_a_power_cut_left_of_a_cache() {
    let Some(boot) = required(Kernel::under_test()) else { return };
    for seed in seeds() {
        let (report, images) = play_to_images(seed);
        assert!(report.violations.is_empty(), "seed {seed}: {:?}", report.violations);
        if report.scenario.journal_buckets < LEAST_JOURNAL {
            println!(
                "seed {seed} is left out: its journal has two buckets, of which a kernel keeps one for replay"
            );
            continue;
        }
        let folder = tempfile::tempdir().unwrap();
        let mut disks = vec![write(folder.path(), "cache", &images.cache)];
        for (number, bytes) in images.backing.iter().enumerate() {
            disks.push(write(folder.path(), &format!("backing{number}"), bytes));
        }
        let contents = read(&images.cache, &images.backing);
        for told in ["before", "after"] {
            for (number, content) in contents.iter().enumerate() {
                disks.push(write(folder.path(), &format!("{told}{number}"), &vec![0; content.here.len()]));
            }
        }
        let run = Run::new(boot.kernel).disks(&disks, &DiskOpts::default());
        let ended = run.script(script(contents.len())).run().unwrap();
        ended.success().unwrap_or_else(|error| panic!("seed {seed}: {:?}\n{error}", report.scenario));
        let left: Vec<Vec<u8>> = disks.iter().map(|disk| std::fs::read(disk).unwrap()).collect();
        let volumes = contents.len();
        let found = read(&left[0], &left[1..=volumes]);
        for (number, (before, after)) in contents.iter().zip(&found).enumerate() {
            let [told_before, told_after] = [1, 2].map(|times| &left[1 + times * volumes + number]);
            assert_eq!(
                before.differs(told_before),
                None,
                "seed {seed}: a sector of volume {number} as the kernel found it"
            );
            assert_eq!(
                after.changed(told_after, before),
                None,
                "seed {seed}: a sector of volume {number} as the kernel left it"
            );
        }
    }
}
