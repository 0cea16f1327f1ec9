//! ext4 and xfs live on a served mirror: a guest mounts them, works on them, and their checkers find nothing.
//!
//! The guest's disk is our NBD server, which needs an emulated machine: user-mode Linux has no network block device of
//! ours to offer. So this runs with `ASHLAR_KERNEL=6.12 cargo test -p ashlar --test kernel_filesystems`, and with
//! `cargo xtask oracle all`.

mod proof;

use std::path::Path;
use std::process::Command;

use oracle::{Kernel, Run, installed, left_out, required};
use proof::Bench;

/// Writes, renames, deletes, syncs, and reads back after the page cache has been dropped.
const WORK: &str = r#"
set -e
mkdir -p /mnt
mount -t FS /dev/d0 /mnt
for round in 1 2 3 4; do
    mkdir /mnt/$round
    for file in 0 1 2 3 4 5 6 7 8 9; do
        dd if=/dev/urandom of=/mnt/$round/$file bs=37k count=7 2>/dev/null
    done
    (cd /mnt/$round && sha256sum ? > sums && mv 9 nine && rm 8 && sync)
    echo 3 > /proc/sys/vm/drop_caches
    (cd /mnt/$round && sed -e '/ [89]$/d' sums | sha256sum -c -s)
done
rm -r /mnt/2
sync
umount /mnt
mount -t FS /dev/d0 /mnt
for round in 1 3 4; do (cd /mnt/$round && sed -e '/ [89]$/d' sums | sha256sum -c -s); done
umount /mnt
echo all is well
"#;

fn lives(file_system: &str, make: &[&str], check: &[&str], kib: u64) {
    let kernel = Kernel::under_test();
    if kernel == Kernel::Uml {
        left_out::note(file_system, &"in a guest needs an emulated kernel: ASHLAR_KERNEL=6.12");
        return;
    }
    let Some(_boot) = required(kernel) else { return };
    for tool in [make[0], check[0], "nbdcopy"] {
        if let Err(missing) = installed(tool, "e2fsprogs xfsprogs libnbd-bin") {
            return left_out::record(file_system, &missing);
        }
    }
    let bench = Bench::new();
    let members = bench.members("m", &[kib + 4096, kib + 4096]);
    bench.create("fs", &["-l", "raid1"], &members);
    let running = bench.run("fs", &[], &members);
    let image = bench.path("fs.img");
    std::fs::File::create(&image).unwrap().set_len(running.connect().size()).unwrap();
    run(make, &image);
    let uri = format!("nbd+unix:///?socket={}", bench.path("fs.sock").display());
    run(&["nbdcopy", &image.display().to_string()], Path::new(&uri));
    let script = WORK.replace("FS", file_system);
    let outcome = Run::new(kernel).nbd(bench.path("fs.sock"), "").script(script).run().unwrap();
    assert!(outcome.stdout.contains("all is well"), "{:?}: {}", outcome.ending, outcome.stdout);
    running.stop();
    std::fs::write(&image, bench.cat(&members)).unwrap();
    run(check, &image);
}

fn run(words: &[&str], subject: &Path) {
    let output = Command::new(words[0]).args(&words[1..]).arg(subject).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{words:?}: {} {said}", String::from_utf8_lossy(&output.stdout));
}

#[test]
fn a_kernel_works_on_ext4_on_a_served_mirror() {
    lives("ext4", &["mkfs.ext4", "-q", "-F"], &["e2fsck", "-f", "-n"], 32 << 10);
}

#[test]
fn a_kernel_works_on_xfs_on_a_served_mirror() {
    lives("xfs", &["mkfs.xfs", "-q", "-f"], &["xfs_repair", "-n"], 310 << 10);
}
