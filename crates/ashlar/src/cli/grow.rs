//! The command line of `ashlar grow`.

use clap::{ArgGroup, Args};

use super::{JournalWord, MemberSize, NewBitmap, NewConsistency, RunDir, parse_member_size};
use crate::text::parse_size;

/// Change what an array that runs looks like
///
/// Changes one thing of the array that runs under NAME, while its clients go on: a bitmap is added or taken away, a mirror
/// gets more or fewer copies, the members give more, a write journal is taken away or served in another mode, a raid5 gets a
/// partial parity log or does without. No data moves. Clients that connect afterwards see a new size.
#[derive(Args, Debug)]
#[command(group(ArgGroup::new("what").required(true).args(["bitmap", "raid_devices", "size", "journal_mode", "remove_journal", "consistency"])))]
pub struct Grow {
    /// What runs
    pub name: String,
    /// A write-intent bitmap is added, or taken away (none)
    #[arg(long, value_enum)]
    pub bitmap: Option<NewBitmap>,
    /// What one bit of the new bitmap stands for [default: 64M, or more where that does not fit]
    #[arg(long, value_name = "BYTES", value_parser = parse_size, requires = "bitmap")]
    pub bitmap_chunk: Option<u64>,
    /// So many copies (raid1): new ones are taken up by spares, those that go must be empty
    #[arg(long, value_name = "N")]
    pub raid_devices: Option<u32>,
    /// What each member gives, more than now: bytes or with a suffix, or max for as much as the smallest has, also where
    /// files or disks have grown
    #[arg(long, value_name = "BYTES", value_parser = parse_member_size)]
    pub size: Option<MemberSize>,
    /// What is new is the same on all members already: it is not synced
    #[arg(long, requires = "size")]
    pub assume_clean: bool,
    /// When writes to an array with a write journal are answered, until it is stopped
    #[arg(long, value_enum, value_name = "MODE")]
    pub journal_mode: Option<JournalWord>,
    /// The write journal is taken away: the members have all that is in it first. `add --journal` gives one
    #[arg(long)]
    pub remove_journal: bool,
    /// What makes a raid5 right after a crash: a partial parity log is added (ppl), or taken away (resync)
    #[arg(long, value_enum, value_name = "POLICY")]
    pub consistency: Option<NewConsistency>,
    /// The array, where several run under NAME
    #[arg(long, value_name = "ARRAY")]
    pub array: Option<String>,
    #[command(flatten)]
    pub run_dir: RunDir,
}
