//! Rebuilds and replacements that one program leaves in the middle and the other takes to the end, with the kernel as judge:
//! the content is right at every step, and afterwards the kernel's own check finds nothing that does not agree.

mod proof;

use std::path::PathBuf;

use oracle::{Kernel, left_out, required};
use proof::shapes::{End, Job, Shape, boots, hashes, shape, write_all_over, write_here_and_there};
use proof::{Bench, hash};

/// How a new member comes in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum How {
    /// In place of one that has failed.
    Rebuild,
    /// In place of one that works until the other has all of its data.
    Replace,
}

/// How the program is ended that began.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Left {
    Stopped,
    Killed,
}

const KIB: u64 = 12 << 10;

/// What is begun, and how it is left. Metadata 0.90 knows no replacements.
const CASES: [(Shape, How, Left); 12] = [
    (shape(1, "", "1.2", 2, 0, KIB), How::Rebuild, Left::Stopped),
    (shape(1, "", "0.90", 3, 0, KIB), How::Rebuild, Left::Killed),
    (shape(1, "", "1.0", 2, 0, KIB), How::Replace, Left::Killed),
    (shape(10, "n2", "1.2", 4, 16, KIB), How::Rebuild, Left::Killed),
    (shape(10, "f2", "1.0", 3, 64, KIB), How::Rebuild, Left::Stopped),
    (shape(10, "f2", "1.2", 2, 32, KIB), How::Replace, Left::Killed),
    (shape(10, "o2", "1.2", 4, 32, KIB), How::Replace, Left::Stopped),
    (shape(5, "left-symmetric", "1.2", 3, 64, KIB), How::Rebuild, Left::Stopped),
    (shape(5, "right-asymmetric", "0.90", 4, 16, KIB), How::Rebuild, Left::Stopped),
    (shape(5, "left-symmetric", "1.2", 3, 16, KIB), How::Replace, Left::Killed),
    (shape(6, "left-symmetric", "1.2", 4, 32, KIB), How::Rebuild, Left::Killed),
    (shape(6, "ddf-N-continue", "1.0", 5, 16, KIB), How::Replace, Left::Stopped),
];

/// Every other case, and where there is time all of them, each left in both ways.
fn cases() -> Vec<(Shape, How, Left)> {
    if !left_out::has_time() {
        left_out::note(
            "every other rebuild and replacement, and each left in one way only",
            &"they take minutes; `cargo xtask oracle test` takes all",
        );
        return CASES.into_iter().step_by(2).collect();
    }
    let both = |(shape, how, _)| [(shape, how, Left::Stopped), (shape, how, Left::Killed)];
    CASES.into_iter().flat_map(both).collect()
}

/// An array on the way between the two programs.
struct Array {
    name: String,
    shape: Shape,
    how: How,
    left: Left,
    /// By their slots, as it was at first.
    members: Vec<PathBuf>,
    /// Whose place is taken.
    slot: usize,
    new: PathBuf,
    /// What it must hold.
    model: Vec<u8>,
}

impl Array {
    fn all(bench: &Bench) -> Vec<Array> {
        let make = |(number, (shape, how, left)): (usize, (Shape, How, Left))| {
            let name = format!("m{number}");
            let members = shape.members(bench, &name);
            let new = bench.members(&format!("{name}.new"), &[shape.member_kib]).remove(0);
            let slot = number % shape.slots;
            Array { name, shape, how, left, members, slot, new, model: Vec::new() }
        };
        cases().into_iter().enumerate().map(make).collect()
    }

    fn shown(&self) -> String {
        format!("{} {:?} {:?} of slot {}, {:?}", self.name, self.shape, self.how, self.slot, self.left)
    }

    fn all_disks(&self) -> Vec<PathBuf> {
        self.members.iter().chain([&self.new]).cloned().collect()
    }

    /// Its members when all is done.
    fn whole(&self) -> Vec<PathBuf> {
        let mut members = self.members.clone();
        members[self.slot] = self.new.clone();
        members
    }

    fn job(&self, script: impl Into<String>) -> Job {
        Job { name: self.shown(), disks: self.all_disks(), script: script.into() }
    }

    /// The new member's superblock says that it is in the middle, and never that it is in sync.
    fn is_in_the_middle(&self, bench: &Bench) {
        let md = &bench.examined(std::slice::from_ref(&self.new))[0];
        let role = match (self.shape.version, self.how) {
            ("0.90", _) => "spare".to_owned(),
            (_, How::Rebuild) => format!("slot {}", self.slot),
            (_, How::Replace) => format!("replacement of slot {}", self.slot),
        };
        assert_eq!(md["role"], role, "{}: {md}", self.shown());
        if self.shape.version != "0.90" {
            let offset = md["recovery_offset"].as_u64();
            let is_far = |offset| self.left == Left::Killed || offset > 0;
            assert!(offset.is_some_and(is_far), "{}: {md}", self.shown());
        }
    }

    /// Everybody is in its place, and in sync.
    fn is_whole(&self, bench: &Bench) {
        for (slot, md) in bench.examined(&self.whole()).iter().enumerate() {
            assert_eq!(md["role"], format!("slot {slot}"), "{}: {md}", self.shown());
            assert!(md["recovery_offset"].is_null() && md["clean"] == true, "{}: {md}", self.shown());
            assert_eq!(md["array_state"], "A".repeat(self.shape.slots), "{}: {md}", self.shown());
        }
        assert!(bench.cat(&self.whole()) == self.model, "{}", self.shown());
    }

    /// `ashlar` makes the array, begins, and is ended in the middle.
    fn begin(&mut self, bench: &Bench) {
        let (name, shown) = (self.name.as_str(), self.shown());
        let slots: Vec<Option<PathBuf>> = self.members.iter().cloned().map(Some).collect();
        self.shape.create(bench, name, &["--assume-clean"], &slots);
        let running = bench.run(name, &[], &self.members);
        let mut client = running.connect();
        write_all_over(&mut client, &mut self.model, self.slot as u64 * 1000);
        let sync = |what: &str| bench.manage(&["sync", name, what]);
        sync("pause");
        bench.manage(&["sync", name, "--speed-max", "2M"]);
        let (old, new) = (self.members[self.slot].as_os_str(), self.new.as_os_str());
        let add = || bench.manage(&["add".as_ref(), name.as_ref(), new]);
        match self.how {
            How::Rebuild => {
                bench.fail(name, old);
                write_here_and_there(&mut client, &mut self.model, 500);
                add();
            }
            How::Replace => {
                add();
                bench.manage(&["replace".as_ref(), name.as_ref(), old, "--with".as_ref(), new]);
            }
        }
        sync("resume");
        let is_begun = |array: &serde_json::Value| {
            let members = array["members"].as_array().unwrap();
            members.iter().any(|member| member["recovered_bytes"].as_u64() > Some(0))
        };
        bench.wait_until(name, is_begun);
        if self.left == Left::Stopped {
            sync("pause");
            write_here_and_there(&mut client, &mut self.model, 700);
        }
        for at in [0, 3 << 20, self.model.len() - (64 << 10)] {
            client.fill(at as u64, 64 << 10, 9);
            oracle::pattern::fill(&mut self.model[at..][..64 << 10], at as u64 / 512, 9);
        }
        client.flush().unwrap();
        bench.wait_until(name, |array| array["state"] == "clean");
        let array = bench.array(name);
        assert!(is_begun(&array), "{shown}: it has come to the end: {array}");
        match self.left {
            Left::Stopped => running.stop(),
            Left::Killed => running.kill(),
        }
        self.is_in_the_middle(bench);
        assert!(bench.cat(&self.all_disks()) == self.model, "{shown}");
    }

    /// The kernel makes the array, begins, and is ended in the middle.
    fn begin_script(&self) -> String {
        let (create, slot) = (self.shape.mdadm_create("--bitmap none"), self.slot);
        let begin = match self.how {
            How::Rebuild => {
                "mdadm /dev/$MD --fail $1 --remove $1 && pattern fill /dev/$MD 1001k 700k 2 &&
                mdadm /dev/$MD --add $new || exit 2"
            }
            How::Replace => "mdadm /dev/$MD --add $new && mdadm /dev/$MD --replace $1 --with $new || exit 2",
        };
        let stop = if self.left == Left::Stopped { "mdadm --stop /dev/$MD || exit 5" } else { "" };
        format!(
            "new=${{DISKS##* }}; DISKS=${{DISKS% *}}; {create} && pattern fill /dev/$MD 0 0 1 || exit 1
            sleep 0.3; until is sync_action idle; do sleep 0.1; done >/dev/null
            for end in max min; do echo 300 > /sys/block/$MD/md/sync_speed_$end; done
            set -- $DISKS; shift {slot}; {begin}
            tries=0
            until done=$(of sync_completed); [ \"${{done%% *}}\" != none ] && [ ${{done%% *}} -gt 1000 ]; do
              sleep 0.1; tries=$((tries + 1)); [ $tries -lt 300 ] || exit 3
            done
            for end in max min; do echo 10 > /sys/block/$MD/md/sync_speed_$end; done
            pattern fill /dev/$MD 0 64k 3 && pattern fill /dev/$MD 3m 77k 4 && pattern fill /dev/$MD 10m 200k 5 || exit 4
            sync; until [ $(of array_state) = clean ]; do sleep 0.1; done
            is sync_action recover && content /dev/$MD || exit 6\n{stop}"
        )
    }

    /// `ashlar` goes on from there to the end.
    fn finish(&mut self, bench: &Bench, expected: &str) {
        let shown = self.shown();
        self.is_in_the_middle(bench);
        let before: Vec<String> =
            self.all_disks().iter().map(|disk| hash(&std::fs::read(disk).unwrap())).collect();
        assert_eq!(hash(&bench.cat(&self.all_disks())), expected, "{shown}");
        let after: Vec<String> =
            self.all_disks().iter().map(|disk| hash(&std::fs::read(disk).unwrap())).collect();
        assert_eq!(before, after, "{shown}: reading has written");
        let options: &[&str] = if self.how == How::Rebuild { &["--degraded"] } else { &[] };
        let running = bench.run(&self.name, options, &self.all_disks());
        let mut client = running.connect();
        self.model = client.content();
        assert_eq!(hash(&self.model), expected, "{shown}");
        write_here_and_there(&mut client, &mut self.model, 77);
        bench.manage(&["wait", &self.name]);
        let array = bench.array(&self.name);
        assert_eq!(array["in_sync"], self.shape.slots, "{shown}: {array}");
        assert!(client.content() == self.model, "{shown}");
        running.stop();
        self.is_whole(bench);
    }
}

/// Waits until as many members as it is told are in sync and none of them is to be replaced.
const PLACED: &str = r#"
placed() {
  tries=0
  until [ "$(grep -h in_sync /sys/block/$MD/md/dev-*/state | grep -vc want_replacement)" = $1 ]; do
    sleep 0.1; tries=$((tries + 1)); [ $tries -lt 600 ] || { grep . /sys/block/$MD/md/dev-*/state; return 1; }
  done
  wait_idle
}
"#;

/// The kernel takes it to the end where it is not, and finds everything right.
fn the_kernel_agrees(kernel: Kernel, bench: &Bench, arrays: &[Array]) {
    let job = |array: &Array| {
        let slots = array.shape.slots;
        array.job(format!(
            "{PLACED}mdadm -A /dev/$MD --run $DISKS || exit 1
            content /dev/$MD; placed {slots} && is degraded 0 || exit 2
            scrub || exit 3
            echo 3 > /proc/sys/vm/drop_caches; content /dev/$MD; mdadm --stop /dev/$MD"
        ))
    };
    let jobs: Vec<Job> = arrays.iter().map(job).collect();
    let printed = boots(kernel, bench.folder(), &jobs, End::Clean);
    for (array, printed) in arrays.iter().zip(printed) {
        assert_eq!(hashes(&printed), vec![hash(&array.model); 2], "{}: {printed}", array.shown());
        array.is_whole(bench);
    }
}

/// Does something to all arrays, some at a time: most of it is waiting.
fn at_once(arrays: &mut [Array], what: impl Fn(&mut Array) + Sync) {
    for some in arrays.chunks_mut(6) {
        std::thread::scope(|scope| {
            for array in some {
                scope.spawn(|| what(array));
            }
        });
    }
}

#[test]
fn the_kernel_takes_to_the_end_what_we_left_in_the_middle() {
    let Some(boot) = required(Kernel::under_test()) else { return };
    let bench = Bench::new();
    let mut arrays = Array::all(&bench);
    at_once(&mut arrays, |array| array.begin(&bench));
    the_kernel_agrees(boot.kernel, &bench, &arrays);
}

#[test]
fn we_take_to_the_end_what_the_kernel_left_in_the_middle() {
    let Some(boot) = required(Kernel::under_test()) else { return };
    let bench = Bench::new();
    let (mut stopped, mut killed): (Vec<Array>, Vec<Array>) =
        Array::all(&bench).into_iter().partition(|array| array.left == Left::Stopped);
    for (arrays, end) in [(&mut stopped, End::Clean), (&mut killed, End::Cut)] {
        let jobs: Vec<Job> = arrays.iter().map(|array| array.job(array.begin_script())).collect();
        let printed = boots(boot.kernel, bench.folder(), &jobs, end);
        for (array, printed) in arrays.iter_mut().zip(&printed) {
            let [expected] = hashes(printed)[..] else { panic!("{}: {printed}", array.shown()) };
            array.finish(&bench, expected);
        }
        the_kernel_agrees(boot.kernel, &bench, arrays);
    }
}
