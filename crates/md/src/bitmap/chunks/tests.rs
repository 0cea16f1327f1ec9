use super::*;
use md_format::bitmap::NewBitmap;

const CHUNK: Sectors = Sectors(128);
const SIZE: Sectors = Sectors(128 * 100 + 8);

/// A bitmap whose bits are all set, or none.
fn image(all: bool) -> Vec<u8> {
    let new = NewBitmap {
        uuid: [1; 16],
        sync_size_sectors: SIZE.0,
        chunk_bytes: 64 << 10,
        daemon_sleep_s: 5,
        write_behind: 0,
    };
    let mut image = vec![0; PAGE];
    new.create(&mut image).unwrap();
    if !all {
        image[SUPER_BYTES..].fill(0);
    }
    image
}

fn chunks(image: &[u8], copies: &[&[u8]], resync: ResyncOffset) -> Chunks {
    let found = Found { image, stale: false, events: 7 };
    Chunks::new(found, copies.iter().copied(), CHUNK, SIZE, resync)
}

fn range(start: u64, count: u64) -> Range {
    Range::new(Sectors(start), Sectors(count))
}

fn write_all(chunks: &Chunks) {
    while let Some(page) = chunks.next_page() {
        let mut written = Vec::new();
        let number = chunks.page(page, |bytes| written.extend_from_slice(bytes));
        chunks.page_written(page, number, &written);
    }
}

#[test]
fn a_bit_that_one_member_has_not_set_is_not_durable() {
    let (all, none) = (image(true), image(false));
    assert!(chunks(&all, &[&all, &all], ResyncOffset::Complete).is_durable(range(0, 8)));
    let uneven = chunks(&all, &[&all, &none], ResyncOffset::Complete);
    assert!(!uneven.is_durable(range(0, 8)));
    assert!(uneven.next_page().is_some(), "and is written again");
}

#[test]
fn bits_behind_the_position_of_a_resync_need_it_and_no_others() {
    let all = image(true);
    let found = chunks(&all, &[&all], ResyncOffset::At(300));
    assert!(!found.any_needed(range(0, 256)) && found.any_needed(range(300, 8)));
    assert_eq!(found.next_needed(Sectors(0), SIZE), Some(range(256, SIZE.0 - 256)));
    assert!(!chunks(&all, &[&all], ResyncOffset::Complete).any_needed(Range::new(Sectors::ZERO, SIZE)));
}

#[test]
fn runs_to_be_synced_end_where_a_chunk_is_not_marked() {
    let mut some = image(false);
    for chunk in [3, 4, 9] {
        let (byte, mask) = bit(chunk);
        some[byte as usize] |= mask;
    }
    let found = chunks(&some, &[&some], ResyncOffset::At(0));
    assert_eq!(found.next_needed(Sectors(0), Sectors(1000)), Some(range(384, 256)));
    assert_eq!(found.next_needed(Sectors(400), Sectors(100)), Some(range(400, 100)));
    assert_eq!(found.next_needed(Sectors(640), Sectors(1000)), Some(range(1152, 128)));
    assert_eq!(found.next_needed(Sectors(1280), Sectors(1000)), None);
    found.synced_up_to(Sectors(640));
    assert_eq!(found.next_needed(Sectors(0), Sectors(1000)), Some(range(1152, 128)));
}

#[test]
fn a_bit_goes_when_nobody_wrote_for_two_rounds_and_never_under_a_write() {
    let none = image(false);
    let found = chunks(&none, &[&none], ResyncOffset::Complete);
    assert!(found.begin_write(range(0, 200)));
    write_all(&found);
    assert!(found.is_durable(range(0, 200)) && found.marked() == 2);
    (0..5).for_each(|_| assert!(!found.grow_older(2), "a write is under way"));
    found.end_write(range(0, 200));
    assert!(!found.grow_older(2) && !found.grow_older(2) && found.grow_older(2));
    assert!(!found.begin_write(range(0, 8)), "it is still durable");
    found.clear();
    assert_eq!(found.marked(), 1, "the one that was written to meanwhile stays");
    assert!(found.is_durable(range(0, 8)) && !found.is_durable(range(128, 8)));
}

#[test]
fn what_was_cleared_while_its_page_was_written_is_not_durable_afterwards() {
    let none = image(false);
    let found = chunks(&none, &[&none], ResyncOffset::Complete);
    found.begin_write(range(0, 8));
    found.end_write(range(0, 8));
    let mut written = Vec::new();
    let number = found.page(0, |bytes| written.extend_from_slice(bytes));
    assert!(found.grow_older(0));
    found.clear();
    found.page_written(0, number, &written);
    assert!(!found.is_durable(range(0, 8)));
    assert!(found.next_page().is_some(), "the cleared bit is still to be written");
}

#[test]
fn the_first_page_is_written_last_because_its_superblock_vouches_for_the_others() {
    let mut large = image(false);
    large.resize(3 * PAGE, 0);
    let size = Sectors(CHUNK.0 * 8 * (3 * PAGE - SUPER_BYTES) as u64);
    let found = Found { image: &large, stale: true, events: 7 };
    let found = Chunks::new(found, std::iter::empty(), CHUNK, size, ResyncOffset::At(0));
    assert_eq!(found.marked(), found.count());
    found.set_events(8, found.events_cleared());
    let wanted = found.wanted();
    for page in [2, 1, 0] {
        assert!(!found.is_written(wanted));
        assert_eq!(found.next_page(), Some(page));
        let mut written = Vec::new();
        let number = found.page(page, |bytes| written.extend_from_slice(bytes));
        found.page_written(page, number, &written);
    }
    assert!(found.is_written(wanted) && found.events_cleared() == 7);
}
