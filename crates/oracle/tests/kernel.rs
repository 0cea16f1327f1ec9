//! The harness itself under a real kernel.

use std::path::{Path, PathBuf};
use std::process::Command;

use oracle::{
    Assembly, DiskOpts, Ending, Error, Kernel, Run, assemble_and_hash, examine, host_mdadm, installed,
    left_out, required,
};

/// Two members of a raid1 that the kernel under test made, filled with the pattern of seed 7.
fn mirror(folder: &tempfile::TempDir) -> [PathBuf; 2] {
    let members = ["a.img", "b.img"].map(|name| folder.path().join(name));
    let script =
        "mdadm --create /dev/md0 --run --metadata 1.2 --level 1 --raid-devices 2 /dev/d0 /dev/d1 || exit 1
        wait_idle; pattern fill /dev/md0 0 0 7 && mdadm --stop /dev/md0";
    let run = Run::new(Kernel::under_test()).disks(&members, &DiskOpts::default().size_bytes(8 << 20));
    run.script(script).run().unwrap().success().unwrap();
    members
}

#[test]
fn a_kernel_reads_what_the_pattern_says() {
    let Some(boot) = required(Kernel::under_test()) else { return };
    let folder = tempfile::tempdir().unwrap();
    let members = mirror(&folder);
    let before = members.each_ref().map(|member| std::fs::read(member).unwrap());

    let assembled = assemble_and_hash(boot.kernel, &members).unwrap();
    let mut expected = vec![0; assembled.size_bytes as usize];
    oracle::pattern::fill(&mut expected, 0, 7);
    assert_eq!(assembled.sha256, oracle::golden::sha256(&expected));
    assert!(assembled.mdstat.contains("raid1"), "{}", assembled.mdstat);
    assert!(assembled.examine[1].contains("Device Role : Active device 1"), "{}", assembled.examine[1]);
    let after = members.each_ref().map(|member| std::fs::read(member).unwrap());
    assert!(before == after, "a snapshot was written to");

    let degraded = assemble_and_hash(boot.kernel, &members[1..]).unwrap();
    assert_eq!(degraded.sha256, assembled.sha256);
    assert!(degraded.mdstat.contains("[_U]"), "{}", degraded.mdstat);

    let output = host_mdadm("4.4").unwrap().arg("--examine").args(&members).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(text.matches("Raid Level : raid1").count(), 2, "{text}");
}

#[test]
fn a_kernel_that_refuses_is_quoted() {
    let Some(boot) = required(Kernel::under_test()) else { return };
    let folder = tempfile::tempdir().unwrap();
    let empty = folder.path().join("empty.img");
    std::fs::write(&empty, vec![0; 4 << 20]).unwrap();
    let refused = Assembly::new(boot.kernel, [&empty]).mdadm("4.2").run().unwrap_err().to_string();
    assert!(refused.contains("no superblock"), "{refused}");
    let said = examine(boot.kernel, [&empty]).unwrap();
    assert!(said[0].contains("No md superblock"), "{said:?}");
}

#[test]
fn a_power_cut_ends_a_kernel_at_once() {
    let Some(boot) = required(Kernel::under_test()) else { return };
    let folder = tempfile::tempdir().unwrap();
    let disk = folder.path().join("disk.img");
    // The last one to close a disk flushes it, so the disk stays open until the end.
    let script = "exec 3<> /dev/d0; pattern fill /dev/d0 0 1m 5; echo lost >&3; oracle-kill 4; echo alive";
    let outcome = Run::new(boot.kernel).disk(&disk, DiskOpts::default().size_bytes(2 << 20)).script(script);
    let outcome = outcome.run().unwrap();
    assert_eq!((outcome.ending, outcome.stdout.as_str()), (Ending::Cut(4), ""));
    let bytes = std::fs::read(&disk).unwrap();
    assert_eq!(oracle::pattern::check(&bytes[4096..1 << 20], 8, 5), Ok(()), "what was flushed is there");
    assert!(!bytes.starts_with(b"lost"), "what was not flushed is gone");
    assert_eq!(processes_that_name(&disk), 0, "a guest outlived its power cut");
}

/// How many processes of this machine have the file on their command line.
fn processes_that_name(file: &Path) -> usize {
    let name = file.as_os_str().as_encoded_bytes();
    let lines = std::fs::read_dir("/proc").unwrap().flatten().map(|process| process.path().join("cmdline"));
    let lines = lines.filter_map(|line| std::fs::read(line).ok());
    lines.filter(|line| line.windows(name.len()).any(|part| part == name)).count()
}

#[test]
fn a_kernel_sees_a_shared_folder_and_the_variables() {
    let Some(boot) = required(Kernel::under_test()) else { return };
    let folder = tempfile::tempdir().unwrap();
    let run = Run::new(boot.kernel).share(folder.path()).variable("WORD", "it's here");
    let outcome = run.script("echo \"$WORD\" > /host/said; cd /nowhere").run().unwrap();
    assert!(matches!(outcome.success(), Err(Error::Script { .. })));
    assert_eq!(std::fs::read_to_string(folder.path().join("said")).unwrap(), "it's here\n");
}

#[test]
fn a_kernel_cannot_write_to_a_read_only_disk() {
    let Some(boot) = required(Kernel::under_test()) else { return };
    let folder = tempfile::tempdir().unwrap();
    let disk = folder.path().join("disk.img");
    std::fs::write(&disk, vec![7; 1 << 20]).unwrap();
    let run = Run::new(boot.kernel).disk(&disk, DiskOpts::default().read_only());
    let outcome = run.script("pattern fill /dev/d0 && echo written; sha256sum < /dev/d0").run().unwrap();
    assert!(!outcome.stdout.contains("written"), "{}", outcome.stdout);
    assert_eq!(std::fs::read(&disk).unwrap(), vec![7; 1 << 20]);
    assert!(outcome.stdout.contains(&oracle::golden::sha256(&vec![7; 1 << 20])), "{}", outcome.stdout);
}

#[test]
fn a_kernel_tells_that_it_died() {
    let Some(boot) = required(Kernel::under_test()) else { return };
    let outcome = Run::new(boot.kernel).script("echo c > /proc/sysrq-trigger").run().unwrap();
    assert_eq!(outcome.ending, Ending::Died, "{}", outcome.kernel_log);
    assert!(outcome.kernel_log.contains("panic"), "{}", outcome.kernel_log);
}

#[test]
fn a_kernel_has_an_nbd_export_as_its_disk() {
    let Some(boot) = required(Kernel::under_test()) else { return };
    let folder = tempfile::tempdir().unwrap();
    let (disk, socket) = (folder.path().join("disk.img"), folder.path().join("socket"));
    let run = Run::new(boot.kernel).nbd(&socket, "the disk").script("pattern fill /dev/d0 0 64k 3");
    if boot.kernel == Kernel::Uml {
        return assert!(matches!(run.run(), Err(Error::Unsupported { .. })));
    }
    if let Err(missing) = installed("qemu-nbd", "qemu-utils") {
        return left_out::record("tests of NBD disks", &missing);
    }
    std::fs::write(&disk, vec![0; 1 << 20]).unwrap();
    // It ends by itself when the guest is gone.
    let mut server = Command::new("qemu-nbd");
    server.args(["--format=raw", "--export-name=the disk", "--socket"]).arg(&socket).arg(&disk);
    let mut server = server.spawn().unwrap();
    while !socket.exists() {
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    run.run().unwrap().success().unwrap();
    assert!(server.wait().unwrap().success());
    assert_eq!(oracle::pattern::check(&std::fs::read(&disk).unwrap()[..64 << 10], 0, 3), Ok(()));
}

#[test]
fn a_kernel_tells_disks_apart_by_their_serial_numbers() {
    let Some(boot) = required(Kernel::under_test()) else { return };
    let folder = tempfile::tempdir().unwrap();
    let mut run = Run::new(boot.kernel)
        .script("cat /sys/block/vda/serial; cat /sys/block/sda/device/vpd_pg80 | strings");
    for options in
        [DiskOpts::default().serial("FIRST-DISK"), DiskOpts::default().scsi().serial("SECOND-DISK")]
    {
        run = run.disk(folder.path().join(options.serial.as_ref().unwrap()), options.size_bytes(1 << 20));
    }
    if boot.kernel == Kernel::Uml {
        return assert!(matches!(run.run(), Err(Error::Unsupported { .. })));
    }
    let said = run.run().unwrap().stdout;
    assert!(said.contains("FIRST-DISK") && said.contains("SECOND-DISK"), "{said}");
}

#[test]
fn a_test_without_its_kernel_fails_where_nobody_lists_it() {
    let folder = tempfile::tempdir().unwrap();
    let mut this = Command::new(std::env::current_exe().unwrap());
    this.args(["--exact", "a_power_cut_ends_a_kernel_at_once", "--nocapture"])
        .env("ASHLAR_CACHE", folder.path());

    let alone = this.env_remove(left_out::VARIABLE).output().unwrap();
    assert!(!alone.status.success());
    let said = String::from_utf8_lossy(&alone.stderr);
    assert!(said.contains("cargo xtask oracle fetch"), "{said}");

    let list = folder.path().join("list");
    assert!(this.env(left_out::VARIABLE, &list).output().unwrap().status.success());
    let reasons = left_out::read(&list).unwrap();
    let (reason, tests) = reasons.first_key_value().unwrap();
    assert!(reason.contains("cargo xtask oracle fetch"), "{reason}");
    assert_eq!(tests.len(), 1, "{tests:?}");
}
