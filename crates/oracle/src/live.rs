//! Forward progress, live: a file system of a machine on a volume that the same machine serves, while its memory runs out.
//!
//! The guest has little memory and no swap. A cache with write-back lies on a raid5 of three disks; its volume is a file (by
//! our FUSE server, or by another one on top of our NBD server), the file is a loop device, and that holds ext4. Writers fill
//! the page cache with dirty pages, and a hog takes all memory there is, again and again: the kernel gets it only by writing
//! those pages, through the server. What is looked for is a time in which nothing goes on.

mod ground;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::prepare::load_command;
use crate::{Cache, DiskOpts, Error, Kernel, Outcome, Run};

/// Time for a guest to come up, to make its file system, and to end.
const BESIDE: Duration = Duration::from_secs(600);

/// Who shows the volume as a file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Subject {
    /// Ours.
    Ashlar,
    /// libnbd's, a client of our NBD server.
    Nbdfuse,
    /// QEMU's storage daemon, a client of our NBD server.
    Qsd,
    /// Nobody: the loop device lies on a disk, so that what is seen is the kernel's own.
    Disk,
}

/// What is to be run.
#[derive(Clone, Debug)]
pub struct Live {
    /// Under which kernel.
    pub kernel: Kernel,
    /// The program.
    pub ashlar: PathBuf,
    /// Who shows the file.
    pub subject: Subject,
    /// More words for `ashlar run`.
    pub words: Vec<String>,
    /// How long the writers write.
    pub time: Duration,
    /// Memory of the guest.
    pub memory_mib: u32,
    /// Hears what the guest says, line by line.
    pub hear: Option<fn(&str)>,
}

/// What was seen.
#[derive(Clone, Debug)]
pub struct Report {
    /// How the guest ended.
    pub outcome: Outcome,
    /// What the guest measured, by name.
    pub results: BTreeMap<String, String>,
    /// Tasks of which the kernel said that they wait for long.
    pub hung_tasks: Vec<String>,
    /// Whom the kernel killed for want of memory.
    pub killed: Vec<String>,
}

impl Subject {
    /// As the command line has it.
    pub fn name(self) -> &'static str {
        match self {
            Subject::Ashlar => "ashlar",
            Subject::Nbdfuse => "nbdfuse",
            Subject::Qsd => "qsd",
            Subject::Disk => "disk",
        }
    }

    /// Its program, and the package that has it.
    fn program(self) -> Option<(&'static str, &'static str)> {
        match self {
            Subject::Ashlar | Subject::Disk => None,
            Subject::Nbdfuse => Some(("nbdfuse", "nbdfuse")),
            Subject::Qsd => Some(("qemu-storage-daemon", "qemu-system-common")),
        }
    }
}

impl Live {
    /// Boots, and returns when the guest has ended, or was killed because it came to no end.
    pub fn run(&self) -> Result<Report, Error> {
        let folder = tempfile::Builder::new().prefix("live-").tempdir();
        let folder = folder.map_err(|error| ground::failed("create", Path::new("a folder"), error))?;
        let programs = ground::programs(folder.path(), &self.ashlar, self.subject.program())?;
        let members = ground::members(folder.path(), &self.ashlar)?;
        let outcome = Run::new(self.kernel)
            .disk(programs, DiskOpts::default().snapshot())
            .disks(members, &DiskOpts::default())
            .program("load", load_command(&Cache::find())?)
            .variable("LIVE_SECONDS", self.time.as_secs().to_string())
            .variable("LIVE_SUBJECT", self.subject.name())
            .variable("LIVE_WORDS", self.words.join(" "))
            .variable("LIVE_WRITERS", "3")
            .variable("LIVE_MIB", "96")
            .variable("LIVE_LEAVE_MIB", "10")
            .memory_mib(self.memory_mib)
            .timeout(self.time + BESIDE)
            .script(include_str!("../guest/live.sh"));
        let outcome = match self.hear {
            Some(hear) => outcome.hear(hear),
            None => outcome,
        };
        Ok(Report::of(outcome.run()?))
    }
}

impl Report {
    fn of(outcome: Outcome) -> Report {
        let results = outcome.stdout.lines().filter_map(|line| {
            let (name, value) = line.strip_prefix("result ")?.split_once('=')?;
            Some((name.to_owned(), value.to_owned()))
        });
        let log = |mark: &str| -> Vec<String> {
            let lines = outcome.kernel_log.lines().filter(|line| line.contains(mark));
            lines.map(|line| line.split_once("] ").map_or(line, |(_, text)| text).trim().to_owned()).collect()
        };
        let (hung_tasks, killed) = (log("blocked for more than"), log("Killed process"));
        Report { results: results.collect(), hung_tasks, killed, outcome }
    }

    /// A number that the guest measured.
    pub fn number(&self, name: &str) -> Option<u64> {
        self.results.get(name)?.parse().ok()
    }

    /// What is wrong with it: nothing if everything went on, and everything was there at the end.
    pub fn faults(&self, longest: Duration) -> Vec<String> {
        let mut faults = Vec::new();
        if self.outcome.status() != Some(0) {
            faults.push(format!("the guest {}", self.outcome.ending));
        }
        match self.number("longest_stall_ms") {
            Some(stall) if u128::from(stall) > longest.as_millis() => {
                faults.push(format!("nothing went on for {stall} ms"));
            }
            Some(_) => {}
            None => faults.push("the writers came to no end".to_owned()),
        }
        for name in ["writers", "fsck", "stopped"] {
            match self.results.get(name).map(String::as_str) {
                Some("0") => {}
                other => faults.push(format!("{name} ended with {}", other.unwrap_or("nothing"))),
            }
        }
        faults.extend(self.hung_tasks.iter().cloned());
        faults.extend(self.killed.iter().filter(|line| !line.contains("(load)")).cloned());
        faults
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Ending;

    #[test]
    fn a_report_names_what_went_wrong() {
        let outcome = |stdout: &str, kernel_log: &str, ending| Outcome {
            kernel: Kernel::K6_12,
            ending,
            stdout: stdout.to_owned(),
            kernel_log: kernel_log.to_owned(),
        };
        let good = "result longest_stall_ms=900\nresult writers=0\nresult fsck=0\nresult stopped=0\n";
        let log = "[   10.0] Out of memory: Killed process 99 (load) total-vm:1kB\n";
        let second = Duration::from_secs(1);
        let report = Report::of(outcome(good, log, Ending::Exited(0)));
        assert_eq!((report.faults(second), report.killed.len()), (Vec::new(), 1));
        assert_eq!(report.faults(second / 2), ["nothing went on for 900 ms"]);
        let log = "[  9.0] INFO: task loop0:5 blocked for more than 30 seconds.\n[ 9.1] Killed process 7 (ashlar) x\n";
        let faults = Report::of(outcome("10 s: 5 MiB\n", log, Ending::TimedOut)).faults(second);
        assert_eq!(faults.len(), 7, "{faults:?}");
    }
}
