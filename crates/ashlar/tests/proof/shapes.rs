//! Arrays with redundancy: parity in every shape that can be made, and boots in which the kernel sees several of them.

use std::path::{Path, PathBuf};

use oracle::{DiskOpts, Kernel, Run, left_out};

use super::Bench;
use super::nbd::Nbd;
use super::versions::Random;

/// An array: what level it has, how it is laid out, and on how many disks of which size.
#[derive(Debug, Clone, Copy)]
pub struct Shape {
    pub level: u32,
    /// As mdadm and `ashlar create` name it; none where a level has but one.
    pub layout: &'static str,
    pub version: &'static str,
    pub slots: usize,
    pub chunk_kib: u64,
    pub member_kib: u64,
}

/// A shape of a table.
pub const fn shape(
    level: u32,
    layout: &'static str,
    version: &'static str,
    slots: usize,
    chunk_kib: u64,
    member_kib: u64,
) -> Shape {
    Shape { level, layout, version, slots, chunk_kib, member_kib }
}

/// Every layout, and every metadata version with each level.
pub const SHAPES: [Shape; 27] = [
    shape(4, "", "0.90", 4, 4, 6144),
    shape(4, "", "1.0", 3, 16, 6148),
    shape(4, "", "1.1", 2, 64, 7000),
    shape(4, "", "1.2", 5, 512, 7000),
    shape(5, "left-asymmetric", "0.90", 4, 16, 6200),
    shape(5, "right-asymmetric", "1.0", 5, 4, 6144),
    shape(5, "left-symmetric", "1.1", 8, 512, 7000),
    shape(5, "right-symmetric", "1.2", 4, 8, 6144),
    shape(5, "parity-first", "1.2", 3, 64, 6144),
    shape(5, "parity-last", "1.0", 4, 32, 6304),
    shape(5, "left-symmetric", "1.2", 2, 4, 6144),
    shape(5, "left-asymmetric", "1.2", 2, 128, 7300),
    shape(6, "left-asymmetric", "1.2", 5, 4, 6144),
    shape(6, "right-asymmetric", "0.90", 4, 64, 6144),
    shape(6, "left-symmetric", "1.2", 8, 16, 6144),
    shape(6, "right-symmetric", "1.1", 6, 8, 6144),
    shape(6, "parity-first", "1.0", 4, 16, 6148),
    shape(6, "parity-last", "1.2", 5, 32, 6144),
    shape(6, "ddf-zero-restart", "1.2", 4, 4, 6144),
    shape(6, "ddf-N-restart", "1.0", 7, 16, 6144),
    shape(6, "ddf-N-continue", "1.1", 5, 64, 6200),
    shape(6, "left-asymmetric-6", "1.2", 4, 8, 6144),
    shape(6, "right-asymmetric-6", "0.90", 5, 16, 6144),
    shape(6, "left-symmetric-6", "1.2", 6, 4, 6144),
    shape(6, "right-symmetric-6", "1.0", 5, 32, 6144),
    shape(6, "parity-first-6", "1.2", 5, 256, 7000),
    shape(6, "left-symmetric", "0.90", 5, 512, 6144),
];

impl Shape {
    /// Members that it can do without.
    pub fn spares(&self) -> usize {
        if self.level == 6 { 2 } else { 1 }
    }

    /// The options of `ashlar create` and of `mdadm --create` alike.
    pub fn options(&self) -> Vec<String> {
        let mut words = vec!["--level".to_owned(), self.level.to_string()];
        words.extend(["--metadata".to_owned(), self.version.to_owned()]);
        if self.level != 1 {
            words.extend(["--chunk".to_owned(), format!("{}K", self.chunk_kib)]);
        }
        if !self.layout.is_empty() {
            words.extend(["--layout".to_owned(), self.layout.to_owned()]);
        }
        words
    }

    /// `ashlar create`; a slot without a disk stays empty.
    pub fn create(&self, bench: &Bench, name: &str, more: &[&str], slots: &[Option<PathBuf>]) {
        let options = self.options();
        let options: Vec<&str> = options.iter().map(String::as_str).chain(more.iter().copied()).collect();
        let missing = PathBuf::from("missing");
        let members: Vec<PathBuf> =
            slots.iter().map(|slot| slot.clone().unwrap_or_else(|| missing.clone())).collect();
        bench.create(name, &options, &members);
    }

    /// The words with which the kernel makes it of `$DISKS`, and syncs it; `bitmap` are the options that it has or has not.
    pub fn mdadm_create(&self, bitmap: &str) -> String {
        let force = if matches!(self.level, 4 | 5) { "--force" } else { "" };
        let (options, slots) = (self.options().join(" "), self.slots);
        format!("mdadm --create /dev/$MD --run {force} {options} --raid-devices {slots} {bitmap} $DISKS")
    }

    /// Files for all members, by name.
    pub fn members(&self, bench: &Bench, name: &str) -> Vec<PathBuf> {
        bench.members(name, &vec![self.member_kib; self.slots])
    }
}

/// Of all shapes those that a test takes that cannot take all in the time it has: each `every`th. All of them, where
/// there is time: `cargo xtask oracle all` and `oracle test` say so.
pub fn some_of_all(what: &str, every: usize) -> Vec<(usize, Shape)> {
    let all = SHAPES.into_iter().enumerate();
    if left_out::has_time() {
        return all.collect();
    }
    left_out::note(
        &format!("most shapes: {what}"),
        &"they take minutes; `cargo xtask oracle test` takes all",
    );
    all.filter(|(number, _)| number % every == every / 2).collect()
}

/// Writes all over a volume: whole stripes, then pieces of any size at any place, some with forced unit access.
pub fn write_all_over(client: &mut Nbd, model: &mut Vec<u8>, seed: u64) {
    model.resize(client.size() as usize, 0);
    oracle::pattern::fill(model, 0, seed);
    client.write(0, model).unwrap();
    write_here_and_there(client, model, seed + 1);
}

/// The second half of [`write_all_over`].
pub fn write_here_and_there(client: &mut Nbd, model: &mut [u8], seed: u64) {
    let mut random = Random(seed << 32);
    for round in 0..60 {
        let longest = [1, 8, 64, 900][random.below(4)];
        let (at, count) = (random.below(model.len() / 512), 1 + random.below(longest));
        let end = model.len().min((at + count) * 512);
        let bytes = &mut model[at * 512..end];
        oracle::pattern::fill(bytes, at as u64, seed + round);
        let offset = at as u64 * 512;
        let written =
            if round % 4 == 0 { client.write_fua(offset, bytes) } else { client.write(offset, bytes) };
        written.unwrap();
    }
    client.flush().unwrap();
}

/// Waits until nothing of what runs under this name is being synced.
pub fn settle(bench: &Bench, name: &str) {
    let start = std::time::Instant::now();
    loop {
        let run = bench.path("run");
        let said = bench.succeeds([
            "status".as_ref(),
            name.as_ref(),
            "--json".as_ref(),
            "--run-dir".as_ref(),
            run.as_os_str(),
        ]);
        let status: serde_json::Value = serde_json::from_slice(&said).unwrap();
        let arrays = status["arrays"].as_array().unwrap();
        assert!(!arrays.is_empty(), "{status}");
        if arrays.iter().all(|array| array["sync"]["action"] == "idle") {
            return;
        }
        assert!(start.elapsed() < super::PATIENCE, "{status}");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
}

/// What the kernel does with one array, in a shell of its own: `$MD` is its name (`md0`), `$DISKS` are its disks.
pub struct Job {
    pub name: String,
    pub disks: Vec<PathBuf>,
    pub script: String,
}

/// How a boot ends.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// Arrays are stopped.
    Clean,
    /// The power goes.
    Cut,
}

/// Disks that a guest can have.
const DISKS_MAX: usize = 16;

/// Runs all jobs, as many in one boot as there is room for, and gives what each has printed. Members are changed by it.
pub fn boots(kernel: Kernel, folder: &Path, jobs: &[Job], end: End) -> Vec<String> {
    let mut printed = Vec::new();
    let mut rest = jobs;
    while !rest.is_empty() {
        let mut disks = 0;
        let fit = rest.iter().take_while(|job| {
            disks += job.disks.len();
            disks <= DISKS_MAX
        });
        let (now, later) = rest.split_at(fit.count());
        printed.extend(boot(kernel, folder, now, end));
        rest = later;
    }
    printed
}

/// What stands before the output of each job.
const MARK: &str = "=== job";

fn boot(kernel: Kernel, folder: &Path, jobs: &[Job], end: End) -> Vec<String> {
    let (mut run, mut script, mut first) = (Run::new(kernel).share(folder), HELPERS.to_owned(), 0);
    for (number, job) in jobs.iter().enumerate() {
        let last = first + job.disks.len();
        let disks: Vec<String> = (first..last).map(|disk| format!("/dev/d{disk}")).collect();
        let (name, disks, own) = (&job.name, disks.join(" "), &job.script);
        script += &format!(
            "echo '{MARK}'; MD=md{number}; DISKS='{disks}'; (\n{own}\n) ||\n\
             {{ echo '{name}: status' $?; cat /proc/mdstat; exit 1; }}\n"
        );
        run = run.disks(&job.disks, &DiskOpts::default());
        first = last;
    }
    script += if end == End::Cut {
        "oracle-kill 0\n"
    } else {
        "for md in /dev/md[0-9]*; do [ -b $md ] && mdadm --stop $md; done; true\n"
    };
    let outcome = run.script(script).run().unwrap().success().unwrap();
    let printed: Vec<String> = outcome.stdout.split(MARK).skip(1).map(str::to_owned).collect();
    assert_eq!(printed.len(), jobs.len(), "{}", outcome.stdout);
    printed
}

/// Words that jobs are made of. `scrub` fails unless a check has run to its end and found all parity right, or wrong in as
/// many sectors as it is told; `recovered` fails unless the last action was a recovery; `marks_stay` keeps the bits that a
/// write sets from being cleared soon; `dirty` waits for the first write; `unmarked` fails unless the bitmaps of all these disks are there and have no bit set.
const HELPERS: &str = r#"
fast
of() { cat /sys/block/$MD/md/$1; }
is() { [ "$(of $1)" = "$2" ] || { echo "$MD: $1 is $(of $1), expected $2"; return 1; }; }
recovered() { is last_sync_action recovery > /dev/null || is last_sync_action recover; }
marks_stay() { echo 600 > /sys/block/$MD/md/bitmap/time_base; }
dirty() {
  tries=0
  until [ "$(of array_state)" = active ] || [ $tries = 600 ]; do sleep 0.1; tries=$((tries + 1)); done
  is array_state active
}
scrub() {
  wait_idle
  echo check > /sys/block/$MD/md/sync_action || return 1
  wait_idle
  is last_sync_action check && is sync_action idle && is mismatch_cnt ${1:-0}
}
unmarked() {
  for disk in $@; do
    mdadm --examine-bitmap $disk | grep -q ' 0 dirty (0.0%)' || { mdadm --examine-bitmap $disk; return 1; }
  done
}
whole() {
  tries=0
  until [ "$(of degraded)" = 0 ] || [ $tries = 600 ]; do sleep 0.1; tries=$((tries + 1)); done
  is degraded 0 && wait_idle
}
"#;

/// The hashes that `content` has printed, in turn.
pub fn hashes(printed: &str) -> Vec<&str> {
    printed.lines().filter_map(|line| line.split_once("  /dev/md")).map(|at| at.0).collect()
}
