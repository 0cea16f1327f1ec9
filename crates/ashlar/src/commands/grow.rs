//! `ashlar grow`: changes what an array that runs looks like.

use anyhow::Result;
use control::{Client, ConsistencyPolicy, GrowOrder};

use super::status::{journal_mode, place};
use crate::Usage;
use crate::cli::{Grow, MemberSize, NewBitmap, NewConsistency};
use crate::dirs;
use crate::text::{print, size};

/// Runs the command.
pub fn run(args: &Grow) -> Result<()> {
    let dir = dirs::run_dir(args.run_dir.run_dir.as_deref())?;
    let client = Client::new(&place(&dir, &args.name)?.socket());
    let order = order(args)?;
    client.grow(args.array.as_deref(), order)?;
    let status = client.status()?;
    let is_it = |name: &str| args.array.as_deref().is_none_or(|array| array == name);
    for array in status.arrays.iter().filter(|array| is_it(&array.name)) {
        let now = match (order, &array.bitmap) {
            (GrowOrder::AddBitmap { .. }, Some(bitmap)) => {
                format!("has a bitmap, {} chunks of {}", bitmap.chunks, size(bitmap.chunk_bytes))
            }
            (GrowOrder::AddBitmap { .. } | GrowOrder::RemoveBitmap, _) => "has no bitmap".to_owned(),
            (GrowOrder::Copies { .. }, _) => format!("has {} slots, {} in sync", array.slots, array.in_sync),
            (GrowOrder::Size { .. }, _) => format!("has {}", size(array.bytes)),
            (GrowOrder::RemoveJournal, _) => "has no journal".to_owned(),
            (GrowOrder::Consistency { policy: ConsistencyPolicy::Ppl }, _) => {
                "has a partial parity log".to_owned()
            }
            (GrowOrder::Consistency { policy: ConsistencyPolicy::Resync }, _) => {
                "has no partial parity log".to_owned()
            }
            (GrowOrder::JournalMode { .. }, _) => match array.journal {
                Some(journal) => format!("is served {}", journal_mode(journal.mode)),
                None => "has no journal".to_owned(),
            },
        };
        print(&format!("{}: {now}\n", array.name))?;
    }
    Ok(())
}

fn order(args: &Grow) -> Result<GrowOrder> {
    let usage = |text: &str| Err(Usage(text.to_owned()).into());
    if args.assume_clean && args.size.is_none() {
        return usage("--assume-clean: is about what is new, which there is with --size");
    }
    if let Some(chunk) = args.bitmap_chunk {
        if args.bitmap != Some(NewBitmap::Internal) {
            return usage("--bitmap-chunk: there is no bitmap without --bitmap internal");
        }
        if !chunk.is_power_of_two() || !(4096..=1 << 31).contains(&chunk) {
            return usage("--bitmap-chunk: is not a power of two from 4 KiB to 2 GiB");
        }
    }
    if args.remove_journal {
        return Ok(GrowOrder::RemoveJournal);
    }
    if let Some(word) = args.journal_mode {
        return Ok(GrowOrder::JournalMode { mode: word.into() });
    }
    if let Some(policy) = args.consistency {
        let policy = match policy {
            NewConsistency::Ppl => ConsistencyPolicy::Ppl,
            NewConsistency::Resync => ConsistencyPolicy::Resync,
        };
        return Ok(GrowOrder::Consistency { policy });
    }
    if let Some(copies) = args.raid_devices {
        return Ok(GrowOrder::Copies { copies });
    }
    if let Some(size) = args.size {
        let bytes = match size {
            MemberSize::Max => None,
            MemberSize::Bytes(bytes) => Some(bytes),
        };
        return Ok(GrowOrder::Size { bytes, assume_clean: args.assume_clean });
    }
    Ok(match args.bitmap {
        Some(NewBitmap::Internal) => {
            GrowOrder::AddBitmap { chunk_bytes: args.bitmap_chunk.map(|bytes| bytes as u32) }
        }
        _ => GrowOrder::RemoveBitmap,
    })
}
