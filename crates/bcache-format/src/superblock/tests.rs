use super::create::journal_buckets;
use super::*;
use crate::terms::Replacement;

fn checked(bytes: &[u8], device_sectors: u64) -> Result<Summary, FormatError> {
    Superblock::view(bytes)?.check(device_sectors, 512)
}

fn cache(bucket_sectors: u64, buckets: u64) -> Result<Vec<u8>, CreateError> {
    let mut bytes = vec![0xaa; 4096];
    let plan = CachePlan {
        uuid: [1; 16],
        set_uuid: [2; 16],
        device_sectors: buckets * bucket_sectors + 5,
        block_sectors: 1,
        bucket_sectors,
        replacement: Replacement::Fifo,
    };
    Superblock::create_cache(&mut bytes, &plan).map(|()| bytes)
}

#[test]
fn a_cache_that_was_made_is_what_was_asked_for() {
    for bucket_sectors in [8, 16, 32, 1024, 1 << 15, 1 << 16, 1 << 20] {
        let bytes = cache(bucket_sectors, 600).unwrap();
        let summary = checked(&bytes, 600 * bucket_sectors).unwrap();
        let Kind::Cache(cache) = summary.kind else { panic!("{summary:?}") };
        assert_eq!((cache.geometry.bucket_sectors, cache.geometry.buckets), (bucket_sectors, 600));
        assert_eq!((cache.replacement, cache.is_used), (Replacement::Fifo, false));
        assert!(cache.geometry.sector(crate::BucketNo(cache.geometry.first_bucket)) >= 16);
        let most =
            FormatError::DeviceTooSmall { found: 600 * bucket_sectors - 1, expected: 600 * bucket_sectors };
        assert_eq!(checked(&bytes, 600 * bucket_sectors - 1), Err(most));
    }
}

#[test]
fn sizes_that_the_kernel_refuses_are_not_made() {
    assert_eq!(cache(4, 600), Err(CreateError::Bucket { found: 4 }));
    assert_eq!(cache(24, 600), Err(CreateError::Bucket { found: 24 }));
    assert_eq!(cache(1024, 512), Err(CreateError::Buckets { found: 512 }));
}

#[test]
fn a_set_that_lies_on_a_cache_has_a_journal() {
    let mut bytes = cache(1024, 600).unwrap();
    let superblock = Superblock::edit(&mut bytes).unwrap();
    superblock.set_used(journal_buckets(600));
    superblock.seal();
    let Kind::Cache(cache) = checked(&bytes, 600 * 1024).unwrap().kind else { panic!() };
    assert!(cache.is_used);
    assert_eq!(cache.geometry.journal_buckets, 4);
    assert_eq!([600, 255, 1 << 20].map(journal_buckets), [4, 2, 256]);

    let superblock = Superblock::edit(&mut bytes).unwrap();
    superblock.journal_buckets[1] = 9.into();
    superblock.seal();
    let wrong = FormatError::JournalBucket { index: 1, found: 9, expected: 2 };
    assert_eq!(checked(&bytes, 600 * 1024), Err(wrong));
}

#[test]
fn a_backing_device_keeps_what_is_changed_in_place() {
    let mut bytes = vec![0; 4096];
    let plan = BackingPlan {
        uuid: [7; 16],
        block_sectors: 8,
        set_uuid: [8; 16],
        bucket_sectors: 1024,
        data_offset: 2048,
        mode: CacheMode::Writeback,
        label: Label::new(b"home").unwrap(),
    };
    Superblock::create_backing(&mut bytes, &plan).unwrap();
    let superblock = Superblock::edit(&mut bytes).unwrap();
    superblock.rest[77] = 42; // nobody knows what it means
    superblock.set_state(State::Dirty, [9; 16]);
    superblock.set_mode(CacheMode::Writearound);
    superblock.seal();
    let summary = checked(&bytes, 4096).unwrap();
    let Kind::Backing(backing) = summary.kind else { panic!() };
    assert_eq!((backing.data_offset, backing.data_sectors), (2048, 2048));
    assert_eq!((backing.mode, backing.state), (CacheMode::Writearound, State::Dirty));
    assert_eq!((summary.set_uuid, summary.label.bytes()), ([9; 16], &b"home"[..]));
    assert_eq!(Superblock::view(&bytes).unwrap().rest[77], 42);
}

#[test]
fn every_changed_byte_that_counts_is_noticed() {
    let good = cache(1024, 600).unwrap();
    for at in 0..208 {
        let mut bytes = good.clone();
        bytes[at] ^= 1;
        let result = Superblock::view(&bytes).and_then(|superblock| superblock.check(600 * 1024, 512));
        assert!(result.is_err(), "byte {at}");
    }
}
