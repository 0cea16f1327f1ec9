//! The private log of raid6, and the kernel as judge: it sees an ordinary array and finds it right, and what it writes makes
//! the log void; also dirty and degraded, with `start_dirty_degraded`.

mod proof;

use std::path::{Path, PathBuf};

use oracle::{Kernel, host_mdadm, pattern, required};
use proof::Bench;
use proof::shapes::{End, Job, Shape, boots, shape};
use proof::versions::{BLOCK, BLOCKS, Versions, killed_under_load};

const SHAPES: [Shape; 2] =
    [shape(6, "left-symmetric", "1.2", 5, 16, 8192), shape(6, "right-asymmetric", "1.1", 4, 64, 8192)];

/// An array with a private log that was killed under load, and what it may hold.
fn killed(
    bench: &Bench,
    name: &str,
    shape: Shape,
    failed: Option<usize>,
    seed: u64,
) -> (Vec<PathBuf>, Versions) {
    let members = shape.members(bench, name);
    let slots: Vec<Option<PathBuf>> = members.iter().cloned().map(Some).collect();
    shape.create(bench, name, &["--assume-clean"], &slots);
    let running = bench.run(name, &["--private-log", "on"], &members);
    running.connect().write(5 << 20, &[7; BLOCK]).unwrap(); // behind the load
    assert_eq!(bench.array(name)["private_log"], "kept");
    running.stop();
    let failed: Vec<PathBuf> = failed.iter().map(|at| members[*at].clone()).collect();
    let versions = killed_under_load(bench, name, &members, &failed, seed);
    let rest = members.into_iter().filter(|member| !failed.contains(member)).collect();
    (rest, versions)
}

/// Whether the log of each member is bound to its superblock.
fn bound(bench: &Bench, members: &[PathBuf]) -> Vec<bool> {
    let facts = bench.examined(members);
    facts.iter().map(|facts| facts["private_log"]["bound"].as_bool().expect("there is a log")).collect()
}

/// The superblocks as they lie on the disks.
fn superblocks(members: &[PathBuf], shape: &Shape) -> Vec<Vec<u8>> {
    let at = if shape.version == "1.1" { 0 } else { 4096 };
    members.iter().map(|member| std::fs::read(member).unwrap()[at..at + 4096].to_vec()).collect()
}

fn copied(bench: &Bench, members: &[PathBuf], suffix: &str) -> Vec<PathBuf> {
    let copy = |member: &Path| {
        let name = format!("{}-{suffix}", member.file_name().unwrap().to_str().unwrap());
        std::fs::copy(member, bench.path(&name)).unwrap();
        bench.path(&name)
    };
    members.iter().map(|member| copy(member)).collect()
}

#[test]
fn the_kernel_sees_an_ordinary_array_and_what_it_writes_makes_the_log_void() {
    let Some(boot) = required(Kernel::under_test()) else { return };
    let bench = Bench::new();
    let (mut jobs, mut arrays) = (Vec::new(), Vec::new());
    for (number, shape) in SHAPES.into_iter().enumerate() {
        let name = format!("m{number}");
        let (members, versions) = killed(&bench, &name, shape, None, number as u64);
        assert!(bound(&bench, &members).iter().all(|bound| *bound), "{name}");
        let examined = host_mdadm("4.4").unwrap().arg("--examine").args(&members).output().unwrap();
        let text = String::from_utf8(examined.stdout).unwrap();
        assert_eq!(text.matches("State : active").count(), members.len(), "{text}");
        assert_eq!(text.matches("Feature Map : 0x0").count(), members.len(), "{text}");
        // Whichever two are missing, the same is read.
        let whole = bench.cat(&members);
        versions.check_answered(&whole, &format!("{name}, read by ourselves"));
        for gone in 0..members.len() {
            let rest: Vec<PathBuf> = (0..members.len())
                .filter(|at| *at != gone && *at != (gone + 1) % members.len())
                .map(|at| members[at].clone())
                .collect();
            let words = ["cat", "--offset", "6M"].map(PathBuf::from).into_iter().chain(rest);
            assert!(bench.succeeds(words) == whole[6 << 20..], "{name} without {gone} and the next");
        }
        let script = format!(
            "mdadm -A /dev/$MD $DISKS || exit 1\n\
             wait_idle; scrub || exit 2\n\
             cat /dev/$MD > /host/{name}.content; pattern fill /dev/$MD 4m 64k 7; mdadm --stop /dev/$MD"
        );
        jobs.push(Job { name: format!("{name} {shape:?}"), disks: members.clone(), script });
        arrays.push((name, members, versions));
    }
    boots(boot.kernel, bench.folder(), &jobs, End::Clean);
    for (name, members, versions) in arrays {
        let content = std::fs::read(bench.path(&format!("{name}.content"))).unwrap();
        versions.check_answered(&content, &format!("{name}, read by the kernel"));
        assert!(bound(&bench, &members).iter().all(|bound| !bound), "{name}: the kernel wrote superblocks");
        let again = bench.cat(&members);
        assert!(again[..BLOCKS * BLOCK] == content[..BLOCKS * BLOCK], "{name}");
        assert_eq!(pattern::check(&again[4 << 20..][..64 << 10], 8192, 7), Ok(()), "{name}");
    }
}

#[test]
fn a_kernel_that_opens_it_dirty_and_degraded_and_writes_makes_it_void_too() {
    let Some(boot) = required(Kernel::under_test()) else { return };
    let bench = Bench::new();
    let shape = SHAPES[0];
    let (members, versions) = killed(&bench, "m", shape, Some(2), 5);
    let ours = bench.cat(&members);
    versions.check_answered(&ours, "degraded, read by ourselves");
    let before = superblocks(&members, &shape);
    let looked_at = copied(&bench, &members, "looked-at");
    let assemble = "echo 1 > /sys/module/md_mod/parameters/start_dirty_degraded\n\
                    mdadm -A /dev/$MD --run $DISKS || exit 1\nis degraded 1 || exit 2";
    // Both are the same array to the kernel: one after the other.
    for (disks, rest) in [
        (&members, "pattern fill /dev/$MD 0 256k 7 && sync || exit 3"),
        (&looked_at, "cat /dev/$MD > /dev/null; sleep 1"),
    ] {
        let script = format!("{assemble}\n{rest}");
        let job = Job { name: "degraded".to_owned(), disks: disks.clone(), script };
        boots(boot.kernel, bench.folder(), &[job], End::Cut);
    }
    let after = superblocks(&members, &shape);
    assert!(before.iter().zip(&after).all(|(before, after)| before != after), "it writes superblocks first");
    assert!(bound(&bench, &members).iter().all(|bound| !bound), "and the log is void");
    let read = bench.ashlar(["cat"].map(PathBuf::from).into_iter().chain(members));
    assert!(!read.status.success(), "what parity says of the missing member is not believed");
    // What was only looked at may be as it was; the log counts just as long.
    let unchanged = superblocks(&looked_at, &shape) == before;
    println!("superblocks unchanged by an assembly without writes: {unchanged}");
    assert_eq!(bound(&bench, &looked_at).iter().all(|bound| *bound), unchanged);
}
