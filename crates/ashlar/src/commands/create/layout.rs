//! The layout that a person asks for, as the superblock has it. Pure.

use crate::Usage;
use crate::cli::NewLevel;

/// The number of a layout; `None` where none was asked for.
pub fn number(level: NewLevel, text: Option<&str>) -> Result<Option<u32>, Usage> {
    let Some(text) = text else { return Ok(None) };
    let unknown = |choices: &str| Usage(format!("--layout {text}: is none; {choices}"));
    match level {
        NewLevel::Raid0 => match text {
            "original" => Ok(Some(1)),
            "alternate" => Ok(Some(2)),
            _ => Err(unknown("there are original and alternate")),
        },
        NewLevel::Raid10 => {
            let found = raid10(text);
            found.map(Some).ok_or_else(|| unknown("there are near=N, far=N and offset=N, with N copies"))
        }
        NewLevel::Linear | NewLevel::Raid1 => {
            Err(Usage("--layout: this level has no choice of layouts".to_owned()))
        }
    }
}

/// `near=2` or `n2`, and so on: `near | far << 8 | offset << 16`.
fn raid10(text: &str) -> Option<u32> {
    let digits = text.find(|letter: char| letter.is_ascii_digit())?;
    let (kind, copies) = text.split_at(digits);
    let copies: u32 = copies.parse().ok().filter(|copies| (1..=255).contains(copies))?;
    match kind {
        "n" | "near" | "near=" => Some(1 << 8 | copies),
        "f" | "far" | "far=" => Some(copies << 8 | 1),
        "o" | "offset" | "offset=" => Some(1 << 16 | copies << 8 | 1),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_raid10(text: &str) -> Option<u32> {
        number(NewLevel::Raid10, Some(text)).ok().flatten()
    }

    #[test]
    fn layouts_of_raid10_are_what_mdadm_makes_of_them() {
        assert_eq!([of_raid10("n2"), of_raid10("near=3")], [Some(0x102), Some(0x103)]);
        assert_eq!([of_raid10("f2"), of_raid10("far=3")], [Some(0x201), Some(0x301)]);
        assert_eq!([of_raid10("o2"), of_raid10("offset=2")], [Some(0x1_0201), Some(0x1_0201)]);
        assert_eq!([of_raid10("n0"), of_raid10("n256"), of_raid10("2"), of_raid10("x2")], [None; 4]);
    }

    #[test]
    fn a_level_without_a_choice_refuses_one() {
        assert!(number(NewLevel::Raid1, Some("n2")).is_err());
        assert!(number(NewLevel::Raid0, Some("n2")).is_err());
        assert!(matches!(number(NewLevel::Linear, None), Ok(None)));
    }
}
