//! Arrays with a write journal.

use std::rc::Rc;

use block::{Range, Sectors};
use md::{Array, JournalMode, Options};
use md_format::Level;
use md_format::journal::{self, MetaBlock, Payload};

use super::{Bench, Made};

/// raid5 of four, chunks of 16 sectors, 0 1 2 P in the first stripe; the journal is disk 4.
pub fn journaled(sectors: u64) -> Made {
    let journal = Some(Sectors(sectors));
    Made { level: Level::Raid5, members: 4, striped: Some((16, 2)), journal, ..Made::default() }
}

/// Its number.
pub const JOURNAL: usize = 4;

/// Opens the array in write-back mode, with so much memory, and waits for the replay.
pub async fn open_write_back(bench: &Bench, journal_cache_bytes: usize) -> Rc<Array> {
    let journal_mode = JournalMode::WriteBack;
    let options = Options { journal_mode, journal_cache_bytes, ..Options::default() };
    let array = bench.open_with(options).await.unwrap();
    array.replayed().await;
    array
}

/// Blocks that the journal has and no member yet.
pub fn cached(array: &Array) -> u64 {
    array.journal().unwrap().cached_bytes / 4096
}

/// What a power cut would leave of the journal: the payloads that are reached from the tail.
pub async fn payloads(bench: &Bench) -> Vec<String> {
    let summary = bench.summary(JOURNAL).await;
    let seed = journal::seed(&summary.array_uuid);
    let ring = summary.data_size / 8 * 8;
    let (mut at, mut seq, mut found) = (summary.journal_tail.unwrap(), None, Vec::new());
    loop {
        let place = Range::new(Sectors(summary.data_offset + at), Sectors(8));
        let bytes = bench.disk(JOURNAL).peek_durable(place);
        let Ok(meta) = MetaBlock::view(&bytes) else { return found };
        if meta.check(seed, at).is_err() || seq.is_some_and(|seq| seq != meta.seq.get()) {
            return found;
        }
        at = journal::ring_add(at, 8, ring).unwrap();
        for payload in meta.payloads(1).map(Result::unwrap) {
            found.push(match payload {
                Payload::Data { array_sector, .. } => format!("data {array_sector}"),
                Payload::Parity { row, .. } => format!("parity {row}"),
                Payload::Flush { .. } => "flush".to_owned(),
            });
            at = journal::ring_add(at, payload.sectors(), ring).unwrap();
        }
        seq = Some(meta.seq.get() + 1);
    }
}
