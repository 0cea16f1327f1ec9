//! What mdadm's own tests of raid6check ask of that tool, asked of `ashlar scrub`, each under the name it has there: it names
//! the member that is wrong, `--repair` gives that member its data anew, and what is right is not touched. The kernel finds no
//! mismatch afterwards, which it did before.
//!
//! There is no word to have members that a person names rebuilt in single stripes (`raid6check ... repair`): where two members
//! are wrong in one stripe, `scrub` says so and leaves all of it as it is.

mod proof;

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use oracle::{Kernel, required};
use proof::shapes::{End, Job, boots, hashes, settle};
use proof::{Bench, hash};

/// Layouts that the originals go through.
const LAYOUTS: [&str; 8] = [
    "left-symmetric",
    "right-symmetric",
    "left-asymmetric",
    "right-asymmetric",
    "parity-first",
    "ddf-zero-restart",
    "ddf-N-restart",
    "left-symmetric-6",
];

const MEMBER_KIB: u64 = 4096;
const CHUNK: u64 = 16 << 10;
const SLOTS: usize = 5;

/// An array that is whole.
struct Array {
    name: &'static str,
    members: Vec<PathBuf>,
    data_offset: u64,
    sum: String,
}

impl Array {
    fn new(bench: &Bench, name: &'static str) -> Array {
        let members = bench.members(name, &[MEMBER_KIB; SLOTS]);
        bench.create(name, &["--level", "6", "--chunk", "16K", "--layout", name, "--assume-clean"], &members);
        let running = bench.run(name, &[], &members);
        let mut client = running.connect();
        let size = client.size() as usize;
        client.fill(0, size, 5);
        settle(bench, name);
        let sum = hash(&client.content());
        running.stop();
        let data_offset = bench.examined(&members[..1])[0]["data_offset"].as_u64().unwrap() * 512;
        Array { name, members, data_offset, sum }
    }

    /// Turns over all bits of a page of a member, in this row of chunks.
    fn damage(&self, member: usize, row: u64) {
        self.change(member, row, |_, byte| !byte);
    }

    fn change(&self, member: usize, row: u64, change: impl Fn(usize, u8) -> u8) {
        let file = File::options().read(true).write(true).open(&self.members[member]).unwrap();
        let (at, mut page) = (self.data_offset + row * CHUNK + 4096, [0; 4096]);
        file.read_exact_at(&mut page, at).unwrap();
        page.iter_mut().enumerate().for_each(|(at, byte)| *byte = change(at, *byte));
        file.write_all_at(&page, at).unwrap();
    }

    /// `ashlar scrub`: what it has found.
    fn scrub(&self, bench: &Bench, options: &[&str]) -> serde_json::Value {
        let running = bench.run(self.name, &[], &self.members);
        let said = bench.manage(&[&["scrub", self.name, "--json"], options].concat());
        running.stop();
        let report: serde_json::Value = serde_json::from_slice(&said).unwrap();
        assert_eq!(report["complete"], true, "{}: {report}", self.name);
        report
    }

    /// Which member is blamed in which row.
    fn blamed(&self, report: &serde_json::Value) -> Vec<(usize, u64)> {
        let place = |place: &serde_json::Value| {
            let name = place["member"]
                .as_str()
                .unwrap_or_else(|| panic!("{}: nobody is blamed: {place}", self.name));
            let member = self.members.iter().position(|member| member.to_str() == Some(name)).unwrap();
            (member, place["member_bytes"][0].as_u64().unwrap() / CHUNK)
        };
        report["places"].as_array().unwrap().iter().map(place).collect()
    }

    fn prints(&self) -> Vec<String> {
        self.members
            .iter()
            .map(|member| hash(&std::fs::read(member).unwrap()[self.data_offset as usize..]))
            .collect()
    }
}

#[test]
fn mdadm_19raid6check_and_19raid6repair_and_19raid6auto_repair() {
    let Some(boot) = required(Kernel::under_test()) else { return };
    let bench = Bench::new();
    let arrays: Vec<Array> = LAYOUTS.iter().map(|layout| Array::new(&bench, layout)).collect();
    let mut jobs = Vec::new();
    for (number, array) in arrays.iter().enumerate() {
        let whole = array.prints();
        let clean = array.scrub(&bench, &[]);
        assert_eq!(clean["mismatched_bytes"], 0, "{}: {clean}", array.name);
        let damaged: Vec<(usize, u64)> =
            (0..SLOTS).map(|nth| ((nth + number) % SLOTS, 3 + 7 * nth as u64)).collect();
        damaged.iter().for_each(|(member, row)| array.damage(*member, *row));
        let before = array.prints();
        let report = array.scrub(&bench, &[]);
        assert_eq!(array.blamed(&report), damaged, "{}", array.name);
        assert_eq!(array.prints(), before, "{}: a check has written", array.name);
        let report = array.scrub(&bench, &["--repair"]);
        assert_eq!(array.blamed(&report), damaged, "{}", array.name);
        assert_eq!(report["repaired_bytes"], report["mismatched_bytes"], "{}: {report}", array.name);
        assert_eq!(array.prints(), whole, "{}: not as it was before the damage", array.name);
        let script = "mdadm -A /dev/$MD $DISKS && scrub || exit 1
            content /dev/$MD; mdadm --stop /dev/$MD"
            .to_owned();
        jobs.push(Job { name: array.name.to_owned(), disks: array.members.clone(), script });
    }
    for (array, printed) in arrays.iter().zip(boots(boot.kernel, bench.folder(), &jobs, End::Clean)) {
        assert_eq!(hashes(&printed), [&array.sum], "{}: {printed}", array.name);
    }
}

/// A repair of what is right writes nothing, and neither does one of what more than one member must have wrong.
#[test]
fn mdadm_19repair_does_not_destroy() {
    let bench = Bench::new();
    let array = Array::new(&bench, "left-symmetric");
    let whole = array.prints();
    assert_eq!(array.scrub(&bench, &["--repair"])["repaired_bytes"], 0);
    assert_eq!(array.prints(), whole);
    // Row 4 of five members has P in slot 0 and Q in slot 1: three data blocks, of which two are wrong.
    array.damage(2, 4);
    // In another way, or it would look as if Q alone were wrong.
    array.change(4, 4, |at, byte| byte ^ (at % 255 + 1) as u8);
    let (content, damaged) = (bench.cat(&array.members), array.prints());
    let report = array.scrub(&bench, &["--repair"]);
    let place = &report["places"][0];
    assert!(place["verdict"] == "several" && place["repaired"] == false, "{report}");
    assert!(bench.cat(&array.members) == content, "the data was changed");
    assert_eq!(array.prints(), damaged, "a guess was written");
}
