//! What a running stack gives up once everything is open (ADR 24): Landlock bounds the files that it may still open, seccomp
//! the system calls that it may make. Both hold for every thread, and for good.

mod calls;

use std::fs;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use landlock::{
    ABI, Access, AccessFs, BitFlags, CompatLevel, Compatible, PathBeneath, PathFd, Ruleset, RulesetAttr,
    RulesetCreatedAttr, Scope,
};
use runtime::Address;
use runtime::os::confine;
use seccompiler::{
    SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
    apply_filter_all_threads,
};

use super::wish::Wish;
use crate::remote;

/// The rights that are handled: newer kernels know more, of which nobody has tried what they do here.
const RIGHTS: ABI = ABI::V6;

/// Folders of the system that are read: what names of hosts mean, what a backtrace says, what kernels tell of disks.
const READ: [&str; 13] = [
    "/proc",
    "/sys",
    "/lib",
    "/lib64",
    "/usr/lib",
    "/usr/lib64",
    "/etc/hosts",
    "/etc/host.conf",
    "/etc/gai.conf",
    "/etc/ld.so.cache",
    "/etc/nsswitch.conf",
    "/etc/resolv.conf",
    "/etc/services",
];

/// The `prctl` that names a thread.
const PR_SET_NAME: u64 = 15;

/// What a stack may still open.
pub struct Reach {
    /// Folders with disks in them: block devices, and files like those that it began with.
    disks: Vec<PathBuf>,
    /// Folders of its own: metadata kept aside, records, the control socket.
    own: Vec<PathBuf>,
    /// Folders with its servers' sockets, and of its trace.
    beside: Vec<PathBuf>,
}

impl Reach {
    /// That of a stack which is run so.
    pub fn of(wish: &Wish, run_dir: &Path, state_dir: &Path, trace: Option<&Path>) -> Reach {
        let members = wish.members.iter().filter(|name| !remote::is_url(name));
        let members = members.filter_map(|name| fs::canonicalize(name).ok());
        let folders = members.filter_map(|path| path.parent().map(Path::to_owned));
        let sockets = wish.addresses.iter().filter_map(|address| match address {
            Address::Unix(path) => Some(path.as_path()),
            Address::Tcp(..) => None,
        });
        let beside = sockets
            .chain(trace)
            .filter_map(|path| std::path::absolute(path).ok()?.parent().map(Path::to_owned));
        Reach {
            disks: [PathBuf::from("/dev")].into_iter().chain(folders).collect(),
            own: [run_dir]
                .into_iter()
                .chain((!wish.read_only).then_some(state_dir))
                .map(Path::to_owned)
                .collect(),
            beside: beside.collect(),
        }
    }

    /// Gives up everything else.
    pub fn keep_to_it(&self) -> io::Result<()> {
        for folder in &self.own {
            let _ = fs::create_dir_all(folder); // where it cannot be made, nothing can be kept there anyway
        }
        let rules: Option<OwnedFd> = self.rules().map_err(|error| io::Error::other(error.to_string()))?;
        let rules =
            rules.ok_or_else(|| io::Error::other("the kernel has no Landlock; Linux 5.13 or later has"))?;
        confine::confine_all_threads(rules.as_fd())
    }

    fn rules(&self) -> Result<Option<OwnedFd>, landlock::RulesetError> {
        use AccessFs::*;
        let read = ReadFile | ReadDir;
        let disk = ReadFile | WriteFile | ReadDir | IoctlDev;
        let own = AccessFs::from_all(RIGHTS) & !BitFlags::from(Execute);
        let beside = ReadFile | WriteFile | Truncate | RemoveFile | MakeSock | MakeReg;
        let mut rules = Ruleset::default()
            .set_compatibility(CompatLevel::BestEffort)
            .handle_access(AccessFs::from_all(RIGHTS))?
            .scope(Scope::Signal)?
            .create()?;
        let ourselves = std::env::current_exe().ok();
        let read_paths = READ.iter().map(PathBuf::from).chain(ourselves);
        let all = read_paths
            .map(|path| (path, read))
            .chain(self.disks.iter().cloned().map(|path| (path, disk)))
            .chain(self.own.iter().cloned().map(|path| (path, own)))
            .chain(self.beside.iter().cloned().map(|path| (path, beside)));
        for (path, rights) in all {
            // What is not there need not be reached.
            let Ok(file) = PathFd::new(&path) else { continue };
            let rights = if path.is_dir() { rights } else { rights & AccessFs::from_file(RIGHTS) };
            rules = rules.add_rule(PathBeneath::new(file, rights))?;
        }
        Ok(rules.into())
    }
}

/// Gives up every system call that serving, and managing what is served, does without. Whoever makes another is told that
/// there is none (ENOSYS), as by a kernel that does not know it; with `trap` the program ends there, naming it.
pub fn keep_to_calls(trap: bool) -> io::Result<()> {
    let failed = |error: &dyn std::fmt::Display| io::Error::other(error.to_string());
    let name_thread = SeccompCondition::new(0, SeccompCmpArgLen::Dword, SeccompCmpOp::Eq, PR_SET_NAME)
        .and_then(|condition| SeccompRule::new(vec![condition]))
        .map_err(|error| failed(&error))?;
    let mut rules: std::collections::BTreeMap<i64, Vec<SeccompRule>> =
        calls::ALLOWED.iter().map(|call| (*call, Vec::new())).collect();
    rules.insert(libc::SYS_prctl, vec![name_thread]);
    let other = match trap {
        true => SeccompAction::Trap,
        false => SeccompAction::Errno(libc::ENOSYS as u32),
    };
    let arch =
        std::env::consts::ARCH.try_into().map_err(|error: seccompiler::BackendError| failed(&error))?;
    let filter =
        SeccompFilter::new(rules, other, SeccompAction::Allow, arch).map_err(|error| failed(&error))?;
    let program: seccompiler::BpfProgram =
        filter.try_into().map_err(|error: seccompiler::BackendError| failed(&error))?;
    if trap {
        confine::name_trapped_calls(calls::name)?;
    }
    apply_filter_all_threads(&program).map_err(|error| failed(&error))
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    const CONFINED: &str = "ASHLAR_TEST_CONFINED";

    /// Gives everything up and tries what is forbidden, in a process of its own: nothing gives it back.
    #[test]
    fn confine_this_process_and_try() {
        let Some(own) = std::env::var_os(CONFINED).map(PathBuf::from) else { return };
        let (go, gone) = std::sync::mpsc::channel::<()>();
        let older = std::thread::spawn(move || {
            let _ = gone.recv();
            fs::read("/etc/passwd").is_err()
        });
        let reach = Reach { disks: vec![PathBuf::from("/dev")], own: vec![own.clone()], beside: Vec::new() };
        if let Err(error) = reach.keep_to_it() {
            println!("no Landlock: {error}");
            return;
        }
        keep_to_calls(false).unwrap();
        drop(go);
        assert!(older.join().unwrap(), "a thread that was there before is confined, too");
        assert!(fs::read("/etc/passwd").is_err() && fs::write("/tmp/ashlar-elsewhere", "x").is_err());
        assert!(fs::write(own.join("kept"), "x").is_ok() && fs::remove_file(own.join("kept")).is_ok());
        let started = Command::new("/bin/true").status().map_err(|error| error.raw_os_error());
        assert!(matches!(started, Err(Some(libc::ENOSYS | libc::EACCES))), "{started:?}");
        println!("\nconfined");
    }

    #[test]
    fn who_is_confined_opens_nothing_elsewhere_and_starts_nothing() {
        let folder = std::env::temp_dir().join(format!("ashlar-confined-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let test = "commands::run::confine::tests::confine_this_process_and_try";
        let mut child = Command::new(std::env::current_exe().unwrap());
        let output = child.args(["--exact", test, "--nocapture"]).env(CONFINED, &folder).output().unwrap();
        let _ = fs::remove_dir_all(&folder);
        let said =
            String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{said}");
        if !said.contains("\nconfined") {
            oracle::left_out::record("what a confined process reaches", &said);
        }
    }

    #[test]
    fn no_call_that_is_named_as_refused_is_allowed() {
        for call in
            [libc::SYS_execve, libc::SYS_ptrace, libc::SYS_io_uring_setup, libc::SYS_mount, libc::SYS_kill]
        {
            assert!(!calls::ALLOWED.contains(&call) && !calls::name(call as i32).contains('/'), "{call}");
        }
    }
}
