//! The logs of arrays with parity: partial parity records, the journal's meta blocks, and what binds a private log.

use md_format::journal::{self, MetaBlock, Payload};
use md_format::ppl::{self, PplEntry, PplHeader};
use md_format::private_log::{self, BINDING_BYTES, Binding};
use md_format::superblock::{BadBlockLog, BitmapPlace, Summary};
use md_format::{Level, Superblock};
use runtime::sim::Random;

use crate::mutate::{damage, odd};
use crate::{require, seeds};

/// What is accepted can be read to its end, and its sizes add up.
pub fn play(mut random: Random) -> Result<(), String> {
    let uuid = [random.word() as u8; 16];
    match random.below(4) {
        0 => binding(random, &uuid),
        1 => place(random),
        2 => meta_block(random, &uuid),
        _ => record(random, &uuid),
    }
}

fn binding(mut random: Random, uuid: &[u8; 16]) -> Result<(), String> {
    let mut bytes = vec![0; BINDING_BYTES];
    let binding = Binding::edit(&mut bytes).map_err(|error| error.to_string())?;
    binding.clear(uuid, 1);
    (binding.before, binding.after) = (odd(&mut random).into(), odd(&mut random).into());
    binding.seal();
    let sealed = bytes.clone();
    damage(&mut random, &mut bytes);
    bytes.truncate(*random.choose(&[512, 512, 511, 76, 0]));
    let Ok(view) = Binding::view(&bytes) else { return Ok(()) };
    let is_ours = view.check(uuid, 1).is_ok();
    let _ = (view.check(uuid, odd(&mut random) as u32), view.names(odd(&mut random)));
    require(!is_ours || bytes[..] == sealed[..], || "a damaged binding is believed".into())
}

/// Whatever the superblock claims: the log lies in none of it, and before the data.
fn place(mut random: Random) -> Result<(), String> {
    let kept = seeds::kept(&mut random);
    let Ok(superblock) = Superblock::view(kept.place, &kept.bytes) else { return Ok(()) };
    let Ok(summary) = superblock.summary() else { return Ok(()) };
    let mut area = || match random.one_in(2) {
        true => random.below(4096),
        false => odd(&mut random),
    };
    let (sector, length, data_offset) = (area(), area(), area());
    let log =
        BadBlockLog { offset_sectors: 0, sectors: area() as u16, shift: 0, sector: area(), in_use: false };
    let bitmap = Some(BitmapPlace { offset_sectors: 0, sector });
    let level = Level::Raid6;
    let summary = Summary { level, data_offset, bitmap, bad_block_log: Some(log), ..summary };
    let Ok(place) = private_log::place(&summary, length) else { return Ok(()) };
    let end = place.sector.checked_add(place.sectors);
    require(end.is_some_and(|end| end <= data_offset), || "it reaches into the data".into())?;
    let apart = |start: u64, sectors: u64| {
        start >= data_offset || start.checked_add(sectors).is_some_and(|end| end <= place.sector)
    };
    let is_free =
        apart(summary.super_offset, 8) && apart(sector, length) && apart(log.sector, log.sectors.into());
    require(is_free, || format!("{place:?} lies over something of {summary:?}"))
}

fn record(mut random: Random, uuid: &[u8; 16]) -> Result<(), String> {
    let mut bytes = vec![0; ppl::HEADER_BYTES];
    let header = PplHeader::edit(&mut bytes).map_err(|error| error.to_string())?;
    header.clear(ppl::signature(uuid), odd(&mut random));
    for _ in 0..random.below(150) {
        let sizes = [random.word() as u32, odd(&mut random) as u32];
        let entry = PplEntry::new(odd(&mut random), sizes[0], sizes[1], random.word() as u16, 0);
        let _ = header.push(entry); // full is an answer too
    }
    header.seal();
    damage(&mut random, &mut bytes);
    if random.one_in(2) {
        PplHeader::edit(&mut bytes).map_err(|error| error.to_string())?.seal();
    }
    bytes.truncate(*random.choose(&[4096, 4096, 4095, 512, 0]));
    let Ok(view) = PplHeader::view(&bytes) else { return Ok(()) };
    let _ = (view.check(ppl::signature(uuid)), view.follows(view));
    require(view.entries().len() <= ppl::MAX_ENTRIES, || "entries that do not exist".into())?;
    let sum: u64 = view.entries().iter().map(PplEntry::pp_sectors).sum();
    require(sum == view.payload_sectors(), || "the payload is not that of its entries".into())
}

fn meta_block(mut random: Random, uuid: &[u8; 16]) -> Result<(), String> {
    let (mut bytes, seed, position) = (vec![0; journal::BLOCK_BYTES], journal::seed(uuid), odd(&mut random));
    let block =
        MetaBlock::create(&mut bytes, odd(&mut random), position).map_err(|error| error.to_string())?;
    for _ in 0..random.below(220) {
        let _ = match random.below(3) {
            0 => block.push_parity(odd(&mut random), 1, None),
            1 => block.push_parity(odd(&mut random), 1, Some(2)),
            _ => block.push_data(odd(&mut random), 3),
        };
    }
    block.seal(seed);
    damage(&mut random, &mut bytes);
    bytes.truncate(*random.choose(&[4096, 4096, 4095, 32, 0]));
    let Ok(view) = MetaBlock::view(&bytes) else { return Ok(()) };
    let _ = view.check(seed, position);
    for parities in [1, 2] {
        let mut sectors = 0u64;
        for payload in view.payloads(parities).flatten() {
            sectors += payload.sectors();
            if let Payload::Flush { rows } = payload {
                require(rows.len() * 8 <= journal::BLOCK_BYTES, || "rows out of nowhere".into())?;
            }
        }
        require(sectors <= 8 * journal::BLOCK_BYTES as u64, || "more blocks than payloads".into())?;
    }
    let ring = odd(&mut random);
    if let Some(at) = journal::ring_add(journal::tail(odd(&mut random), ring), random.below(4096), ring) {
        require(at < ring, || format!("position {at} is not in a ring of {ring}"))?;
    }
    Ok(())
}
