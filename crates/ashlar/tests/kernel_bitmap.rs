//! A write-intent bitmap over parity, and the kernel as judge: after a crash of either program the other syncs what the
//! bitmap marks and nothing else, and a member that was away is brought up to date by it.
//!
//! What lies elsewhere is known by a page that somebody without manners has changed on one member: it is no trouble to
//! anybody who keeps to the bitmap, and the kernel's check finds wrong parity there, and there alone, until it is put back.

mod proof;

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use oracle::{Kernel, host_mdadm, pattern, required};
use proof::nbd::Nbd;
use proof::shapes::{End, Job, Shape, boots, hashes, settle, shape, write_all_over};
use proof::unending::UNENDING;
use proof::versions::{BLOCK, BLOCKS, killed_under_load};
use proof::{Bench, hash};

/// Shapes, and what one bit stands for in KiB: less than a chunk, as much, and more.
const SHAPES: [(Shape, u64); 9] = [
    (shape(4, "", "1.2", 3, 16, 6144), 64),
    (shape(5, "left-asymmetric", "1.0", 3, 4, 6144), 4),
    (shape(5, "left-symmetric", "1.1", 3, 512, 6656), 64),
    (shape(5, "parity-first", "1.2", 3, 16, 6144), 128),
    (shape(6, "ddf-N-continue", "1.0", 4, 64, 6144), 16),
    (shape(5, "left-symmetric", "0.90", 3, 64, 6144), 16),
    (shape(6, "left-symmetric", "0.90", 4, 16, 6144), 64),
    (shape(6, "left-symmetric-6", "1.1", 4, 8, 6144), 8),
    (shape(6, "right-asymmetric", "1.2", 4, 32, 6144), 256),
];

/// The first so many shapes are synced by the kernel when it comes after a crash of ours; with the others it writes first.
/// As many as there is room for in one boot.
const SYNCED: usize = 5;

/// Where the page that should not be synced lies on a member, in bytes from the start of its data.
const ELSEWHERE: u64 = 4 << 20;

/// Sectors in which the kernel's check finds parity wrong when a page is.
const PAGE_SECTORS: u64 = 8;

/// The bytes of a page.
const PAGE: usize = 4096;

/// Bytes of a volume that loads and crashes write to, on members far before [`ELSEWHERE`]: then what the kernel writes, and
/// what we do.
const LOAD: usize = BLOCKS * BLOCK;
const THEIRS: (u64, usize) = (4 << 20, 64 << 10);
const OURS: (u64, usize) = (5 << 20, 100 << 10);

/// An array on the way between the two programs.
struct Array {
    name: String,
    shape: Shape,
    bit_kib: u64,
    members: Vec<PathBuf>,
    /// What it must hold.
    model: Vec<u8>,
}

impl Array {
    fn all(bench: &Bench) -> Vec<Array> {
        SHAPES
            .iter()
            .enumerate()
            .map(|(number, (shape, bit_kib))| Array::new(bench, number, *shape, *bit_kib))
            .collect()
    }

    fn new(bench: &Bench, number: usize, shape: Shape, bit_kib: u64) -> Array {
        let name = format!("m{number}");
        let members = shape.members(bench, &name);
        Array { name, shape, bit_kib, members, model: Vec::new() }
    }

    fn bitmap(&self) -> [String; 4] {
        let chunk = format!("{}K", self.bit_kib);
        ["--bitmap", "internal", "--bitmap-chunk", &chunk].map(str::to_owned)
    }

    /// Made by `ashlar`, written all over, and stopped cleanly.
    fn create(&mut self, bench: &Bench, seed: u64) {
        let slots: Vec<Option<PathBuf>> = self.members.iter().cloned().map(Some).collect();
        let bitmap = self.bitmap();
        let options: Vec<&str> = bitmap.iter().map(String::as_str).collect();
        self.shape.create(bench, &self.name, &options, &slots);
        let running = bench.run(&self.name, &[], &self.members);
        write_all_over(&mut running.connect(), &mut self.model, seed);
        settle(bench, &self.name);
        running.stop();
        assert_eq!(
            marked(bench, &self.members),
            vec![0; self.members.len()],
            "{}: a clean stop clears",
            self.shown()
        );
    }

    fn shown(&self) -> String {
        format!("{} {:?}, bits of {} KiB", self.name, self.shape, self.bit_kib)
    }

    fn job(&self, disks: &[PathBuf], script: impl Into<String>) -> Job {
        Job { name: self.shown(), disks: disks.to_vec(), script: script.into() }
    }

    /// Writes to the model and the volume.
    fn write(&mut self, client: &mut Nbd, (at, len): (u64, usize), seed: u64) {
        client.fill(at, len, seed);
        self.expect((at, len), seed);
    }

    fn expect(&mut self, (at, len): (u64, usize), seed: u64) {
        pattern::fill(&mut self.model[at as usize..][..len], at / 512, seed);
    }

    /// Whether the content is what it must be, but for one page at most.
    fn check_but_for_a_page(&self, found: &[u8], when: &str) {
        assert_eq!(found.len(), self.model.len(), "{}", self.shown());
        let pages = found.chunks(PAGE).zip(self.model.chunks(PAGE)).enumerate();
        let different: Vec<usize> =
            pages.filter(|(_, (one, other))| one != other).map(|(at, _)| at).collect();
        assert!(different.len() <= 1, "{} {when}: pages {different:?} differ", self.shown());
    }
}

/// How many chunks each member's bitmap marks.
fn marked(bench: &Bench, members: &[PathBuf]) -> Vec<u64> {
    bench.examined(members).iter().map(|md| md["bitmap"]["marked"].as_u64().unwrap()).collect()
}

/// A page of a member that was changed behind everybody's back.
struct Poked {
    file: File,
    at: u64,
    before: [u8; PAGE],
    after: [u8; PAGE],
}

impl Poked {
    fn new(bench: &Bench, member: &Path) -> Poked {
        let data = bench.examined(&[member.to_owned()])[0]["data_offset"].as_u64().unwrap() * 512;
        let file = File::options().read(true).write(true).open(member).unwrap();
        let (at, mut before) = (data + ELSEWHERE, [0; PAGE]);
        file.read_exact_at(&mut before, at).unwrap();
        let after = before.map(|byte| !byte);
        file.write_all_at(&after, at).unwrap();
        Poked { file, at, before, after }
    }

    fn is_still_there(&self) -> bool {
        let mut found = [0; PAGE];
        self.file.read_exact_at(&mut found, self.at).unwrap();
        found == self.after
    }

    fn undo(self) {
        self.file.write_all_at(&self.before, self.at).unwrap();
    }
}

/// `ashlar` starts what a crash has left, syncs what is marked, writes, and stops: no bit is set afterwards, and the page
/// elsewhere is as it was. What the volume held at first.
fn syncs_what_is_marked(bench: &Bench, array: &mut Array, poked: Poked) {
    let name = array.name.clone();
    let running = bench.run(&name, &[], &array.members);
    let mut client = running.connect();
    array.check_but_for_a_page(&client.content(), "when it was started");
    settle(bench, &name);
    array.write(&mut client, OURS, 9);
    array.check_but_for_a_page(&client.content(), "when it was in sync");
    running.stop();
    assert_eq!(marked(bench, &array.members), vec![0; array.members.len()], "{}", array.shown());
    assert!(poked.is_still_there(), "{}: we synced what is not marked", array.shown());
    poked.undo();
}

/// The kernel has nothing to sync, finds no bit set, parity right, and the content what it must be.
fn the_kernel_agrees(kernel: Kernel, bench: &Bench, arrays: &[Array]) {
    let script = "mdadm -A /dev/$MD $DISKS || exit 1
        is resync_start none && is degraded 0 && unmarked $DISKS || exit 2
        content /dev/$MD; scrub || exit 3
        echo 3 > /proc/sys/vm/drop_caches; content /dev/$MD; mdadm --stop /dev/$MD";
    let jobs: Vec<Job> = arrays.iter().map(|array| array.job(&array.members, script)).collect();
    let printed = boots(kernel, bench.folder(), &jobs, End::Clean);
    for (array, printed) in arrays.iter().zip(printed) {
        assert_eq!(hashes(&printed), vec![hash(&array.model); 2], "{}: {printed}", array.shown());
    }
}

/// The kernel syncs what we marked before we were killed, writes, and loses the power; or it does not come to the sync, and
/// leaves what both have marked to us.
#[test]
fn the_kernel_syncs_what_we_marked_and_we_sync_what_it_marked() {
    let Some(boot) = required(Kernel::under_test()) else { return };
    let bench = Bench::new();
    let (mut arrays, mut jobs, mut crashed) = (Array::all(&bench), Vec::new(), Vec::new());
    for (number, array) in arrays.iter_mut().enumerate() {
        array.create(&bench, 100 * number as u64);
        // The load's versions begin with zeroes.
        let running = bench.run(&array.name, &[], &array.members);
        running.connect().write(0, &vec![0; LOAD]).unwrap();
        running.stop();
        let versions = killed_under_load(&bench, &array.name, &array.members, &[], number as u64);
        let marks = marked(&bench, &array.members);
        let chunks = bench.examined(&array.members[..1])[0]["bitmap"]["chunks"].as_u64().unwrap();
        assert!(marks.iter().all(|marks| (1..=chunks / 2).contains(marks)), "{}: {marks:?}", array.shown());
        let poked = Poked::new(&bench, &array.members[number % array.members.len()]);
        let (name, (at, len)) = (&array.name, THEIRS);
        let sync = format!(
            "mdadm -A /dev/$MD $DISKS || exit 1; wait_idle; is last_sync_action resync || exit 2\n\
             cat /dev/$MD > /host/{name}.between; scrub {PAGE_SECTORS} || exit 3"
        );
        let no_sync = format!(
            "start_ro=/sys/module/md_mod/parameters/start_ro; echo 1 > $start_ro\n\
             mdadm -A /dev/$MD $DISKS && echo frozen > /sys/block/$MD/md/sync_action || exit 1\n\
             echo 0 > $start_ro; cat /dev/$MD > /host/{name}.between"
        );
        let before = if number < SYNCED { sync } else { no_sync };
        let script = format!(
            "{before}\necho 0 > /sys/block/$MD/md/safe_mode_delay; marks_stay\n\
             pattern fill /dev/$MD {at} {len} 7 && is array_state active || exit 4"
        );
        jobs.push(array.job(&array.members, script));
        crashed.push((versions, poked));
    }
    boots(boot.kernel, bench.folder(), &jobs, End::Cut);
    for (array, (versions, poked)) in arrays.iter_mut().zip(crashed) {
        let between = std::fs::read(bench.path(&format!("{}.between", array.name))).unwrap();
        versions.check_answered(&between, &format!("{} under the kernel", array.shown()));
        array.model[..LOAD].copy_from_slice(&between[..LOAD]);
        array.check_but_for_a_page(&between, "under the kernel");
        array.expect(THEIRS, 7);
        let marks = marked(&bench, &array.members);
        assert!(marks.iter().all(|marks| *marks > 0), "{}: {marks:?}", array.shown());
        assert!(poked.is_still_there(), "{}", array.shown());
        syncs_what_is_marked(&bench, array, poked);
    }
    the_kernel_agrees(boot.kernel, &bench, &arrays);
}

#[test]
fn what_the_kernel_marked_and_lost_the_power_over_is_synced_and_nothing_else() {
    let Some(boot) = required(Kernel::under_test()) else { return };
    let bench = Bench::new();
    let mut arrays = Array::all(&bench);
    let made = |array: &Array| {
        let create = array.shape.mdadm_create(&array.bitmap().join(" "));
        let script = format!(
            "{create} && pattern fill /dev/$MD 0 0 1 && wait_idle && mdadm --stop /dev/$MD || exit 1\n\
             unmarked $DISKS && mdadm -A /dev/$MD $DISKS || exit 2\n\
             echo 0 > /sys/block/$MD/md/safe_mode_delay; marks_stay\n{UNENDING}; dirty"
        );
        array.job(&array.members, script)
    };
    let jobs: Vec<Job> = arrays.iter().map(made).collect();
    boots(boot.kernel, bench.folder(), &jobs, End::Cut);
    for (number, array) in arrays.iter_mut().enumerate() {
        let examined = host_mdadm("4.4").unwrap().arg("--examine").args(&array.members).output().unwrap();
        let text = String::from_utf8(examined.stdout).unwrap();
        assert_eq!(text.matches("State : active").count(), array.members.len(), "{}: {text}", array.shown());
        let marks = marked(&bench, &array.members);
        assert!(marks.iter().all(|marks| *marks > 0), "{}: {marks:?}", array.shown());
        array.model = bench.cat(&array.members);
        for (sector, bytes) in array.model.chunks(512).enumerate() {
            let first = sector as u64;
            let is_one_of =
                |seeds: &[u64]| seeds.iter().any(|seed| pattern::check(bytes, first, *seed).is_ok());
            let seeds: &[u64] = if sector < 1700 << 1 { &[1, 2, 3] } else { &[1] };
            assert!(is_one_of(seeds), "{}: sector {sector} holds what nobody wrote", array.shown());
        }
        let poked = Poked::new(&bench, &array.members[number % array.members.len()]);
        syncs_what_is_marked(&bench, array, poked);
    }
    the_kernel_agrees(boot.kernel, &bench, &arrays);
}

/// What is written while a member is away stays marked, also over a stop, and the kernel takes that member back by it.
#[test]
fn the_kernel_brings_a_member_that_we_failed_up_to_date_by_our_bitmap() {
    let Some(boot) = required(Kernel::under_test()) else { return };
    let bench = Bench::new();
    let (mut arrays, mut jobs) = (Array::all(&bench), Vec::new());
    for (number, array) in arrays.iter_mut().enumerate() {
        array.create(&bench, 100 * number as u64 + 50);
        let failed = array.members[number % array.members.len()].clone();
        let running = bench.run(&array.name, &[], &array.members);
        let mut client = running.connect();
        array.write(&mut client, (77 * 512, 300 * 512), 5);
        bench.fail(&array.name, &failed);
        array.write(&mut client, (1001 * 512, 999 * 512), 6);
        running.stop();
        let others: Vec<PathBuf> =
            array.members.iter().filter(|member| **member != failed).cloned().collect();
        let running = bench.run(&array.name, &["--degraded"], &others);
        array.write(&mut running.connect(), OURS, 7);
        running.stop();
        let (marks, name) = (marked(&bench, &others), &array.name);
        assert!(marks.iter().all(|marks| *marks > 0), "{}: {marks:?}", array.shown());
        Poked::new(&bench, &failed);
        let disks: Vec<PathBuf> = [failed].into_iter().chain(others).collect();
        let script = format!(
            "set -- $DISKS; back=$1; shift; mdadm -A /dev/$MD --run $@ && is degraded 1 || exit 1\n\
             content /dev/$MD; mdadm /dev/$MD --re-add $back && whole || exit 2\n\
             recovered && scrub {PAGE_SECTORS} || exit 3\n\
             echo 3 > /proc/sys/vm/drop_caches; cat /dev/$MD > /host/{name}.again\n\
             mdadm --stop /dev/$MD && unmarked $DISKS"
        );
        jobs.push(array.job(&disks, script));
    }
    let printed = boots(boot.kernel, bench.folder(), &jobs, End::Clean);
    for (array, printed) in arrays.iter().zip(printed) {
        assert_eq!(hashes(&printed), [hash(&array.model)], "{}: {printed}", array.shown());
        let again = std::fs::read(bench.path(&format!("{}.again", array.name))).unwrap();
        array.check_but_for_a_page(&again, "when the member was back");
    }
}

/// A bitmap says where parity may be wrong, and not what a missing member held there.
#[test]
fn the_kernel_and_we_want_a_word_for_what_was_degraded_and_killed_also_with_a_bitmap() {
    let Some(boot) = required(Kernel::under_test()) else { return };
    let bench = Bench::new();
    let (mut arrays, mut jobs) = (Vec::new(), Vec::new());
    for (number, at) in [0, 1, 4, 5, 6].into_iter().enumerate() {
        let (shape, bit_kib) = SHAPES[at];
        let mut array = Array::new(&bench, number, Shape { chunk_kib: 4, ..shape }, bit_kib);
        array.create(&bench, 0);
        let running = bench.run(&array.name, &[], &array.members);
        running.connect().write(0, &vec![0; LOAD]).unwrap();
        running.stop();
        let failed: Vec<PathBuf> = (0..shape.spares()).map(|nth| array.members[nth * 2].clone()).collect();
        let versions = killed_under_load(&bench, &array.name, &array.members, &failed, 3);
        array.members.retain(|member| !failed.contains(member));
        let with = |words: &[&str]| {
            let words = words.iter().map(PathBuf::from);
            bench.ashlar(words.chain(array.members.iter().cloned()))
        };
        for words in [&["cat"][..], &["run", "--degraded", "--nbd", "./x.sock"]] {
            let refused = with(words);
            let said = String::from_utf8_lossy(&refused.stderr).into_owned();
            assert!(
                refused.status.code() == Some(1) && said.contains("--dirty-degraded"),
                "{words:?}: {said}"
            );
        }
        let ours = with(&["cat", "--dirty-degraded"]);
        assert!(ours.status.success(), "{}", String::from_utf8_lossy(&ours.stderr));
        let row = shape.slots - shape.spares();
        versions.check_beside_the_hole(&ours.stdout, row, &format!("{}, by ourselves", array.shown()));
        let (name, (at, len)) = (&array.name, THEIRS);
        let script = format!(
            "mdadm -A /dev/$MD --run $DISKS && {{ echo 'it was not refused'; exit 1; }}\n\
             mdadm --stop /dev/$MD; mdadm -A /dev/$MD --run --force $DISKS || exit 2\n\
             cat /dev/$MD > /host/{name}.forced; pattern fill /dev/$MD {at} {len} 7"
        );
        jobs.push(array.job(&array.members, script));
        arrays.push((array, versions, row, ours.stdout));
    }
    boots(boot.kernel, bench.folder(), &jobs, End::Clean);
    for (mut array, versions, row, ours) in arrays {
        let theirs = std::fs::read(bench.path(&format!("{}.forced", array.name))).unwrap();
        versions.check_beside_the_hole(&theirs, row, &format!("{}, by the kernel", array.shown()));
        assert!(theirs == ours, "{}: the kernel makes something else of it", array.shown());
        // The force reaches one superblock alone; all of them say the same when something was written.
        array.model = theirs;
        array.expect(THEIRS, 7);
        assert!(bench.cat(&array.members) == array.model, "{}: what was forced is in sync", array.shown());
    }
}
