//! C1 through a file: the program is killed under load together with the power of its members, which throw away what was not
//! flushed. Nothing is lost that an fsync or an O_DSYNC write was answered for.

mod proof;

use std::time::Duration;

use proof::Bench;
use proof::mounted::{Spot, is_possible};
use proof::versions::{BLOCK, Random, Versions};
use proof::volatile::VolatileDisk;

/// Blocks that the load writes.
const BLOCKS: usize = 1200;

/// Writers at work at once.
const WRITERS: usize = 3;

#[test]
fn nothing_that_was_synced_is_lost_when_process_and_power_go_under_load() {
    if !is_possible("power cuts below a volume's file") {
        return;
    }
    for seed in [1, 2] {
        println!("seed {seed}");
        let (bench, mut random) = (Bench::new(), Random(seed << 20));
        let disk = |number| VolatileDisk::new(&bench.path(&format!("disk{number}")), 8 << 20);
        let disks: Vec<VolatileDisk> = (0..3).map(disk).collect();
        let urls: Vec<String> = disks.iter().map(VolatileDisk::url).collect();
        let members: Vec<_> = urls.iter().map(Into::into).collect();
        bench.create("m", &["-l", "raid5", "--consistency", "ppl"], &members);
        let (spot, versions) = (Spot(bench.path("file")), Versions::new(BLOCKS));
        for _ in 0..4 {
            let running = bench.run("m", &spot.words(), &urls);
            let content = running.connect().read(0, BLOCKS * BLOCK).unwrap();
            versions.check_durable(&content, "after a start");
            let load = random.below(1 << 30) as u64;
            std::thread::scope(|scope| {
                for turn in 0..WRITERS {
                    let (file, versions) = (spot.open(), &versions);
                    scope.spawn(move || versions.load(file, load, turn, WRITERS));
                }
                let until = versions.answered() + 50 + random.below(250) as u32;
                while versions.answered() < until {
                    std::thread::sleep(Duration::from_millis(1));
                }
                running.kill();
            });
            disks.iter().for_each(|disk| disk.cut_power(&mut random));
            versions.forget_what_was_not_durable();
        }
        let running = bench.run("m", &spot.words(), &urls);
        versions.check_durable(&running.connect().read(0, BLOCKS * BLOCK).unwrap(), "at the end");
        running.stop();
        let lost: usize = disks.iter().map(VolatileDisk::lost).sum();
        assert!(lost > 100, "only {lost} sectors were lost: these power cuts prove nothing");
    }
}
