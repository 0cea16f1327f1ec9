//! The logs of arrays with parity: partial parity records and the journal's meta blocks.

use md_format::journal::{self, MetaBlock, Payload};
use md_format::ppl::{self, PplEntry, PplHeader};
use runtime::sim::Random;

use crate::mutate::{damage, odd};
use crate::require;

/// What is accepted can be read to its end, and its sizes add up.
pub fn play(mut random: Random) -> Result<(), String> {
    let uuid = [random.word() as u8; 16];
    if random.one_in(2) { record(random, &uuid) } else { meta_block(random, &uuid) }
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
