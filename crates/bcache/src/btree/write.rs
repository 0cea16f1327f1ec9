//! Writing nodes: a set of keys behind the others in a node's log, or a node that is made.
//!
//! What a leaf has that is not on disk always fits its log: no bucket is needed to write it, nor memory, nor space in the
//! journal. So the journal can always let go of what leaves keep (P2).
//!
//! A set of keys is written without its first sector (or what the device writes in one), then that one: a power cut or an error
//! in between leaves a log that ends before it, and never a set that is torn, for which a kernel would refuse the whole cache.

use std::rc::Rc;

use bcache_format::bset::HEADER_BYTES;
use bcache_format::{Geometry, Key};
use block::{Buf, Failed, Origin, Request, Sectors};
use runtime::spawn;
use runtime::waits::doing;

use super::log;
use super::node::Node;
use super::nodes::frame::Writing;
use crate::counters::count;
use crate::error::SetError;
use crate::limits::OPEN_KEYS;
use crate::plant::{self, Plant};
use crate::set::CacheSet;
use crate::waits;

/// Bytes that the longest set of keys takes that a leaf has open.
pub(crate) fn open_bytes(geometry: &Geometry) -> usize {
    geometry.whole_blocks(HEADER_BYTES + OPEN_KEYS * size_of::<Key>())
}

impl CacheSet {
    /// Writes what the leaf in a frame has that is not on disk, if it is not being written already.
    pub(crate) async fn write_leaf(&self, frame: usize) -> Result<(), SetError> {
        let engine = self.engine();
        let whole = engine.leaf_buffers.wait_take(open_bytes(&self.geometry)).await;
        let Some((sector, buf)) = self.take_open(frame, &whole) else { return Ok(()) };
        // If that fails the set does, and what was to be written goes on keeping its entries.
        self.write_set(sector, &buf).await?;
        self.nodes.frame(frame).borrow_mut().writing = None;
        self.nodes.written();
        engine.journal.look_again();
        Ok(())
    }

    /// Takes the open keys of a leaf, laid out in `whole`: where they go, and the bytes. They count as written: what is laid
    /// into the leaf from now on goes behind them.
    fn take_open(&self, frame: usize, whole: &Buf) -> Option<(u64, Buf)> {
        let mut frame = self.nodes.frame(frame).borrow_mut();
        let pin = frame.pin_to_write()?;
        let node = &mut frame.node;
        let buf = whole.slice(0, log::set_bytes(&self.geometry, node.open.words()));
        let sector = self.lay_out(node, node.open.keys(), &buf);
        node.open.clear();
        node.pin = None;
        node.blocks += buf.sectors().0 / self.geometry.block_sectors;
        frame.writing = Some(Writing { pin });
        Some((sector, buf))
    }

    /// Lays keys out as the next set of a node; the sector at which that begins.
    pub(crate) fn lay_out(&self, node: &Node, keys: &[Key], buf: &Buf) -> u64 {
        block::lend(&[], std::slice::from_ref(buf), |_, bytes| {
            log::write(bytes[0], &self.geometry, &node.key, node.seq, keys);
        });
        let start = node.key.pointer().expect("a node has a place").sector();
        start + node.blocks * self.geometry.block_sectors
    }

    /// Writes a set of keys at the end of a log: what it speaks of is durable before, the set itself afterwards.
    pub(crate) async fn write_set(&self, sector: u64, buf: &Buf) -> Result<(), SetError> {
        self.flush_data().await?;
        let head = self.dev.geometry().logical_block as usize;
        if buf.len() > head {
            let body = buf.slice(head, buf.len() - head);
            self.write_durably("node", sector + head as u64 / 512, body).await?;
        }
        self.write_durably("node", sector, buf.slice(0, head)).await
    }

    /// Writes metadata; it is durable when this returns. What fails ends the set.
    pub(crate) async fn write_durably(
        &self,
        what: &'static str,
        sector: u64,
        buf: Buf,
    ) -> Result<(), SetError> {
        let counters = &self.engine().counters;
        let counter = if what == "node" { &counters.btree_sectors } else { &counters.other_sectors };
        count(counter, buf.sectors().0);
        let write = Request::write(Sectors(sector), buf).with_fua().from_origin(Origin::Metadata);
        let failed = |failed: Failed| {
            let error = SetError::Device { what, sector, failed };
            self.fail(error);
            error
        };
        self.counted(self.dev.start(write)).await.map_err(failed)
    }
}

/// Starts those who write leaves: for the journal, which wants to let go of entries, and for whoever waits for a frame.
pub(crate) fn start(set: &Rc<CacheSet>) {
    for _ in 0..set.options.leaves_at_once {
        let set = set.clone();
        let _running = spawn(async move { run(&set).await });
    }
}

async fn run(set: &Rc<CacheSet>) {
    let _doing = doing(waits::LEAVES);
    while !set.is_over() {
        let mut next = None;
        set.nodes
            .changed
            .wait_until(|| {
                next = set.nodes.next_to_write(set.engine().journal.let_go_before());
                next = next.filter(|_| set.root().1 > 0 || !plant::is(Plant::RootLeafUnwritten));
                set.is_over() || next.is_some()
            })
            .await;
        if let Some(frame) = next {
            let _failed = set.write_leaf(frame).await; // and with it the set, which says so
        }
    }
}
