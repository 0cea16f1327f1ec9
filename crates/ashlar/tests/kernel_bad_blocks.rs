//! Bad blocks that we list, and the kernel as judge: it reads around what is listed, and takes it off the list when a write
//! reaches the disk there.

mod proof;

use std::path::PathBuf;

use oracle::{Kernel, required};
use proof::shapes::{End, Job, Shape, boots, hashes, settle, shape, write_all_over};
use proof::volatile::VolatileDisk;
use proof::{Bench, hash};

/// Every level with redundancy, every version that knows such lists, and the sector of the first member, counted from its data
/// on, from which on three take no write while we run the array: in data, or in parity.
const CASES: [(Shape, usize); 7] = [
    (shape(1, "", "1.2", 2, 0, 6144), 1003),
    (shape(1, "", "1.0", 3, 0, 6144), 1003),
    (shape(10, "n2", "1.2", 4, 16, 6144), 1003),
    (shape(5, "left-symmetric", "1.2", 3, 64, 6144), 1003),
    (shape(5, "left-symmetric", "1.2", 3, 64, 6144), 300),
    (shape(6, "right-asymmetric", "1.1", 4, 16, 6144), 930),
    (shape(6, "right-asymmetric", "1.1", 4, 16, 6144), 870),
];

/// An array whose first member did not take everything that was written.
struct Array {
    name: String,
    shape: Shape,
    members: Vec<PathBuf>,
    model: Vec<u8>,
    /// What is listed on the first member: its first sector and how many.
    listed: Vec<(u64, u64)>,
}

impl Array {
    fn new(bench: &Bench, number: usize, (shape, worn): (Shape, usize)) -> Array {
        let name = format!("bad{number}");
        let mut members = shape.members(bench, &name);
        let disk =
            VolatileDisk::new(&bench.path(&format!("{name}.sock0")), (shape.member_kib << 10) as usize);
        let file = std::mem::replace(&mut members[0], disk.url().into());
        let slots: Vec<Option<PathBuf>> = members.iter().cloned().map(Some).collect();
        shape.create(bench, &name, &["--assume-clean"], &slots);
        let data = bench.examined(&members[..1])[0]["data_offset"].as_u64().unwrap() as usize;
        let worn = data + worn..data + worn + 3;
        disk.wear_out(worn.clone());
        let running = bench.run(&name, &[], &members);
        let mut model = Vec::new();
        write_all_over(&mut running.connect(), &mut model, number as u64);
        settle(bench, &name);
        running.stop();
        std::fs::write(&file, disk.durable()).unwrap();
        members[0] = file;
        let listed = listed(bench, &members[0]);
        let is_around = |(start, count): &(u64, u64)| {
            (*start as usize) < worn.end && (start + count) as usize > worn.start
        };
        assert!(!listed.is_empty() && listed.iter().all(is_around), "{name}: {listed:?}");
        Array { name, shape, members, model, listed }
    }

    fn shown(&self) -> String {
        format!("{} {:?}", self.name, self.shape)
    }
}

fn listed(bench: &Bench, member: &PathBuf) -> Vec<(u64, u64)> {
    let facts = &bench.examined(std::slice::from_ref(member))[0];
    let number = |run: &serde_json::Value, what| run[what].as_u64().unwrap();
    let runs = facts["bad_blocks"].as_array().unwrap();
    runs.iter().map(|run| (number(run, "sector"), number(run, "sectors"))).collect()
}

/// `listed` prints the kernel's list of the first disk; `write_again` writes what the array holds over it, until the list is
/// empty: the first write over a block of parity does not always clear it, on lists of the kernel's own neither.
const WORDS: &str = r#"
first=$(readlink -f ${DISKS%% *})
listed() { sed 's/^/listed /' /sys/block/$MD/md/dev-${first#/dev/}/bad_blocks || echo none; }
write_again() {
  for size in 64k 4k 64k 4k; do
    dd if=/dev/$MD of=/dev/$MD bs=$size iflag=direct oflag=direct conv=notrunc || return 1
    sleep 0.5
    [ -n "$(listed)" ] || return 0
  done
  listed; return 1
}
"#;

#[test]
fn the_kernel_reads_around_what_we_have_listed_and_clears_it_when_it_is_written_again() {
    let Some(boot) = required(Kernel::under_test()) else { return };
    let bench = Bench::new();
    let arrays: Vec<Array> =
        CASES.into_iter().enumerate().map(|(number, case)| Array::new(&bench, number, case)).collect();
    let job = |array: &Array| Job {
        name: array.shown(),
        disks: array.members.clone(),
        script: format!(
            "{WORDS}
            mdadm -A /dev/$MD --run $DISKS || exit 1
            is degraded 0 && is resync_start none || exit 2
            listed
            content /dev/$MD
            write_again || exit 3
            scrub || exit 4
            echo 3 > /proc/sys/vm/drop_caches; content /dev/$MD; mdadm --stop /dev/$MD"
        ),
    };
    let jobs: Vec<Job> = arrays.iter().map(job).collect();
    let printed = boots(boot.kernel, bench.folder(), &jobs, End::Clean);
    for (array, printed) in arrays.iter().zip(printed) {
        let shown = array.shown();
        let runs: Vec<String> =
            array.listed.iter().map(|(start, count)| format!("listed {start} {count}")).collect();
        let theirs: Vec<&str> = printed.lines().filter(|line| line.starts_with("listed ")).collect();
        assert_eq!(theirs, runs, "{shown}: {printed}");
        assert_eq!(hashes(&printed), vec![hash(&array.model); 2], "{shown}: {printed}");
        assert_eq!(listed(&bench, &array.members[0]), [], "{shown}: it is off the list on the disk as well");
        assert!(bench.cat(&array.members) == array.model, "{shown}");
    }
}
