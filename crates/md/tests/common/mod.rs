//! Arrays in a simulated world, for the tests of rules.
#![allow(dead_code, reason = "each file of tests uses a part of it")]

pub mod journals;

use std::rc::Rc;

use block::{Arena, Buf, Dev, Device, Outcome, Range, Request, Sectors};
use md::{
    Array, BitmapWish, Candidate, Creation, OpenError, Options, Set, assemble, create, examine, plan_creation,
};
use md_format::superblock::Summary;
use md_format::{Level, Version};
use runtime::Runtime;
use runtime::sim::{Disk, World};

/// Sectors of a disk.
pub const SIZE: Sectors = Sectors(20_480);

/// A world with an array on its disks.
pub struct Bench {
    pub world: Rc<World>,
    pub arena: Rc<Arena>,
}

/// What is not the same in every test.
pub struct Made {
    pub level: Level,
    pub version: Version,
    pub members: usize,
    pub write_mostly: Vec<bool>,
    pub ppl: bool,
    /// Sectors of a disk of its own, the last one, for a write journal.
    pub journal: Option<Sectors>,
    pub assume_clean: bool,
    /// Chunk in sectors and layout, of a raid10.
    pub striped: Option<(u32, u32)>,
    /// What a bit of the bitmap stands for, in bytes.
    pub bitmap: Option<u32>,
    /// What each member gives, where it is not all that it has.
    pub size: Option<Sectors>,
}

impl Default for Made {
    fn default() -> Made {
        let (level, version) = (Level::Raid1, Version::V1_2);
        Made {
            level,
            version,
            members: 2,
            write_mostly: Vec::new(),
            ppl: false,
            journal: None,
            assume_clean: true,
            striped: None,
            bitmap: None,
            size: None,
        }
    }
}

impl Bench {
    /// Makes an array, durably.
    pub fn new(seed: u64, made: Made) -> Bench {
        let bench = Bench { world: World::new(seed), arena: Arena::new(8 << 20) };
        (0..made.members).for_each(|_| drop(bench.world.add_disk(SIZE, 512)));
        let slots: Vec<_> = bench.devs().iter().map(|dev| Some(dev.geometry())).collect();
        let journal = made.journal.map(|size| bench.world.add_disk(size, 512).geometry());
        let creation = Creation {
            name: "rules".to_owned(),
            host: None,
            level: made.level,
            version: made.version,
            chunk_sectors: made
                .striped
                .map(|(chunk, _)| chunk)
                .or((made.level == Level::Raid0).then_some(16)),
            layout: made.striped.map(|(_, layout)| layout),
            size: made.size,
            bitmap: made.bitmap.map(|bytes| BitmapWish { chunk_bytes: Some(bytes) }),
            ppl: made.ppl,
            assume_clean: made.assume_clean,
            journal,
            slots,
            write_mostly: made.write_mostly,
            spares: Vec::new(),
            uuid: [3; 16],
            device_uuids: (0..bench.devs().len()).map(|number| [number as u8; 16]).collect(),
            now_s: 1_577_836_800,
        };
        let plans = plan_creation(&creation).unwrap();
        let devs: Vec<Option<Dev>> = bench.devs().into_iter().map(Some).collect();
        bench.run(async { create(&plans, &devs, &bench.arena).await.unwrap() });
        bench
    }

    /// Writes so many neighbours of so many sectors from sector 3 on, all at once, three times over: 1, 2, then 3.
    pub async fn write_in_turns(&self, device: &Dev, count: u64, sectors: u64) {
        for turn in 1..=3u8 {
            let write = |at| Request::write(Sectors(at * sectors + 3), self.bytes(turn, sectors));
            let writes: Vec<_> = (0..count).map(|at| device.start(write(at))).collect();
            for write in writes {
                write.await.unwrap();
            }
        }
    }

    /// Runs `test`, and fails when nothing can happen any more before it has ended.
    pub fn run<T>(&self, test: impl Future<Output = T>) -> T {
        let runtime = Runtime::new(self.world.clone());
        runtime.block_on(test)
    }

    pub fn disk(&self, number: usize) -> Rc<Disk> {
        self.world.disks()[number].clone()
    }

    pub fn devs(&self) -> Vec<Dev> {
        self.world.disks().into_iter().map(|disk| disk as Dev).collect()
    }

    /// What the disks say now.
    pub async fn candidates(&self) -> Vec<Candidate> {
        self.candidates_of(self.devs().len()).await
    }

    pub async fn candidates_of(&self, count: usize) -> Vec<Candidate> {
        let mut candidates = Vec::new();
        for (number, dev) in self.devs().iter().take(count).enumerate() {
            let examined = examine(dev, &self.arena).await.unwrap();
            candidates.push(Candidate { name: number.to_string(), examined });
        }
        candidates
    }

    /// What a member's superblock says now.
    pub async fn summary(&self, member: usize) -> Summary {
        self.candidates().await[member].examined.summary
    }

    pub async fn set(&self) -> (Set, Vec<Candidate>) {
        self.set_of(self.devs().len()).await
    }

    /// Of the first so many disks.
    pub async fn set_of(&self, count: usize) -> (Set, Vec<Candidate>) {
        let candidates = self.candidates_of(count).await;
        let mut sets = assemble(&candidates);
        assert_eq!(sets.len(), 1);
        (sets.remove(0), candidates)
    }

    /// Opens the array for writing.
    pub async fn open(&self) -> Rc<Array> {
        self.open_with(Options::default()).await.unwrap()
    }

    /// The same, with some options of a test's own.
    pub async fn open_with(&self, options: Options) -> Result<Rc<Array>, OpenError> {
        let (set, candidates) = self.set().await;
        let options = Options { write: true, degraded: true, ..options };
        Array::open(&set, &candidates, &self.devs(), options)
    }

    /// The same, without some of the disks.
    pub async fn open_without(&self, gone: &[usize], options: Options) -> Result<Rc<Array>, OpenError> {
        let (candidates, devs): (Vec<Candidate>, Vec<Dev>) = (0..)
            .zip(self.candidates().await.into_iter().zip(self.devs()))
            .filter(|(number, _)| !gone.contains(number))
            .map(|(_, both)| both)
            .unzip();
        let set = assemble(&candidates).remove(0);
        let options = Options { write: true, degraded: true, ..options };
        Array::open(&set, &candidates, &devs, options)
    }

    /// The same of the first so many disks: the others are no members yet.
    pub async fn open_members(&self, count: usize) -> Rc<Array> {
        let (set, candidates) = self.set_of(count).await;
        let options = Options { write: true, degraded: true, ..Options::default() };
        Array::open(&set, &candidates, &self.devs(), options).unwrap()
    }

    /// Waits until no bit of the bitmap is set.
    pub async fn settle_bits(&self, array: &Array) {
        while array.bitmap().is_some_and(|bitmap| bitmap.marked > 0) {
            runtime::sleep_ms(1000).await;
        }
    }

    /// A buffer full of `byte`.
    pub fn bytes(&self, byte: u8, sectors: u64) -> Buf {
        let buf = self.arena.take(Sectors(sectors).byte_len()).unwrap();
        buf.copy_from_slice(0, &vec![byte; buf.len()]);
        buf
    }

    pub async fn write(&self, device: &Dev, start: u64, byte: u8, sectors: u64) -> Outcome {
        device.start(Request::write(Sectors(start), self.bytes(byte, sectors))).await
    }

    /// Whether the sectors read as `byte`.
    pub async fn reads(&self, device: &Dev, start: u64, byte: u8, sectors: u64) -> Outcome {
        let buf = self.arena.take(Sectors(sectors).byte_len()).unwrap();
        device.start(Request::read(Sectors(start), buf.clone())).await?;
        assert!(buf.same_bytes(&self.bytes(byte, sectors)), "sectors from {start} are not all {byte}");
        Ok(())
    }

    /// Whether a power cut would leave `byte` in these sectors of a member's data.
    pub fn holds_durably(&self, array: &Array, member: usize, start: u64, byte: u8, sectors: u64) -> bool {
        let at = array.members()[member].data_offset + Sectors(start);
        let found = self.disk(member).peek_durable(Range::new(at, Sectors(sectors)));
        found.iter().all(|each| *each == byte)
    }
}
