//! C1 with the real program: killed under load together with the power of its members, which throw away what was not
//! flushed. Nothing that a FLUSH or FUA was answered for is lost, and the copies become equal again.

mod proof;

use std::time::Duration;

use proof::Bench;
use proof::versions::{BLOCK, Random, Versions};
use proof::volatile::VolatileDisk;

/// Blocks that the load writes.
const BLOCKS: usize = 1200;

/// Bytes of a member.
const MEMBER: usize = 8 << 20;

/// Clients at work at once.
const CLIENTS: usize = 3;

struct Stage {
    bench: Bench,
    disks: Vec<VolatileDisk>,
    versions: Versions,
    random: Random,
}

impl Stage {
    /// A mirror of `copies` volatile disks.
    fn new(seed: u64, copies: usize, version: &str) -> Stage {
        let bench = Bench::new();
        let disk = |number| VolatileDisk::new(&bench.path(&format!("disk{number}")), MEMBER);
        let disks: Vec<VolatileDisk> = (0..copies).map(disk).collect();
        let urls: Vec<_> = disks.iter().map(|disk| disk.url().into()).collect();
        bench.create("m", &["-l", "raid1", "--metadata", version], &urls);
        Stage { bench, disks, versions: Versions::new(BLOCKS), random: Random(seed << 20) }
    }

    fn urls(&self) -> Vec<String> {
        self.disks.iter().map(VolatileDisk::url).collect()
    }

    /// Runs the program under load. After so many answered writes `trouble` happens, and after as many more the kill and
    /// the power cut.
    fn round(&mut self, options: &[&str], trouble: impl FnOnce(&mut Random, &Bench, &[VolatileDisk])) {
        let running = self.bench.run("m", options, &self.urls());
        self.check(&running);
        let (versions, random, bench, disks) = (&self.versions, &mut self.random, &self.bench, &self.disks);
        let clients: Vec<_> = (0..CLIENTS).map(|_| running.connect()).collect();
        let seed = random.below(1 << 30) as u64;
        std::thread::scope(|scope| {
            for (turn, client) in clients.into_iter().enumerate() {
                scope.spawn(move || versions.load(client, seed, turn, CLIENTS));
            }
            let wait_for = |more: usize| {
                let (until, mut tries) = (versions.answered() + more as u32, 0);
                while versions.answered() < until {
                    std::thread::sleep(Duration::from_millis(1));
                    tries += 1;
                    assert!(tries < 60_000, "the load has stopped: {}", running.said());
                }
            };
            wait_for(random.below(150));
            trouble(random, bench, disks);
            wait_for(random.below(150));
            running.kill();
        });
        for disk in &self.disks {
            disk.cut_power(&mut self.random);
        }
        self.versions.forget_what_was_not_durable();
    }

    fn check(&self, running: &proof::Running) {
        let content = running.connect().read(0, BLOCKS * BLOCK).unwrap();
        self.versions.check_durable(&content, "after a start");
    }

    /// The last start: everything is there, and after the resync the copies are equal.
    fn end(self, options: &[&str], copies_are_equal: bool) {
        let mut running = self.bench.run("m", options, &self.urls());
        self.check(&running);
        if copies_are_equal {
            running.wait_for("resync complete");
        }
        running.stop();
        let images: Vec<Vec<u8>> = self.disks.iter().map(VolatileDisk::durable).collect();
        let data = |image: &[u8]| image[1 << 20..][..BLOCKS * BLOCK].to_vec();
        assert!(!copies_are_equal || images.windows(2).all(|two| data(&two[0]) == data(&two[1])));
        let lost: usize = self.disks.iter().map(VolatileDisk::lost).sum();
        assert!(lost > 100, "only {lost} sectors were lost: these power cuts prove nothing");
    }
}

#[test]
fn nothing_acknowledged_is_lost_when_process_and_power_go_under_load() {
    for (seed, version) in [(1, "1.2"), (2, "0.90"), (3, "1.0"), (4, "1.1")] {
        println!("seed {seed}");
        let mut stage = Stage::new(seed, 2, version);
        for _ in 0..6 {
            stage.round(&[], |_, _, _| {});
        }
        stage.end(&[], true);
    }
}

#[test]
fn nothing_acknowledged_is_lost_when_a_member_vanished_before() {
    for seed in 10..14 {
        println!("seed {seed}");
        let mut stage = Stage::new(seed, 3, "1.2");
        stage.round(&[], |_, _, _| {});
        let vanishing = stage.random.below(3);
        stage.round(&[], |random, _, disks| disks[vanishing].cut_power(random));
        stage.round(&["--degraded"], |_, _, _| {});
        stage.end(&["--degraded"], false);
    }
}

#[test]
fn nothing_acknowledged_is_lost_when_a_member_was_failed_before() {
    for seed in 20..24 {
        println!("seed {seed}");
        let mut stage = Stage::new(seed, 2, "1.2");
        stage.round(&[], |_, _, _| {});
        let failed = stage.random.below(2);
        stage.round(&[], |_, bench, disks| bench.fail("m", disks[failed].url()));
        stage.round(&["--degraded"], |_, _, _| {});
        stage.end(&["--degraded"], false);
    }
}
