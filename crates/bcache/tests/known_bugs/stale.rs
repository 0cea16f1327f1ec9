//! Something is read that is not what was last written there.

use bcache_format::CacheMode;
use block::{Op, Origin};
use runtime::{sleep_ms, spawn};

use crate::bench::{BUCKET, Bench, Left, Live, ROOM, Verdict, Wrong};

/// Two loops of `dd`, one of which reads, were enough: what was read before the write is put into the cache behind it.
pub fn a_miss_overtakes_a_write_past_the_cache_2021() -> Verdict {
    Bench::new(4, CacheMode::Writearound).era(async |live| {
        live.cache.hold(|request| request.op == Op::Write && request.origin == Origin::Client);
        assert!(live.reads(0, 8, 0).await);
        sleep_ms(1).await;
        assert_eq!(live.cache.held(), 1, "what was read is on its way into the cache");
        live.write(0, 8, 1).await.expect("no faults");
        live.cache.open();
        sleep_ms(10).await;
        is_read(live, 0, 1).await
    })
}

/// Old keys lead to what was written into their bucket since, of which no key is durable.
pub fn a_bucket_is_used_again_before_its_generation_is_durable() -> Verdict {
    let bench = Bench::new(4, CacheMode::Writethrough);
    bench.era(async |live| {
        fill(live, 0, ROOM).await;
        live.flush().await.expect("no faults");
        fill(live, ROOM, 64 * BUCKET).await;
        Ok(())
    })?;
    // Whoever starts the cache gives up the same buckets at once.
    let cut = bench.cut(Left::Everything);
    let is_right = |from| {
        let expected = (from..from + ROOM / 4).map(|sector| value_of(sector / BUCKET * BUCKET));
        cut.look(from, ROOM / 4).into_iter().eq(expected)
    };
    if (0..4).all(|part| is_right(part * ROOM / 4)) { Ok(()) } else { Err(Wrong::Stale) }
}

/// While a read is under way its bucket is given up, its generation durable, and something else written there: by the rules.
/// Only who reads can notice.
pub fn a_bucket_is_used_again_under_a_slow_read() -> Verdict {
    Bench::new(4, CacheMode::Writethrough).era(async |live| {
        fill(live, 0, BUCKET).await;
        let at = live.find(0).await.at.expect("it is cached").0.sector();
        live.cache.hold(move |request| request.op == Op::Read && request.range.start.0 == at);
        let device = live.device.clone();
        let buf = live.arena.wait_take(4096).await;
        let read = block::Request::read(block::Sectors(0), buf.clone());
        let reading = spawn(async move { device.start(read).await });
        sleep_ms(1).await;
        assert_eq!(live.cache.held(), 1);
        fill(live, ROOM, 2 * ROOM).await;
        assert_eq!(live.find(0).await.at, None, "it was given up");
        live.cache.open();
        reading.join().await.expect("no faults");
        let mut first = [0; 8];
        buf.copy_to_slice(0, &mut first);
        if u64::from_le_bytes(first) == value_of(0) { Ok(()) } else { Err(Wrong::Stale) }
    })
}

/// The tree keeps keys whose bucket was given up until something is laid over them: a generation tells them apart.
pub fn a_key_of_a_bucket_that_was_used_again_is_believed() -> Verdict {
    Bench::new(4, CacheMode::Writethrough).era(async |live| {
        fill(live, 0, 3 * ROOM).await;
        for start in (0..ROOM).step_by(BUCKET as usize) {
            is_read(live, start, value_of(start)).await?;
        }
        Ok(())
    })
}

/// A bucket was given up, which is not durable yet; what it had is written past the cache, durably. After a power cut it was
/// never given up.
pub fn what_is_stale_in_memory_alone_is_not_overridden() -> Verdict {
    let bench = Bench::new(8, CacheMode::Writethrough);
    let stale = bench.era(async |live| {
        fill(live, 0, ROOM).await;
        let mut next = ROOM;
        let stale = loop {
            assert!(next < 2 * ROOM, "when all buckets hold something, one that does is given up");
            live.flush().await.expect("no faults");
            live.cache.hold(Live::is_of_priorities);
            let cached = cached(live).await;
            fill(live, next, 16 * BUCKET).await;
            next += 16 * BUCKET;
            if let Some(stale) = first_given_up(live, &cached).await {
                break stale;
            }
            live.cache.open();
            sleep_ms(10).await;
        };
        assert!(live.find(stale).await.is_named);
        live.volume.set_mode(CacheMode::Writearound).await.expect("no faults");
        live.write_durably(stale, BUCKET, 1).await.expect("no faults");
        Ok(stale)
    })?;
    // Not started: that would give up what was used least, which this is.
    let read = bench.cut(Left::Durable).look(stale, BUCKET);
    if read == [1; BUCKET as usize] { Ok(()) } else { Err(Wrong::Stale) }
}

/// What of the first writes is in the cache.
async fn cached(live: &Live) -> Vec<u64> {
    let mut cached = Vec::new();
    for start in (0..ROOM).step_by(BUCKET as usize) {
        if live.find(start).await.at.is_some() {
            cached.push(start);
        }
    }
    cached
}

/// The first of these that is not in the cache any more.
async fn first_given_up(live: &Live, starts: &[u64]) -> Option<u64> {
    for start in starts {
        if live.find(*start).await.at.is_none() {
            return Some(*start);
        }
    }
    None
}

/// Writes a bucket after the other, each with a value of its own.
async fn fill(live: &Live, from: u64, sectors: u64) {
    for start in (from..from + sectors).step_by(BUCKET as usize) {
        live.write(start, BUCKET, value_of(start)).await.expect("no faults");
    }
}

fn value_of(start: u64) -> u64 {
    1000 + start
}

async fn is_read(live: &Live, start: u64, value: u64) -> Verdict {
    if live.reads(start, BUCKET, value).await { Ok(()) } else { Err(Wrong::Stale) }
}

/// Nothing ends where the left one of two nodes did that are one now: only its generation says that it is not there any more.
pub fn a_node_that_was_joined_is_found_again() -> Verdict {
    let bench = Bench::new(2, CacheMode::Writeback);
    let sectors = 150 * BUCKET;
    bench.era(async |live| {
        fill(live, 0, sectors).await; // two leaves
        live.discard(0, sectors).await.expect("no faults");
        sleep_ms(1000).await;
        live.write(0, BUCKET, 1).await.expect("no faults");
        // The journal lets go of that.
        for value in 0..40 {
            live.write_durably(sectors, BUCKET, value).await.expect("no faults");
        }
        Ok(())
    })?;
    bench.cut(Left::Durable).era(async |live| is_read(live, 0, 1).await)
}
