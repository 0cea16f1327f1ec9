//! What was sealed is accepted, whatever it holds; what was changed or cut short is not; hostile bytes are an error.

use bcache_format::bset::{self, Bset, Owner};
use bcache_format::jset::{self, Jset, Roots};
use bcache_format::prio::PrioSet;
use bcache_format::uuids::{Use, UuidEntry};
use bcache_format::{FormatError, Key, Pointer, Position};
use proptest::prelude::*;

const MAGIC: u64 = 0x1122_3344_5566_7788;

fn keys() -> impl Strategy<Value = Vec<Key>> {
    let key = (0u32..50, 0u64..1 << 40, 1u64..1000, 0u64..1 << 30, any::<u8>(), 0..3).prop_map(
        |(inode, start, sectors, sector, generation, kind)| match kind {
            0 => Key::hole(Position::new(inode, start), sectors),
            kind => {
                Key::extent(Position::new(inode, start), sectors, Pointer::new(sector, generation), kind == 1)
            }
        },
    );
    prop::collection::vec(key, 0..60)
}

fn write(keys: &[Key], bytes: &mut [u8]) -> usize {
    let mut at = 0;
    for key in keys {
        key.write(&mut bytes[at..]);
        at += key.words() * 8;
    }
    at / 8
}

proptest! {
    #[test]
    fn a_sealed_set_of_keys_is_accepted_by_its_owner_alone(keys in keys(), seq in 1u64.., flip in any::<usize>()) {
        let owner = Owner { set_magic: MAGIC, pointer: Pointer::new(4096, 3) };
        let mut bytes = vec![0; 4096];
        Bset::create(&mut bytes, MAGIC, seq).unwrap();
        let words = write(&keys, &mut bytes[bset::HEADER_BYTES..]);
        Bset::seal(&mut bytes, words, owner.pointer).unwrap();
        let read: Result<Vec<Key>, _> = Bset::check(&bytes, owner).unwrap().collect();
        prop_assert_eq!(read.unwrap(), keys);
        let other = Owner { pointer: Pointer::new(4096, 4), ..owner };
        let is_refused = matches!(Bset::check(&bytes, other), Err(FormatError::Checksum { .. }));
        prop_assert!(is_refused);
        let end = bset::HEADER_BYTES + words * 8;
        prop_assert!(Bset::check(&bytes[..end - 1], owner).is_err());
        bytes[flip % end] ^= 1;
        prop_assert!(Bset::check(&bytes, owner).is_err());
    }

    #[test]
    fn a_sealed_entry_is_accepted(keys in keys(), seq in 1u64.., back in 0u64..9, flip in any::<usize>()) {
        let mut bytes = vec![0xff; 4096];
        let roots = Roots {
            uuids: Key::extent(Position::new(0, 0), 8, Pointer::new(64, 0), false),
            root: Key::node(Position::MAX, 512, Pointer::new(512, 1)),
            level: 1,
            prios: 77,
        };
        Jset::create(&mut bytes, MAGIC).unwrap();
        let words = write(&keys, &mut bytes[jset::HEADER_BYTES..]);
        Jset::seal(&mut bytes, seq, seq.saturating_sub(back), &roots, words).unwrap();
        let read: Result<Vec<Key>, _> = Jset::check(&bytes, MAGIC).unwrap().collect();
        prop_assert_eq!(read.unwrap(), keys);
        prop_assert_eq!(Jset::view(&bytes, MAGIC).unwrap().roots(), Ok(roots));
        prop_assert!(Jset::view(&bytes, MAGIC + 1).is_err());
        bytes[flip % (jset::HEADER_BYTES + words * 8)] ^= 1;
        prop_assert!(Jset::check(&bytes, MAGIC).is_err());
    }

    #[test]
    fn hostile_bytes_are_an_error_or_keys(mut bytes in prop::collection::vec(any::<u8>(), 0..600), keys in any::<u16>()) {
        let owner = Owner { set_magic: MAGIC, pointer: Pointer(0) };
        if bytes.len() > 32 {
            bytes[8..16].copy_from_slice(&bset::magic(MAGIC).to_le_bytes());
            bytes[24..28].copy_from_slice(&1u32.to_le_bytes());
            bytes[28..32].copy_from_slice(&u32::from(keys).to_le_bytes());
            let _ = Bset::seal(&mut bytes, usize::from(keys % 80), owner.pointer);
        }
        if let Ok(keys) = Bset::check(&bytes, owner) {
            for key in keys.flatten() {
                let _ = (key.start(), key.end(), key.pointer(), key.to_string());
            }
        }
        let _ = Jset::check(&bytes, MAGIC).map(Iterator::count);
        let _ = PrioSet::check(&bytes, MAGIC);
        let _ = UuidEntry::view(&bytes).map(|entries| entries.iter().map(UuidEntry::usage).count());
    }
}

#[test]
fn priorities_are_what_was_put_there() {
    let mut bytes = vec![0x5a; 4096];
    let prios = PrioSet::create(&mut bytes, MAGIC, 5, 99).unwrap();
    assert_eq!(prios.len(), (4096 - 40) / 3);
    for (at, prio) in prios.iter_mut().enumerate() {
        prio.priority = (at as u16).into();
        prio.generation = at as u8;
    }
    PrioSet::seal(&mut bytes);
    let (prios, next) = PrioSet::check(&bytes, MAGIC).unwrap();
    assert_eq!((prios[700].priority.get(), prios[700].generation, next), (700, 188, 99));
    bytes[4095] ^= 1; // the slack counts
    assert!(matches!(PrioSet::check(&bytes, MAGIC), Err(FormatError::Checksum { .. })));
}

#[test]
fn an_entry_says_what_it_is_for() {
    let mut bytes = vec![0; 512];
    let entries = UuidEntry::edit(&mut bytes).unwrap();
    entries[1].uuid = [3; 16];
    entries[2].uuid = [4; 16];
    entries[2].set_flash_only(4096);
    entries[3].uuid = [5; 16];
    entries[3].invalidate(1000);
    let uses: Vec<Use> = UuidEntry::view(&bytes).unwrap().iter().map(UuidEntry::usage).collect();
    assert_eq!(uses, [Use::Free, Use::Backing([3; 16]), Use::FlashOnly(4096), Use::Detached]);
}
