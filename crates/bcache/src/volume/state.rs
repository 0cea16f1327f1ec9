//! What the superblock of a backing device says of its cache, and when it may say it (C2).
//!
//! DIRTY is durable before anything dirty is admitted. CLEAN is written when nothing is dirty any more: after the backing
//! device was flushed, and after the journal says so too.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use bcache_format::limits::{SUPERBLOCK_BYTES, SUPERBLOCK_SECTOR};
use bcache_format::superblock::Backing;
use bcache_format::{CacheMode, Label, State, Superblock};
use block::{Arena, Buf, Origin, Outcome, Request, Sectors};
use runtime::Event;

use crate::backing::BackingDisk;
use crate::examine::Examined;
use crate::limits::WAITERS;
use crate::plant::{self, Plant};

/// The superblock of a backing device.
pub(super) struct BackingState {
    disk: Rc<BackingDisk>,
    bytes: RefCell<Box<[u8; SUPERBLOCK_BYTES]>>,
    state: Cell<State>,
    buf: Buf,
    /// It is being written; one does it at a time.
    is_changing: Cell<bool>,
    changed: Event,
    /// Writes that may make something dirty.
    admitted: Cell<u32>,
}

impl BackingState {
    /// As it was read.
    pub async fn new(
        disk: Rc<BackingDisk>,
        examined: &Examined,
        backing: &Backing,
        arena: &Rc<Arena>,
    ) -> BackingState {
        BackingState {
            disk,
            bytes: RefCell::new(examined.bytes.clone()),
            state: Cell::new(backing.state),
            buf: arena.wait_take(SUPERBLOCK_BYTES).await,
            is_changing: Cell::new(false),
            changed: Event::with_capacity(WAITERS),
            admitted: Cell::new(0),
        }
    }

    /// What it says, durably.
    pub fn get(&self) -> State {
        self.state.get()
    }

    /// A write that makes something dirty begins: DIRTY is durable when this returns. [`BackingState::end`] ends it.
    pub async fn admit(&self) -> Outcome {
        self.admitted.set(self.admitted.get() + 1);
        let is_dirty = self.state.get() == State::Dirty && !self.is_changing.get();
        if is_dirty || plant::is(Plant::DirtyAfterAdmission) {
            return Ok(());
        }
        self.change(|state| (state.state.get() != State::Dirty).then_some(Change::State(State::Dirty))).await
    }

    /// A write that was admitted ends.
    pub fn end(&self) {
        self.admitted.set(self.admitted.get() - 1);
    }

    /// Says CLEAN, if `is_clean` and nothing that would make something dirty is under way. Everything was flushed.
    pub async fn settle(&self, is_clean: impl Fn() -> bool) -> Outcome {
        self.change(|state| {
            let settles = state.state.get() == State::Dirty && state.admitted.get() == 0 && is_clean();
            settles.then_some(Change::State(State::Clean))
        })
        .await
    }

    /// Says how it is cached.
    pub async fn set_mode(&self, mode: CacheMode) -> Outcome {
        self.change(|_| Some(Change::Mode(mode))).await
    }

    /// Says what people call it.
    pub async fn set_label(&self, label: Label) -> Outcome {
        self.change(|_| Some(Change::Label(label))).await
    }

    /// Says which set it belongs to, or that it belongs to none.
    pub async fn set_owner(&self, state: State, set_uuid: [u8; 16]) -> Outcome {
        self.change(|_| Some(Change::Owner(state, set_uuid))).await
    }

    /// Changes it, if `what` says so when it is this one's turn.
    async fn change(&self, what: impl Fn(&BackingState) -> Option<Change>) -> Outcome {
        self.changed.wait_until(|| !self.is_changing.get()).await;
        let Some(change) = what(self) else { return Ok(()) };
        self.is_changing.set(true);
        let owner = self.owner();
        let written = self.write(change).await;
        match (written, change) {
            (Ok(()), Change::State(state) | Change::Owner(state, _)) => self.state.set(state),
            // It may say the one or the other: DIRTY is written again before anything dirty is admitted.
            (Err(_), Change::State(_)) => self.state.set(State::Clean),
            // The same, and then it also says again whose it is.
            (Err(_), Change::Owner(..)) => {
                self.edit(Change::Owner(owner.0, owner.1));
                self.state.set(if owner.0 == State::Dirty { State::Clean } else { owner.0 });
            }
            _ => {}
        }
        self.is_changing.set(false);
        self.changed.notify();
        written
    }

    /// What it says of its state, and whose it is.
    fn owner(&self) -> (State, [u8; 16]) {
        let bytes = self.bytes.borrow();
        (self.state.get(), Superblock::view(&bytes[..]).expect("it was checked").set_uuid)
    }

    fn edit(&self, change: Change) {
        let mut bytes = self.bytes.borrow_mut();
        let superblock = Superblock::edit(&mut bytes[..]).expect("it was checked");
        match change {
            Change::State(state) => {
                let set_uuid = superblock.set_uuid;
                superblock.set_state(state, set_uuid);
            }
            Change::Owner(state, set_uuid) => superblock.set_state(state, set_uuid),
            Change::Mode(mode) => superblock.set_mode(mode),
            Change::Label(label) => superblock.set_label(label),
        }
        superblock.seal();
    }

    async fn write(&self, change: Change) -> Outcome {
        self.edit(change);
        self.buf.copy_from_slice(0, &self.bytes.borrow()[..]);
        let write = Request::write(Sectors(SUPERBLOCK_SECTOR), self.buf.clone());
        self.disk.dev.start(write.with_fua().from_origin(Origin::Metadata)).await
    }
}

#[derive(Clone, Copy)]
enum Change {
    State(State),
    Owner(State, [u8; 16]),
    Mode(CacheMode),
    Label(Label),
}
