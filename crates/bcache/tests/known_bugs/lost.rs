//! What was durable is not there any more, or would not be after the next power cut.

use bcache_format::{CacheMode, State};
use block::Cause;
use runtime::sim::Fate;
use runtime::sleep_ms;

use crate::bench::{Bench, Left, Live, Verdict, Wrong};

/// The backing device's own cache loses what was written back to it, and the cache has been told that it is there.
pub fn write_back_calls_clean_what_was_not_flushed_2019() -> Verdict {
    let bench = Bench::new(4, CacheMode::Writeback);
    bench.era(async |live| {
        live.write_durably(0, 8, 1).await.expect("no faults");
        live.volume.drain().await.expect("no faults");
        // Another write has the journal say what became clean.
        live.write_durably(64, 8, 2).await.expect("no faults");
        assert!(!live.is_dirty(0).await);
        Ok(())
    })?;
    let bench = bench.cut(Left::Durable);
    let is_dirty = bench.era(async |live| Ok(live.is_dirty(0).await))?;
    // What is clean may be given up at any time: then this is all there is.
    if is_dirty || bench.below(0, 8) == [1; 8] { Ok(()) } else { Err(Wrong::Lost) }
}

/// Whoever attaches the backing device without its cache, or runs it alone, is not told that something is missing (C2).
pub fn dirty_data_is_admitted_before_the_backing_device_says_so() -> Verdict {
    let bench = Bench::new(4, CacheMode::Writeback);
    bench.era(async |live| {
        live.write_durably(0, 8, 1).await.expect("no faults");
        Ok(())
    })?;
    says_dirty(&bench.cut(Left::Durable))
}

/// The same from the other side: everything was written back, and only the memory knows.
pub fn the_backing_device_says_clean_before_the_journal_does() -> Verdict {
    let bench = Bench::new(4, CacheMode::Writeback);
    bench.era(async |live| {
        live.write_durably(0, 8, 1).await.expect("no faults");
        live.volume.drain().await.expect("no faults");
        assert_eq!(live.state().await, State::Clean);
        Ok(())
    })?;
    says_dirty(&bench.cut(Left::Durable))
}

/// Whether the backing device says that something is dirty, if it is.
fn says_dirty(bench: &Bench) -> Verdict {
    bench.era(async |live| match live.is_dirty(0).await && live.state().await != State::Dirty {
        true => Err(Wrong::Mark),
        false => Ok(()),
    })
}

/// A write past the cache takes the place of something dirty. Mostly the journal would see to it, which flushes the backing
/// device before it says anything; but it goes on where that fails, for the sake of other volumes.
pub fn dirty_data_is_forgotten_before_what_replaced_it_is_flushed() -> Verdict {
    let bench = Bench::new(4, CacheMode::Writeback);
    let was_written = bench.era(async |live| {
        live.write_durably(0, 8, 1).await.expect("no faults");
        live.volume.set_mode(CacheMode::Writearound).await.expect("no faults");
        bench.backing.set_faults(|faults| faults.flush_error_one_in = 1);
        let written = live.write(0, 8, 2).await;
        live.set.set_tunable("journal_delay_ms", "1").await.expect("it can be set");
        sleep_ms(1000).await;
        Ok(written.is_ok())
    })?;
    assert_eq!(bench.below(0, 8), [2; 8]);
    let bench = bench.cut(Left::Durable);
    assert_eq!(bench.below(0, 8), [0; 8], "nobody has flushed it");
    let is_there = bench.era(async |live| Ok(live.reads(0, 8, 1).await))?;
    assert!(was_written || is_there, "a write that failed has taken nothing away");
    if is_there { Ok(()) } else { Err(Wrong::Lost) }
}

/// The journal is flushed with the entry, the data is not.
pub fn a_key_is_durable_before_its_data() -> Verdict {
    let bench = Bench::new(4, CacheMode::Writeback);
    bench.era(async |live| {
        live.write_durably(0, 8, 1).await.expect("no faults");
        Ok(())
    })?;
    reads(&bench.cut(Left::Durable), 1)
}

/// A write past the cache that finds nothing to forget, because another one has forgotten it and not said so durably.
pub fn a_fua_waits_for_its_own_keys_alone() -> Verdict {
    let bench = Bench::new(4, CacheMode::Writeback);
    bench.era(async |live| {
        live.write_durably(0, 8, 1).await.expect("no faults");
        live.volume.set_mode(CacheMode::Writearound).await.expect("no faults");
        live.write(0, 8, 2).await.expect("no faults");
        live.write_durably(0, 8, 3).await.expect("no faults");
        Ok(())
    })?;
    reads(&bench.cut(Left::Durable), 3)
}

/// The second entry says that the first is not needed; the leaf was not written.
pub fn the_journal_lets_go_of_what_leaves_need() -> Verdict {
    let bench = Bench::new(4, CacheMode::Writeback);
    bench.era(async |live| {
        live.write_durably(0, 8, 1).await.expect("no faults");
        live.write_durably(64, 8, 2).await.expect("no faults");
        Ok(())
    })?;
    reads(&bench.cut(Left::Durable), 1)
}

/// A cache that does not answer for a moment: the kernel takes its volumes out, and what is written to them then lies below what
/// is dirty when the cache is back.
pub fn a_lost_cache_orphans_what_is_dirty_2021() -> Verdict {
    let bench = Bench::new(4, CacheMode::Writeback);
    let last = bench.era(async |live| {
        live.write_durably(0, 72, 1).await.expect("no faults");
        bench.cache.set_fate(Fate::Dead);
        live.discard(64, 8).await.expect("nobody has to know yet");
        assert_eq!(live.flush().await.expect_err("the cache is lost").cause, Cause::Gone);
        Ok(if live.write_durably(0, 8, 3).await.is_ok() { 3 } else { 1 })
    })?;
    bench.cache.set_fate(Fate::Alive);
    let bench = bench.cut(Left::Everything);
    bench.era(async |live| match live.is_dirty(0).await && live.state().await != State::Dirty {
        true => Err(Wrong::Mark),
        false => is_read(live, last).await,
    })
}

fn reads(bench: &Bench, value: u64) -> Verdict {
    bench.era(async |live| is_read(live, value).await)
}

async fn is_read(live: &Live, value: u64) -> Verdict {
    if live.reads(0, 8, value).await { Ok(()) } else { Err(Wrong::Lost) }
}
