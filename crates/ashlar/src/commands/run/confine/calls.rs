//! The system calls of a running stack, and names for those that it has no use for.

use libc::*;

/// What serving and managing take. Not among them: starting programs, making rings, mounting, looking into other processes,
/// changing who one is, loading code into the kernel.
pub const ALLOWED: &[i64] = &[
    // reading and writing
    SYS_read,
    SYS_write,
    SYS_readv,
    SYS_writev,
    SYS_pread64,
    SYS_pwrite64,
    SYS_preadv,
    SYS_pwritev,
    SYS_preadv2,
    SYS_pwritev2,
    SYS_lseek,
    SYS_fsync,
    SYS_fdatasync,
    SYS_fallocate,
    SYS_ftruncate,
    SYS_io_uring_enter,
    SYS_io_uring_register,
    // files: what Landlock lets through
    SYS_openat,
    SYS_close,
    SYS_fstat,
    SYS_newfstatat,
    SYS_statx,
    SYS_statfs,
    SYS_fstatfs,
    SYS_fcntl,
    SYS_flock,
    SYS_ioctl,
    SYS_getdents64,
    SYS_readlinkat,
    SYS_unlinkat,
    SYS_renameat,
    SYS_renameat2,
    SYS_mkdirat,
    SYS_faccessat,
    SYS_faccessat2,
    SYS_getcwd,
    SYS_dup,
    SYS_dup3,
    SYS_pipe2,
    SYS_fchmod,
    SYS_fchmodat,
    SYS_umask,
    // memory
    SYS_mmap,
    SYS_munmap,
    SYS_mremap,
    SYS_mprotect,
    SYS_madvise,
    SYS_brk,
    SYS_mlock,
    SYS_mlock2,
    SYS_mlockall,
    SYS_munlock,
    // threads, and their end
    SYS_clone,
    SYS_clone3,
    SYS_futex,
    SYS_set_robust_list,
    SYS_rseq,
    SYS_sched_yield,
    SYS_sched_getaffinity,
    SYS_gettid,
    SYS_getpid,
    SYS_getppid,
    SYS_getuid,
    SYS_geteuid,
    SYS_getgid,
    SYS_getegid,
    SYS_exit,
    SYS_exit_group,
    SYS_wait4,
    SYS_waitid,
    SYS_prlimit64,
    SYS_getrusage,
    SYS_sysinfo,
    SYS_uname,
    SYS_capget,
    SYS_membarrier,
    // signals: to this process
    SYS_rt_sigaction,
    SYS_rt_sigprocmask,
    SYS_rt_sigreturn,
    SYS_sigaltstack,
    SYS_tgkill,
    SYS_restart_syscall,
    // time and chance
    SYS_nanosleep,
    SYS_clock_nanosleep,
    SYS_clock_gettime,
    SYS_clock_getres,
    SYS_gettimeofday,
    SYS_getrandom,
    // sockets
    SYS_socket,
    SYS_socketpair,
    SYS_connect,
    SYS_bind,
    SYS_listen,
    SYS_accept,
    SYS_accept4,
    SYS_getsockname,
    SYS_getpeername,
    SYS_setsockopt,
    SYS_getsockopt,
    SYS_sendto,
    SYS_recvfrom,
    SYS_sendmsg,
    SYS_recvmsg,
    SYS_sendmmsg,
    SYS_recvmmsg,
    SYS_shutdown,
    // waiting for many
    SYS_epoll_create1,
    SYS_epoll_ctl,
    SYS_epoll_pwait,
    SYS_epoll_pwait2,
    SYS_eventfd2,
    SYS_ppoll,
    // the older names, which this processor still has
    #[cfg(target_arch = "x86_64")]
    SYS_open,
    #[cfg(target_arch = "x86_64")]
    SYS_stat,
    #[cfg(target_arch = "x86_64")]
    SYS_lstat,
    #[cfg(target_arch = "x86_64")]
    SYS_access,
    #[cfg(target_arch = "x86_64")]
    SYS_readlink,
    #[cfg(target_arch = "x86_64")]
    SYS_unlink,
    #[cfg(target_arch = "x86_64")]
    SYS_rmdir,
    #[cfg(target_arch = "x86_64")]
    SYS_rename,
    #[cfg(target_arch = "x86_64")]
    SYS_mkdir,
    #[cfg(target_arch = "x86_64")]
    SYS_poll,
    #[cfg(target_arch = "x86_64")]
    SYS_epoll_wait,
    #[cfg(target_arch = "x86_64")]
    SYS_time,
];

/// The name of a call that is refused, if it is one that somebody might try.
pub fn name(call: i32) -> &'static str {
    let known = KNOWN.iter().find(|(number, _)| *number == i64::from(call));
    known.map_or("see asm/unistd.h", |(_, name)| name)
}

macro_rules! known {
    ($($number:ident $name:literal),* $(,)?) => { &[$(($number, $name)),*] };
}

const KNOWN: &[(i64, &str)] = known![
    SYS_execve "execve", SYS_execveat "execveat", SYS_ptrace "ptrace", SYS_mount "mount", SYS_umount2 "umount2",
    SYS_io_uring_setup "io_uring_setup", SYS_kill "kill", SYS_tkill "tkill", SYS_prctl "prctl", SYS_bpf "bpf",
    SYS_setuid "setuid", SYS_setgid "setgid", SYS_chroot "chroot", SYS_unshare "unshare", SYS_setns "setns",
    SYS_linkat "linkat", SYS_symlinkat "symlinkat", SYS_truncate "truncate", SYS_fchown "fchown", SYS_fchownat "fchownat",
    SYS_utimensat "utimensat", SYS_mknodat "mknodat", SYS_copy_file_range "copy_file_range", SYS_sendfile "sendfile",
    SYS_splice "splice", SYS_tee "tee", SYS_fadvise64 "fadvise64", SYS_readahead "readahead", SYS_sync "sync",
    SYS_syncfs "syncfs", SYS_sync_file_range "sync_file_range", SYS_memfd_create "memfd_create", SYS_mincore "mincore",
    SYS_msync "msync", SYS_munlockall "munlockall", SYS_pidfd_open "pidfd_open", SYS_pidfd_send_signal "pidfd_send_signal",
    SYS_sched_setaffinity "sched_setaffinity", SYS_setpriority "setpriority", SYS_getpriority "getpriority",
    SYS_ioprio_set "ioprio_set", SYS_setsid "setsid", SYS_setpgid "setpgid", SYS_chdir "chdir", SYS_fchdir "fchdir",
    SYS_inotify_init1 "inotify_init1", SYS_timerfd_create "timerfd_create", SYS_signalfd4 "signalfd4",
    SYS_getgroups "getgroups", SYS_getpgid "getpgid", SYS_getsid "getsid", SYS_openat2 "openat2", SYS_close_range "close_range",
    SYS_process_vm_readv "process_vm_readv", SYS_process_vm_writev "process_vm_writev", SYS_keyctl "keyctl",
    SYS_landlock_restrict_self "landlock_restrict_self", SYS_seccomp "seccomp", SYS_getcpu "getcpu",
];
