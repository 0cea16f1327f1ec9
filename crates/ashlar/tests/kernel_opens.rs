//! The kernel opens what `ashlar` made, wrote and stopped, and finds nothing to object to.

mod proof;

use std::path::PathBuf;

use oracle::{DiskOpts, Kernel, Run, host_mdadm, required};
use proof::shapes::settle;
use proof::{Bench, hash};

/// An array to be made by `ashlar create`.
struct Case {
    name: &'static str,
    options: &'static [&'static str],
    sizes_kib: &'static [u64],
}

const MIRRORS: [Case; 6] = [
    Case { name: "v090", options: &["-l", "raid1", "--metadata", "0.90"], sizes_kib: &[6144, 6200] },
    Case { name: "v10", options: &["-l", "raid1", "--metadata", "1.0"], sizes_kib: &[6148, 6144] },
    Case { name: "v11", options: &["-l", "raid1", "--metadata", "1.1"], sizes_kib: &[6144, 6144, 8192] },
    Case { name: "v12", options: &["-l", "raid1", "--metadata", "1.2"], sizes_kib: &[6144, 6144] },
    Case { name: "sized", options: &["-l", "raid1", "--size", "3001K"], sizes_kib: &[6144, 6200] },
    Case {
        name: "old-sized",
        options: &["-l", "raid1", "--size", "3001K", "--metadata", "0.90"],
        sizes_kib: &[6144, 6200],
    },
];

const STRIPES: [Case; 5] = [
    Case { name: "equal", options: &["-l", "raid0", "--chunk", "64k"], sizes_kib: &[6144, 6144] },
    Case {
        name: "old",
        options: &["-l", "raid0", "--metadata", "0.90", "--chunk", "4k"],
        sizes_kib: &[4096, 4096],
    },
    Case {
        name: "original",
        options: &["-l", "raid0", "--chunk", "32k", "--layout", "original"],
        sizes_kib: &[5000, 6144, 7300],
    },
    Case {
        name: "alternate",
        options: &["-l", "raid0", "--chunk", "32k", "--layout", "alternate", "--metadata", "1.0"],
        sizes_kib: &[7300, 6144, 5000],
    },
    Case { name: "linear", options: &["-l", "linear", "--metadata", "1.1"], sizes_kib: &[5000, 6144, 4100] },
];

const STRIPED_MIRRORS: [Case; 5] = [
    Case { name: "n2", options: &["-l", "raid10"], sizes_kib: &[8192, 8192] },
    Case {
        name: "f2",
        options: &["-l", "raid10", "--layout", "f2", "--chunk", "32k", "--metadata", "1.0"],
        sizes_kib: &[6144, 6144, 7000, 6144],
    },
    Case {
        name: "o2",
        options: &["-l", "raid10", "--layout", "offset=2", "--chunk", "64k", "--metadata", "1.1"],
        sizes_kib: &[6144, 6144, 6144],
    },
    Case {
        name: "three",
        options: &["-l", "raid10", "--layout", "near=2", "--chunk", "16k", "--metadata", "0.90"],
        sizes_kib: &[6144, 6144, 6144],
    },
    Case {
        name: "n3",
        options: &["-l", "raid10", "--layout", "n3", "--chunk", "4k"],
        sizes_kib: &[6144, 6144, 6144, 6144],
    },
];

const BITMAPS: [Case; 4] = [
    Case {
        name: "b090",
        options: &["-l", "1", "--metadata", "0.90", "--bitmap", "internal"],
        sizes_kib: &[6144, 6200],
    },
    Case {
        name: "b10",
        options: &["-l", "1", "--metadata", "1.0", "--bitmap", "internal", "--bitmap-chunk", "4k"],
        sizes_kib: &[6148, 6144],
    },
    Case {
        name: "b12",
        options: &["-l", "1", "--bitmap", "internal", "--bitmap-chunk", "64k"],
        sizes_kib: &[6144, 6144],
    },
    Case {
        name: "bn2",
        options: &[
            "-l",
            "10",
            "--chunk",
            "16k",
            "--metadata",
            "1.1",
            "--bitmap",
            "internal",
            "--bitmap-chunk",
            "64k",
        ],
        sizes_kib: &[6144, 6144, 6144],
    },
];

/// Makes and fills an array; its members and the hash of its content.
fn made(bench: &Bench, case: &Case) -> (Vec<PathBuf>, String) {
    let members = bench.members(case.name, case.sizes_kib);
    bench.create(case.name, case.options, &members);
    let running = bench.run(case.name, &[], &members);
    let mut client = running.connect();
    let size = client.size() as usize;
    client.fill(0, size, 40);
    // Across chunks and zones, at places that are no multiple of anything.
    for at in (3 * 512..size - 70_000).step_by(700 * 512) {
        client.fill(at as u64, 33 * 1024, 41);
    }
    let content = client.content();
    settle(bench, case.name); // beside a client a resync takes its time
    running.stop();
    (members, hash(&content))
}

/// Has mdadm look at a member, without any kernel.
fn mdadm_is_content_with(members: &[PathBuf]) {
    let output = host_mdadm("4.4").unwrap().arg("--examine").args(members).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{text}");
    assert_eq!(text.matches(" - correct").count(), members.len(), "{text}");
    assert_eq!(text.matches("State : clean").count(), members.len(), "{text}");
}

/// Whether the kernel has the linear level: it was away from 6.8 to 6.13, and Debian has left it out since.
fn knows_linear(kernel: Kernel) -> bool {
    matches!(kernel, Kernel::Uml | Kernel::K6_1)
}

fn kernel_reads_the_same(kernel: Kernel, cases: &[Case]) {
    let bench = Bench::new();
    let (mut run, mut script, mut expected) = (Run::new(kernel), String::new(), Vec::new());
    let mut disk = 0;
    for case in cases {
        if case.name == "linear" && !knows_linear(kernel) {
            oracle::left_out::note("linear arrays", &format!("the {kernel} kernel has no such level"));
            continue;
        }
        let (members, content) = made(&bench, case);
        mdadm_is_content_with(&members);
        assert_eq!(hash(&bench.cat(&members)), content, "{}", case.name);
        let last = disk + members.len();
        let disks: Vec<String> = (disk..last).rev().map(|number| format!("/dev/d{number}")).collect();
        let md = format!("/dev/md{}", expected.len());
        script += &format!("mdadm -A {md} --run --readonly {} && content {md} || exit 1\n", disks.join(" "));
        script += "grep -q '_\\]' /proc/mdstat && { cat /proc/mdstat; exit 2; }\n";
        run = run.disks(&members, &DiskOpts::default().snapshot());
        disk = last;
        expected.push((case.name, content));
    }
    let said = run.script(script + "true").run().unwrap().success().unwrap().stdout;
    let hashes: Vec<&str> =
        said.lines().filter_map(|line| line.split_once("  /dev/md")).map(|at| at.0).collect();
    assert_eq!(hashes.len(), expected.len(), "{said}");
    for ((name, expected), found) in expected.iter().zip(hashes) {
        assert_eq!(expected, found, "{name}: {said}");
    }
}

#[test]
fn the_kernel_reads_the_same_from_mirrors_of_every_metadata_version() {
    let Some(boot) = required(Kernel::under_test()) else { return };
    kernel_reads_the_same(boot.kernel, &MIRRORS);
}

#[test]
fn the_kernel_reads_the_same_from_stripes_of_every_layout_and_from_linear() {
    let Some(boot) = required(Kernel::under_test()) else { return };
    kernel_reads_the_same(boot.kernel, &STRIPES);
}

#[test]
fn the_kernel_reads_the_same_from_striped_mirrors_of_every_layout() {
    let Some(boot) = required(Kernel::under_test()) else { return };
    kernel_reads_the_same(boot.kernel, &STRIPED_MIRRORS);
}

#[test]
fn the_kernel_reads_the_same_from_mirrors_with_a_bitmap_and_finds_it_clean() {
    let Some(boot) = required(Kernel::under_test()) else { return };
    kernel_reads_the_same(boot.kernel, &BITMAPS);
    let bench = Bench::new();
    let case = &BITMAPS[2];
    let (members, _) = made(&bench, case);
    let script = "for disk in d0 d1; do mdadm --examine-bitmap /dev/$disk; done".to_owned();
    let run = Run::new(boot.kernel).disks(&members, &DiskOpts::default().snapshot()).script(script);
    let said = run.run().unwrap().success().unwrap().stdout;
    assert_eq!(said.matches(" 0 dirty (0.0%)").count(), 2, "{said}");
}

#[test]
fn the_kernel_does_not_take_in_a_member_that_was_failed() {
    let Some(boot) = required(Kernel::under_test()) else { return };
    let bench = Bench::new();
    let (mut run, mut script, mut expected) = (Run::new(boot.kernel), String::new(), Vec::new());
    for (number, version) in ["0.90", "1.0", "1.1", "1.2"].into_iter().enumerate() {
        let name = format!("m{number}");
        let members = bench.members(&name, &[6144, 6144]);
        bench.create(&name, &["-l", "raid1", "--metadata", version, "--assume-clean"], &members);
        let running = bench.run(&name, &[], &members);
        let mut client = running.connect();
        client.fill(0, 2 << 20, 1);
        client.flush().unwrap();
        bench.fail(&name, &members[number % 2]);
        client.fill(1 << 20, 2 << 20, 2);
        expected.push(hash(&client.content()));
        running.stop();
        assert_eq!(hash(&bench.cat(&members)), expected[number], "{version}");
        let (one, other) = (2 * number, 2 * number + 1);
        // Both orders: the stale member first, and last.
        script += &format!(
            "for disks in '/dev/d{one} /dev/d{other}' '/dev/d{other} /dev/d{one}'; do\n\
             mdadm -A /dev/md{number} --run --readonly $disks && content /dev/md{number} || exit 1\n\
             grep -A1 md{number} /proc/mdstat | grep '\\[2/1\\]' || {{ cat /proc/mdstat; exit 2; }}\n\
             mdadm --stop /dev/md{number}; done\n"
        );
        run = run.disks(&members, &DiskOpts::default().snapshot());
    }
    let said = run.script(script).run().unwrap().success().unwrap().stdout;
    let hashes: Vec<&str> =
        said.lines().filter_map(|line| line.split_once("  /dev/md")).map(|at| at.0).collect();
    let twice: Vec<&String> = expected.iter().flat_map(|hash| [hash, hash]).collect();
    assert_eq!(hashes, twice, "{said}");
}
