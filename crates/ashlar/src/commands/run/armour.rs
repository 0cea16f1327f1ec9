//! Armour: put on piece by piece, and what is refused is said once.

use std::io;

use control::ArmourPiece;
use runtime::os::armour;

use super::confine::{self, Reach};
use crate::cli::{self, Piece};

/// The armour of this process.
pub struct Armour {
    word: cli::Armour,
    left_off: Vec<Piece>,
    pieces: Vec<ArmourPiece>,
}

impl Armour {
    /// The pieces that threads inherit. Called before there are any.
    pub fn before_threads(word: cli::Armour, left_off: &[Piece]) -> Armour {
        let mut own = Armour { word, left_off: left_off.to_vec(), pieces: Vec::new() };
        own.put(Piece::IoFlusher, armour::become_io_flusher);
        own.put(Piece::OomScore, armour::lower_oom_score);
        own
    }

    /// Whether this piece is to be put on.
    pub fn wants(&self, piece: Piece) -> bool {
        self.word != cli::Armour::Off && !self.left_off.contains(&piece)
    }

    /// The pieces that are put on when everything that serves was built; of each disk its name, and whether it is read and
    /// written without the kernel's cache. All pieces.
    pub fn close<'a>(&mut self, disks: impl Iterator<Item = (&'a str, bool)>) -> Vec<ArmourPiece> {
        self.put(Piece::MemoryLocked, armour::lock_memory);
        let cached: Vec<&str> = disks.filter(|(_, is_direct)| !is_direct).map(|(name, _)| name).collect();
        self.put(Piece::DirectIo, || match cached.len() {
            0 => Ok(()),
            _ => Err(io::Error::other(format!("not where {} lies", cached.join(" and ")))),
        });
        self.pieces.clone()
    }

    /// Gives up what a running stack does without, when everything is open and every thread is there. All pieces.
    pub fn confine(&mut self, reach: &Reach) -> Vec<ArmourPiece> {
        let trap = self.word == cli::Armour::Trap;
        self.put(Piece::Landlock, || reach.keep_to_it());
        self.put(Piece::Seccomp, || confine::keep_to_calls(trap));
        self.pieces.clone()
    }

    /// From now on who allocates while serving ends the program, if that is wished for.
    pub fn set_trap(&self) {
        if self.word == cli::Armour::Trap {
            block::trap::set();
        }
    }

    /// Puts a piece on. One that is refused is warned of; one that nobody wants is only shown.
    fn put(&mut self, piece: Piece, put_on: impl FnOnce() -> io::Result<()>) {
        if self.word == cli::Armour::Off {
            return;
        }
        let why = match self.wants(piece) {
            true => put_on().err().map(|error| error.to_string()),
            false => Some("left off, as asked".to_owned()),
        };
        if let Some(why) = why.as_ref().filter(|_| self.wants(piece)) {
            eprintln!("ashlar: warning: {}", warning(piece, why));
        }
        self.pieces.push(ArmourPiece { piece: piece.name().to_owned(), on: why.is_none(), why });
    }
}

/// What it means that a piece is missing, for who has a file system of this machine on a volume.
fn warning(piece: Piece, why: &str) -> String {
    let means = match piece {
        Piece::IoFlusher => "the kernel may let this process wait for memory that only its own writing frees",
        Piece::OomScore => "the kernel may end this process when memory runs out",
        Piece::MemoryLocked => "what serves may have to wait for memory",
        Piece::DirectIo => "what is written waits in the page cache, which needs memory",
        Piece::Landlock => "whoever takes this process over reaches every file that it may open",
        Piece::Seccomp => "whoever takes this process over may ask the kernel for anything",
    };
    format!("armour: no {} ({why}): {means}", piece.name())
}
