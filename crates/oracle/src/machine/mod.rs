//! Putting a guest together: its root, its command line, its end.

mod console;
mod qemu;
mod uml;

use std::path::Path;
use std::process::Command;

use crate::error::Named;
use crate::host::mdadm_program;
use crate::prepare::{Archive, pattern_command};
use crate::run::{Disk, Ending, Run};
use crate::{Boot, Cache, Error, Kernel, Outcome, limits, ready};

/// How the guest finds the parts of its machine.
struct Layout {
    /// The device of the terminal that the harness reads.
    terminal: &'static str,
    /// Drivers of the machine, to be loaded first.
    modules: &'static str,
    /// What to mount at /host: a folder of the host (hostfs), `9p`, or nothing.
    share: String,
    /// The kernel's names of the disks in the order of the run.
    disks: Vec<String>,
}

/// Files of one run; the folder goes away with it.
struct Files<'a> {
    initramfs: &'a Path,
    kernel_log: &'a Path,
    folder: &'a Path,
}

/// Boots `run` and waits for its end.
pub(crate) fn run(run: &Run) -> Result<Outcome, Error> {
    let boot = ready(run.kernel)?;
    let folder =
        tempfile::Builder::new().prefix("oracle-").tempdir().named("create", &std::env::temp_dir())?;
    let (initramfs, kernel_log) = (folder.path().join("initramfs"), folder.path().join("kernel.log"));
    prepare_disks(run)?;

    let layout = if run.kernel == Kernel::Uml { uml::layout(run)? } else { qemu::layout(run)? };
    let mut root = std::fs::read(&boot.initramfs).named("read", &boot.initramfs)?;
    root.extend(own_part(run, &layout)?);
    std::fs::write(&initramfs, root).named("write", &initramfs)?;

    let files = Files { initramfs: &initramfs, kernel_log: &kernel_log, folder: folder.path() };
    let mut boots = 1;
    loop {
        std::fs::write(&kernel_log, "").named("create", &kernel_log)?;
        let mut command = command(run, &boot, &files)?;
        let (ending, stdout) = console::watch(&mut command, run.timeout, run.hear)?;
        if ending == Ending::NeverStarted && boots < limits::BOOTS {
            eprintln!("oracle: the guest with {} did not come up; booting it again", run.kernel);
            boots += 1;
            continue;
        }
        let kernel_log = std::fs::read(&kernel_log).named("read", &kernel_log)?;
        let kernel_log = String::from_utf8_lossy(&kernel_log).replace('\r', "");
        return Ok(Outcome { kernel: run.kernel, ending, stdout, kernel_log });
    }
}

fn command(run: &Run, boot: &Boot, files: &Files<'_>) -> Result<Command, Error> {
    let (program, words) = match run.kernel {
        Kernel::Uml => (boot.image.clone(), uml::words(run, files)),
        _ => ("qemu-system-x86_64".into(), qemu::words(run, boot, files)),
    };
    let log =
        std::fs::OpenOptions::new().append(true).open(files.kernel_log).named("open", files.kernel_log)?;
    let mut command = Command::new(program);
    command.args(words).stderr(log);
    // The guest's memory is a file; here it has room where a container's /dev/shm has not.
    command.env("TMPDIR", files.folder);
    Ok(command)
}

/// Makes or resizes the image files that the run gives a size.
fn prepare_disks(run: &Run) -> Result<(), Error> {
    for disk in &run.disks {
        if let Disk::File { path, options } = disk
            && let Some(bytes) = options.size_bytes
        {
            let options = std::fs::OpenOptions::new().write(true).create(true).truncate(false).open(path);
            options.and_then(|file| file.set_len(bytes)).named("resize", path)?;
        }
    }
    Ok(())
}

/// The part of the guest's root that differs from run to run.
fn own_part(run: &Run, layout: &Layout) -> Result<Vec<u8>, Error> {
    let cache = Cache::find();
    let mut root = Archive::default();
    root.program("init", include_bytes!("../../guest/init.sh"));
    root.program("sbin/oracle-kill", include_bytes!("../../guest/oracle-kill"));
    root.host_program("sbin/pattern", &pattern_command(&cache)?)?;
    for program in ["mdadm", "mdmon"] {
        root.host_program(&format!("sbin/{program}"), &mdadm_program(&cache, &run.mdadm, program)?)?;
    }
    for (name, source) in &run.programs {
        root.host_program(&format!("sbin/{name}"), source)?;
    }
    let script = format!("{}\n{}\n", include_str!("../../guest/lib.sh"), run.script);
    root.file("oracle/script", script.as_bytes());
    root.file("oracle/env", environment(run, layout).as_bytes());
    Ok(root.finish())
}

/// The variables of the guest as lines of shell.
fn environment(run: &Run, layout: &Layout) -> String {
    let own = [
        ("ORACLE_TERMINAL", layout.terminal.to_owned()),
        ("ORACLE_MODULES", layout.modules.to_owned()),
        ("ORACLE_SHARE", layout.share.clone()),
        ("ORACLE_DISKS", layout.disks.join(" ")),
        ("ORACLE_LIMIT_S", (run.timeout + limits::ORPHAN_GRACE).as_secs().to_string()),
    ];
    let given = run.variables.iter().map(|(name, value)| (name.as_str(), value.clone()));
    own.into_iter()
        .chain(given)
        .map(|(name, value)| format!("export {name}='{}'\n", value.replace('\'', r"'\''")))
        .collect()
}

/// The kernel's name of the disk with this number under a driver: `vd` and 0 make `vda`.
fn disk_name(driver: &str, number: usize) -> String {
    let letter = char::from(b'a' + u8::try_from(number).expect("at most sixteen disks"));
    format!("{driver}{letter}")
}
