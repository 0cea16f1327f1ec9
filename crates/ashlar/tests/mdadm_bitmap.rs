//! What mdadm's own tests of the write-intent bitmap ask of the kernel, asked of `ashlar`, each under the name it has there;
//! what they ask of a recovery is asked of the kernel, over the array that `ashlar` has left degraded.
//!
//! Left out, most of it until there is something to ask:
//!
//! | test | why |
//! | --- | --- |
//! | 05r1-add-internalbitmap, 05r1-remove-internalbitmap, -v1a, -v1b, -v1c; 05r1-grow-internal, 05r1-grow-internal-1 | they are in `mdadm_grow.rs` |
//! | 05r1-re-add-nosuper | arrays without metadata are not built |
//! | 04update-uuid, 04update-metadata | no `--update`; the bitmap's uuid is compared when it is opened |
//! | 06wrmostly | asks for write-behind, which is not done |
//! | 05r1-bitmapfile, 05r1-n3-bitmapfile, 05r5-bitmapfile, 05r6-bitmapfile, 05r1-grow-external | a bitmap in a file: mdadm 4.4 gave it up and removed these tests; `ashlar` refuses it. What 05r6-bitmapfile and 05r1-n3-bitmapfile ask is asked of internal bitmaps below |

mod proof;

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use oracle::{Kernel, required};
use proof::shapes::{End, Job, boots, hashes, settle};
use proof::{Bench, hash};

/// A test there: its name, how the array is made, and of how many members.
type Test = (&'static str, &'static [&'static str], usize);

const TESTS: [Test; 7] = [
    ("05r1-internalbitmap", &["--level", "1", "--metadata", "0.90"], 2),
    ("05r1-internalbitmap-v1a", &["--level", "1", "--metadata", "1.0"], 2),
    ("05r1-internalbitmap-v1b", &["--level", "1", "--metadata", "1.1"], 2),
    ("05r1-internalbitmap-v1c", &["--level", "1", "--metadata", "1.2"], 2),
    ("05r5-internalbitmap", &["--level", "5"], 3),
    ("05r1-n3-bitmapfile", &["--level", "1", "--metadata", "0.90"], 3),
    ("05r6-bitmapfile", &["--level", "6"], 4),
];

/// As there: 4 KiB, and a round every second.
const BITMAP: [&str; 4] = ["--bitmap", "internal", "--bitmap-chunk", "4K"];
const DELAY_S: u32 = 1;

/// Where a bitmap's superblock says how long a round is.
const DAEMON_SLEEP: u64 = 56;

const MEMBER_KIB: u64 = 6144;

/// How long bits may take to go: some rounds, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

struct Array {
    name: &'static str,
    members: Vec<PathBuf>,
    content: Vec<u8>,
}

impl Array {
    /// What `examine` says of one member's bitmap, also while the array runs.
    fn bitmap(&self, bench: &Bench, member: usize, what: &str) -> u64 {
        let member = self.members[member].clone();
        let words = ["examine", "--live", "--json"].into_iter().map(PathBuf::from);
        let said = bench.succeeds(words.chain([member]));
        let report: serde_json::Value = serde_json::from_slice(&said).unwrap();
        report["members"][0]["md"]["bitmap"][what].as_u64().unwrap()
    }

    /// `--delay`, which `ashlar create` does not have.
    fn set_delay(&self, bench: &Bench) {
        for (number, member) in self.members.iter().enumerate() {
            let at = self.bitmap(bench, number, "sector") * 512 + DAEMON_SLEEP;
            File::options()
                .write(true)
                .open(member)
                .unwrap()
                .write_all_at(&DELAY_S.to_le_bytes(), at)
                .unwrap();
            assert_eq!(self.bitmap(bench, number, "daemon_sleep_s"), u64::from(DELAY_S));
        }
    }

    fn write_all(&mut self, client: &mut proof::nbd::Nbd, seed: u64) {
        self.content.resize(client.size() as usize, 0);
        oracle::pattern::fill(&mut self.content, 0, seed);
        client.write(0, &self.content).unwrap();
        assert!(client.content() == self.content, "{}", self.name);
    }

    /// Waits until no bit is set on the last member.
    fn wait_until_unmarked(&self, bench: &Bench) {
        let (start, last) = (Instant::now(), self.members.len() - 1);
        while self.bitmap(bench, last, "marked") > 0 {
            assert!(start.elapsed() < PATIENCE, "{}: bits stay", self.name);
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// The tests up to where the failed member comes back.
    fn goes_as_there(&mut self, bench: &Bench, options: &[&str]) {
        let name = self.name;
        bench.create(name, &[options, &BITMAP].concat(), &self.members);
        self.set_delay(bench);
        let all = self.bitmap(bench, 1, "chunks");
        assert_eq!(self.bitmap(bench, 1, "marked"), all, "{name}: all of a new array is marked");
        let running = bench.run(name, &[], &self.members);
        settle(bench, name);
        self.write_all(&mut running.connect(), 1);
        running.stop();

        let running = bench.run(name, &[], &self.members);
        let mut client = running.connect();
        self.write_all(&mut client, 2);
        assert!(self.bitmap(bench, 1, "marked") > 0, "{name}: bits go at once");
        self.wait_until_unmarked(bench);
        bench.fail(name, &self.members[0]);
        self.write_all(&mut client, 3);
        std::thread::sleep(Duration::from_secs(4 * u64::from(DELAY_S)));
        assert_eq!(self.bitmap(bench, 1, "marked"), all, "{name}: bits go while a member is missing");
        running.stop();
        assert_eq!(self.bitmap(bench, 1, "marked"), all, "{name}: after a stop");
    }
}

/// And from there on: the member comes back without its metadata, as a new one.
const RECOVERY: &str = "set -- $DISKS; new=$1; shift
mdadm --zero-superblock $new && mdadm -A /dev/$MD -R $@ && mdadm /dev/$MD --add $new && whole || exit 1
recovered || exit 2
tries=0; until unmarked $1 || [ $tries = 100 ]; do sleep 0.2; tries=$((tries + 1)); done >/dev/null
unmarked $DISKS && scrub || exit 3
content /dev/$MD; mdadm --stop /dev/$MD";

#[test]
fn mdadm_05_internalbitmap_and_bitmapfile() {
    let Some(boot) = required(Kernel::under_test()) else { return };
    let bench = Bench::new();
    let mut arrays: Vec<Array> = TESTS
        .iter()
        .map(|(name, _, count)| Array {
            name,
            members: bench.members(name, &vec![MEMBER_KIB; *count]),
            content: Vec::new(),
        })
        .collect();
    // They wait for rounds of the bitmap most of the time.
    std::thread::scope(|scope| {
        for (array, (_, options, _)) in arrays.iter_mut().zip(&TESTS) {
            let bench = &bench;
            scope.spawn(move || array.goes_as_there(bench, options));
        }
    });
    let job = |array: &Array| Job {
        name: array.name.to_owned(),
        disks: array.members.clone(),
        script: RECOVERY.to_owned(),
    };
    let jobs: Vec<Job> = arrays.iter().map(job).collect();
    let printed = boots(boot.kernel, bench.folder(), &jobs, End::Clean);
    for (array, printed) in arrays.iter().zip(&printed) {
        assert_eq!(hashes(printed), [hash(&array.content)], "{}: {printed}", array.name);
        assert!(bench.cat(&array.members) == array.content, "{}", array.name);
    }
}

/// A member that was away for a moment is back at once; one that has missed writes gets them and is then equal to the other.
#[test]
fn mdadm_05r1_re_add() {
    let bench = Bench::new();
    let members = bench.members("re-add", &[MEMBER_KIB; 2]);
    bench.create("re-add", &[&["--level", "1"][..], &BITMAP].concat(), &members);
    let mut array = Array { name: "re-add", members, content: Vec::new() };
    array.set_delay(&bench);
    let running = bench.run("re-add", &[], &array.members);
    let mut client = running.connect();
    settle(&bench, "re-add");
    array.write_all(&mut client, 1);
    array.wait_until_unmarked(&bench);
    let [first, second] = [0, 1].map(|member| array.members[member].clone());
    let leaves = || {
        bench.fail("re-add", &second);
        bench.manage(&["remove".as_ref(), "re-add".as_ref(), second.as_os_str()]);
    };
    let comes_back = || {
        let said = bench.manage(&["add".as_ref(), "re-add".as_ref(), second.as_os_str()]);
        assert!(String::from_utf8(said).unwrap().contains("is back for slot 1"));
        bench.manage(&["wait", "re-add"]);
    };
    // What nobody has written since is not copied: a page that differs stays as it is.
    leaves();
    let data = bench.examined(std::slice::from_ref(&second))[0]["data_offset"].as_u64().unwrap() * 512;
    let file = File::options().read(true).write(true).open(&second).unwrap();
    let (at, mut page) = (data + (3 << 20), [0; 4096]);
    file.read_exact_at(&mut page, at).unwrap();
    file.write_all_at(&page.map(|byte| !byte), at).unwrap();
    client.fill(0, 64 << 10, 2);
    oracle::pattern::fill(&mut array.content[..64 << 10], 0, 2);
    comes_back();
    let mut found = [0; 4096];
    file.read_exact_at(&mut found, at).unwrap();
    assert_eq!(found, page.map(|byte| !byte), "more was copied than what is marked");
    file.write_all_at(&page, at).unwrap();
    drop(file);
    leaves();
    array.write_all(&mut client, 3);
    comes_back();
    assert!(client.content() == array.content);
    running.stop();
    let data_of = |member: &PathBuf| std::fs::read(member).unwrap()[data as usize..].to_vec();
    assert!(data_of(&first)[..array.content.len()] == array.content);
    assert!(data_of(&second)[..array.content.len()] == array.content);
}
