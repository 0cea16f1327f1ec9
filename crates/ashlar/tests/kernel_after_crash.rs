//! The kernel opens what a killed `ashlar` left behind: nothing that was answered is lost, the copies become equal, and
//! `ashlar` opens it again.

mod proof;

use std::path::PathBuf;
use std::time::Duration;

use oracle::{DiskOpts, Kernel, Run, host_mdadm, required};
use proof::versions::{BLOCK, Versions};
use proof::{Bench, hash};

/// Blocks that the load writes.
const BLOCKS: usize = 900;

/// Has two clients write, kills the program when some writes were answered, and says what the volume may hold.
/// A member is failed in between if `failed` says which.
fn killed_in_the_middle(bench: &Bench, name: &str, members: &[PathBuf], failed: Option<usize>) -> Versions {
    let versions = Versions::new(BLOCKS);
    let running = bench.run(name, &[], members);
    let clients = [running.connect(), running.connect()];
    std::thread::scope(|scope| {
        for (turn, client) in clients.into_iter().enumerate() {
            let versions = &versions;
            scope.spawn(move || versions.load(client, name.len() as u64, turn, 2));
        }
        let wait_for = |writes: u32| {
            while versions.answered() < writes {
                std::thread::sleep(Duration::from_millis(1));
            }
        };
        wait_for(60);
        if let Some(failed) = failed {
            bench.fail(name, &members[failed]);
            wait_for(versions.answered() + 60);
        }
        running.kill();
    });
    versions
}

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
        let versions = killed_in_the_middle(&bench, &name, &members, None);
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
        let versions = killed_in_the_middle(&bench, &name, &members, Some(number % 2));
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
