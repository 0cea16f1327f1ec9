//! Every number that bounds a run, with its reason.

use std::time::Duration;

/// How long one run may take unless it asks for another time. UML needs two seconds and an emulated kernel six;
/// a resync of a small array adds a few more.
pub const RUN_TIMEOUT: Duration = Duration::from_secs(300);

/// How much longer than its run a guest lives if nobody ends it. The harness kills a guest in time; this is for
/// guests whose harness was killed itself, so it only has to be long enough never to come first.
pub const ORPHAN_GRACE: Duration = Duration::from_secs(30);

/// Memory of the guest in MiB. The packages unpacked in its root take about 40, and raid6 keeps a stripe cache.
pub const GUEST_MEMORY_MIB: u32 = 512;

/// Lines of output that an error quotes. Enough for the failing command, short enough for a terminal.
pub const QUOTED_LINES: usize = 25;

/// UML numbers its disks with one letter and the guest's names with one digit.
pub const DISKS_MAX: usize = 16;

/// A guest that dies before its script has begun is booted again so often: on a machine under load an emulated one loses
/// its timer now and then on its way up, and nothing has touched the disks yet.
pub const BOOTS: u32 = 3;
