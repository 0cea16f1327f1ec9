//! Armour: put on piece by piece, and what is refused is said once.

use std::io;

use control::ArmourPiece;
use runtime::os::armour;

use crate::cli;

/// The armour of this process.
pub struct Armour {
    word: cli::Armour,
    pieces: Vec<ArmourPiece>,
}

impl Armour {
    /// The pieces that threads inherit. Called before there are any.
    pub fn before_threads(word: cli::Armour) -> Armour {
        let mut own = Armour { word, pieces: Vec::new() };
        if word != cli::Armour::Off {
            own.put("io-flusher", armour::become_io_flusher());
            own.put("oom-score", armour::lower_oom_score());
        }
        own
    }

    /// The pieces that are put on when everything that serves was built; of each disk its name, and whether it is read and
    /// written without the kernel's cache. All pieces.
    pub fn close<'a>(&mut self, disks: impl Iterator<Item = (&'a str, bool)>) -> Vec<ArmourPiece> {
        if self.word != cli::Armour::Off {
            self.put("memory-locked", armour::lock_memory());
            let cached: Vec<&str> = disks.filter(|(_, is_direct)| !is_direct).map(|(name, _)| name).collect();
            self.put(
                "direct-io",
                match cached.len() {
                    0 => Ok(()),
                    _ => Err(io::Error::other(format!("not where {} lies", cached.join(" and ")))),
                },
            );
        }
        self.pieces.clone()
    }

    /// From now on who allocates while serving ends the program, if that is wished for.
    pub fn set_trap(&self) {
        if self.word == cli::Armour::Trap {
            block::trap::set();
        }
    }

    fn put(&mut self, piece: &str, outcome: io::Result<()>) {
        let why = outcome.err().map(|error| error.to_string());
        if let Some(why) = &why {
            eprintln!("ashlar: warning: {}", warning(piece, why));
        }
        self.pieces.push(ArmourPiece { piece: piece.to_owned(), on: why.is_none(), why });
    }
}

/// What it means that a piece is missing, for who has a file system of this machine on a volume.
fn warning(piece: &str, why: &str) -> String {
    let means = match piece {
        "io-flusher" => "the kernel may let this process wait for memory that only its own writing frees",
        "oom-score" => "the kernel may end this process when memory runs out",
        "memory-locked" => "what serves may have to wait for memory",
        _ => "what is written waits in the page cache, which needs memory",
    };
    format!("armour: no {piece} ({why}): {means}")
}
