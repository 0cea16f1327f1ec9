//! A PC by QEMU's software emulation.
//!
//! Its first serial line is the kernel's log; the second is our standard output and carries the script alone.

use std::ffi::OsString;
use std::path::Path;

use super::{Files, Layout, disk_name};
use crate::run::{Bus, Disk, Run};
use crate::{Boot, Error};

/// `nokaslr` and `mitigations=off` save emulated instructions; expedited RCU makes stopping an array quick; `psi` has
/// /proc/pressure filled.
const KERNEL_WORDS: &str =
    "console=ttyS0 loglevel=6 panic=-1 mitigations=off nokaslr rcupdate.rcu_expedited=1 psi=1";

pub(super) fn layout(run: &Run) -> Result<Layout, Error> {
    let (mut virtio, mut scsi) = (0, 0);
    let disks = run.disks.iter().map(|disk| {
        let (driver, number) = if on_scsi(disk) { ("sd", &mut scsi) } else { ("vd", &mut virtio) };
        *number += 1;
        disk_name(driver, *number - 1)
    });
    Ok(Layout {
        terminal: "/dev/ttyS1",
        modules: "virtio_pci virtio_blk virtio_scsi sd_mod 9pnet_virtio md-mod",
        disks: disks.collect(),
        share: if run.share.is_some() { "9p".into() } else { String::new() },
    })
}

pub(super) fn words(run: &Run, boot: &Boot, files: &Files<'_>) -> Vec<OsString> {
    let memory = run.memory_mib.to_string();
    let plain = ["-accel", "tcg,thread=multi", "-cpu", "max", "-smp", "2", "-m", &memory];
    let quiet = ["-machine", "pc", "-nodefaults", "-nographic", "-no-reboot", "-append", KERNEL_WORDS];
    let mut words: Vec<OsString> = plain.into_iter().chain(quiet).map(OsString::from).collect();
    words.extend(["-kernel".into(), boot.image.clone().into(), "-initrd".into(), files.initramfs.into()]);
    words.extend([
        "-chardev".into(),
        format!("file,id=log,append=on,path={}", escaped(files.kernel_log)).into(),
    ]);
    words.extend(["-serial", "chardev:log", "-serial", "stdio"].map(OsString::from));
    if run.disks.iter().any(on_scsi) {
        words.extend(["-device", "virtio-scsi-pci,id=scsi"].map(OsString::from));
    }
    let mut scsi_id = 0;
    for (number, disk) in run.disks.iter().enumerate() {
        words.extend(["-drive".into(), drive(number, disk).into()]);
        words.extend(["-device".into(), device(number, disk, scsi_id).into()]);
        scsi_id += usize::from(on_scsi(disk));
    }
    if let Some(folder) = &run.share {
        let share =
            format!("local,path={},mount_tag=share,security_model=none,multidevs=remap", escaped(folder));
        words.extend(["-virtfs".into(), share.into()]);
    }
    words
}

fn on_scsi(disk: &Disk) -> bool {
    matches!(disk, Disk::File { options, .. } if options.bus == Bus::Scsi)
}

/// What a disk's bytes are.
fn drive(number: usize, disk: &Disk) -> String {
    let common = format!("if=none,id=d{number},format=raw,cache=writeback");
    match disk {
        Disk::Nbd { socket, export } => format!(
            "{common},file.driver=nbd,file.server.type=unix,file.server.path={},file.export={}",
            escaped(socket),
            export.replace(',', ",,")
        ),
        Disk::File { path, options } => {
            let on = |flag: bool| if flag { "on" } else { "off" };
            format!(
                "{common},file={},file.locking=off,discard=unmap,readonly={},snapshot={}",
                escaped(path),
                on(options.read_only),
                on(options.snapshot)
            )
        }
    }
}

/// What the guest sees of it.
fn device(number: usize, disk: &Disk, scsi_id: usize) -> String {
    let mut device = match on_scsi(disk) {
        true => format!("scsi-hd,bus=scsi.0,channel=0,scsi-id={scsi_id},lun=0,drive=d{number}"),
        false => format!("virtio-blk-pci,drive=d{number}"),
    };
    if let Disk::File { options, .. } = disk
        && let Some(serial) = &options.serial
    {
        device.push_str(&format!(",serial={}", serial.replace(',', ",,")));
    }
    device
}

/// QEMU splits its options at commas; a doubled one stands for itself.
fn escaped(path: &Path) -> String {
    path.display().to_string().replace(',', ",,")
}
