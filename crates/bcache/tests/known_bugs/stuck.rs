//! Somebody waits for what can only come when he goes on (P3).

use std::rc::Rc;

use bcache::plant::Memory;
use bcache_format::CacheMode;
use block::{Op, Origin, Range, Request, Sectors};
use runtime::{sleep_ms, spawn};

use crate::bench::{BUCKET, Bench, Left, Live, Verdict, Wrong};

/// A new cache has one node, a leaf. Where only what lies below a root is written for the journal's sake, nothing is; in the
/// kernel until a timer comes by, half a minute later.
pub fn a_root_that_is_a_leaf_is_never_written_2025() -> Verdict {
    writes_one_leaf(&Bench::new(2, CacheMode::Writeback))
}

pub fn writes_one_leaf(bench: &Bench) -> Verdict {
    bench.era(async |live| {
        for at in 0..4 * BUCKET {
            live.write_durably(at, 1, at).await.expect("no faults");
        }
        Ok(())
    })
}

/// All memory is in pages that are to be written to the volume, durably, before anything else gets any: the kernel's file system
/// on a cache, when memory is short. Who writes the journal has what that takes.
pub fn the_journal_is_written_by_a_worker_that_needs_memory_2018() -> Verdict {
    short_of_memory(&Bench::new(4, CacheMode::Writeback))
}

pub fn short_of_memory(bench: &Bench) -> Verdict {
    bench.era(async |live| {
        let memory = Rc::new(Memory::default());
        memory.limit();
        for page in 0..64 {
            live.write_durably(page * BUCKET, BUCKET, page).await.expect("no faults");
            memory.give_back();
        }
        Ok(())
    })
}

/// The journal is written from time to time, and whoever wants to know when has to ask for it.
pub fn who_waits_for_the_journal_waits_for_a_timer_2021() -> Verdict {
    Bench::new(4, CacheMode::Writeback).era(async |live| {
        let before = live.world_ns();
        live.write_durably(0, 8, 1).await.expect("no faults");
        match live.world_ns() - before < 1_000_000_000 {
            true => Ok(()),
            false => Err(Wrong::Hangs), // for as long as the timer says
        }
    })
}

/// Replay makes a new root, the journal has to name it, and there is no room in the journal, which is being replayed: at every
/// start again. The kernel keeps a bucket back for it since 5.19; here nothing is written to a journal that is replayed.
pub fn a_full_journal_cannot_be_replayed_2021() -> Verdict {
    for (journal_buckets, holes) in [(6, 40), (6, 48), (8, 32), (8, 48)] {
        full_journal(journal_buckets, holes)?.cut(Left::Everything).era(async |live| {
            live.write_durably(0, 1, 1).await.expect("no faults");
            Ok(())
        })?;
    }
    Ok(())
}

/// Extents in the only leaf: less than it has room for.
const KEYS: u64 = 86;

/// A cache whose journal is as full as can be. It has holes that the leaf has too, whose log is as full: when nodes were not
/// written any more, so many were made.
fn full_journal(journal_buckets: u16, holes: u64) -> Verdict<Bench> {
    let bench = Bench::new(journal_buckets, CacheMode::Writethrough);
    bench.era(async |live| {
        for at in 0..KEYS {
            live.write(2 * at, 1, 1).await.expect("no faults");
        }
        live.flush().await.expect("no faults");
        for at in 0..holes {
            live.discard(2 * at, 1).await.expect("no faults");
            live.flush().await.expect("no faults");
        }
        let geometry = live.geometry;
        live.cache.hold(move |request| {
            let is_outside = !Live::in_journal(&geometry, request.range.start.0);
            request.op == Op::Write && request.origin == Origin::Metadata && is_outside
        });
        let device = live.device.clone();
        let _stuck = spawn(async move {
            for at in holes..KEYS {
                let hole = Request::discard(Range::new(Sectors(2 * at), Sectors(1)));
                device.start(hole).await.expect("no faults");
                device.start(Request::flush()).await.expect("no faults");
            }
        });
        sleep_ms(1000).await;
        // Now the leaf is written, and the power goes before an entry says so.
        live.cache.open();
        live.cache.hold(move |request| {
            request.op == Op::Write && Live::in_journal(&geometry, request.range.start.0)
        });
        sleep_ms(1000).await;
        Ok(())
    })?;
    Ok(bench)
}
