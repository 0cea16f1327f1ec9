//! A kernel that forbids, interrupts, or lets a core sleep. System call filters are put on a thread of the test's own: what
//! that thread makes inherits them, and nobody else does.

use std::fs::File;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::mpsc;
use std::thread;

use block::{Arena, Device, MAX_BUFFER, Request, Sectors};
use runtime::os::{Choice, OpenMode, Os};
use runtime::{Driver, Runtime, Wait};
use rustix::time::{ClockId, clock_gettime};

/// A file to work with, and its folder, which is removed when the test has ended well.
fn member(name: &str) -> (PathBuf, PathBuf) {
    let folder = std::env::temp_dir().join(format!("ashlar-kernel-{name}-{}", std::process::id()));
    std::fs::create_dir(&folder).unwrap();
    let path = folder.join("m");
    File::create(&path).unwrap().set_len(1 << 20).unwrap();
    (folder, path)
}

/// From now on, on this thread and those that it makes, the system call `number` ends in `action`. A listener, if it is
/// asked for; `None` where the kernel grants none.
fn filter(number: libc::c_long, action: u32, flags: libc::c_ulong) -> Option<libc::c_int> {
    const LOAD: u16 = (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16;
    const JUMP_IF_EQUAL: u16 = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
    const RETURN: u16 = (libc::BPF_RET | libc::BPF_K) as u16;
    let mut program = [
        libc::sock_filter { code: LOAD, jt: 0, jf: 0, k: 0 }, // the number of the call
        libc::sock_filter { code: JUMP_IF_EQUAL, jt: 0, jf: 1, k: number as u32 },
        libc::sock_filter { code: RETURN, jt: 0, jf: 0, k: action },
        libc::sock_filter { code: RETURN, jt: 0, jf: 0, k: libc::SECCOMP_RET_ALLOW },
    ];
    let program = libc::sock_fprog { len: program.len() as u16, filter: program.as_mut_ptr() };
    // SAFETY: plain numbers.
    let silent = unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) };
    assert_eq!(silent, 0);
    // SAFETY: the program and its instructions live for the call.
    let set =
        unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, flags, &raw const program) };
    (set >= 0).then_some(set as libc::c_int)
}

/// Runs `test` on a thread of its own.
fn apart(test: impl FnOnce() + Send + 'static) {
    thread::spawn(test).join().unwrap();
}

#[test]
fn where_io_uring_is_forbidden_threads_take_its_place_and_say_so() {
    apart(|| {
        let forbidden = libc::SECCOMP_RET_ERRNO | libc::EPERM as u32;
        if filter(libc::SYS_io_uring_setup, forbidden, 0).is_none() {
            return println!("left out: no system call filters here");
        }
        let os = Os::new(Choice::Auto).unwrap();
        assert!(!os.is_uring());
        let said = os.why();
        assert!(
            said.starts_with("threads, because io_uring cannot be used here: io_uring_setup: "),
            "{said}"
        );
        assert!(said.contains("not permitted"), "{said}");
        assert!(Os::new(Choice::Uring).is_err(), "what is asked for by name is not replaced");

        let (folder, path) = member("forbidden");
        let runtime = Runtime::new(os.clone());
        let arena = Arena::new(MAX_BUFFER);
        let opened = os.open(&path, OpenMode::Write).unwrap();
        runtime.block_on(async {
            let out = arena.take(512).unwrap();
            out.copy_from_slice(0, &[7; 512]);
            opened.device.start(Request::write(Sectors(9), out).with_fua()).await.unwrap();
            let back = arena.take_zeroed(512).unwrap();
            opened.device.start(Request::read(Sectors(9), back.clone())).await.unwrap();
            let mut bytes = [0; 512];
            back.copy_to_slice(0, &mut bytes);
            assert_eq!(bytes, [7; 512]);
        });
        drop((opened, runtime));
        std::fs::remove_dir_all(folder).unwrap();
    });
}

/// How often the flush is interrupted.
const INTERRUPTIONS: u32 = 3;

/// Answers the system calls that a filter hands over: so many are interrupted, the next one goes on. How many came.
fn interrupt(listener: libc::c_int) -> u32 {
    for came in 1.. {
        // SAFETY: all zeroes is a value of both, and what the kernel asks for.
        let (mut asked, mut answer): (libc::seccomp_notif, libc::seccomp_notif_resp) =
            unsafe { (std::mem::zeroed(), std::mem::zeroed()) };
        // SAFETY: the kernel fills in what it is given, which lives for the call.
        let got = unsafe { libc::ioctl(listener, libc::SECCOMP_IOCTL_NOTIF_RECV, &raw mut asked) };
        assert_eq!(got, 0);
        answer.id = asked.id;
        match came <= INTERRUPTIONS {
            true => answer.error = -libc::EINTR,
            false => answer.flags = libc::SECCOMP_USER_NOTIF_FLAG_CONTINUE as u32,
        }
        // SAFETY: as above.
        let sent = unsafe { libc::ioctl(listener, libc::SECCOMP_IOCTL_NOTIF_SEND, &raw mut answer) };
        assert_eq!(sent, 0);
        if came > INTERRUPTIONS {
            return came;
        }
    }
    unreachable!("it ends with the last interruption")
}

#[test]
fn an_interrupted_flush_is_repeated_and_not_taken_for_a_failure() {
    apart(|| {
        let (hand_over, taken) = mpsc::channel();
        let supervisor = thread::spawn(move || taken.recv().map(interrupt).unwrap_or(0));
        let ask = libc::SECCOMP_FILTER_FLAG_NEW_LISTENER;
        let Some(listener) = filter(libc::SYS_fdatasync, libc::SECCOMP_RET_USER_NOTIF, ask) else {
            return println!("left out: no system call filters with listeners here");
        };
        let (folder, path) = member("interrupted");
        let os = Os::new(Choice::Auto).unwrap();
        let runtime = Runtime::new(os.clone());
        let opened = os.open(&path, OpenMode::Write).unwrap(); // its helper thread inherits the filter
        hand_over.send(listener).unwrap();
        let flushed = runtime.block_on(opened.device.start(Request::flush()));
        assert_eq!(flushed, Ok(()));
        assert_eq!(supervisor.join().unwrap(), INTERRUPTIONS + 1);
        drop((opened, runtime));
        std::fs::remove_dir_all(folder).unwrap();
    });
}

/// Processor time that this thread has used, in nanoseconds.
fn used_ns() -> i64 {
    let used = clock_gettime(ClockId::ThreadCPUTime);
    used.tv_sec * 1_000_000_000 + used.tv_nsec
}

/// Processor time that waiting for nothing costs.
fn cost_of_waiting(os: &Rc<Os>) -> i64 {
    let before = used_ns();
    os.turn(Wait::Until(os.now().after_ms(3)));
    used_ns() - before
}

/// docs/adr/0008: seen from outside, by the processor time that a wait takes.
#[test]
fn a_core_looks_again_after_something_has_happened_and_sleeps_when_nothing_does() {
    let Ok(os) = Os::new(Choice::Uring) else { return println!("left out: no io_uring here") };
    if thread::available_parallelism().is_ok_and(|count| count.get() == 1) {
        return println!("left out: one processor, where a core sleeps at once");
    }
    let (folder, path) = member("sleeps");
    let runtime = Runtime::new(os.clone());
    let opened = os.open(&path, OpenMode::Write).unwrap();
    let (mut looking, mut sleeping) = (Vec::new(), Vec::new());
    for _ in 0..81 {
        runtime.block_on(opened.device.start(Request::flush())).unwrap();
        looking.push(cost_of_waiting(&os));
        sleeping.push(cost_of_waiting(&os));
    }
    // The middle of many: others use the processors too.
    looking.sort_unstable();
    sleeping.sort_unstable();
    let (looking, sleeping) = (looking[40], sleeping[40]);
    println!("a wait costs {looking} ns after something has happened, {sleeping} ns when nothing has");
    assert!(
        looking - sleeping >= 25_000,
        "{looking} ns beside {sleeping} ns: it does not look for 50 microseconds"
    );
    assert!(sleeping < 100_000, "{sleeping} ns of three milliseconds: it does not sleep");
    drop((opened, runtime));
    std::fs::remove_dir_all(folder).unwrap();
}
