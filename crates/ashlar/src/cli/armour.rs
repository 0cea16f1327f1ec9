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

impl From<control::Armour> for Armour {
    fn from(word: control::Armour) -> Armour {
        match word {
            control::Armour::On => Armour::On,
            control::Armour::Off => Armour::Off,
            control::Armour::Trap => Armour::Trap,
        }
    }
}
