//! Arrays that are changed while they run, by the kernel and by us, each before the other's eyes: the same sizes, the same
//! content, nothing that does not agree; also when the change, or what follows it, is cut off in the middle.

mod proof;

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use oracle::{Kernel, left_out, pattern, required};
use proof::nbd::Nbd;
use proof::shapes::{End, Job, Shape, boots, hashes, settle, shape, write_all_over};
use proof::versions::Random;
use proof::{Bench, hash};

/// Every metadata version, and every level whose members can give more.
const SHAPES: [Shape; 9] = [
    shape(1, "", "0.90", 2, 0, 6144),
    shape(1, "", "1.0", 2, 0, 6148),
    shape(1, "", "1.1", 3, 0, 6144),
    shape(1, "", "1.2", 2, 0, 7001),
    shape(10, "n2", "1.2", 3, 64, 6144),
    shape(4, "", "0.90", 3, 16, 6144),
    shape(5, "left-symmetric", "1.0", 3, 4, 6148),
    shape(5, "left-symmetric", "1.2", 4, 64, 7000),
    shape(6, "left-symmetric", "1.1", 4, 16, 6144),
];

/// What members give at first.
const HALF: &str = "2048K";
const BITMAP: [&str; 4] = ["--bitmap", "internal", "--bitmap-chunk", "16K"];

struct Array {
    name: String,
    shape: Shape,
    members: Vec<PathBuf>,
    model: Vec<u8>,
}

impl Array {
    fn all(bench: &Bench, what: &str) -> Vec<Array> {
        let make = |(number, shape): (usize, &Shape)| {
            let name = format!("{what}{number}");
            Array { members: shape.members(bench, &name), name, shape: *shape, model: Vec::new() }
        };
        SHAPES.iter().enumerate().map(make).collect()
    }

    fn create(&self, bench: &Bench) {
        let slots: Vec<Option<PathBuf>> = self.members.iter().cloned().map(Some).collect();
        self.shape.create(bench, &self.name, &["--size", HALF], &slots);
    }

    fn shown(&self) -> String {
        format!("{} {:?}", self.name, self.shape)
    }

    fn job(&self, script: impl Into<String>) -> Job {
        Job { name: self.shown(), disks: self.members.clone(), script: script.into() }
    }

    fn grow(&self, bench: &Bench, words: &[&str]) {
        bench.manage(&[&["grow", &self.name], words].concat());
        settle(bench, &self.name);
    }

    fn write_all(&mut self, client: &mut Nbd, seed: u64) {
        write_all_over(client, &mut self.model, seed);
    }
}

const AGREES: &str = "content /dev/$MD; scrub || exit 3
    echo 3 > /proc/sys/vm/drop_caches; content /dev/$MD; mdadm --stop /dev/$MD";

/// The size, the bitmap and the content that we leave are what the kernel finds; and the size is what it makes of the same.
#[test]
fn the_kernel_finds_what_we_have_changed_as_it_would_have_changed_it() {
    let Some(boot) = required(Kernel::under_test()) else { return };
    let bench = Bench::new();
    let mut arrays = Array::all(&bench, "ours");
    let theirs = Array::all(&bench, "theirs");
    for (number, array) in arrays.iter_mut().enumerate() {
        array.create(&bench);
        let running = bench.run(&array.name, &[], &array.members);
        settle(&bench, &array.name);
        // In turn: the bitmap before the size, and behind it.
        let with_bits = number % 2 == 0;
        if with_bits {
            array.grow(&bench, &BITMAP);
        }
        array.write_all(&mut running.connect(), 10 * number as u64);
        array.grow(&bench, &["--size", "max"]);
        let mut client = running.connect();
        assert!(client.content()[..array.model.len()] == array.model, "{}", array.shown());
        array.write_all(&mut client, 10 * number as u64 + 5);
        if !with_bits {
            array.grow(&bench, &BITMAP);
        }
        running.stop();
    }
    let after = "is resync_start none && is degraded 0 && unmarked $DISKS || exit 2";
    let ours = arrays
        .iter()
        .map(|array| array.job(format!("mdadm -A /dev/$MD $DISKS || exit 1\n{after}\n{AGREES}")));
    let made = |array: &Array| {
        let create = array.shape.mdadm_create(&format!("--size {HALF} --assume-clean"));
        let grow = format!(
            "{create} && mdadm --grow /dev/$MD --size max --assume-clean && blockdev --getsize64 /dev/$MD"
        );
        array.job(format!("{grow} && mdadm --stop /dev/$MD"))
    };
    let jobs: Vec<Job> = ours.chain(theirs.iter().map(made)).collect();
    let printed = boots(boot.kernel, bench.folder(), &jobs, End::Clean);
    for (array, printed) in arrays.iter().zip(&printed) {
        assert_eq!(hashes(printed), vec![hash(&array.model); 2], "{}: {printed}", array.shown());
    }
    for (array, printed) in arrays.iter().zip(&printed[arrays.len()..]) {
        let size = array.model.len().to_string();
        assert!(printed.lines().any(|line| line == size), "{}: {size} is not in {printed}", array.shown());
    }
}

/// What the kernel has changed, and lost the power over while it synced what is new, is taken to its end by us.
#[test]
fn we_take_up_what_the_kernel_has_changed_and_lost_the_power_over() {
    let Some(boot) = required(Kernel::under_test()) else { return };
    let bench = Bench::new();
    let mut arrays = Array::all(&bench, "cut");
    if !left_out::has_time() {
        // Syncs as slow as these take their time.
        oracle::left_out::note(
            "most shapes: grown by the kernel, which then loses the power",
            &"they take minutes; `cargo xtask oracle test` takes all",
        );
        arrays.retain(|array| matches!((array.shape.level, array.shape.version), (1 | 5, "1.2") | (6, _)));
    }
    let made = |array: &Array| {
        let create = array.shape.mdadm_create(&format!("--size {HALF}"));
        let bitmap = BITMAP.join(" ");
        array.job(format!(
            "{create} && pattern fill /dev/$MD 0 0 1 && wait_idle || exit 1
             mdadm --grow /dev/$MD {bitmap} || exit 2
             echo 100 > /sys/block/$MD/md/sync_speed_max; echo 50 > /sys/block/$MD/md/sync_speed_min
             mdadm --grow /dev/$MD --size max || exit 3
             cat /dev/$MD > /host/{}.between; sync",
            array.name
        ))
    };
    let jobs: Vec<Job> = arrays.iter().map(made).collect();
    boots(boot.kernel, bench.folder(), &jobs, End::Cut);
    for array in &mut arrays {
        let between = std::fs::read(bench.path(&format!("{}.between", array.name))).unwrap();
        let running = bench.run(&array.name, &[], &array.members);
        let mut client = running.connect();
        settle(&bench, &array.name);
        assert_eq!(client.size() as usize, between.len(), "{}", array.shown());
        let old = (2048 << 10) & !(64 << 10);
        assert!(pattern::check(&client.content()[..old], 0, 1).is_ok(), "{}", array.shown());
        array.write_all(&mut client, 7);
        running.stop();
    }
    let script =
        format!("mdadm -A /dev/$MD $DISKS && is resync_start none && is degraded 0 || exit 1\n{AGREES}");
    let jobs: Vec<Job> = arrays.iter().map(|array| array.job(&script)).collect();
    let printed = boots(boot.kernel, bench.folder(), &jobs, End::Clean);
    for (array, printed) in arrays.iter().zip(&printed) {
        assert_eq!(hashes(printed), vec![hash(&array.model); 2], "{}: {printed}", array.shown());
    }
}

/// Killed at any moment of a change: the kernel finds the array as it was, or as it was to be, with all of its content.
#[test]
fn the_kernel_finds_whole_what_we_were_killed_over() {
    let Some(boot) = required(Kernel::under_test()) else { return };
    let bench = Bench::new();
    let mut arrays = Array::all(&bench, "killed");
    let (mut jobs, mut random) = (Vec::new(), Random(5));
    for (number, array) in arrays.iter_mut().enumerate() {
        array.create(&bench);
        let running = bench.run(&array.name, &[], &array.members);
        settle(&bench, &array.name);
        array.write_all(&mut running.connect(), 10 * number as u64);
        if number % 3 == 1 {
            array.grow(&bench, &BITMAP);
        }
        let change: &[&str] = match number % 3 {
            0 => &BITMAP,
            1 => &["--bitmap", "none"],
            _ => &["--size", "max"],
        };
        let mut command = Command::new(env!("CARGO_BIN_EXE_ashlar"));
        command.args(["grow", &array.name, "--run-dir"]).arg(bench.path("run")).args(change);
        let mut change = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        std::thread::sleep(Duration::from_micros(random.below(20_000) as u64));
        running.kill();
        change.wait().unwrap();
        let name = &array.name;
        jobs.push(array.job(format!(
            "mdadm -A /dev/$MD $DISKS || exit 1; wait_idle; is degraded 0 || exit 2
             cat /dev/$MD > /host/{name}.after; scrub || exit 3; mdadm --stop /dev/$MD"
        )));
    }
    boots(boot.kernel, bench.folder(), &jobs, End::Clean);
    for array in &arrays {
        let after = std::fs::read(bench.path(&format!("{}.after", array.name))).unwrap();
        assert!(after.len() >= array.model.len(), "{}", array.shown());
        assert!(after[..array.model.len()] == array.model, "{}", array.shown());
        assert!(bench.cat(&array.members) == after, "{}", array.shown());
    }
}

/// A mirror's copies, more and fewer, as the kernel finds them.
#[test]
fn the_kernel_finds_the_copies_that_we_have_added_and_taken_away() {
    let Some(boot) = required(Kernel::under_test()) else { return };
    let bench = Bench::new();
    let (mut jobs, mut arrays) = (Vec::new(), Vec::new());
    for (number, version) in ["0.90", "1.0", "1.1", "1.2"].into_iter().enumerate() {
        let name = format!("copies{number}");
        let members = bench.members(&name, &[6144; 3]);
        bench.create(&name, &["--level", "1", "--metadata", version], &members[..2]);
        let running = bench.run(&name, &[], &members[..2]);
        let mut model = Vec::new();
        write_all_over(&mut running.connect(), &mut model, number as u64);
        bench.manage(&["grow", &name, "--raid-devices", "3"]);
        bench.manage(&["add".as_ref(), name.as_ref(), members[2].as_os_str()]);
        bench.manage(&["wait", &name]);
        let mut kept = members.clone();
        if number % 2 == 1 {
            bench.fail(&name, &members[0]);
            bench.manage(&["remove".as_ref(), name.as_ref(), members[0].as_os_str()]);
            bench.manage(&["grow", &name, "--raid-devices", "2"]);
            kept.remove(0);
            write_all_over(&mut running.connect(), &mut model, 40 + number as u64);
        }
        running.stop();
        let count = kept.len();
        let script = format!(
            "mdadm -A /dev/$MD $DISKS || exit 1
             is raid_disks {count} && is degraded 0 && is resync_start none || exit 2\n{AGREES}"
        );
        jobs.push(Job { name: name.clone(), disks: kept, script });
        arrays.push((name, model));
    }
    let printed = boots(boot.kernel, bench.folder(), &jobs, End::Clean);
    for ((name, model), printed) in arrays.iter().zip(&printed) {
        assert_eq!(hashes(printed), vec![hash(model); 2], "{name}: {printed}");
    }
}
