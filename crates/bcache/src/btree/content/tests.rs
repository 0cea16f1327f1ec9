use proptest::prelude::*;

use super::*;
use bcache_format::Pointer;

const SPAN: u64 = 64;

fn key() -> impl Strategy<Value = Key> {
    (0u32..2, 0..SPAN, 1u64..12, 0u64..1 << 10, 0u8..3, 0..3).prop_map(
        |(inode, start, sectors, sector, generation, kind)| match kind {
            0 => Key::hole(Position::new(inode, start), sectors),
            kind => {
                Key::extent(Position::new(inode, start), sectors, Pointer::new(sector, generation), kind == 1)
            }
        },
    )
}

/// What a sector is: `None` if nothing was said of it, a pointer or none if something was.
type Model = Vec<Option<Option<(u64, u8, bool)>>>;

fn lay_slowly(model: &mut Model, key: &Key) {
    for at in 0..key.sectors() {
        let place = key.inode() as usize * 100 + (key.start().offset + at) as usize;
        let said = key.pointer().map(|to| (to.sector() + at, to.generation(), key.is_dirty()));
        model[place] = Some(said);
    }
}

proptest! {
    #[test]
    fn keys_are_what_a_map_of_sectors_says(keys in prop::collection::vec(key(), 1..80)) {
        let mut model: Model = vec![None; 200];
        let mut merged = Content::new(0, false, 8);
        let mut open = Content::new(0, true, 8);
        let mut counts = 0i64; // of sectors that are cached: what came less what went
        for key in &keys {
            lay_slowly(&mut model, key);
            counts += if key.pointer().is_some() { key.sectors() as i64 } else { 0 };
            merged.lay(*key, |gone| counts -= gone.sectors() as i64);
            open.lay(*key, |_| ());
        }
        for (content, with_holes) in [(&merged, false), (&open, true)] {
            let mut found: Model = vec![None; 200];
            let mut last = Position::default();
            for key in content.keys() {
                prop_assert!(key.start() >= last && key.sectors() > 0);
                last = key.end();
                lay_slowly(&mut found, key);
            }
            let expected: Model = match with_holes {
                true => model.clone(),
                false => model.iter().map(|said| said.filter(Option::is_some)).collect(),
            };
            prop_assert_eq!(found, expected);
            prop_assert_eq!(content.words(), content.keys().iter().map(Key::words).sum::<usize>());
        }
        prop_assert_eq!(counts, merged.keys().iter().map(|key| key.sectors() as i64).sum::<i64>());
    }
}

#[test]
fn keys_that_continue_each_other_are_one_but_not_across_a_bucket() {
    let mut content = Content::new(8, false, 8);
    for (at, sectors) in [(0, 2), (4, 4), (2, 2), (8, 4)] {
        let key = Key::extent(Position::new(1, at), sectors, Pointer::new(16 + at, 0), true);
        content.lay(key, |_| panic!("nothing was there"));
    }
    let lengths: Vec<u64> = content.keys().iter().map(Key::sectors).collect();
    assert_eq!(lengths, [8, 4]);
}

/// A key has sixteen bits for its length: joined beyond them it says less than it should, or another length (the kernel's
/// "oversized" keys of 5.12).
#[test]
fn keys_are_not_joined_to_one_that_is_too_long_to_be_written() {
    let longest = || {
        let mut content = Content::new(0, false, 1 << 20);
        for part in 0..40 {
            let at = part * 2048;
            content.lay(Key::extent(Position::new(0, at), 2048, Pointer::new(at, 0), true), |_| ());
        }
        content.keys().iter().map(Key::sectors).sum::<u64>()
    };
    assert_eq!(longest(), 40 * 2048);
    #[cfg(debug_assertions)]
    {
        plant::set(Some(Plant::KeysTooLong));
        let planted = std::panic::catch_unwind(longest);
        plant::set(None);
        assert!(planted.is_err() || planted.unwrap() != 40 * 2048);
    }
}
