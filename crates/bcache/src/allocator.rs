//! Buckets become free: which are given up is known (see `buckets.rs`); here their next generations are made durable, and
//! only then are they used (C4).
//!
//! The one who does it owns what it needs: as many buckets as the priorities take are kept for it alone, and a buffer. It
//! waits for the device and for the journal, which waits for neither buckets nor anybody who does (P2).

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use bcache_format::jset::Roots;
use bcache_format::limits::MOST_LEVELS;
use bcache_format::prio::{Prio, PrioSet};
use bcache_format::{BucketNo, Geometry};
use block::{Arena, Buf};
use runtime::waits::doing;
use runtime::{Event, random, spawn};

use crate::buckets::{Buckets, Purpose};
use crate::error::SetError;
use crate::limits::{BUCKETS_FOR_A_PRIO, LEAST_BATCH, MOST_BATCH, MOVING_BUCKETS, WAITERS};
use crate::plant::{self, Plant};
use crate::set::CacheSet;
use crate::waits;

/// Who gives buckets up.
pub(crate) struct Allocator {
    /// Buckets became free, or can be given up.
    pub changed: Event,
    /// The buckets of the priorities.
    chain: RefCell<Vec<BucketNo>>,
    /// Memory for those of the next time.
    next_chain: RefCell<Vec<BucketNo>>,
    buffers: Rc<Arena>,
    /// So many become free at once.
    batch: usize,
    /// Data leaves so many free.
    least: usize,
    /// Times that priorities were written.
    seq: Cell<u64>,
}

/// What each purpose leaves to those before it, in buckets.
pub(crate) fn kept(geometry: &Geometry) -> [usize; 4] {
    let prios = geometry.prio_buckets() as usize;
    // A change of the tree owns what it may take before it begins. As many as the journal has buckets is what a kernel that
    // replays it may need; what a kernel needs for its own reserves lies in both.
    let nodes = prios + 2 * (2 * usize::from(MOST_LEVELS) + 1).max(geometry.journal_buckets as usize);
    let prios = if plant::is(Plant::NodesTakePrios) { 0 } else { prios };
    [0, prios, nodes, nodes + MOVING_BUCKETS]
}

/// So many buckets become free at once: a sixty-fourth of the cache, and of a small one up to twice that, so that priorities,
/// which take whole buckets, cost little beside what is written to the buckets that they make free.
fn batch(geometry: &Geometry) -> usize {
    let part = |part| (geometry.buckets / part) as usize;
    let cheap = BUCKETS_FOR_A_PRIO * geometry.prio_buckets() as usize;
    part(64).max(cheap.min(part(32))).clamp(LEAST_BATCH, MOST_BATCH)
}

impl Allocator {
    /// For a cache of this shape, whose priorities lie in these buckets.
    pub fn new(geometry: &Geometry, chain: Vec<BucketNo>) -> Allocator {
        Allocator {
            changed: Event::with_capacity(WAITERS),
            next_chain: RefCell::new(Vec::with_capacity(chain.len())),
            chain: RefCell::new(chain),
            buffers: Arena::new(2 * geometry.meta_bucket_bytes().next_power_of_two()),
            batch: batch(geometry),
            least: kept(geometry)[Purpose::Data as usize],
            seq: Cell::new(0),
        }
    }

    /// Memory for the table of volumes.
    pub async fn table_buffer(&self, geometry: &Geometry) -> Buf {
        self.buffers.wait_take(geometry.meta_bucket_bytes()).await
    }

    fn is_short(&self, buckets: &Buckets) -> bool {
        buckets.free() < self.least + self.batch / 4 && (buckets.can_give_up() || buckets.given_up() > 0)
    }

    /// Whether buckets will become free without anybody's doing.
    pub fn has_more(&self, buckets: &Buckets) -> bool {
        buckets.can_give_up() || buckets.given_up() > 0
    }
}

impl CacheSet {
    /// A bucket for a purpose, if there is one now.
    pub(crate) fn try_bucket(&self, purpose: Purpose) -> Option<BucketNo> {
        let bucket = self.buckets.borrow_mut().take(purpose);
        self.engine().allocator.changed.notify();
        bucket
    }

    /// A bucket for a purpose.
    pub(crate) async fn wait_bucket(&self, purpose: Purpose) -> Result<BucketNo, SetError> {
        let mut bucket = None;
        let awaited = if purpose == Purpose::Prios { waits::KEPT_BUCKET } else { waits::BUCKET };
        self.engine()
            .allocator
            .changed
            .wait_for(awaited, || {
                bucket = self.buckets.borrow_mut().take(purpose);
                bucket.is_some() || self.failure().is_some()
            })
            .await;
        self.engine().allocator.changed.notify();
        bucket.ok_or_else(|| self.failure().expect("waited for"))
    }

    /// Writes the priorities and generations of all buckets to new ones and has the journal name them. What was given up
    /// before is free then.
    pub(crate) async fn write_prios(&self) -> Result<(), SetError> {
        let allocator = &self.engine().allocator;
        let released = self.buckets.borrow().given_up();
        let count = self.geometry.prio_buckets() as usize;
        let mut chain = allocator.next_chain.take();
        while chain.len() < count {
            chain.push(self.wait_bucket(Purpose::Prios).await?);
        }
        for part in (0..count).rev() {
            let next = chain.get(part + 1).copied().unwrap_or(chain[part]);
            self.write_prio_bucket(chain[part], part as u64, next).await?;
        }
        self.roots.set(Roots { prios: chain[0].0, ..self.roots() });
        self.engine().journal.commit_roots(self).await?;
        let mut buckets = self.buckets.borrow_mut();
        let mut old = allocator.chain.replace(chain);
        old.drain(..).for_each(|bucket| buckets.put_free(bucket));
        allocator.next_chain.replace(old);
        buckets.release(released);
        drop(buckets);
        allocator.changed.notify();
        Ok(())
    }

    async fn write_prio_bucket(&self, bucket: BucketNo, part: u64, next: BucketNo) -> Result<(), SetError> {
        let allocator = &self.engine().allocator;
        let bytes = self.geometry.meta_bucket_bytes();
        let buf = allocator.buffers.wait_take(bytes).await;
        allocator.seq.set(allocator.seq.get() + 1);
        self.lay_out_prios(&buf, part, next);
        self.write_durably("priorities", self.geometry.sector(bucket), buf).await
    }

    /// Lays out what one bucket of the chain says.
    fn lay_out_prios(&self, buf: &Buf, part: u64, next: BucketNo) {
        let (buckets, seq) = (self.buckets.borrow(), self.engine().allocator.seq.get());
        block::lend(&[], std::slice::from_ref(buf), |_, bytes| {
            let magic = self.geometry.set_magic;
            let prios = PrioSet::create(bytes[0], magic, seq, next.0).expect("a bucket's length");
            let first = part * self.geometry.prios_per_bucket();
            for (prio, number) in prios.iter_mut().zip(first..self.geometry.buckets) {
                let bucket = BucketNo(number);
                let generation = buckets.get(bucket).generation;
                *prio = Prio { priority: buckets.priority(bucket).into(), generation };
            }
            PrioSet::seal(bytes[0]);
        });
    }

    /// Gives up as many buckets as are to become free.
    fn give_up_some(&self) {
        let allocator = &self.engine().allocator;
        let mut buckets = self.buckets.borrow_mut();
        while buckets.free() + buckets.given_up() < allocator.least + allocator.batch {
            if buckets.give_up(random()).is_none() {
                break;
            }
        }
    }
}

/// Starts the giving up of buckets.
pub(crate) fn start(set: &Rc<CacheSet>) {
    let set = set.clone();
    let _running = spawn(async move { run(&set).await });
}

async fn run(set: &Rc<CacheSet>) {
    let allocator = &set.engine().allocator;
    let _doing = doing(waits::ALLOCATOR);
    while !set.is_over() {
        allocator.changed.wait_until(|| set.is_over() || allocator.is_short(&set.buckets.borrow())).await;
        if set.is_over() {
            return;
        }
        set.give_up_some();
        if plant::is(Plant::ReuseBeforeDurable) {
            let mut buckets = set.buckets.borrow_mut();
            let given_up = buckets.given_up();
            buckets.release(given_up);
            continue;
        }
        if let Err(error) = set.write_prios().await {
            set.fail(error);
        }
    }
}
