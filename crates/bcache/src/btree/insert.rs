//! Keys come into the tree, and into the journal with them.
//!
//! All that is needed is there before anything is changed: the leaf in memory, with room for the key in its log; room in the
//! entry of the journal that is gathered. Then the key goes into both without a wait in between. So the tree in memory is at
//! any time what the journal up to its newest key says, and nobody who waits holds anything that others wait for (P2).

use bcache_format::Key;
use bcache_format::Position;

use super::node::Room;
use crate::buckets::Buckets;
use crate::error::SetError;
use crate::set::CacheSet;
use crate::waits;

impl CacheSet {
    /// Lays a key over what the tree says.
    pub(crate) async fn insert(&self, key: Key) -> Result<(), SetError> {
        self.insert_if(key, || true).await
    }

    /// The same where `still` says yes, asked in the moment in which it is done.
    pub(crate) async fn insert_if(&self, key: Key, still: impl Fn() -> bool) -> Result<(), SetError> {
        let mut rest = key;
        while rest.sectors() > 0 {
            let frame = self.ready_leaf(rest.start()).await?;
            let end = self.end_in(frame, &rest);
            let piece = rest.cut_back(end);
            if still() {
                self.lay(frame, piece);
            }
            rest = rest.cut_front(end);
        }
        Ok(())
    }

    /// Lays `new` where the tree still says what `old`, which covers the same sectors, says. Of how many sectors.
    pub(crate) async fn replace(&self, old: Key, new: Key) -> Result<u64, SetError> {
        let (mut at, mut sectors) = (old.start(), 0);
        while at < old.end() {
            let frame = self.ready_leaf(at).await?;
            let end = self.end_in(frame, &old.cut_front(at.offset));
            let found = self.same_in(frame, &old.cut_front(at.offset).cut_back(end));
            let Some((from, to)) = found else {
                at = Position::new(at.inode, end);
                continue;
            };
            self.lay(frame, new.cut_front(from).cut_back(to));
            sectors += to - from;
            at = Position::new(at.inode, to);
        }
        Ok(sectors)
    }

    /// Where the part of a key ends that the leaf in a frame covers.
    fn end_in(&self, frame: usize, key: &Key) -> u64 {
        let end = self.nodes.frame(frame).borrow().node.key.end();
        if key.end() <= end { key.end().offset } else { end.offset }
    }

    /// The first run of sectors of which a leaf says what `key` says, from where to where.
    fn same_in(&self, frame: usize, key: &Key) -> Option<(u64, u64)> {
        let frame = self.nodes.frame(frame).borrow();
        let keys = &frame.node.keys;
        let behind = keys.keys()[keys.first_behind(key.start())..].iter();
        behind.take_while(|found| found.start() < key.end()).find_map(|found| {
            let from = found.start().max(key.start()).offset;
            let to = found.end().min(key.end()).offset;
            let (found, key) = (found.cut_front(from).cut_back(to), key.cut_front(from).cut_back(to));
            (found == key).then_some((from, to))
        })
    }

    /// The frame of the leaf in which `at` lies, when it and the journal have room for one more key: until the next wait.
    async fn ready_leaf(&self, at: Position) -> Result<usize, SetError> {
        let engine = self.engine();
        loop {
            if let Some(failed) = self.failure() {
                return Err(failed);
            }
            // A tree that cannot be read cannot be kept true either.
            let place = self.nodes.place(&self.roots, &self.buckets, at, 0).await;
            let frame = place.inspect_err(|error| self.fail(*error))?;
            match self.room_in(frame) {
                None => self.nodes.changed.wait_for(waits::FROZEN, || self.room_in(frame).is_some()).await,
                Some(Room::LogFull) => self.make_room(at).await?,
                Some(Room::OpenFull) => self.write_or_wait(frame).await?,
                Some(Room::Enough) if engine.journal.has_room() => return Ok(frame),
                Some(Room::Enough) => engine.journal.wait_room(self).await?,
            }
        }
    }

    /// The room of a leaf; `None` while its keys are going elsewhere.
    fn room_in(&self, frame: usize) -> Option<Room> {
        let frame = self.nodes.frame(frame).borrow();
        (!frame.is_frozen).then(|| frame.node.room_for_a_key(&self.geometry))
    }

    /// Writes a leaf that has too much to write, or waits for whoever does.
    async fn write_or_wait(&self, frame: usize) -> Result<(), SetError> {
        if self.nodes.frame(frame).borrow().writing.is_none() {
            return self.write_leaf(frame).await;
        }
        let is_written = || self.nodes.frame(frame).borrow().writing.is_none() || self.failure().is_some();
        self.nodes.changed.wait_for(waits::LEAF, is_written).await;
        Ok(())
    }

    /// Lays a key into a leaf that has room for it, and adds it to the journal, which has too.
    fn lay(&self, frame: usize, key: Key) {
        let engine = self.engine();
        let seq = engine.journal.add(&key);
        self.lay_into(frame, key, seq);
        engine.fills.overwritten(&key);
        engine.laid.set(engine.laid.get() + key.sectors());
    }

    /// Lays a key, which the journal's entry `pin` has, into a leaf that has room for it.
    fn lay_into(&self, frame: usize, key: Key, pin: u64) {
        let mut frame = self.nodes.frame(frame).borrow_mut();
        let mut buckets = self.buckets.borrow_mut();
        let engine = self.engine();
        frame.node.lay(key, |gone| {
            if buckets.forget(&gone) && gone.is_dirty() {
                engine.dirty.take(&gone);
            }
        });
        if buckets.count(&key) && key.is_dirty() {
            engine.dirty.add(&key);
        }
        frame.node.pin = Some(frame.node.pin.unwrap_or(pin).min(pin));
    }

    /// Lays what the journal had when the set was opened into the tree, where that does not say it already. Its entries, the
    /// oldest of which is `pin`, are kept until then.
    ///
    /// Nothing is written to the journal meanwhile, however the tree changes: a new root is named by one entry at the end,
    /// when nothing of what was replayed is needed any more. So a journal that is full can be replayed as often as the power
    /// goes (P2), and the nodes of the old root are there until then.
    pub(crate) async fn replay(&self, pin: u64) -> Result<(), SetError> {
        let (engine, keys) = (self.engine(), self.pending.borrow().keys().to_vec());
        engine.journal.keep_from(pin);
        engine.deferred.replace(Some(Vec::new()));
        for key in keys {
            self.replay_key(key, pin).await?;
        }
        self.pending.borrow_mut().clear();
        engine.journal.keep_from(u64::MAX);
        let old = engine.deferred.take().expect("put there before");
        if !old.is_empty() {
            engine.journal.commit_roots(self).await?;
            self.retire(&old, Buckets::next_life);
        }
        Ok(())
    }

    async fn replay_key(&self, key: Key, pin: u64) -> Result<(), SetError> {
        let mut rest = key;
        while rest.sectors() > 0 {
            let frame = self.ready_leaf(rest.start()).await?;
            let piece = rest.cut_back(self.end_in(frame, &rest));
            let end = match self.same_in(frame, &piece) {
                Some((from, to)) if from == piece.start().offset => to,
                same => {
                    let end = same.map_or(piece.end().offset, |(from, _)| from);
                    self.lay_into(frame, piece.cut_back(end), pin);
                    end
                }
            };
            rest = rest.cut_front(end);
        }
        Ok(())
    }
}
