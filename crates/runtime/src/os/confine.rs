//! Confinement: rights that every thread of the process gives up for good.
//!
//! Landlock binds one thread and those that it makes. A stack has threads before it can be confined (disks are opened by
//! looking at other processes, which a confined one may not), so each is interrupted by a signal and confines itself.

use std::backtrace::Backtrace;
use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::mem::zeroed;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr::null_mut;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicI32, AtomicUsize, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::thread::gettid;

/// How long threads may take to answer: they are asleep, or serve.
const PATIENCE: Duration = Duration::from_secs(5);
const LOOK_AGAIN: Duration = Duration::from_millis(1);

/// The rules, the threads that have put them on, and the error number of one that could not.
static RULES: AtomicI32 = AtomicI32::new(-1);
static CONFINED: AtomicUsize = AtomicUsize::new(0);
static FAILED: AtomicI32 = AtomicI32::new(0);

/// Has every thread of the process keep to these rules of Landlock, and all that are made later.
pub fn confine_all_threads(rules: BorrowedFd<'_>) -> io::Result<()> {
    RULES.store(rules.as_raw_fd(), Ordering::SeqCst);
    FAILED.store(0, Ordering::SeqCst);
    let signal = libc::SIGRTMIN();
    // SAFETY: the action is all zeroes but for a handler of the right type, which does nothing but system calls and atomics.
    unsafe {
        let mut action: libc::sigaction = zeroed();
        action.sa_sigaction = confine_on_signal as extern "C" fn(libc::c_int) as usize;
        action.sa_flags = libc::SA_RESTART;
        check(libc::sigaction(signal, &action, null_mut()))?;
    }
    confine_this_thread(); // whoever it makes from now on is confined
    let own = gettid().as_raw_pid();
    let mut done = BTreeSet::from([own]);
    loop {
        let new: Vec<i32> = threads()?.into_iter().filter(|thread| !done.contains(thread)).collect();
        if new.is_empty() {
            break;
        }
        for thread in new {
            done.insert(thread);
            let before = CONFINED.load(Ordering::SeqCst);
            // SAFETY: a signal to a thread of our own, whose handler is in place.
            let sent = unsafe { libc::syscall(libc::SYS_tgkill, libc::getpid(), thread, signal) };
            if sent == 0 {
                wait(thread, before)?;
            }
        }
    }
    match FAILED.load(Ordering::SeqCst) {
        0 => Ok(()),
        errno => Err(io::Error::from_raw_os_error(errno)),
    }
}

/// Waits until a thread has answered, or is gone.
fn wait(thread: i32, before: usize) -> io::Result<()> {
    let begin = Instant::now();
    while CONFINED.load(Ordering::SeqCst) == before && fs::exists(format!("/proc/self/task/{thread}"))? {
        if begin.elapsed() > PATIENCE {
            return Err(io::Error::other(format!("thread {thread} does not answer")));
        }
        sleep(LOOK_AGAIN);
    }
    Ok(())
}

/// The threads of this process. The kernel's own workers for a ring take no signals, and the rights of who submits.
fn threads() -> io::Result<Vec<i32>> {
    let mut threads = Vec::new();
    for entry in fs::read_dir("/proc/self/task")? {
        let entry = entry?;
        let name = fs::read_to_string(entry.path().join("comm")).unwrap_or_default();
        let number = entry.file_name().to_str().and_then(|name| name.parse::<i32>().ok());
        threads.extend(number.filter(|_| !name.starts_with("iou-")));
    }
    Ok(threads)
}

extern "C" fn confine_on_signal(_: libc::c_int) {
    // SAFETY: the place of this thread's error number, which whoever was interrupted may still want to read.
    let errno = unsafe { libc::__errno_location() };
    // SAFETY: as above.
    let before = unsafe { *errno };
    confine_this_thread();
    // SAFETY: as above.
    unsafe { *errno = before };
    CONFINED.fetch_add(1, Ordering::SeqCst);
}

fn confine_this_thread() {
    // SAFETY: two system calls with numbers alone.
    let done = unsafe {
        libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0
            && libc::syscall(libc::SYS_landlock_restrict_self, RULES.load(Ordering::SeqCst), 0) == 0
    };
    if !done {
        let errno = io::Error::last_os_error().raw_os_error().unwrap_or(libc::EPERM);
        FAILED.store(errno, Ordering::SeqCst);
    }
}

static NAMES: OnceLock<fn(i32) -> &'static str> = OnceLock::new();

/// From now on a system call that a filter traps ends the program with its name, by `name`, and a backtrace.
pub fn name_trapped_calls(name: fn(i32) -> &'static str) -> io::Result<()> {
    NAMES.get_or_init(|| name);
    // SAFETY: the action is all zeroes but for a handler of the type that SA_SIGINFO asks for.
    unsafe {
        let mut action: libc::sigaction = zeroed();
        action.sa_sigaction = end_on_trap as extern "C" fn(libc::c_int, *const SysInfo, *const u8) as usize;
        action.sa_flags = libc::SA_SIGINFO | libc::SA_NODEFER;
        check(libc::sigaction(libc::SIGSYS, &action, null_mut()))
    }
}

/// What the kernel says of a trapped call: the head of a `siginfo_t`, as asm-generic/siginfo.h has it.
#[repr(C)]
struct SysInfo {
    signo: libc::c_int,
    errno: libc::c_int,
    code: libc::c_int,
    padding: libc::c_int,
    address: *const u8,
    call: libc::c_int,
    arch: u32,
}

extern "C" fn end_on_trap(_: libc::c_int, info: *const SysInfo, _: *const u8) {
    // SAFETY: the kernel passes the information of the signal that it delivers.
    let call = unsafe { (*info).call };
    let _freely = block::trap::freely(); // what follows allocates
    let name = NAMES.get().map_or("", |name| name(call));
    eprintln!(
        "ashlar: system call {call} ({name}) is not among those that a running stack may use; --armour=trap ends the program here"
    );
    eprintln!("{}", Backtrace::force_capture());
    std::process::abort()
}

fn check(result: libc::c_int) -> io::Result<()> {
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
