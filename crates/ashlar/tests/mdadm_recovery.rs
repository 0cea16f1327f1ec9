//! What mdadm's own tests of recovery ask of the kernel, asked of `ashlar`, each under the name it has there; afterwards the
//! kernel finds what `ashlar` has left whole and without a mismatch.
//!
//! Asked elsewhere, or left out:
//!
//! | test | where, or why |
//! | --- | --- |
//! | 19raid6check, 19raid6repair, 19raid6auto-repair, 19repair-does-not-destroy | `mdadm_scrub.rs` |
//! | 05r1-re-add | `mdadm_bitmap.rs` |
//! | 05r1-add-badblocks | below; the log is one that a kernel wrote, as `ashlar` has no word to add to it by hand |
//! | 24raid10deadlock, 24raid456deadlock | below, for seconds instead of minutes; errors come by failing members, not by injection |
//! | 02r1add, 02r5grow, 02r6grow, 05r6tor0, 07* | nothing grows or changes its shape yet |
//! | 04r5swap | `--update` is not built, and big-endian metadata is never written |
//! | 25raid456-* | there is no reshape yet |

mod proof;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use oracle::{Kernel, required};
use proof::nbd::Nbd;
use proof::shapes::{End, Job, boots, hashes};
use proof::{Bench, Running, hash};

/// An array that runs.
struct Array<'a> {
    bench: &'a Bench,
    name: String,
    running: Running,
}

impl<'a> Array<'a> {
    /// `options` are those of `ashlar create`.
    fn create(bench: &'a Bench, name: &str, options: &str, members: &[PathBuf]) -> Array<'a> {
        bench.create(name, &options.split(' ').collect::<Vec<_>>(), members);
        let members: Vec<&PathBuf> =
            members.iter().filter(|member| member.as_path() != Path::new("missing")).collect();
        Array::run(bench, name, &["--degraded"], &members)
    }

    fn run(bench: &'a Bench, name: &str, options: &[&str], members: &[&PathBuf]) -> Array<'a> {
        Array { bench, name: name.to_owned(), running: bench.run(name, options, members) }
    }

    /// `fail`, `remove`, `add` or `replace`, and a disk.
    fn tell(&self, verb: &str, disk: &Path) {
        self.bench.manage(&[verb.as_ref(), self.name.as_ref(), disk.as_os_str()]);
    }

    /// The same, and it is refused.
    fn refuses(&self, verb: &str, disk: &Path) {
        let run = self.bench.path("run");
        let words =
            [verb.as_ref(), self.name.as_ref(), disk.as_os_str(), "--run-dir".as_ref(), run.as_os_str()];
        assert_eq!(self.bench.ashlar(words).status.code(), Some(1), "{verb} {}", disk.display());
    }

    fn sync(&self, what: &str) {
        self.bench.manage(&["sync", &self.name, what]);
    }

    fn fill(&self, seed: u64) -> String {
        let mut client = self.running.connect();
        let mut content = vec![0; client.size() as usize];
        oracle::pattern::fill(&mut content, 0, seed);
        client.write(0, &content).unwrap();
        client.flush().unwrap();
        hash(&content)
    }

    fn content(&self) -> String {
        hash(&self.running.connect().content())
    }

    /// Waits until nothing is left to do; how many members are in sync then.
    fn settled(&self) -> u64 {
        self.bench.wait_until(&self.name, |array| {
            array["settling"] == false && array["sync"]["total_bytes"].is_null()
        });
        self.bench.array(&self.name)["in_sync"].as_u64().unwrap()
    }

    fn stop(self) {
        self.running.stop();
    }
}

/// The kernel assembles these, finds nobody missing and no mismatch, and reads what it should.
fn the_kernel_agrees(kernel: Kernel, bench: &Bench, arrays: &[(String, Vec<PathBuf>, String)]) {
    let script = "mdadm -A /dev/$MD --run $DISKS && is degraded 0 && is sync_action idle || exit 1
        content /dev/$MD; scrub || exit 2; mdadm --stop /dev/$MD";
    let job = |(name, disks, _): &(String, Vec<PathBuf>, String)| Job {
        name: name.clone(),
        disks: disks.clone(),
        script: script.to_owned(),
    };
    let printed = boots(kernel, bench.folder(), &arrays.iter().map(job).collect::<Vec<_>>(), End::Clean);
    for ((name, _, expected), printed) in arrays.iter().zip(printed) {
        assert_eq!(hashes(&printed), [expected], "{name}: {printed}");
    }
}

#[test]
fn mdadm_01replace() {
    let Some(boot) = required(Kernel::under_test()) else { return };
    let bench = Bench::new();
    let mut arrays = Vec::new();
    for level in ["1", "5", "6", "10"] {
        let name = format!("r{level}");
        let d = bench.members(&name, &[6144; 6]);
        let chunk = if level == "1" { "" } else { " --chunk 64K" };
        let array = Array::create(&bench, &name, &format!("--level {level}{chunk}"), &d[..4]);
        (4..6).for_each(|spare| array.tell("add", &d[spare]));
        let sum = array.fill(1);
        assert_eq!(array.settled(), 4, "{name}");
        // What was replaced can be removed, and what has replaced it cannot.
        array.bench.manage(&[
            "replace".as_ref(),
            name.as_ref(),
            d[1].as_os_str(),
            "--with".as_ref(),
            d[4].as_os_str(),
        ]);
        assert_eq!(array.settled(), 4, "{name}");
        array.tell("remove", &d[1]);
        array.tell("remove", &d[5]);
        array.refuses("remove", &d[4]);
        // Somebody else fails meanwhile.
        array.tell("add", &d[1]);
        array.tell("add", &d[5]);
        array.bench.manage(&["sync", &name, "--speed-max", "2M"]);
        array.tell("replace", &d[0]);
        std::thread::sleep(Duration::from_millis(300));
        array.tell("fail", &d[2]);
        array.bench.manage(&["sync", &name, "--speed-max", "0"]);
        assert_eq!(array.settled(), 4, "{name}");
        assert_eq!(array.content(), sum, "{name}");
        let status = array.bench.array(&name);
        let is_in = |disk: &PathBuf| {
            let all = status["members"].as_array().unwrap();
            all.iter().any(|member| member["name"] == disk.to_str().unwrap() && member["state"] == "in_sync")
        };
        let members: Vec<PathBuf> = d.iter().filter(|disk| is_in(disk)).cloned().collect();
        assert_eq!(members.len(), 4, "{name}: {status}");
        array.stop();
        arrays.push((name, members, sum));
    }
    the_kernel_agrees(boot.kernel, &bench, &arrays);
}

/// Long enough that a first resync is not over before a person has said a word.
const LONG_KIB: u64 = 96 << 10;

#[test]
fn mdadm_01r1fail() {
    let Some(boot) = required(Kernel::under_test()) else { return };
    let bench = Bench::new();
    let d = bench.members("r1fail", &[LONG_KIB; 5]);
    let slots = [d[0].clone(), d[1].clone(), d[2].clone(), "missing".into()];
    let array = Array::create(&bench, "r1fail", "--level 1", &slots);
    array.sync("pause");
    array.tell("fail", &d[2]);
    array.tell("fail", &d[1]);
    array.refuses("fail", &d[0]);
    assert_eq!(bench.array("r1fail")["in_sync"], 1);
    array.tell("add", &d[4]);
    array.tell("add", &d[3]);
    array.sync("resume");
    assert_eq!(array.settled(), 3);
    array.tell("remove", &d[2]);
    array.tell("remove", &d[1]);
    array.tell("add", &d[2]);
    assert_eq!(array.settled(), 4);
    let sum = array.content();
    array.stop();
    let members = [&d[0], &d[2], &d[3], &d[4]].map(PathBuf::clone).to_vec();
    the_kernel_agrees(boot.kernel, &bench, &[("01r1fail".to_owned(), members, sum)]);
}

#[test]
fn mdadm_01r5fail() {
    let Some(boot) = required(Kernel::under_test()) else { return };
    let bench = Bench::new();
    let d = bench.members("r5fail", &[6144; 6]);
    let array = Array::create(&bench, "r5fail", "--level 5 --chunk 64K", &d[..4]);
    array.sync("pause");
    array.tell("fail", &d[3]);
    assert_eq!(bench.array("r5fail")["in_sync"], 3);
    let sum = array.fill(2);
    array.tell("add", &d[4]);
    array.tell("add", &d[5]);
    array.sync("resume");
    assert_eq!(array.settled(), 4);
    array.tell("fail", &d[0]);
    array.tell("remove", &d[3]);
    array.tell("remove", &d[0]);
    assert_eq!(array.settled(), 4);
    assert_eq!(array.content(), sum);
    array.stop();
    the_kernel_agrees(boot.kernel, &bench, &[("01r5fail".to_owned(), [&d[1..3], &d[4..]].concat(), sum)]);
}

/// Any two of three make the array, whoever was failed is left out and recovered when added, under every metadata version.
#[test]
fn mdadm_03r5assem_and_03r5assem_v1() {
    let Some(boot) = required(Kernel::under_test()) else { return };
    let bench = Bench::new();
    let mut arrays = Vec::new();
    for version in ["0.90", "1.0", "1.1", "1.2"] {
        let name = format!("assem{}", version.replace('.', ""));
        let d = bench.members(&name, &[6144; 3]);
        let array = Array::create(&bench, &name, &format!("--level 5 --chunk 64K --metadata {version}"), &d);
        let sum = array.fill(3);
        assert_eq!(array.settled(), 3, "{name}");
        array.stop();
        for (first, second) in [(0, 1), (2, 0), (1, 2)] {
            let array = Array::run(&bench, &name, &["--degraded"], &[&d[first], &d[second]]);
            assert_eq!((array.content(), array.settled()), (sum.clone(), 2), "{name}: {first} and {second}");
            array.stop();
        }
        let array = Array::run(&bench, &name, &[], &d.iter().collect::<Vec<_>>());
        array.tell("fail", &d[1]);
        let sum = array.fill(4);
        array.stop();
        let array = Array::run(&bench, &name, &["--degraded"], &[&d[1], &d[2], &d[0]]);
        assert_eq!((array.content(), array.settled()), (sum.clone(), 2), "{name}: who was failed is out");
        array.tell("add", &d[1]);
        assert_eq!((array.settled(), array.content()), (3, sum.clone()), "{name}");
        array.stop();
        arrays.push((name, d, sum));
    }
    the_kernel_agrees(boot.kernel, &bench, &arrays);
}

/// A new member beside one with a bad-block log: what is lost is listed on the new one as well, and nothing else fails.
#[test]
fn mdadm_05r1_add_badblocks() {
    let bench = Bench::new();
    let disks = oracle::golden::unpack("raid1-1.2-badblocks", bench.folder()).unwrap();
    let new = bench.members("new", &[4096]).remove(0);
    let array = Array::run(&bench, "bad", &[], &disks.iter().collect::<Vec<_>>());
    array.tell("fail", &disks[1]);
    array.tell("remove", &disks[1]);
    array.tell("add", &new);
    assert_eq!(array.settled(), 2);
    let mut client = array.running.connect();
    let lost: Vec<u64> = (0..client.size() / 512).filter(|at| client.read(at * 512, 512).is_err()).collect();
    assert_eq!(lost, [(400..408).collect::<Vec<u64>>(), vec![1000]].concat());
    array.stop();
    let listed = |disk: &PathBuf| {
        bench.examined(std::slice::from_ref(disk))[0]["bad_blocks"].as_array().unwrap().len()
    };
    assert_eq!((listed(&disks[0]), listed(&new)), (2, 2));
}

/// How long the stress of the deadlock tests lasts, and how long any answer may take.
const STRESS: Duration = Duration::from_secs(5);
const ANSWER: Duration = Duration::from_secs(30);

/// Load while actions begin and are ended and, if told so, a member comes and goes: everything is answered.
fn nothing_hangs(name: &str, options: &str, count: usize, comes_and_goes: Option<usize>) {
    let bench = Bench::new();
    let d = bench.members(name, &vec![6144; count]);
    let array = Array::create(&bench, name, options, &d);
    let over = AtomicBool::new(false);
    let again = |what: &dyn Fn(u64)| {
        let mut round = 0;
        while !over.load(Ordering::Relaxed) {
            let start = Instant::now();
            what(round);
            round += 1;
            assert!(start.elapsed() < ANSWER, "{name}: round {round} took {:?}", start.elapsed());
        }
        assert!(round > 1, "{name}: it went round once");
    };
    let mut clients: Vec<Nbd> = (0..4).map(|_| array.running.connect()).collect();
    let bytes = clients[0].size() / 4;
    std::thread::scope(|scope| {
        for (number, client) in clients.iter_mut().enumerate() {
            let again = &again;
            let client = std::cell::RefCell::new(client);
            let mine = number as u64 * bytes;
            scope.spawn(move || {
                again(&|round| {
                    let at = mine + (round * 37 % (bytes >> 12)) * 4096;
                    client.borrow_mut().fill(at, 4096, round);
                });
            });
        }
        let (begins, ends) = if comes_and_goes.is_some() { ("pause", "resume") } else { ("check", "idle") };
        scope.spawn(|| {
            again(&|_| {
                array.sync(begins);
                array.sync(ends);
                std::thread::sleep(Duration::from_millis(100));
            });
        });
        if let Some(member) = comes_and_goes {
            let disk = &d[member];
            scope.spawn(|| {
                again(&|_| {
                    ["fail", "remove", "add"].iter().for_each(|verb| array.tell(verb, disk));
                    std::thread::sleep(Duration::from_millis(300));
                });
            });
        }
        std::thread::sleep(STRESS);
        over.store(true, Ordering::Relaxed);
    });
    array.sync("resume");
    array.sync("idle");
    assert_eq!(array.settled(), count as u64, "{name}");
    let sum = array.fill(9);
    assert_eq!(array.content(), sum, "{name}");
    let scrubbed: serde_json::Value =
        serde_json::from_slice(&bench.manage(&["scrub", name, "--json"])).unwrap();
    assert_eq!(
        (&scrubbed["mismatched_bytes"], &scrubbed["complete"]),
        (&0.into(), &true.into()),
        "{name}: {scrubbed}"
    );
    array.stop();
}

#[test]
fn mdadm_24raid456deadlock() {
    nothing_hangs("r456", "--level 6 --chunk 64K --assume-clean", 6, None);
}

#[test]
fn mdadm_24raid10deadlock() {
    nothing_hangs("r10", "--level 10 --chunk 64K", 4, Some(3));
}
