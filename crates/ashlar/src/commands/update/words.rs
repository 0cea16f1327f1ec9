//! The words of `--set`: which there are, what they need, which of them exclude each other.

use anyhow::{Result, anyhow, bail};
use md::{Change, Flag};
use md_format::Version;
use md_format::geometry::raid0::Raid0Layout;
use sha1::{Digest, Sha1};

use crate::Usage;

/// What a word needs behind it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Value {
    None,
    Optional,
    Needed(&'static str),
}

/// Every word; of those in one group at most one is said, and those in group [`ALONE`] are said alone.
const WORDS: [(&str, Value, u8); 23] = [
    ("name", Value::Needed("NAME"), 1),
    ("homehost", Value::Needed("HOST"), 2),
    ("uuid", Value::Optional, 3),
    ("resync", Value::None, 4),
    ("bbl", Value::None, 5),
    ("no-bbl", Value::None, 5),
    ("force-no-bbl", Value::None, 5),
    ("no-bitmap", Value::None, 6),
    ("ppl", Value::None, 7),
    ("no-ppl", Value::None, 7),
    ("no-journal", Value::None, 7),
    ("layout-original", Value::None, 8),
    ("layout-alternate", Value::None, 8),
    ("layout-unspecified", Value::None, 8),
    ("devicesize", Value::None, 9),
    ("super-minor", Value::Needed("N"), 10),
    ("summaries", Value::None, 11),
    ("byteorder", Value::None, ALONE),
    ("metadata", Value::Optional, ALONE),
    ("write-mostly", Value::Needed("MEMBER"), OF_MEMBER),
    ("readwrite", Value::Needed("MEMBER"), OF_MEMBER),
    ("failfast", Value::Needed("MEMBER"), OF_MEMBER + 1),
    ("nofailfast", Value::Needed("MEMBER"), OF_MEMBER + 1),
];

const ALONE: u8 = 0;

/// From here on a group excludes only for the same member.
const OF_MEMBER: u8 = 100;

/// Words of mdadm's that are not carried out here, and why.
const REFUSED: [(&str, &str); 3] = [
    ("nodes", "it is for clusters, which are not served here"),
    ("home-cluster", "it is for clusters, which are not served here"),
    ("revert-reshape", "arrays in the middle of a reshape are not changed here"),
];

/// The words of a command line, each with its value.
pub struct Words<'a>(Vec<(&'a str, Option<&'a str>)>);

/// What a word can be about.
pub struct Context<'a> {
    /// The array's metadata version.
    pub version: Version,
    /// Its members as they were typed, by candidate.
    pub members: Vec<&'a str>,
    /// This host.
    pub host: Option<String>,
    /// For a uuid that nobody chose.
    pub random: [u8; 16],
}

impl<'a> Words<'a> {
    /// Reads what was typed.
    pub fn parse(sets: &'a [String]) -> Result<Words<'a>> {
        let mut words: Vec<(&str, Option<&str>)> = Vec::new();
        let mut groups: Vec<(u8, Option<&str>, &str)> = Vec::new();
        for text in sets {
            let (key, value) = match text.split_once('=') {
                Some((key, value)) => (key, Some(value)),
                None => (text.as_str(), None),
            };
            if let Some((_, why)) = REFUSED.iter().find(|(word, _)| *word == key) {
                bail!("nothing was changed: --set {key}: {why}");
            }
            let Some(&(_, needs, group)) = WORDS.iter().find(|(word, ..)| *word == key) else {
                let all = WORDS.map(|(word, ..)| word).join(", ");
                return usage(format!("--set {key}: is none of {all}"));
            };
            match (needs, value) {
                (Value::None, Some(_)) => {
                    return usage(format!("--set {text}: {key} stands alone, without a value"));
                }
                (Value::Needed(what), None | Some("")) => {
                    return usage(format!("--set {key}: expected {key}={what}"));
                }
                _ => {}
            }
            let of = value.filter(|_| group >= OF_MEMBER);
            if let Some((_, _, other)) = groups.iter().find(|(had, had_of, _)| *had == group && *had_of == of)
            {
                return usage(match *other == key {
                    true => format!("--set {key}: is said twice"),
                    false => format!("--set {key}: excludes {other}"),
                });
            }
            groups.push((group, of, key));
            words.push((key, value));
        }
        match groups.iter().find(|(group, ..)| *group == ALONE && groups.len() > 1) {
            Some((_, _, key)) => {
                usage(format!("--set {key}: is said alone; make the other changes before or after it"))
            }
            None => Ok(Words(words)),
        }
    }

    /// What they mean for an array.
    pub fn changes(&self, context: &Context<'_>) -> Result<Vec<Change>> {
        let homehost = self.0.iter().find(|(key, _)| *key == "homehost").and_then(|(_, value)| *value);
        let named = self.0.iter().any(|(key, _)| *key == "name");
        let host = match homehost {
            Some("none") => None,
            Some(host) => Some(host.to_owned()),
            None => context.host.clone(),
        };
        let mut changes = Vec::new();
        for (key, value) in &self.0 {
            let value = value.unwrap_or_default();
            let flag = |flag| anyhow::Ok(Change::Flag { candidate: member(context, key, value)?, flag });
            changes.push(match *key {
                "name" => Change::Name { host: host.clone(), name: value.to_owned() },
                // Where both are said the name takes it in.
                "homehost" if named && context.version.is_v1() => continue,
                "homehost" => Change::HomeHost { host: host.clone(), digest: digest(value) },
                "uuid" if value.is_empty() => Change::Uuid(context.random),
                "uuid" => Change::Uuid(uuid(value, context.version)?),
                "resync" => Change::Resync,
                "bbl" => Change::BadBlockLog,
                "no-bbl" => Change::NoBadBlockLog { forget: false },
                "force-no-bbl" => Change::NoBadBlockLog { forget: true },
                "no-bitmap" => Change::NoBitmap,
                "ppl" => Change::Ppl,
                "no-ppl" => Change::NoPpl,
                "no-journal" => Change::NoJournal,
                "layout-original" => Change::Raid0Layout(Some(Raid0Layout::Original)),
                "layout-alternate" => Change::Raid0Layout(Some(Raid0Layout::Alternate)),
                "layout-unspecified" => Change::Raid0Layout(None),
                "devicesize" => Change::DeviceSize,
                "super-minor" => Change::PreferredMinor(minor(value)?),
                "summaries" => Change::Summaries,
                "byteorder" => Change::ByteOrder,
                "metadata" if matches!(value, "" | "1" | "1.0") => Change::ToV1_0,
                "metadata" => {
                    return usage(format!("--set metadata={value}: 0.90 becomes 1.0 and nothing else"));
                }
                "write-mostly" => flag(Flag::WriteMostly(true))?,
                "readwrite" => flag(Flag::WriteMostly(false))?,
                "failfast" => flag(Flag::Failfast(true))?,
                "nofailfast" => flag(Flag::Failfast(false))?,
                other => unreachable!("{other} was parsed"),
            });
        }
        Ok(changes)
    }
}

fn usage<T>(text: String) -> Result<T> {
    Err(Usage(text).into())
}

fn member(context: &Context<'_>, key: &str, name: &str) -> Result<usize> {
    let found = context.members.iter().position(|member| *member == name);
    found.ok_or_else(|| Usage(format!("--set {key}={name}: {name} is not among the members")).into())
}

fn minor(text: &str) -> Result<u32> {
    text.parse()
        .map_err(|_| anyhow!(Usage(format!("--set super-minor={text}: is no number of an md device"))))
}

/// The bytes of a uuid's 32 digits, with or without something between them, as a superblock of this version has them.
fn uuid(text: &str, version: Version) -> Result<[u8; 16]> {
    let is_between = |letter: &char| matches!(letter, ':' | '-' | '.' | ' ');
    let digits: Option<Vec<u32>> =
        text.chars().filter(|letter| !is_between(letter)).map(|letter| letter.to_digit(16)).collect();
    let Some(digits) = digits.filter(|digits| digits.len() == 32) else {
        return usage(format!("--set uuid={text}: is no uuid; expected 32 hexadecimal digits"));
    };
    let mut uuid = [0; 16];
    for (bytes, digits) in uuid.chunks_exact_mut(4).zip(digits.chunks_exact(8)) {
        let word = digits.iter().fold(0, |word, digit| word << 4 | digit);
        // 0.90 has four numbers, in the machine's order.
        bytes.copy_from_slice(&if version.is_v1() { word.to_be_bytes() } else { word.to_le_bytes() });
    }
    Ok(uuid)
}

/// What a 0.90 uuid has of a host.
fn digest(host: &str) -> [u8; 8] {
    let mut digest = [0; 8];
    digest.copy_from_slice(&Sha1::digest(host.as_bytes())[..8]);
    digest
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(text: &str) -> Vec<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    fn changes(text: &str, version: Version) -> Vec<Change> {
        let host = Some("here".to_owned());
        let context = Context { version, members: vec!["a", "b"], host, random: [4; 16] };
        Words::parse(&said(text)).unwrap().changes(&context).unwrap()
    }

    #[test]
    fn a_uuid_is_read_as_mdadm_prints_it() {
        let text = "uuid=01234567:89abcdef:fedcba98:76543210";
        let [Change::Uuid(new)] = changes(text, Version::V1_2)[..] else { panic!() };
        let [Change::Uuid(old)] = changes(text, Version::V0_90)[..] else { panic!() };
        assert_eq!(
            (new[..5].to_vec(), old[..5].to_vec()),
            (vec![1, 0x23, 0x45, 0x67, 0x89], vec![0x67, 0x45, 0x23, 1, 0xef])
        );
        for (uuid, version) in [(new, Version::V1_2), (old, Version::V0_90)] {
            assert_eq!(format!("uuid={}", md_format::UuidText { uuid, version }), text);
        }
        assert_eq!(changes("uuid", Version::V1_2), [Change::Uuid([4; 16])]);
    }

    #[test]
    fn a_name_gets_this_host_or_the_one_that_is_said() {
        let name = |host: Option<&str>| Change::Name { host: host.map(str::to_owned), name: "n".to_owned() };
        assert_eq!(changes("name=n", Version::V1_2), [name(Some("here"))]);
        assert_eq!(changes("homehost=h name=n", Version::V1_2), [name(Some("h"))]);
        assert_eq!(changes("name=n homehost=none", Version::V1_2), [name(None)]);
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for (text, words) in [
            ("nam=x", "is none of name"),
            ("name", "expected name=NAME"),
            ("resync=1", "without a value"),
            ("resync resync", "said twice"),
            ("bbl no-bbl", "excludes bbl"),
            ("failfast=a nofailfast=a", "excludes failfast"),
            ("metadata resync", "alone"),
        ] {
            let error = Words::parse(&said(text)).err().unwrap().to_string();
            assert!(error.contains(words), "{text}: {error}");
        }
        assert!(Words::parse(&said("failfast=a nofailfast=b write-mostly=a")).is_ok());
    }
}
