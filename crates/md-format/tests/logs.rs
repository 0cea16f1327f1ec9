//! The logs that a kernel left: every record and meta block from the recorded start on is what this crate takes it for.
//!
//! The images are too large for this repository. They are looked for in `../shared/golden` beside it (or where
//! `ASHLAR_GOLDEN` points) and unpacked with `zstd` and `tar`; without them the tests say so and pass.

use std::path::{Path, PathBuf};
use std::process::Command;

use md_format::journal::{self, MetaBlock, Payload};
use md_format::ppl::{self, PplHeader};
use md_format::probe::probe;
use md_format::superblock::Summary;
use md_format::{Place, checksum};

/// The images of a golden set, unpacked into a folder that goes with it.
struct Images(PathBuf);

impl Images {
    fn unpack(set: &str) -> Option<Images> {
        let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/golden");
        let folder = std::env::var_os("ASHLAR_GOLDEN").map_or(beside, PathBuf::from).join(set);
        if !folder.join("images.tar.zst").exists() {
            println!("no golden image {set} beside the repository: nothing compared");
            return None;
        }
        let scratch = std::env::temp_dir().join(format!("md-format-logs-{set}-{}", std::process::id()));
        std::fs::create_dir_all(&scratch).unwrap();
        let command = format!("zstd -q -dc --long=27 {}/images.tar.zst | tar xS", folder.display());
        assert!(Command::new("sh").args(["-c", &command]).current_dir(&scratch).status().unwrap().success());
        Some(Images(scratch))
    }

    /// The bytes of a member, and what its superblock says.
    fn member(&self, number: usize) -> (Vec<u8>, Summary) {
        let bytes = std::fs::read(self.0.join(format!("d{number}.img"))).unwrap();
        let places: Vec<Place> = Place::all(bytes.len() as u64 / 512).collect();
        let read = places.iter().map(|place| (*place, &bytes[place.sector as usize * 512..][..4096]));
        let summary = probe(read).believed().expect("a kernel's superblock").summary().unwrap();
        (bytes, summary)
    }
}

impl Drop for Images {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[test]
fn the_kernels_partial_parity_records_are_whole_and_follow_each_other() {
    let Some(images) = Images::unpack("raid5-1.2-ppl-clean") else { return };
    let (mut records, mut partial) = (0, 0);
    for number in 0..4 {
        let (bytes, summary) = images.member(number);
        let place = summary.ppl.expect("the array has a partial parity log");
        assert!(place.multiple && ppl::is_ring(place.sectors.into()));
        let area = &bytes[place.sector as usize * 512..][..usize::from(place.sectors) * 512];
        let (mut at, mut previous) = (0, None);
        while at + ppl::HEADER_BYTES <= area.len() {
            let header = PplHeader::view(&area[at..]).unwrap();
            if header.check(ppl::signature(&summary.array_uuid)).is_err()
                || previous.is_some_and(|previous| !header.follows(previous))
            {
                break;
            }
            at += ppl::HEADER_BYTES;
            for entry in header.entries() {
                let payload = &area[at..][..entry.pp_bytes.get() as usize];
                assert_eq!(entry.checksum.get(), checksum::crc32c(payload));
                assert_eq!(entry.parity_disk.get() as usize, number);
                at += payload.len();
                partial += usize::from(!payload.is_empty());
            }
            let mut again = header.entries().to_vec().into_iter();
            let mut copy = vec![0; ppl::HEADER_BYTES];
            let made = PplHeader::edit(&mut copy).unwrap();
            made.clear(header.signature.get(), header.generation.get());
            again.try_for_each(|entry| made.push(entry)).unwrap();
            made.seal();
            assert!(copy == area[at - ppl::HEADER_BYTES - header.payload_sectors() as usize * 512..][..4096]);
            previous = Some(header);
            records += 1;
        }
    }
    println!("{records} records, {partial} entries with partial parity");
    assert!(records > 100 && partial > 15);
}

#[test]
fn the_kernels_journals_are_read_from_tail_to_head() {
    for (set, least) in [("raid5-1.2-journal-clean", 0), ("raid5-1.2-journal-wt-crash", 50)] {
        let Some(images) = Images::unpack(set) else { return };
        let (bytes, summary) = images.member(3);
        let seed = journal::seed(&summary.array_uuid);
        let data = &bytes[summary.data_offset as usize * 512..];
        let ring = summary.data_size / 8 * 8;
        let mut position = journal::tail(summary.journal_tail.expect("it is a journal"), ring);
        let block = |position: u64| &data[position as usize * 512..][..journal::BLOCK_BYTES];
        let mut seq = MetaBlock::view(block(position)).unwrap().seq.get();
        let (mut blocks, mut torn) = (0, 0);
        while let Ok(meta) = MetaBlock::view(block(position))
            && meta.check(seed, position).is_ok()
            && meta.seq.get() == seq
        {
            let mut at = journal::ring_add(position, journal::BLOCK_SECTORS, ring).unwrap();
            for payload in meta.payloads(1) {
                let payload = payload.unwrap();
                if let Payload::Data { checksum, .. } | Payload::Parity { p: checksum, .. } = payload {
                    torn += usize::from(journal::block_checksum(seed, block(at)) != checksum);
                    blocks += 1;
                }
                at = journal::ring_add(at, payload.sectors(), ring).unwrap();
            }
            (position, seq) = (at, seq + 1);
        }
        println!("{set}: {blocks} blocks, {torn} of them torn");
        assert!(blocks >= least && torn <= blocks / 10, "{set}: {blocks} blocks, {torn} of them torn");
    }
}
