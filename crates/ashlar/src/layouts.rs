//! The names of layouts, as mdadm has them, and their numbers.

use md_format::Level;

/// raid5's layouts by number; raid6 has them too.
const ROTATIONS: [(&str, &str); 6] = [
    ("left-asymmetric", "la"),
    ("right-asymmetric", "ra"),
    ("left-symmetric", "ls"),
    ("right-symmetric", "rs"),
    ("parity-first", ""),
    ("parity-last", ""),
];

/// raid6's own: DDF's three, and raid5's on all members but the last, which then has Q.
const DOUBLE: [(&str, u32); 8] = [
    ("ddf-zero-restart", 8),
    ("ddf-N-restart", 9),
    ("ddf-N-continue", 10),
    ("left-asymmetric-6", 16),
    ("right-asymmetric-6", 17),
    ("left-symmetric-6", 18),
    ("right-symmetric-6", 19),
    ("parity-first-6", 20),
];

/// The name of a layout number; `None` for levels that have only one.
pub fn name(level: Level, layout: u32) -> Option<String> {
    let known = |name: Option<&str>| Some(name.map_or(format!("unknown ({layout})"), str::to_owned));
    match level {
        Level::Raid0 => known(["not recorded", "original", "alternate"].get(layout as usize).copied()),
        Level::Raid5 => known(rotation(layout)),
        Level::Raid6 => known(rotation(layout).or(double(layout))),
        Level::Raid10 if layout >> 8 & 0xff == 1 => Some(format!("near={}", layout & 0xff)),
        Level::Raid10 => {
            let kind = if layout & OFFSET != 0 { "offset" } else { "far" };
            Some(format!("{kind}={}", layout >> 8 & 0xff))
        }
        _ => None,
    }
}

/// The number of a layout's name; an error says which names there are.
pub fn number(level: Level, name: &str) -> Result<u32, String> {
    let names = match level {
        Level::Raid0 => match name {
            "original" => return Ok(1),
            "alternate" => return Ok(2),
            _ => "original, alternate".to_owned(),
        },
        Level::Raid5 | Level::Raid6 => {
            let rotation = ROTATIONS
                .iter()
                .position(|(long, short)| *long == name || *short == name && !name.is_empty());
            let double = DOUBLE.iter().find(|(long, _)| *long == name && level == Level::Raid6);
            if let Some(number) = rotation.map(|at| at as u32).or(double.map(|(_, number)| *number)) {
                return Ok(number);
            }
            let own = DOUBLE.iter().filter(|_| level == Level::Raid6).map(|(name, _)| *name);
            ROTATIONS.iter().map(|(name, _)| *name).chain(own).collect::<Vec<_>>().join(", ")
        }
        Level::Raid10 => match copies(name) {
            Some(number) => return Ok(number),
            None => "near=N, far=N and offset=N (or n2, f2, o2), with N copies".to_owned(),
        },
        other => return Err(format!("{other} has no choice of layouts")),
    };
    Err(format!("{name:?} is no layout of {level}; there are {names}"))
}

fn rotation(layout: u32) -> Option<&'static str> {
    ROTATIONS.get(layout as usize).map(|(name, _)| *name)
}

fn double(layout: u32) -> Option<&'static str> {
    DOUBLE.iter().find(|(_, number)| *number == layout).map(|(name, _)| *name)
}

/// The bit of raid10's layout for far copies in the next row.
const OFFSET: u32 = 1 << 16;

/// raid10: a letter or a word, and how many copies.
fn copies(name: &str) -> Option<u32> {
    let digits = name.find(|letter: char| letter.is_ascii_digit())?;
    let count: u32 = name[digits..].parse().ok().filter(|count| (1..=255).contains(count))?;
    match name[..digits].trim_end_matches('=') {
        "n" | "near" => Some(1 << 8 | count),
        "f" | "far" => Some(count << 8 | 1),
        "o" | "offset" => Some(OFFSET | count << 8 | 1),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers_go_both_ways() {
        for (level, layouts) in
            [(Level::Raid5, vec![0, 1, 2, 3, 4, 5]), (Level::Raid6, vec![0, 2, 5, 8, 9, 10, 16, 18, 20])]
        {
            for layout in layouts {
                assert_eq!(number(level, &name(level, layout).unwrap()), Ok(layout));
            }
        }
        assert_eq!(number(Level::Raid5, "ls"), Ok(2));
        assert_eq!(number(Level::Raid10, "n2"), Ok(0x102));
        assert_eq!(number(Level::Raid10, "far=3"), Ok(0x301));
        assert_eq!(number(Level::Raid10, "o2"), Ok(0x1_0201));
    }

    #[test]
    fn unknown_names_are_told_what_there_is() {
        assert!(number(Level::Raid5, "left-symmetric-6").unwrap_err().contains("left-symmetric, "));
        assert!(number(Level::Raid10, "n0").is_err());
        assert!(number(Level::Raid10, "").is_err());
        assert!(number(Level::Raid1, "n2").is_err());
    }
}
