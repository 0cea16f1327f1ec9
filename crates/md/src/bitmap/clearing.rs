//! Clearing bits, lazily: of chunks that nobody wrote to for two rounds, after a flush of all members, never while one is
//! missing. `events_cleared` is recorded first: who comes back and is older cannot be brought up to date by the bitmap.

use runtime::sleep_ms;

use super::Bitmap;
use crate::array::Array;
use crate::plant::{self, Plant};

/// Rounds that a chunk is left alone before its bit goes.
const ROUNDS: u16 = 2;

/// Clears bits every round until the array is stopped.
pub(super) async fn run(array: &Array, bitmap: &Bitmap) {
    loop {
        let has_work = || bitmap.chunks.has_anything_to_clear() && !array.is_degraded();
        bitmap.used.wait_until(|| has_work() || bitmap.stopping.get()).await;
        if !bitmap.stopping.get() {
            sleep_ms(bitmap.round_ms).await;
        }
        if bitmap.stopping.get() || array.broken().is_some() {
            return;
        }
        bitmap.clearing.set(true);
        clear(array, bitmap, ROUNDS).await;
        bitmap.clearing.set(false);
        bitmap.used.notify();
    }
}

/// One round: clears the bits of chunks that were left alone for so many rounds.
pub(super) async fn clear(array: &Array, bitmap: &Bitmap, rounds: u16) {
    let chunks = &bitmap.chunks;
    if array.is_degraded() || !chunks.grow_older(rounds) {
        return;
    }
    let (epoch, events) = (array.epoch(), array.events());
    if chunks.events_cleared() < events {
        chunks.set_events(events, events);
        bitmap.written(array).await;
    }
    if !plant::is(Plant::BitClearedBeforeFlush) && array.flush_members(0).await.is_err() {
        return;
    }
    // Who failed meanwhile may have failed to keep what the others have.
    if array.epoch() == epoch && !array.is_degraded() {
        chunks.clear();
        bitmap.written(array).await;
    }
}
