//! Discards and zeroes over whole stripes and pieces of them, healthy, degraded and while a member is rebuilt, and the kernel
//! as judge: what agreed before agrees afterwards.

mod proof;

use std::path::PathBuf;

use oracle::{Kernel, required};
use proof::nbd::Nbd;
use proof::shapes::{End, Job, Shape, boots, hashes, settle, shape, write_all_over};
use proof::versions::Random;
use proof::{Bench, hash};

const SHAPES: [Shape; 9] = [
    shape(4, "", "1.2", 3, 16, 6144),
    shape(4, "", "0.90", 4, 4, 6144),
    shape(5, "left-symmetric", "1.2", 3, 64, 6144),
    shape(5, "right-asymmetric", "1.0", 4, 16, 6200),
    shape(6, "left-symmetric", "1.2", 4, 32, 6144),
    shape(6, "ddf-N-continue", "1.1", 5, 4, 6144),
    shape(10, "n2", "1.2", 4, 16, 6144),
    shape(10, "f2", "1.2", 3, 64, 6144),
    shape(10, "o2", "1.0", 4, 32, 6144),
];

/// Discards, zeroes and writes at places of all kinds. What was discarded reads as it was or as zeroes, sector by sector, and
/// stays what it reads as.
fn clear_here_and_there(client: &mut Nbd, model: &mut [u8], shape: &Shape, seed: u64) {
    let mut random = Random(seed << 32 | 1);
    let row = shape.chunk_kib as usize * 2 * shape.slots;
    for round in 0..45 {
        let sectors = model.len() / 512;
        // Whole rows of any number of members, or anything.
        let (at, count) = match round % 3 {
            0 => (random.below(sectors / row) * row, row * (1 + random.below(3))),
            1 => (random.below(sectors / 8) * 8, 8 * (1 + random.below(40))),
            _ => (random.below(sectors), 1 + random.below(700)),
        };
        let (from, end) = (at * 512, model.len().min((at + count) * 512));
        let (offset, old) = (from as u64, &mut model[from..end]);
        match random.below(3) {
            0 => {
                client.trim(offset, old.len()).unwrap();
                let now = client.read(offset, old.len()).unwrap();
                for (old, now) in old.chunks(512).zip(now.chunks(512)) {
                    assert!(
                        old == now || now.iter().all(|byte| *byte == 0),
                        "{shape:?}: a third thing in {at}+{count}"
                    );
                }
                old.copy_from_slice(&now);
            }
            1 => {
                client.write_zeroes(offset, old.len()).unwrap();
                old.fill(0);
            }
            _ => {
                oracle::pattern::fill(old, at as u64, seed + round as u64);
                client.write(offset, old).unwrap();
            }
        }
    }
    client.flush().unwrap();
    assert!(client.content() == model, "{shape:?}");
}

#[test]
fn the_kernel_finds_no_mismatch_where_we_have_discarded_and_zeroed() {
    let Some(boot) = required(Kernel::under_test()) else { return };
    let bench = Bench::new();
    let (mut jobs, mut sums) = (Vec::new(), Vec::new());
    for (number, shape) in SHAPES.iter().enumerate() {
        let name = format!("m{number}");
        let mut members = shape.members(&bench, &name);
        let slots: Vec<Option<PathBuf>> = members.iter().cloned().map(Some).collect();
        shape.create(&bench, &name, &["--assume-clean"], &slots);
        let running = bench.run(&name, &[], &members);
        let (mut client, mut model) = (running.connect(), Vec::new());
        write_all_over(&mut client, &mut model, number as u64);
        clear_here_and_there(&mut client, &mut model, shape, 10 + number as u64);
        let new = bench.members(&format!("{name}.new"), &[shape.member_kib]).remove(0);
        let slot = number % shape.slots;
        bench.fail(&name, &members[slot]);
        clear_here_and_there(&mut client, &mut model, shape, 100 + number as u64);
        bench.manage(&["sync", &name, "--speed-max", "2M"]);
        bench.manage(&["add".as_ref(), name.as_ref(), new.as_os_str()]);
        clear_here_and_there(&mut client, &mut model, shape, 200 + number as u64);
        bench.manage(&["sync", &name, "--speed-max", "0"]);
        bench.manage(&["wait", &name]);
        clear_here_and_there(&mut client, &mut model, shape, 300 + number as u64);
        settle(&bench, &name);
        running.stop();
        members[slot] = new;
        let script = "mdadm -A /dev/$MD $DISKS && is degraded 0 && content /dev/$MD && scrub || exit 1
            echo 3 > /proc/sys/vm/drop_caches; content /dev/$MD; mdadm --stop /dev/$MD"
            .to_owned();
        jobs.push(Job { name: format!("{shape:?}"), disks: members, script });
        sums.push(hash(&model));
    }
    let printed = boots(boot.kernel, bench.folder(), &jobs, End::Clean);
    for ((job, sum), printed) in jobs.iter().zip(&sums).zip(&printed) {
        assert_eq!(hashes(printed), [sum, sum], "{}: {printed}", job.name);
    }
}
