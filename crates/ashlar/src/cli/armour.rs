//! The word for armour.

use clap::ValueEnum;

/// What is done so that serving goes on when the machine has no memory left.
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub enum Armour {
    /// Mark this process as an I/O flusher, keep its memory locked, and have the kernel kill others first; each as far as the
    /// system lets it
    On,
    /// Nothing of that
    Off,
    /// As on, and the program ends with a backtrace where memory is allocated while serving
    Trap,
}

/// What can be left off.
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub enum Piece {
    /// What this process needs memory for does not wait for writing
    IoFlusher,
    /// The kernel ends other processes first
    OomScore,
    /// What is mapped stays in memory
    MemoryLocked,
    /// Members are read and written past the page cache
    DirectIo,
    /// Files elsewhere are out of reach
    Landlock,
    /// System calls that serving does not need are refused
    Seccomp,
}

impl Piece {
    /// As the command line, the file and `status` have it.
    pub fn name(self) -> &'static str {
        match self {
            Piece::IoFlusher => "io-flusher",
            Piece::OomScore => "oom-score",
            Piece::MemoryLocked => "memory-locked",
            Piece::DirectIo => "direct-io",
            Piece::Landlock => "landlock",
            Piece::Seccomp => "seccomp",
        }
    }

    /// The piece of this name.
    pub fn of(name: &str) -> Result<Piece, String> {
        <Piece as ValueEnum>::from_str(name, false)
    }
}

impl From<control::Armour> for Armour {
    fn from(word: control::Armour) -> Armour {
        match word {
            control::Armour::On => Armour::On,
            control::Armour::Off => Armour::Off,
            control::Armour::Trap => Armour::Trap,
        }
    }
}
