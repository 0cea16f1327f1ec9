//! The kernel opens what a killed `ashlar` left behind: nothing that was answered is lost, the copies become equal, and
//! `ashlar` opens it again.

mod proof;

use std::path::{Path, PathBuf};
use std::time::Duration;

use oracle::{DiskOpts, Kernel, Run, host_mdadm, required};
use proof::versions::{BLOCK, BLOCKS, killed_under_load};
use proof::{Bench, hash};

/// A mirror to be killed: options of `create`, and members.
type Mirror = (&'static [&'static str], usize);

const MIRRORS: [Mirror; 4] = [
    (&["-l", "raid1", "--metadata", "0.90"], 2),
    (&["-l", "raid1", "--metadata", "1.0"], 2),
    (&["-l", "raid1", "--metadata", "1.1"], 2),
    (&["-l", "raid1", "--metadata", "1.2"], 2),
];

const STRIPED_MIRRORS: [Mirror; 4] = [
    (&["-l", "raid10", "--chunk", "16k"], 4),
    (&["-l", "raid10", "--chunk", "32k", "--layout", "f2", "--metadata", "1.0"], 3),
    (&["-l", "raid10", "--chunk", "4k", "--layout", "o2", "--metadata", "1.1"], 4),
    (&["-l", "raid10", "--chunk", "64k", "--metadata", "0.90"], 3),
];

#[test]
fn the_kernel_resyncs_a_mirror_that_was_killed_and_nothing_answered_is_lost() {
    the_kernel_resyncs(&MIRRORS);
}

const BITMAPS: [Mirror; 4] = [
    (&["-l", "1", "--bitmap", "internal", "--bitmap-chunk", "16k"], 2),
    (&["-l", "1", "--bitmap", "internal", "--metadata", "0.90"], 2),
    (&["-l", "1", "--bitmap", "internal", "--bitmap-chunk", "4k", "--metadata", "1.0"], 3),
    (&["-l", "10", "--chunk", "16k", "--bitmap", "internal", "--bitmap-chunk", "64k"], 4),
];

#[test]
fn the_kernel_resyncs_a_mirror_with_a_bitmap_that_was_killed_and_nothing_answered_is_lost() {
    the_kernel_resyncs(&BITMAPS);
}

#[test]
fn the_kernel_resyncs_a_striped_mirror_that_was_killed_and_nothing_answered_is_lost() {
    the_kernel_resyncs(&STRIPED_MIRRORS);
}

fn the_kernel_resyncs(mirrors: &[Mirror]) {
    let Some(boot) = required(Kernel::under_test()) else { return };
    let bench = Bench::new();
    let (mut run, mut script, mut arrays) = (Run::new(boot.kernel), "fast\n".to_owned(), Vec::new());
    let mut disk = 0;
    for (number, (options, count)) in mirrors.iter().enumerate() {
        let name = format!("m{number}");
        let members = bench.members(&name, &vec![6144; *count]);
        bench.create(&name, &[options, &["--assume-clean"][..]].concat(), &members);
        let versions = killed_under_load(&bench, &name, &members, &[], number as u64);
        versions.check_answered(&bench.cat(&members), "read by ourselves before anything else");
        let examined = host_mdadm("4.4").unwrap().arg("--examine").args(&members).output().unwrap();
        let text = String::from_utf8(examined.stdout).unwrap();
        assert_eq!(
            text.matches("State : active").count(),
            *count,
            "all say that writes were under way: {text}"
        );
        let md = format!("md{number}");
        let disks: Vec<String> = (disk..disk + count).map(|disk| format!("/dev/d{disk}")).collect();
        disk += count;
        script += &format!(
            "mdadm -A /dev/{md} {} || exit 1\n\
             cat /dev/{md} > /host/{md}.before; wait_idle; cat /dev/{md} > /host/{md}\n\
             echo check > /sys/block/{md}/md/sync_action; wait_idle\n\
             echo {md} mismatches $(cat /sys/block/{md}/md/mismatch_cnt) state $(cat /sys/block/{md}/md/array_state)\n\
             pattern fill /dev/{md} 4m 64k 7 || exit 1\n",
            disks.join(" ")
        );
        run = run.disks(&members, &DiskOpts::default());
        arrays.push((name, md, members, versions));
    }
    let outcome = run.share(bench.folder()).script(script).run().unwrap().success().unwrap();
    assert_eq!(outcome.stdout.matches("mismatches 0 state").count(), 4, "{}", outcome.stdout);
    for (name, md, members, versions) in arrays {
        let read = |name: String| std::fs::read(bench.path(&name)).unwrap();
        versions.check_answered(&read(format!("{md}.before")), &format!("{md} before the kernel's resync"));
        let content = read(md.clone());
        versions.check_answered(&content, &format!("{md} after the kernel's resync"));
        let running = bench.run(&name, &[], &members);
        let again = running.connect().content();
        assert!(again[..BLOCKS * BLOCK] == content[..BLOCKS * BLOCK], "{md}");
        assert_eq!(oracle::pattern::check(&again[4 << 20..(4 << 20) + (64 << 10)], 8192, 7), Ok(()), "{md}");
        running.stop();
    }
}

#[test]
fn the_kernel_leaves_out_what_was_failed_before_the_kill() {
    let Some(boot) = required(Kernel::under_test()) else { return };
    let bench = Bench::new();
    let (mut run, mut script, mut arrays) = (Run::new(boot.kernel), String::new(), Vec::new());
    for (number, version) in ["0.90", "1.0", "1.2"].into_iter().enumerate() {
        let name = format!("m{number}");
        let members = bench.members(&name, &[6144, 6144]);
        bench.create(&name, &["-l", "raid1", "--metadata", version, "--assume-clean"], &members);
        let versions = killed_under_load(&bench, &name, &members, &members[number % 2..][..1], number as u64);
        let (md, one, other) = (format!("md{number}"), 2 * number, 2 * number + 1);
        script += &format!(
            "mdadm -A /dev/{md} --run /dev/d{one} /dev/d{other} || exit 1\n\
             grep -A1 {md} /proc/mdstat | grep '\\[2/1\\]' || {{ cat /proc/mdstat; exit 2; }}\n\
             cat /dev/{md} > /host/{md}; pattern fill /dev/{md} 4m 64k 7; mdadm --stop /dev/{md}\n"
        );
        run = run.disks(&members, &DiskOpts::default());
        arrays.push((name, md, members, versions));
    }
    run.share(bench.folder()).script(script).run().unwrap().success().unwrap();
    for (name, md, members, versions) in arrays {
        let content = std::fs::read(bench.path(&md)).unwrap();
        versions.check_answered(&content, &md);
        let running = bench.run(&name, &["--degraded"], &members);
        assert!(running.said().contains("left out"), "{}", running.said());
        let again = running.connect().content();
        assert_eq!(hash(&again[..BLOCKS * BLOCK]), hash(&content[..BLOCKS * BLOCK]), "{md}");
        assert_eq!(oracle::pattern::check(&again[4 << 20..(4 << 20) + (64 << 10)], 8192, 7), Ok(()), "{md}");
        running.stop();
    }
}

/// What `examine` says of a member's bitmap: how many chunks are marked; and where its data begins, in bytes.
fn marked_and_data(bench: &Bench, member: &Path) -> (u64, u64) {
    let said = bench.succeeds([PathBuf::from("examine"), PathBuf::from("--json"), member.to_owned()]);
    let report: serde_json::Value = serde_json::from_slice(&said).unwrap();
    let md = &report["members"][0]["md"];
    (md["bitmap"]["marked"].as_u64().unwrap(), md["data_offset"].as_u64().unwrap() * 512)
}

/// Both resync only what the bitmap marks, each after a crash of the other: a difference elsewhere, which nobody who kept to
/// the rules can have made, is still there afterwards.
#[test]
fn only_what_the_bitmap_marks_is_resynced_by_the_kernel_after_us_and_by_us_after_the_kernel() {
    let Some(boot) = required(Kernel::under_test()) else { return };
    let bench = Bench::new();
    let members = bench.members("m", &[12_288, 12_288]);
    let options = ["-l", "1", "--bitmap", "internal", "--bitmap-chunk", "64k", "--assume-clean"];
    bench.create("m", &options, &members);
    let running = bench.run("m", &[], &members);
    running.connect().fill(0, 1 << 20, 1);
    running.stop();
    let (marked, data) = marked_and_data(&bench, &members[0]);
    assert_eq!(marked, 0, "a clean stop clears all bits");

    let running = bench.run("m", &[], &members);
    let mut client = running.connect();
    client.fill(2 << 20, 192 << 10, 2);
    client.flush().unwrap();
    running.kill();
    assert_eq!(marked_and_data(&bench, &members[1]).0, 3);
    let elsewhere = data + (8 << 20);
    let poke = |byte: u8| {
        use std::os::unix::fs::FileExt;
        let file = std::fs::File::options().write(true).open(&members[1]).unwrap();
        file.write_all_at(&[byte; 4096], elsewhere).unwrap();
    };
    poke(77);
    let script = "mdadm -A /dev/md0 /dev/d0 /dev/d1 && wait_idle
        pattern check /dev/md0 0 1m 1 && pattern check /dev/md0 2m 192k 2 || exit 2
        echo check > /sys/block/md0/md/sync_action; wait_idle
        [ $(cat /sys/block/md0/md/mismatch_cnt) != 0 ] || exit 3
        pattern fill /dev/md0 4m 128k 3; oracle-kill 0";
    let run = Run::new(boot.kernel).disks(&members, &DiskOpts::default()).script(script.to_owned());
    run.run().unwrap().success().unwrap();

    let (marked, _) = marked_and_data(&bench, &members[0]);
    assert!((2..=5).contains(&marked), "the kernel marked what it wrote: {marked}");
    let running = bench.run("m", &[], &members);
    let mut client = running.connect();
    for (at, len, seed) in [(0, 1 << 20, 1), (2 << 20, 192 << 10, 2), (4 << 20, 128 << 10, 3)] {
        let bytes = client.read(at, len).unwrap();
        assert_eq!(oracle::pattern::check(&bytes, at >> 9, seed), Ok(()), "at {at}");
    }
    std::thread::sleep(Duration::from_secs(1));
    running.stop();
    let bytes = std::fs::read(&members[1]).unwrap();
    assert!(bytes[elsewhere as usize..][..4096].iter().all(|byte| *byte == 77), "it was resynced all over");
    let other = std::fs::read(&members[0]).unwrap();
    let marked = data as usize + (4 << 20)..data as usize + (4 << 20) + (128 << 10);
    assert!(bytes[marked.clone()] == other[marked], "what was marked is equal");
    assert_eq!(marked_and_data(&bench, &members[0]).0, 0);
}
