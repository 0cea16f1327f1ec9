//! User-mode Linux: the kernel as a process.
//!
//! Its first serial line is our standard output and carries the script alone; its console goes to standard error,
//! which is the kernel's log.

use std::ffi::OsString;

use super::{Files, Layout, disk_name};
use crate::run::{Disk, Run};
use crate::{Error, Kernel};

pub(super) fn layout(run: &Run) -> Result<Layout, Error> {
    let cannot = |what| Err(Error::Unsupported { kernel: Kernel::Uml, what });
    for disk in &run.disks {
        match disk {
            Disk::Nbd { .. } => return cannot("have an NBD export as a disk"),
            Disk::File { options, .. } if options.serial.is_some() => {
                return cannot("give a disk a serial number");
            }
            Disk::File { .. } => {}
        }
    }
    let share = run.share.as_ref().map_or(Ok(String::new()), |folder| {
        let absolute = std::path::absolute(folder);
        absolute.map(|path| path.display().to_string()).map_err(|source| Error::Io {
            action: "find",
            path: folder.clone(),
            source,
        })
    })?;
    let disks = (0..run.disks.len()).map(|number| disk_name("ubd", number)).collect();
    Ok(Layout { terminal: "/dev/ttyS0", modules: "", share, disks })
}

pub(super) fn words(run: &Run, files: &Files<'_>) -> Vec<OsString> {
    let mut words: Vec<OsString> = vec![
        format!("mem={}M", run.memory_mib).into(),
        joined("initrd=", files.initramfs.as_os_str()),
        joined("uml_dir=", files.folder.as_os_str()), // else it leaves folders in the home of whoever runs it
        "con=null".into(),
        "con0=null,fd:2".into(),
        "ssl0=null,fd:1".into(),
        "panic=-1".into(),
    ];
    for (number, disk) in run.disks.iter().enumerate() {
        let Disk::File { path, options } = disk else { unreachable!("refused by the layout") };
        words.push(match (options.snapshot, options.read_only) {
            (true, _) => {
                let overlay = files.folder.join(format!("d{number}.cow"));
                joined(format!("ubd{number}={},", overlay.display()), path.as_os_str())
            }
            (false, true) => joined(format!("ubd{number}r="), path.as_os_str()),
            (false, false) => joined(format!("ubd{number}="), path.as_os_str()),
        });
    }
    words
}

fn joined(name: impl Into<OsString>, value: &std::ffi::OsStr) -> OsString {
    let mut word = name.into();
    word.push(value);
    word
}
