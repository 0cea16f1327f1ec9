//! A machine whose memory runs out goes on writing to a file system on a volume that it serves itself: a minute of what
//! `cargo xtask oracle live` does for twenty.
//!
//! It needs an emulated machine, for memory can be made short there and nowhere else. So this runs with `ASHLAR_KERNEL=6.12
//! cargo test -p ashlar --test kernel_live`, and with `cargo xtask oracle all`.

use std::time::Duration;

use oracle::live::{Live, Subject};
use oracle::{Error, Kernel, left_out, required};

/// An emulated machine on a busy one is slow; what waits for itself waits for ever.
const LONGEST: Duration = Duration::from_secs(30);

#[test]
fn a_kernel_without_memory_writes_to_its_own_volume() {
    let (kernel, what) = (Kernel::under_test(), "a file system on this machine while memory runs out");
    if kernel == Kernel::Uml {
        return left_out::note(what, &"it needs an emulated kernel: ASHLAR_KERNEL=6.12");
    }
    let Some(_boot) = required(kernel) else { return };
    let live = Live {
        kernel,
        ashlar: env!("CARGO_BIN_EXE_ashlar").into(),
        subject: Subject::Ashlar,
        words: Vec::new(),
        time: Duration::from_secs(60),
        memory_mib: 384,
        hear: None,
    };
    let report = match live.run() {
        Err(Error::Missing(missing)) => return left_out::record(what, &missing),
        report => report.unwrap(),
    };
    let faults = report.faults(LONGEST);
    assert!(faults.is_empty(), "{faults:#?}\n{}", report.outcome.stdout);
    assert!(report.number("least_available_kib").is_some_and(|kib| kib < 40 << 10), "memory was never short");
}
