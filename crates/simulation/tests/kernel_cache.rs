//! What a power cut left of a cache that was written here, in a simulated world, is taken by a real kernel: it finds the same
//! content, writes, and what it leaves is read here and has nothing wrong with it.
//!
//! `ASHLAR_SEEDS=FROM..TO` plays other seeds, as many as wanted.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use bcache::{CacheSet, Options, Reader, Volume, check, examine};
use bcache_format::State;
use bcache_format::superblock::Kind;
use block::{Arena, Dev, Request, Sectors};
use oracle::{DiskOpts, Kernel, Run, required};
use runtime::Runtime;
use runtime::sim::World;
use simulation::cache::play_to_images;

/// Seeds that are played in the test suite.
const SEEDS: Range<u64> = 0..12;

/// The sectors of each backing device's volume, as they are read here; and nothing is wrong with the cache.
fn read(cache: &[u8], backing: &[Vec<u8>]) -> Vec<Vec<u8>> {
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
            let volume = Volume::of_backing("it", dev, &facts, block, through);
            contents.push(content(&volume, &arena).await);
        }
        contents
    })
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

/// Compares every volume with what was read of it here, writes to it, and leaves what it then has beside it.
fn script(volumes: usize) -> String {
    let devices: String = (0..=volumes).map(|disk| format!(" /dev/d{disk}")).collect();
    let mut script = format!("bcache_register{devices} || exit 10\n");
    for volume in 0..volumes {
        let (backing, told) = (1 + volume, 1 + volumes + volume);
        script += &format!(
            "own=$(basename $(readlink -f /dev/d{backing}))\n\
             v=/dev/$(basename $(readlink -f /sys/block/$own/bcache/dev))\n\
             bytes=$(blockdev --getsize64 $v)\n\
             cmp -n $bytes $v /dev/d{told} || exit 11\n\
             echo 0 > /sys/block/$(basename $v)/bcache/sequential_cutoff\n\
             pattern fill $v 16k 40k {volume} || exit 12\n\
             dd if=$v of=/dev/d{told} bs=4k conv=fsync 2> /dev/null || exit 13\n"
        );
    }
    script + "dmesg | grep -iE 'bcache.*(error|corrupt|bad|stale)' && exit 14\nbcache_stop\n"
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
        let folder = tempfile::tempdir().unwrap();
        let mut disks = vec![write(folder.path(), "cache", &images.cache)];
        for (number, bytes) in images.backing.iter().enumerate() {
            disks.push(write(folder.path(), &format!("backing{number}"), bytes));
        }
        let contents = read(&images.cache, &images.backing);
        for (number, bytes) in contents.iter().enumerate() {
            disks.push(write(folder.path(), &format!("told{number}"), bytes));
        }
        let run = Run::new(boot.kernel).disks(&disks, &DiskOpts::default());
        let ended = run.script(script(contents.len())).run().unwrap();
        ended.success().unwrap_or_else(|error| panic!("seed {seed}: {:?}\n{error}", report.scenario));
        let left: Vec<Vec<u8>> = disks.iter().map(|disk| std::fs::read(disk).unwrap()).collect();
        let volumes = contents.len();
        let found = read(&left[0], &left[1..=volumes]);
        for (number, found) in found.iter().enumerate() {
            assert!(
                *found == left[1 + volumes + number],
                "seed {seed}: volume {number} as the kernel left it"
            );
        }
    }
}
