use bcache_format::Position;

use super::*;

fn buckets() -> Buckets {
    let geometry = Geometry {
        bucket_sectors: 16,
        block_sectors: 1,
        first_bucket: 2,
        buckets: 600,
        journal_buckets: 4,
        set_magic: 0,
    };
    Buckets::new(&geometry)
}

fn begun() -> Buckets {
    let mut buckets = buckets();
    buckets.begin([0, 2, 4, 6], Replacement::Lru);
    buckets
}

fn key(sector: u64, generation: u8, is_dirty: bool) -> Key {
    Key::extent(Position::new(0, 100), 8, Pointer::new(sector, generation), is_dirty)
}

/// Gives up all buckets that can be.
fn give_up_all(buckets: &mut Buckets) -> Vec<u64> {
    std::iter::from_fn(|| buckets.give_up(0)).map(|bucket| bucket.0).collect()
}

#[test]
fn what_is_counted_twice_is_forgotten_twice() {
    let mut buckets = begun();
    let at = BucketNo(10);
    buckets.count(&key(160, 0, true));
    buckets.count(&key(168, 0, false));
    assert_eq!((buckets.get(at).live, buckets.get(at).dirty), (16, 8));
    assert!(!give_up_all(&mut buckets).contains(&10));
    buckets.forget(&key(160, 0, true));
    assert_eq!(give_up_all(&mut buckets), [10]);
    assert!(!buckets.is_fresh(Pointer::new(168, 0)));
    assert!(!buckets.forget(&key(168, 0, false))); // stale: nothing to count
    assert_eq!(buckets.get(at).live, 0);
}

#[test]
fn a_newer_pointer_makes_what_was_counted_stale() {
    let mut buckets = buckets();
    for found in [key(160, 3, true), key(168, 4, false)] {
        buckets.learn(found.pointer().unwrap());
        buckets.count(&found);
    }
    assert!(buckets.take_miscounted());
    let bucket = buckets.get(BucketNo(10));
    assert_eq!((bucket.generation, bucket.oldest, bucket.live, bucket.dirty), (4, 0, 8, 0));
    let (before, behind) = (*buckets.get(BucketNo(10)), Pointer::new(160, 250)); // behind 4 by ten
    buckets.learn(behind);
    assert!(!buckets.take_miscounted() && buckets.get(BucketNo(10)).live == before.live);
    buckets.see(behind);
    assert_eq!(buckets.get(BucketNo(10)).oldest, 250);
}

#[test]
fn a_bucket_whose_pointers_are_too_old_is_not_given_up() {
    let mut buckets = begun();
    let at = BucketNo(20);
    while give_up_all(&mut buckets).contains(&20) {
        buckets.set_use(at, Use::Data);
    }
    let Bucket { generation, oldest, .. } = *buckets.get(at);
    assert_eq!(ahead(generation, oldest), STALE_LIMIT - 1);
    assert!(buckets.has_stuck());
    buckets.set_oldest(at, generation);
    assert_eq!(give_up_all(&mut buckets), [20]);
}

#[test]
fn what_nothing_refers_to_goes_first_then_what_was_not_used_for_longest() {
    let mut buckets = begun();
    give_up_all(&mut buckets);
    for at in [30, 31, 32, 33] {
        buckets.set_use(BucketNo(at), Use::Data);
    }
    for at in [30, 31, 32] {
        buckets.count(&key(at * 16, 1, false));
    }
    buckets.touch(Pointer::new(30 * 16, 1), 8);
    assert_eq!(give_up_all(&mut buckets), [33, 31, 32, 30]);
}

#[test]
fn a_bucket_into_which_data_is_being_written_is_kept() {
    let mut buckets = begun();
    buckets.begin_write(BucketNo(40));
    assert!(!give_up_all(&mut buckets).contains(&40));
    buckets.end_write(BucketNo(40));
    assert_eq!(give_up_all(&mut buckets), [40]);
}

#[test]
fn each_purpose_leaves_some_to_those_before_it() {
    let mut buckets = begun();
    (0..7).for_each(|_| assert!(buckets.give_up(0).is_some()));
    assert_eq!(buckets.take(Purpose::Prios), None, "their generations are not durable");
    buckets.release(7);
    assert!(buckets.take(Purpose::Data).is_some());
    assert_eq!(buckets.take(Purpose::Data), None);
    for purpose in [Purpose::Moving, Purpose::Moving, Purpose::Nodes, Purpose::Nodes] {
        assert!(buckets.take(purpose).is_some());
    }
    assert_eq!(buckets.take(Purpose::Nodes), None);
    assert!(buckets.take(Purpose::Prios).is_some());
}

/// A pointer to a bucket's first life, which the tree keeps while the bucket has one life after the other, is right again after
/// 256 of them. A half-full cache that is not touched for months has such keys (2025).
#[test]
fn no_pointer_is_right_again_when_generations_have_gone_round() {
    assert!(!goes_round());
    #[cfg(debug_assertions)]
    {
        plant::set(Some(Plant::GenerationWraps));
        let wrong = goes_round();
        plant::set(None);
        assert!(wrong);
    }
}

/// Whether a pointer to a bucket that has been given up since becomes right again.
fn goes_round() -> bool {
    let mut buckets = buckets();
    (6..599).for_each(|bucket| buckets.set_use(BucketNo(bucket), Use::Metadata));
    buckets.begin([0; 4], Replacement::Lru);
    let old = key(599 * 16, 0, false).pointer().unwrap();
    for _ in 0..256 {
        let Some(bucket) = buckets.give_up(0) else { return false };
        buckets.release(1);
        assert_eq!((bucket, buckets.take(Purpose::Data)), (BucketNo(599), Some(bucket)));
        buckets.set_use(bucket, Use::Data);
        if buckets.is_fresh(old) {
            return true;
        }
    }
    false
}
