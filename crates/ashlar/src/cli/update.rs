//! The command line of `ashlar update`.

use std::path::PathBuf;

use clap::Args;

use super::Json;

/// Change the metadata of an array that does not run
///
/// Changes what the superblocks of the MEMBERs say, all of them and each durably, as mdadm's
/// `--assemble --update=` does. The metadata is kept aside before the first write (see `ashlar undo`);
/// update counters do not move. All members of the array have to be named.
///
/// KEY is one of:
///   name=NAME           another name, prefixed with this host's, or the one of homehost= (1.x)
///   homehost=HOST       another host in the name; `none` for no host (0.90: in half of the uuid)
///   uuid[=UUID]         another uuid, random if none is given; the bitmap's follows
///   resync              everything is synced when the array is run, also with a bitmap
///   bbl                 room for a bad-block log, on members that have none (1.x)
///   no-bbl              no bad-block log; refused where it is not empty (1.x)
///   force-no-bbl        the same, and what it lists is forgotten (1.x)
///   no-bitmap           no bitmap
///   ppl                 a partial parity log: raid5 without bitmap or journal (1.x)
///   no-ppl              no partial parity log (1.x)
///   no-journal          its write journal is lost, and with it what was last written: everything is synced when the array
///                       is run (1.x)
///   layout-original, layout-alternate, layout-unspecified
///                       which layout a raid0 has, or that nobody knows (1.x)
///   devicesize          members have grown: record what they have now (1.1, 1.2)
///   super-minor=N       the number of the md device (0.90)
///   summaries           the counts of devices, made anew (0.90)
///   byteorder           from a machine of the other byte order (0.90); alone
///   metadata[=1.0]      from 0.90 to 1.0, clean and without a bitmap; alone
///   write-mostly=MEMBER, readwrite=MEMBER
///                       read from this member of a raid1 only in need, or like from all
///   failfast=MEMBER, nofailfast=MEMBER
///                       give up on this member of a raid1 or raid10 at its first error, or not
#[derive(Args, Debug)]
#[command(verbatim_doc_comment)]
pub struct Update {
    /// All disks of one array, in any order
    #[arg(required = true, value_name = "MEMBER")]
    pub members: Vec<String>,
    /// What to change; can be repeated
    #[arg(long = "set", required = true, value_name = "KEY[=VALUE]")]
    pub sets: Vec<String>,
    /// Say what would be written, and write nothing
    #[arg(long)]
    pub plan: bool,
    /// Go on with members missing: they do not belong to the array any more, or are stale, if they come back
    #[arg(long)]
    pub degraded: bool,
    /// Use remote members over TCP, and promise that nobody else does
    #[arg(long)]
    pub sole_writer: bool,
    /// Where metadata is kept aside [default: $XDG_STATE_HOME/ashlar; /var/lib/ashlar for root]
    #[arg(long, value_name = "DIR")]
    pub state_dir: Option<PathBuf>,
    #[command(flatten)]
    pub json: Json,
}
