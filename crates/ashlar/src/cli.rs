//! The command line, defined once: parsing, help, man pages and completions are all made from this.

mod armour;
mod cache;
mod grow;
mod monitor;
mod servant;
mod update;
mod watch;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::text::parse_size;

pub use armour::{Armour, Piece};
pub use cache::{
    Cache, CacheAttach, CacheCheck, CacheCommand, CacheCreate, CacheDelete, CacheDetach, CacheDump,
    CacheFlush, CacheGrow, CacheMode, CacheSet, CacheStats, CacheVolume, NewMode, NewReplacement,
};
pub use grow::Grow;
pub use monitor::{Monitor, Telling};
pub use servant::{Servant, ServantWork};
pub use update::Update;
pub use watch::Watch;

/// Linux RAID from user space: opens, serves and repairs md (mdadm) arrays on the same disks, without a kernel module.
/// Caches and volumes of bcache are opened, served and checked as well.
///
/// A MEMBER is a file, a block device, or a URL of a remote disk: nbd://HOST[:PORT]/EXPORT or
/// nbd+unix:///EXPORT?socket=PATH. Nothing is ever forced: each risk has a word of its own, and the error that asks
/// for it says which. Exit status: 0 done, 1 failed, 2 wrong usage.
#[derive(Parser, Debug)]
#[command(
    name = "ashlar",
    version,
    max_term_width = 100,
    subcommand_required = true,
    arg_required_else_help = true
)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,

    /// How members are read and written
    #[arg(long, global = true, value_enum, default_value_t = Driver::Auto, hide_default_value = true)]
    pub driver: Driver,
}

/// How members are read and written.
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub enum Driver {
    /// io_uring where it works, threads otherwise
    Auto,
    /// io_uring, or an error
    Uring,
    /// A fixed crew of threads
    Threads,
}

/// The commands.
#[derive(Subcommand, Debug)]
pub enum Command {
    Examine(Examine),
    Cat(Cat),
    Create(Create),
    Cache(Cache),
    Run(Run),
    Undo(Undo),
    Update(Update),
    Status(Status),
    Watch(Watch),
    Monitor(Monitor),
    /// Take a member out of use, as if it had failed
    Fail(OfMember),
    /// Let go of a failed member or a spare
    Remove(OfMember),
    Add(Add),
    Replace(Replace),
    Grow(Grow),
    Scrub(Scrub),
    Sync(Sync),
    Wait(Wait),
    Stop(Stop),
    Demo(Demo),
    #[command(hide = true)]
    Servant(Servant),
    #[command(hide = true)]
    Generate(Generate),
}

/// How members are opened when they are only read.
#[derive(Args, Debug)]
pub struct Reading {
    /// Read members even while another process or the kernel uses them: what is read may be out of date
    #[arg(long)]
    pub live: bool,
}

/// Which set of members is good enough.
#[derive(Args, Debug, Clone, Default)]
pub struct Lenience {
    /// Layout of a raid0 that does not say which one it has
    #[arg(long, value_enum)]
    pub layout: Option<Layout>,
    /// Members are missing, or blocks are listed as bad, and the rest was not in sync: take what parity says of them; some of it
    /// may be wrong
    #[arg(long)]
    pub dirty_degraded: bool,
    /// Use members that are out of date where nothing newer holds their place; parts of the content may be old
    #[arg(long)]
    pub accept_stale: bool,
}

/// The two ways in which chunks go round the members of a raid0 whose members differ in size.
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub enum Layout {
    /// As kernels before 3.14 did
    Original,
    /// As kernels from 3.14 on do
    Alternate,
}

/// Prints facts in a form for programs.
#[derive(Args, Debug, Clone, Copy)]
pub struct Json {
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// Show what disks say they are, and what arrays they make
///
/// Shows what each MEMBER says it is, then what arrays they make together: who sits where, who was left out and why,
/// what forbids reading or writing. Caches and backing devices of bcache are shown with the volumes that they make. Never
/// writes a byte.
#[derive(Args, Debug)]
pub struct Examine {
    /// Disks to look at
    #[arg(required = true, value_name = "MEMBER")]
    pub members: Vec<String>,
    #[command(flatten)]
    pub reading: Reading,
    #[command(flatten)]
    pub json: Json,
}

/// Write the content of a volume to standard output
///
/// Works out from the MEMBERs, given in any order, what arrays they make, and what volumes bcache makes of them or of the
/// arrays, and writes the content of one to standard output. Never writes a byte to a member: whatever would be written stays in memory. Members may be missing as long as
/// the data is all there; a warning says so.
#[derive(Args, Debug)]
pub struct Cat {
    /// The disks, in any order
    #[arg(required = true, value_name = "MEMBER")]
    pub members: Vec<String>,
    /// Print the names of the volumes that the members make, one a line
    #[arg(long, conflicts_with_all = ["volume", "offset", "length"])]
    pub list: bool,
    /// The volume to write, by its name as --list prints it
    #[arg(long, value_name = "NAME")]
    pub volume: Option<String>,
    /// Where to begin
    #[arg(long, value_name = "BYTES", value_parser = parse_size, default_value = "0")]
    pub offset: u64,
    /// How much to write; everything if not given
    #[arg(long, value_name = "BYTES", value_parser = parse_size)]
    pub length: Option<u64>,
    #[command(flatten)]
    pub lenience: Lenience,
    #[command(flatten)]
    pub reading: Reading,
    /// With --list: print JSON
    #[arg(long, requires = "list")]
    pub json: bool,
}

/// Make a new array
///
/// Makes a new array out of the MEMBERs, in this order, exactly as mdadm would. A MEMBER may be the word `missing`.
/// Refuses members that hold something, and says what they hold.
#[derive(Args, Debug)]
pub struct Create {
    /// The array's name
    pub name: String,
    /// Disks in the order of their slots; `missing` leaves a slot empty
    #[arg(required = true, value_name = "MEMBER")]
    pub members: Vec<String>,
    /// RAID level
    #[arg(long, short, value_enum)]
    pub level: NewLevel,
    /// Chunk size [default: 512K; linear: what members are rounded down to, default none]
    #[arg(long, value_name = "BYTES", value_parser = parse_size)]
    pub chunk: Option<u64>,
    /// What each member gives, where it keeps data more than once; `max`, as without it: as much as the smallest has
    #[arg(long, value_name = "BYTES", value_parser = parse_member_size)]
    pub size: Option<MemberSize>,
    /// Layout, by mdadm's names: raid5 and raid6 left-symmetric and its like [default: left-symmetric]; raid10 near=N,
    /// far=N, offset=N (or n2, f2, o2) with N copies [default: near=2]; raid0 original, alternate [default: original]
    #[arg(long, value_name = "NAME")]
    pub layout: Option<String>,
    /// A write-intent bitmap: after a crash only what it marks is synced
    #[arg(long, value_enum, default_value = "none")]
    pub bitmap: NewBitmap,
    /// What one bit of the bitmap stands for [default: 64M, or more where that does not fit]
    #[arg(long, value_name = "BYTES", value_parser = parse_size)]
    pub bitmap_chunk: Option<u64>,
    /// What keeps parity right through a crash: a resync, or a partial parity log on every member (raid5), which makes
    /// one superfluous and costs writes
    #[arg(long, value_enum, default_value = "resync")]
    pub consistency: NewConsistency,
    /// A disk for a write journal (raid4, raid5, raid6): everything is durable there before it goes to the members, so that
    /// after a crash parity is right and nothing is synced
    #[arg(long, value_name = "MEMBER")]
    pub write_journal: Option<String>,
    /// Metadata version
    #[arg(long, value_enum, default_value = "1.2")]
    pub metadata: NewVersion,
    /// A spare disk
    #[arg(long = "spare", value_name = "MEMBER")]
    pub spares: Vec<String>,
    /// A MEMBER of a mirror to read from only if nothing else can answer
    #[arg(long, value_name = "MEMBER")]
    pub write_mostly: Vec<String>,
    /// Take the members for consistent: no resync. Where they are not, a mirror reads one or the other, and parity gives
    /// back wrong data
    #[arg(long)]
    pub assume_clean: bool,
    /// Use members that hold something: what they hold is lost
    #[arg(long)]
    pub overwrite: bool,
    /// The host that the array belongs to, put before its name; `none` for no host [default: this host's name]
    #[arg(long, value_name = "NAME")]
    pub homehost: Option<String>,
    /// Use a remote member over TCP, and promise that nobody else does
    #[arg(long)]
    pub sole_writer: bool,
    #[command(flatten)]
    pub json: Json,
}

/// Levels that can be made.
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub enum NewLevel {
    /// One member after the other
    Linear,
    /// Striped, no redundancy
    #[value(aliases = ["0", "stripe"])]
    Raid0,
    /// Mirrored
    #[value(aliases = ["1", "mirror"])]
    Raid1,
    /// Striped, with parity on the last member
    #[value(alias = "4")]
    Raid4,
    /// Striped, with parity that rotates: any one member can be lost
    #[value(alias = "5")]
    Raid5,
    /// Striped, with two parities: any two members can be lost
    #[value(alias = "6")]
    Raid6,
    /// Striped over mirrors: every chunk on some of the members
    #[value(alias = "10")]
    Raid10,
}

/// Bitmaps that can be made.
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub enum NewBitmap {
    /// None: after a crash everything is synced
    None,
    /// Beside the superblocks
    Internal,
}

/// What keeps parity right through a crash, of what can be made.
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub enum NewConsistency {
    /// A resync, of everything or of what the bitmap marks
    Resync,
    /// A partial parity log on every member, which closes the write hole of raid5
    Ppl,
}

/// Metadata versions that can be made.
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub enum NewVersion {
    /// At the end, members of at most 4 TiB; for old kernels and boot loaders
    #[value(name = "0.90", alias = "0")]
    V0_90,
    /// At the end
    #[value(name = "1.0")]
    V1_0,
    /// At the start
    #[value(name = "1.1")]
    V1_1,
    /// 4 KiB from the start
    #[value(name = "1.2", alias = "1")]
    V1_2,
}

/// Assemble arrays and caches and serve them until stopped
///
/// Assembles every array that the MEMBERs make, and every cached volume of bcache on them or on their arrays, and serves each
/// that nothing else lies on over NBD as an export of its name, or shows it as a file, in the foreground, until SIGTERM, SIGINT
/// or `ashlar stop`. A backing device is not run without the cache that it belongs to. The metadata is kept aside before the first write (see `ashlar undo`).
#[derive(Args, Debug)]
pub struct Run {
    /// Disks, in any order; or one FILE.toml that says everything
    #[arg(required = true, value_name = "MEMBER")]
    pub members: Vec<String>,
    /// Serve on a unix socket (a PATH with a slash in it) or on HOST:PORT; can be repeated
    #[arg(long, value_name = "SOCKET|HOST:PORT")]
    pub nbd: Vec<String>,
    /// Show volumes as files, for `losetup --direct-io=on` and whatever opens files; can be repeated
    ///
    /// PATH becomes the file of the only volume if it is free or an empty file, and a folder with a file for each volume if it
    /// is an empty folder, or free and there are several. Who is not root needs fusermount3. Only the user who runs this may
    /// open the files, and root where that may mount or /etc/fuse.conf has user_allow_other.
    #[arg(long, value_name = "PATH")]
    pub fuse: Vec<PathBuf>,
    /// Serve on addresses that other hosts can reach: whoever reaches them can read and write everything
    #[arg(long)]
    pub nbd_anywhere: bool,
    /// The name by which `status`, `fail`, `stop` know what runs [default: the array's]
    #[arg(long)]
    pub name: Option<String>,
    /// Say what would be done and written, and do nothing
    #[arg(long)]
    pub plan: bool,
    /// Run arrays with members missing
    #[arg(long)]
    pub degraded: bool,
    /// Serve the arrays themselves, also where caches or cached volumes lie on them
    #[arg(long)]
    pub arrays: bool,
    /// Run backing devices of bcache whose cache is not here, if nothing of them is only there
    ///
    /// The superblock says so before anything is written, as when a kernel is told to run it: when the cache is back it forgets
    /// what it has of them. A backing device that says that something is only in its cache is not run.
    #[arg(long)]
    pub without_cache: bool,
    /// Export read-only; members are opened read-only and nothing is written to them
    #[arg(long)]
    pub read_only: bool,
    /// Use remote members over TCP for writing, and promise that nobody else does
    #[arg(long)]
    pub sole_writer: bool,
    /// Keep a private log in the free space before the data of a raid6 (metadata 1.1 or 1.2)
    ///
    /// It closes the write hole without a journal device: after a crash the array needs no resync, also with one or two
    /// members missing, as long as ashlar is the next to open it. The kernel and mdadm see an ordinary array, and the log
    /// is void as soon as they have written to it. Once it is on it is found and kept without this word; `off` replays it,
    /// and takes it away.
    #[arg(long, value_enum, value_name = "SWITCH")]
    pub private_log: Option<Switch>,
    /// When a write to an array with a write journal is answered [default: write-through]
    #[arg(long, value_enum, value_name = "MODE")]
    pub journal_mode: Option<JournalWord>,
    /// What is done so that serving goes on when this machine has no memory left [default: on]
    #[arg(long, value_enum, value_name = "WORD")]
    pub armour: Option<Armour>,
    /// A piece of the armour that is left off; again for each
    #[arg(long, value_enum, value_name = "PIECE")]
    pub armour_without: Vec<Piece>,
    #[command(flatten)]
    pub lenience: Lenience,
    /// Where metadata is kept aside [default: $XDG_STATE_HOME/ashlar; /var/lib/ashlar for root]
    #[arg(long, value_name = "DIR")]
    pub state_dir: Option<PathBuf>,
    #[command(flatten)]
    pub run_dir: RunDir,
    #[command(flatten)]
    pub telling: Telling,
    /// Write when every request begins and ends, in every layer and member, to FILE as lines of JSON; it costs speed
    #[arg(long, value_name = "FILE")]
    pub trace: Option<PathBuf>,
    /// With --plan: print JSON
    #[arg(long, requires = "plan")]
    pub json: bool,
}

/// When a write to an array with a write journal is answered.
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub enum JournalWord {
    /// When the members have it
    WriteThrough,
    /// When its data is durable in the journal; it stays in memory until it is written out, which happens at once when a
    /// member is missing
    WriteBack,
}

impl From<JournalWord> for control::JournalMode {
    fn from(word: JournalWord) -> control::JournalMode {
        match word {
            JournalWord::WriteThrough => control::JournalMode::WriteThrough,
            JournalWord::WriteBack => control::JournalMode::WriteBack,
        }
    }
}

/// Whether something is done.
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub enum Switch {
    /// It is
    On,
    /// It is not
    Off,
}

/// Where running stacks have their control sockets.
#[derive(Args, Debug, Clone)]
pub struct RunDir {
    /// Where control sockets are [default: $XDG_RUNTIME_DIR/ashlar; /run/ashlar for root]
    #[arg(long, value_name = "DIR")]
    pub run_dir: Option<PathBuf>,
}

/// Put back the metadata that `run` or `update` found
///
/// Puts back the metadata that `run` or `update` found, from the SNAPSHOT that it named. Refuses when the members
/// are not those of the snapshot, when something else has changed their metadata since, and when clients have written. Of
/// caches and backing devices it is the superblocks; they are not put back either where something was written back, or a
/// backing device left its cache.
#[derive(Args, Debug)]
pub struct Undo {
    /// The file that `run` or `update` named
    pub snapshot: PathBuf,
    /// Say what would be written, and write nothing
    #[arg(long)]
    pub plan: bool,
    /// Go back although data may have been written since: members that were left out then may differ from the others. Not
    /// with caches
    #[arg(long)]
    pub data_was_written: bool,
    /// Use remote members over TCP, and promise that nobody else does
    #[arg(long)]
    pub sole_writer: bool,
    #[command(flatten)]
    pub json: Json,
}

/// Show what runs
///
/// Shows the state of everything that runs, or of one NAME.
#[derive(Args, Debug)]
pub struct Status {
    /// What to show; everything if not given
    pub name: Option<String>,
    /// Print what /proc/mdstat would show, for programs that read that; an array NAME is md_NAME there
    #[arg(long, conflicts_with = "json")]
    pub mdstat: bool,
    #[command(flatten)]
    pub run_dir: RunDir,
    #[command(flatten)]
    pub json: Json,
}

/// Names a member of something that runs.
#[derive(Args, Debug)]
pub struct OfMember {
    /// What runs
    pub name: String,
    /// The member, as `status` shows it, or the last part of its path
    pub member: String,
    #[command(flatten)]
    pub run_dir: RunDir,
}

/// Add disks to what runs
///
/// Adds DISKs to the array that runs under NAME. One that was a member before, and whose missed writes are all marked in
/// the bitmap, goes back to its slot, and only what it has missed is copied; any other becomes a spare, and what it holds
/// is lost. Spares are taken up by themselves where a member is missing.
#[derive(Args, Debug)]
pub struct Add {
    /// What runs
    pub name: String,
    /// Disks to add
    #[arg(required = true, value_name = "DISK")]
    pub members: Vec<String>,
    /// The array, where several run under NAME
    #[arg(long, value_name = "ARRAY")]
    pub array: Option<String>,
    /// The DISK becomes the write journal of a raid4, raid5 or raid6, which has none or whose own has failed; what it holds
    /// is lost
    #[arg(long)]
    pub journal: bool,
    /// Use disks that hold something: what they hold is lost
    #[arg(long)]
    pub overwrite: bool,
    /// Use remote disks over TCP, and promise that nobody else does
    #[arg(long)]
    pub sole_writer: bool,
    #[command(flatten)]
    pub run_dir: RunDir,
}

/// Replace a member that still works
///
/// Copies a member to a spare while it goes on working, and takes it out when the spare has all of its data. The
/// redundancy stays what it is meanwhile.
#[derive(Args, Debug)]
pub struct Replace {
    /// What runs
    pub name: String,
    /// The member, as `status` shows it, or the last part of its path
    pub member: String,
    /// The spare that takes its place; any spare if not given
    #[arg(long, value_name = "SPARE")]
    pub with: Option<String>,
    #[command(flatten)]
    pub run_dir: RunDir,
}

/// Compare everything that is kept more than once
///
/// Reads everything and says what does not agree, where, and who is wrong where that can be known. Writes nothing unless
/// told to. Waits for the end unless told not to.
#[derive(Args, Debug)]
pub struct Scrub {
    /// What runs
    pub name: String,
    /// Make agree what differs: what raid6 or most of three and more copies blame on one member is given to it anew; where
    /// nothing tells who is wrong, parity follows the data and copies the first. Where more than one member of a raid6 must
    /// be wrong, nothing is written
    #[arg(long)]
    pub repair: bool,
    /// The array, where several run under NAME
    #[arg(long, value_name = "ARRAY")]
    pub array: Option<String>,
    /// Return at once; `wait` waits for the end, `status` shows the result
    #[arg(long)]
    pub background: bool,
    #[command(flatten)]
    pub run_dir: RunDir,
    #[command(flatten)]
    pub json: Json,
}

/// Pause, resume and bound what the array does to itself
///
/// Resync, rebuild and scrub begin by themselves or when asked; this holds them up, ends them, or says how fast they may
/// be.
#[derive(Args, Debug)]
pub struct Sync {
    /// What runs
    pub name: String,
    /// What to do
    #[arg(value_enum, required_unless_present_any = ["speed_min", "speed_max", "from", "to", "max_read_errors"])]
    pub action: Option<SyncAction>,
    /// Give way to clients only above this many bytes a second of each member
    #[arg(long, value_name = "BYTES", value_parser = parse_size)]
    pub speed_min: Option<u64>,
    /// Never be faster than this; 0 for no bound
    #[arg(long, value_name = "BYTES", value_parser = parse_size)]
    pub speed_max: Option<u64>,
    /// Where scrubs begin from now on (md: sync_min): bytes of the array where it is copied, of a member where it has parity
    #[arg(long, value_name = "BYTES", value_parser = parse_size)]
    pub from: Option<u64>,
    /// Where they wait until this is moved, or `idle` ends them (md: sync_max); 0 for the end
    #[arg(long, value_name = "BYTES", value_parser = parse_size)]
    pub to: Option<u64>,
    /// Fail a member that has had more read errors than this, though they were repaired; every hour half of them are
    /// forgotten [default: 20]
    #[arg(long, value_name = "N")]
    pub max_read_errors: Option<u32>,
    /// The array, where several run under NAME
    #[arg(long, value_name = "ARRAY")]
    pub array: Option<String>,
    #[command(flatten)]
    pub run_dir: RunDir,
}

/// What `sync` does.
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub enum SyncAction {
    /// End what runs where it is, and start nothing (md: frozen)
    #[value(alias = "frozen")]
    Pause,
    /// Go on
    Resume,
    /// End what runs where it is; a scrub is over, what the array needs goes on
    Idle,
    /// Compare everything, in the background
    Check,
    /// The same, and make agree what differs
    Repair,
    /// Take what parity says of lost data as it is, also where it may be wrong
    TrustParity,
}

/// Wait until nothing is being synced
///
/// Waits until no resync, rebuild or scrub runs that could run. Fails if the array is then not whole.
#[derive(Args, Debug)]
pub struct Wait {
    /// What runs
    pub name: String,
    #[command(flatten)]
    pub run_dir: RunDir,
}

/// Stop what runs
///
/// Stops what runs under NAME: no more clients, everything written, arrays marked clean. Returns when it has ended.
#[derive(Args, Debug)]
pub struct Stop {
    /// What runs
    pub name: String,
    #[command(flatten)]
    pub run_dir: RunDir,
}

/// Show in a minute what this program does, on files in a temporary folder
///
/// Makes members in a temporary folder, builds a mirror and a stripe on them, serves them, writes, breaks and repairs
/// them, and proves at each step that the data is right.
#[derive(Args, Debug)]
pub struct Demo {
    /// Leave the members behind in DIR, with a text that says what they hold
    #[arg(long, value_name = "DIR")]
    pub keep: Option<PathBuf>,
}

/// Make man pages or shell completions
///
/// Makes what belongs beside the binary.
#[derive(Args, Debug)]
pub struct Generate {
    #[command(subcommand)]
    pub what: GenerateWhat,
}

/// What can be made.
#[derive(Subcommand, Debug)]
pub enum GenerateWhat {
    /// A man page for each command
    Man {
        /// Where to put them
        dir: PathBuf,
    },
    /// Completions for a shell, on standard output
    Completions {
        /// Which shell
        shell: clap_complete::Shell,
    },
}

/// What each member of a new array gives.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MemberSize {
    /// As much as the smallest has.
    Max,
    /// This much.
    Bytes(u64),
}

fn parse_member_size(text: &str) -> Result<MemberSize, String> {
    if text == "max" { Ok(MemberSize::Max) } else { parse_size(text).map(MemberSize::Bytes) }
}
