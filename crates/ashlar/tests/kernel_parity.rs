//! raid4, raid5 and raid6 in every layout, and the kernel as judge: what `ashlar` wrote, healthy and degraded, what the
//! kernel wrote, and what either of them left in the middle. Parity is right when the kernel's own check says so.

mod proof;

use std::path::PathBuf;

use oracle::{Kernel, host_mdadm, pattern, required};
use proof::shapes::{
    End, Job, SHAPES, Shape, boots, hashes, settle, some_of_all, write_all_over, write_here_and_there,
};
use proof::unending::{FILLED, UNENDING, check_patterns};
use proof::versions::{BLOCK, BLOCKS, Versions, killed_under_load};
use proof::{Bench, hash};

/// An array on the way between the two programs.
struct Array {
    name: String,
    shape: Shape,
    /// Those that belong to it.
    members: Vec<PathBuf>,
    /// Those that were failed, and are out of date.
    failed: Vec<PathBuf>,
    /// Disks that were never used, one for each slot that was empty from the start.
    fresh: Vec<PathBuf>,
    /// What it must hold.
    expected: String,
}

impl Array {
    fn new(bench: &Bench, number: usize, shape: Shape) -> Array {
        let name = format!("m{number}");
        let members = shape.members(bench, &name);
        Array { name, shape, members, failed: Vec::new(), fresh: Vec::new(), expected: String::new() }
    }

    fn slots(&self) -> Vec<Option<PathBuf>> {
        self.members.iter().cloned().map(Some).collect()
    }

    fn shown(&self) -> String {
        let (name, shape) = (&self.name, self.shape);
        format!("{name} {shape:?}, {} failed, {} absent", self.failed.len(), self.fresh.len())
    }

    /// Members and what was failed, which must be left out.
    fn all(&self) -> Vec<PathBuf> {
        self.members.iter().chain(&self.failed).cloned().collect()
    }

    fn lacks_members(&self) -> bool {
        !self.failed.is_empty() || !self.fresh.is_empty()
    }
}

/// Has mdadm look at the members, without any kernel.
fn mdadm_is_content(array: &Array) {
    let output = host_mdadm("4.4").unwrap().arg("--examine").args(&array.members).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{}: {text}", array.shown());
    for words in [" - correct", "State : clean"] {
        assert_eq!(text.matches(words).count(), array.members.len(), "{}: {text}", array.shown());
    }
}

/// The kernel reads all arrays, replaces what is missing, and finds parity right; the content stays what it was.
fn the_kernel_agrees(kernel: Kernel, bench: &Bench, arrays: &[Array]) {
    let jobs = arrays.iter().map(|array| {
        let (known, out) = (array.all().len(), array.members.len());
        let missing = array.failed.len() + array.fresh.len();
        let disks: Vec<PathBuf> = array.all().into_iter().chain(array.fresh.iter().cloned()).collect();
        let script = format!(
            "known=; for disk in $(echo $DISKS | cut -d ' ' -f 1-{known}); do known=\"$disk $known\"; done\n\
             mdadm -A /dev/$MD --run $known || exit 1\n\
             is degraded {missing} && is resync_start none && content /dev/$MD || exit 2\n\
             set -- $DISKS; shift {out}\n\
             if [ $# != 0 ]; then\n\
             for disk in $@; do mdadm --zero-superblock $disk; mdadm /dev/$MD --add $disk || exit 3; done\n\
             whole || exit 4; fi\n\
             scrub || exit 5\n\
             echo 3 > /proc/sys/vm/drop_caches; content /dev/$MD; mdadm --stop /dev/$MD"
        );
        Job { name: array.shown(), disks, script }
    });
    let printed = boots(kernel, bench.folder(), &jobs.collect::<Vec<_>>(), End::Clean);
    for (array, printed) in arrays.iter().zip(printed) {
        assert_eq!(hashes(&printed), [&array.expected, &array.expected], "{}: {printed}", array.shown());
    }
}

#[test]
fn every_layout_and_every_level_with_every_version_is_among_the_shapes() {
    for level in [4, 5, 6] {
        let own = || SHAPES.iter().filter(|shape| shape.level == level);
        let layouts: std::collections::BTreeSet<&str> = own().map(|shape| shape.layout).collect();
        assert_eq!(layouts.len(), [1, 6, 14][level as usize - 4], "{layouts:?}");
        for version in ["0.90", "1.0", "1.1", "1.2"] {
            assert!(own().any(|shape| shape.version == version), "raid{level} on {version}");
        }
    }
}

#[test]
fn the_kernel_finds_parity_right_in_every_shape() {
    let Some(boot) = required(Kernel::under_test()) else { return };
    let bench = Bench::new();
    let mut arrays = Vec::new();
    for (number, shape) in SHAPES.into_iter().enumerate() {
        let mut array = Array::new(&bench, number, shape);
        // Zeroes are in sync in themselves; every second array is synced all the same, while it is written to.
        let how: &[&str] = if number % 2 == 0 { &["--assume-clean"] } else { &[] };
        shape.create(&bench, &array.name, how, &array.slots());
        let running = bench.run(&array.name, &[], &array.members);
        let (mut client, mut model) = (running.connect(), Vec::new());
        write_all_over(&mut client, &mut model, number as u64 * 1000);
        settle(&bench, &array.name);
        assert!(client.content() == model, "{}", array.shown());
        running.stop();
        mdadm_is_content(&array);
        array.expected = hash(&model);
        assert_eq!(hash(&bench.cat(&array.members)), array.expected, "{}", array.shown());
        arrays.push(array);
    }
    the_kernel_agrees(boot.kernel, &bench, &arrays);
}

/// How members go missing: whether from the start, and how many in the middle.
const LOSSES: [(usize, usize); 5] = [(0, 1), (1, 0), (0, 2), (1, 1), (2, 0)];

#[test]
fn the_kernel_finds_parity_right_where_members_were_missing() {
    let Some(boot) = required(Kernel::under_test()) else { return };
    let bench = Bench::new();
    let mut arrays = Vec::new();
    for (number, shape) in some_of_all("written while members were missing", 3) {
        let mut array = Array::new(&bench, number, shape);
        let choices = if shape.spares() == 2 { 5 } else { 2 };
        let (absent, failed) = LOSSES[number % choices];
        let mut slots = array.slots();
        for nth in 0..absent {
            slots[(number + 2 * nth) % shape.slots] = None;
        }
        array.members = slots.iter().flatten().cloned().collect();
        shape.create(&bench, &array.name, &["--assume-clean"], &slots);
        let options: &[&str] = if absent > 0 { &["--degraded"] } else { &[] };
        let running = bench.run(&array.name, options, &array.members);
        let (mut client, mut model) = (running.connect(), Vec::new());
        write_all_over(&mut client, &mut model, number as u64 * 1000 + 500);
        for _ in 0..failed {
            let member = array.members.remove(number * 3 % array.members.len());
            bench.fail(&array.name, &member);
            array.failed.push(member);
            write_here_and_there(&mut client, &mut model, number as u64 * 1000 + 700);
        }
        assert!(client.content() == model, "{}", array.shown());
        running.stop();
        mdadm_is_content(&array);
        array.expected = hash(&model);
        assert_eq!(hash(&bench.cat(&array.all())), array.expected, "{}", array.shown());
        array.fresh = bench.members(&format!("m{number}.new"), &vec![shape.member_kib; absent]);
        arrays.push(array);
    }
    the_kernel_agrees(boot.kernel, &bench, &arrays);
}

/// [`killed_under_load`] with writes that begin as each shape has its own chunks.
fn killed_in_the_middle(bench: &Bench, array: &Array, failed: &[PathBuf]) -> Versions {
    killed_under_load(bench, &array.name, &array.members, failed, array.shape.chunk_kib)
}

/// And then the kernel writes, stops or loses the power, and `ashlar` goes on from there.
#[test]
fn the_kernel_resyncs_what_was_killed_and_nothing_answered_is_lost() {
    let Some(boot) = required(Kernel::under_test()) else { return };
    for (part, end) in [(0, End::Clean), (1, End::Cut)] {
        let bench = Bench::new();
        let (mut arrays, mut jobs) = (Vec::new(), Vec::new());
        let shapes = some_of_all("killed under load, then judged by the kernel", 4);
        for (number, shape) in shapes.into_iter().enumerate().filter(|(at, _)| at % 2 == part).map(|at| at.1)
        {
            let array = Array::new(&bench, number, shape);
            shape.create(&bench, &array.name, &["--assume-clean"], &array.slots());
            let versions = killed_in_the_middle(&bench, &array, &[]);
            versions.check_answered(&bench.cat(&array.members), "read by ourselves before anything else");
            let name = &array.name;
            let script = format!(
                "mdadm -A /dev/$MD $DISKS || exit 1\n\
                 cat /dev/$MD > /host/{name}.before; wait_idle; is last_sync_action resync || exit 2\n\
                 echo 3 > /proc/sys/vm/drop_caches; cat /dev/$MD > /host/{name}.after\n\
                 scrub || exit 3\n\
                 pattern fill /dev/$MD 4m 64k 7"
            );
            jobs.push(Job { name: array.shown(), disks: array.members.clone(), script });
            arrays.push((array, versions));
        }
        boots(boot.kernel, bench.folder(), &jobs, end);
        let mut again = Vec::new();
        for (mut array, versions) in arrays {
            let read = |when: &str| std::fs::read(bench.path(&format!("{}.{when}", array.name))).unwrap();
            versions.check_answered(&read("before"), &format!("{} before the resync", array.shown()));
            let content = read("after");
            versions.check_answered(&content, &format!("{} after the resync", array.shown()));
            let running = bench.run(&array.name, &[], &array.members);
            let mut client = running.connect();
            let mut model = client.content();
            assert!(model[..BLOCKS * BLOCK] == content[..BLOCKS * BLOCK], "{}", array.shown());
            assert_eq!(pattern::check(&model[4 << 20..][..64 << 10], 8192, 7), Ok(()), "{}", array.shown());
            write_here_and_there(&mut client, &mut model, 9);
            settle(&bench, &array.name);
            running.stop();
            array.expected = hash(&model);
            again.push(array);
        }
        the_kernel_agrees(boot.kernel, &bench, &again);
    }
}

/// The write hole, and no more than it: what lay beside a write that was under way may be wrong on the missing member,
/// so both programs want to be told. Everything else is there.
#[test]
fn the_kernel_and_we_want_a_word_for_what_was_degraded_and_killed() {
    let Some(boot) = required(Kernel::under_test()) else { return };
    let bench = Bench::new();
    let (mut arrays, mut jobs) = (Vec::new(), Vec::new());
    for (number, at) in [3, 5, 10, 13, 20].into_iter().enumerate() {
        let mut array = Array::new(&bench, number, Shape { chunk_kib: 4, ..SHAPES[at] });
        let shape = array.shape;
        shape.create(&bench, &array.name, &["--assume-clean"], &array.slots());
        let failed: Vec<PathBuf> = (0..shape.spares()).map(|nth| array.members[nth * 2].clone()).collect();
        let versions = killed_in_the_middle(&bench, &array, &failed);
        array.members.retain(|member| !failed.contains(member));
        let cat = |word: &[&str]| {
            let words = ["cat"].into_iter().chain(word.iter().copied()).map(PathBuf::from);
            bench.ashlar(words.chain(array.members.iter().cloned()))
        };
        let refused = cat(&[]);
        let said = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(refused.status.code() == Some(1) && said.contains("--dirty-degraded"), "{said}");
        let ours = cat(&["--dirty-degraded"]);
        assert!(ours.status.success(), "{}", String::from_utf8_lossy(&ours.stderr));
        let row = shape.slots - shape.spares();
        versions.check_beside_the_hole(&ours.stdout, row, &format!("{}, by ourselves", array.shown()));
        let name = &array.name;
        let script = format!(
            "mdadm -A /dev/$MD --run $DISKS && {{ echo 'it was not refused'; exit 1; }}\n\
             mdadm --stop /dev/$MD; mdadm -A /dev/$MD --run --force $DISKS || exit 2\n\
             cat /dev/$MD > /host/{name}.forced"
        );
        jobs.push(Job { name: array.shown(), disks: array.members.clone(), script });
        arrays.push((array, versions, row, ours.stdout));
    }
    boots(boot.kernel, bench.folder(), &jobs, End::Clean);
    for (array, versions, row, ours) in arrays {
        let theirs = std::fs::read(bench.path(&format!("{}.forced", array.name))).unwrap();
        versions.check_beside_the_hole(&theirs, row, &format!("{}, by the kernel", array.shown()));
        assert!(theirs == ours, "{}: the kernel makes something else of it", array.shown());
    }
}

/// The kernel's own writes: all of it, then pieces that are no multiple of anything.
const WRITES: &str = "pattern fill /dev/$MD 0 0 1 && pattern fill /dev/$MD 1537k 333k 2 &&
pattern fill /dev/$MD 513k 3k 3 && pattern fill /dev/$MD 3000k 77k 4 && pattern fill /dev/$MD 8k 4k 5 || exit 2
";

#[test]
fn what_the_kernel_stopped_is_read_and_written_and_the_kernel_finds_parity_right() {
    let Some(boot) = required(Kernel::under_test()) else { return };
    let bench = Bench::new();
    let (mut arrays, mut jobs) = (Vec::new(), Vec::new());
    for (number, shape) in some_of_all("made by the kernel", 4) {
        let mut array = Array::new(&bench, number, shape);
        let failed = (number + 1) % (1 + shape.spares());
        let mut script = format!("{} || exit 1\n{WRITES}wait_idle\n", shape.mdadm_create("--bitmap none"));
        let disks = array.members.clone();
        for nth in 0..failed {
            let slot = (number + 2 * nth) % shape.slots;
            array.failed.push(disks[slot].clone());
            script += &format!(
                "set -- $DISKS; shift {slot}; mdadm /dev/$MD --fail $1 --remove $1 || exit 3\n\
                 pattern fill /dev/$MD 1001k 700k 6 && pattern fill /dev/$MD 100k 2k 7 || exit 4\n"
            );
        }
        array.members.retain(|member| !array.failed.contains(member));
        script += "content /dev/$MD; mdadm --stop /dev/$MD";
        jobs.push(Job { name: array.shown(), disks, script });
        arrays.push(array);
    }
    let printed = boots(boot.kernel, bench.folder(), &jobs, End::Clean);
    for (array, printed) in arrays.iter_mut().zip(&printed) {
        let all = array.all();
        let before: Vec<String> = all.iter().map(|member| hash(&std::fs::read(member).unwrap())).collect();
        assert_eq!([hash(&bench.cat(&all)).as_str()], hashes(printed)[..], "{}", array.shown());
        let after: Vec<String> = all.iter().map(|member| hash(&std::fs::read(member).unwrap())).collect();
        assert_eq!(before, after, "{}: reading has written", array.shown());
        let options: &[&str] = if array.lacks_members() { &["--degraded"] } else { &[] };
        let running = bench.run(&array.name, options, &all);
        let mut client = running.connect();
        let mut model = client.content();
        assert_eq!([hash(&model).as_str()], hashes(printed)[..], "{}", array.shown());
        write_here_and_there(&mut client, &mut model, 77);
        assert!(client.content() == model, "{}", array.shown());
        running.stop();
        mdadm_is_content(array);
        array.expected = hash(&model);
    }
    the_kernel_agrees(boot.kernel, &bench, &arrays);
}

#[test]
fn what_the_kernel_lost_the_power_over_is_resynced_and_the_kernel_finds_parity_right() {
    let Some(boot) = required(Kernel::under_test()) else { return };
    let bench = Bench::new();
    let (mut arrays, mut jobs) = (Vec::new(), Vec::new());
    for (number, shape) in some_of_all("the kernel loses the power in the middle of writes", 3) {
        let array = Array::new(&bench, number, shape);
        // However slow the guest is, the power cut finds the array marked dirty.
        let script = format!(
            "{} || exit 1\n{FILLED}\necho 60 > /sys/block/$MD/md/safe_mode_delay\n{UNENDING}\n\
             until grep -q active /sys/block/$MD/md/array_state; do sleep 0.05; done",
            shape.mdadm_create("--bitmap none")
        );
        jobs.push(Job { name: array.shown(), disks: array.members.clone(), script });
        arrays.push(array);
    }
    boots(boot.kernel, bench.folder(), &jobs, End::Cut);
    for array in &mut arrays {
        let examined = host_mdadm("4.4").unwrap().arg("--examine").args(&array.members).output().unwrap();
        let text = String::from_utf8(examined.stdout).unwrap();
        assert_eq!(text.matches("State : active").count(), array.members.len(), "{}: {text}", array.shown());
        let content = bench.cat(&array.members);
        check_patterns(&content, &array.shown());
        let running = bench.run(&array.name, &[], &array.members);
        let mut client = running.connect();
        let mut model = client.content();
        assert!(model == content, "{}: it is read in another way when it is served", array.shown());
        write_here_and_there(&mut client, &mut model, 11);
        settle(&bench, &array.name);
        assert!(client.content() == model, "{}", array.shown());
        running.stop();
        mdadm_is_content(array);
        array.expected = hash(&model);
    }
    the_kernel_agrees(boot.kernel, &bench, &arrays);
}
