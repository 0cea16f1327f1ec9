//! Arrays that real kernels left with something to do: `ashlar run` does it, on copies, and the kernel then finds the array
//! whole, its copies and parity equal, and the content what it was.

mod proof;

use std::path::PathBuf;

use oracle::golden::{self, Image};
use oracle::{Kernel, required};
use proof::shapes::{End, Job, boots, hashes};
use proof::{Bench, hash};

/// Images with something to do, of the repository and of the larger set. Where a member is missing and no spare is there, a
/// disk that was left out is added.
const IMAGES: [&str; 21] = [
    "raid4-1.2-journal-cut",
    "raid6-1.1-journal-back-cut",
    "raid5-1.2-journal-wt-crash",
    "raid1-1.2-midresync-checkpoint-cut",
    "raid1-1.2-badblocks",
    "raid5-1.2-rebuild-stopped",
    "raid5-1.2-replace-cut",
    "raid5-1.2-badblocks",
    "raid5-1.2-bitmap",
    "raid6-1.2-bitmap-cut",
    "raid10-1.2-rebuild-stopped-4disks-f2",
    "raid1-1.2-midresync-stop",
    "raid6-1.2-midresync-stop",
    "raid5-1.2-midrecovery-stop",
    "raid5-1.2-midreplace-crash",
    "raid5-1.2-degraded",
    "raid5-1.2-spare",
    "raid1-1.2-badblocks-sysfs",
    "raid1-0.90-spare",
    "raid5-1.2-bitmap-crash",
    "raid1-1.2-bitmap-crash",
];

/// A copy of an image.
struct Copied {
    image: Image,
    disks: Vec<PathBuf>,
    /// What the kernel may have read from it.
    expected: Vec<String>,
    /// What it holds.
    found: String,
}

impl Copied {
    fn new(bench: &Bench, number: usize, image: Image) -> Copied {
        let folder = bench.path(&format!("{number}-{}", image.name));
        std::fs::create_dir(&folder).unwrap();
        let disks = image.unpack(&folder).unwrap();
        let expected =
            image.content().unwrap_or_default().into_iter().map(|content| content.sha256).collect();
        Copied { image, disks, expected, found: String::new() }
    }

    fn name(&self) -> &str {
        &self.image.name
    }

    /// Reads it, changes nothing by that, then does what is to be done.
    fn is_made_whole(&mut self, bench: &Bench, number: usize) {
        let name = format!("{}-{number}", self.name());
        let prints = || self.disks.iter().map(|disk| hash(&std::fs::read(disk).unwrap())).collect::<Vec<_>>();
        let before = prints();
        self.found = hash(&bench.cat(&self.disks));
        assert!(self.expected.contains(&self.found), "{name}: {}, expected {:?}", self.found, self.expected);
        assert_eq!(before, prints(), "{name}: reading has written");
        let running = bench.run(&name, &["--degraded"], &self.disks);
        assert_eq!(hash(&running.connect().content()), self.found, "{name}");
        let is_settled =
            |array: &serde_json::Value| array["settling"] == false && array["sync"]["action"] == "idle";
        bench.wait_until(&name, is_settled);
        let array = bench.array(&name);
        if array["in_sync"] != array["slots"] {
            let members = array["members"].as_array().unwrap();
            let is_in =
                |disk: &&PathBuf| members.iter().any(|member| member["name"] == disk.to_str().unwrap());
            let left_out =
                self.disks.iter().find(|disk| !is_in(disk)).unwrap_or_else(|| panic!("{name}: {array}"));
            bench.manage(&["add".as_ref(), name.as_ref(), left_out.as_os_str()]);
        }
        bench.manage(&["wait", &name]);
        assert_eq!(hash(&running.connect().content()), self.found, "{name}: when all was done");
        running.stop();
        assert_eq!(hash(&bench.cat(&self.disks)), self.found, "{name}: afterwards");
    }
}

#[test]
fn the_kernel_finds_whole_what_it_left_with_something_to_do() {
    let Some(boot) = required(Kernel::under_test()) else { return };
    let bench = Bench::new();
    let mut images = golden::own().unwrap();
    images.extend(golden::shared().unwrap());
    images.retain(|image| IMAGES.contains(&image.name.as_str()));
    let mut copies: Vec<(usize, Copied)> = images
        .into_iter()
        .enumerate()
        .map(|(number, image)| (number, Copied::new(&bench, number, image)))
        .collect();
    assert!(copies.len() >= 8, "images of the repository are missing");
    for some in copies.chunks_mut(6) {
        std::thread::scope(|scope| {
            for (number, copy) in some {
                let bench = &bench;
                scope.spawn(|| copy.is_made_whole(bench, *number));
            }
        });
    }
    let job = |(_, copy): &(usize, Copied)| Job {
        name: copy.name().to_owned(),
        disks: copy.disks.clone(),
        script: "mdadm -A /dev/$MD --run $DISKS || exit 1
            is degraded 0 && is resync_start none && is sync_action idle || exit 2
            content /dev/$MD; scrub || exit 3
            echo 3 > /proc/sys/vm/drop_caches; content /dev/$MD; mdadm --stop /dev/$MD"
            .to_owned(),
    };
    let jobs: Vec<Job> = copies.iter().map(job).collect();
    let printed = boots(boot.kernel, bench.folder(), &jobs, End::Clean);
    for ((_, copy), printed) in copies.iter().zip(printed) {
        assert_eq!(hashes(&printed), vec![copy.found.as_str(); 2], "{}: {printed}", copy.name());
    }
}

/// What could not be read when a member was rebuilt is lost, and nothing beside it: the kernel's own list says where, and
/// both programs read all the rest and refuse the same blocks.
#[test]
fn what_a_rebuild_could_not_give_back_is_refused_by_us_and_by_the_kernel_alike() {
    const BLOCK: usize = 4096;
    let Some(boot) = required(Kernel::under_test()) else { return };
    let images = golden::shared().unwrap();
    let Some(image) = images.into_iter().find(|image| image.name == "raid5-1.2-badblocks-rebuild") else {
        return;
    };
    let bench = Bench::new();
    let copy = Copied::new(&bench, 0, image);
    let running = bench.run("it", &[], &copy.disks);
    let mut client = running.connect();
    let blocks = client.size() as usize / BLOCK;
    let mut read = |block: usize| client.read((block * BLOCK) as u64, BLOCK).ok();
    let ours: Vec<Option<Vec<u8>>> = (0..blocks).map(&mut read).collect();
    let lost: Vec<usize> = (0..blocks).filter(|block| ours[*block].is_none()).collect();
    assert_eq!(lost.len(), 4, "two blocks each of two chunks in one row: {lost:?}");
    bench.manage(&["wait", "it"]);
    running.stop();
    let refused: String = lost
        .iter()
        .map(|block| format!("dd if=/dev/$MD of=/dev/null bs={BLOCK} skip={block} count=1 && exit 2\n"))
        .collect();
    let script = format!(
        "mdadm -A /dev/$MD --run $DISKS && is degraded 0 || exit 1\n{refused}
        dd if=/dev/$MD of=/host/all bs={BLOCK} conv=noerror,sync; mdadm --stop /dev/$MD"
    );
    let job = Job { name: copy.name().to_owned(), disks: copy.disks.clone(), script };
    boots(boot.kernel, bench.folder(), &[job], End::Clean);
    let theirs = std::fs::read(bench.path("all")).unwrap();
    assert_eq!(theirs.len(), blocks * BLOCK);
    for (block, (ours, theirs)) in ours.iter().zip(theirs.chunks(BLOCK)).enumerate() {
        assert!(ours.as_ref().is_none_or(|ours| ours == theirs), "block {block}");
    }
}
