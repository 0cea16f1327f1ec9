//! Armour: what keeps a process going that others need to get memory free.
//!
//! A file system on a volume of this machine writes its dirty pages to this process; while it does, the kernel may have no
//! memory to give. Each piece can be refused, by the system's rights or its age, and the process serves all the same.

use std::fs;
use std::hint::black_box;
use std::io;

use rustix::mm::{MlockAllFlags, mlockall};
use rustix::process::{Resource, configure_io_flusher_behavior, getrlimit};
use rustix::thread::{CapabilitySet, capabilities};

/// Where the kernel is told whom to kill last.
const OOM_SCORE: &str = "/proc/self/oom_score_adj";

/// Killed never.
const LEAST_OOM_SCORE: i32 = -1000;

/// Stack that the serving thread has touched before anybody is served: many times what was seen to be used.
const STACK_BYTES: usize = 512 << 10;

/// Tells the kernel that what this thread needs memory for is the writing back of others' memory: it neither waits for that
/// nor is slowed down with those who write too fast. Threads that are made later are so from the start; so it is called
/// before there are any.
pub fn become_io_flusher() -> io::Result<()> {
    Ok(configure_io_flusher_behavior(true)?)
}

/// Has the kernel kill any other process first when there is no memory left.
pub fn lower_oom_score() -> io::Result<()> {
    if fs::read_to_string(OOM_SCORE)?.trim() == LEAST_OOM_SCORE.to_string() {
        return Ok(()); // a service manager has seen to it
    }
    fs::write(OOM_SCORE, LEAST_OOM_SCORE.to_string())
}

/// Keeps all memory of the process in memory, and has it there from now on. Called when all that serves was built, on the
/// thread that serves. What is mapped later is kept too if nothing bounds it: past a bound, mapping would fail.
pub fn lock_memory() -> io::Result<()> {
    touch_stack();
    mlockall(MlockAllFlags::CURRENT)?;
    let unbounded = getrlimit(Resource::Memlock).current.is_none();
    let capable = capabilities(None).is_ok_and(|own| own.effective.contains(CapabilitySet::IPC_LOCK));
    if unbounded || capable {
        mlockall(MlockAllFlags::CURRENT | MlockAllFlags::FUTURE)?;
    }
    Ok(())
}

#[inline(never)]
fn touch_stack() {
    black_box(&mut [0_u8; STACK_BYTES]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_locked_is_in_memory() {
        // A machine may forbid it; then it says so, and nothing has changed.
        let locked = || -> u64 {
            let status = fs::read_to_string("/proc/self/status").unwrap();
            let line = status.lines().find(|line| line.starts_with("VmLck:")).unwrap();
            line.split_whitespace().nth(1).unwrap().parse().unwrap()
        };
        match lock_memory() {
            Ok(()) => assert!(locked() > STACK_BYTES as u64 >> 10),
            Err(_) => assert_eq!(locked(), 0),
        }
    }
}
