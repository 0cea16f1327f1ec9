//! The tree beside a map of sectors: whatever is laid, overwritten, cut, forgotten and made clean, however its nodes are written,
//! replaced and divided meanwhile, and wherever the power goes.

use std::collections::BTreeMap;

use bcache_format::{CacheMode, Key, Position};
use proptest::prelude::*;
use runtime::sleep_ms;

use crate::bench::{Bench, Left, Live, Verdict, Wrong};
use crate::buckets::Purpose;
use crate::open::Stream;
#[cfg(debug_assertions)]
use crate::plant::{self, Plant};

/// Places that are used of each volume, in blocks.
const SPAN: u64 = 700;
/// Volumes: keys of one end where those of the other begin.
const INODES: [u32; 2] = [0, 7];

/// Buckets of the cache and sectors of a block. Nodes have eight blocks, or as few as a node can have.
const SHAPES: [(u64, u16); 3] = [(520, 1), (900, 2), (1500, 4)];

#[derive(Clone, Copy, Debug)]
enum Step {
    /// Data comes, dirty or clean, over whatever is there.
    Lay { volume: usize, at: u64, blocks: u64, is_dirty: bool },
    /// Many extents, each apart from the next, so that nodes are divided.
    LayMany { volume: usize, at: u64, count: u64 },
    /// What is there does not count any more.
    Forget { volume: usize, at: u64, blocks: u64 },
    /// What is dirty from there on is not any more.
    Clean { volume: usize, at: u64 },
    /// Everything said so far is durable.
    Commit,
    /// The power goes.
    Cut,
    /// Time goes by.
    Wait,
}

fn step() -> impl Strategy<Value = Step> {
    let place = || (0..INODES.len(), 0..SPAN);
    prop_oneof![
        12 => (place(), 1u64..9, any::<bool>())
            .prop_map(|((volume, at), blocks, is_dirty)| Step::Lay { volume, at, blocks, is_dirty }),
        2 => (place(), 1u64..120).prop_map(|((volume, at), count)| Step::LayMany { volume, at, count }),
        6 => (place(), 1u64..60).prop_map(|((volume, at), blocks)| Step::Forget { volume, at, blocks }),
        4 => place().prop_map(|(volume, at)| Step::Clean { volume, at }),
        2 => Just(Step::Commit),
        1 => Just(Step::Cut),
        1 => Just(Step::Wait),
    ]
}

/// Where a block lies in the cache, in which life of its bucket, and whether only there.
type Said = Option<(u64, u8, bool)>;

/// What each block may be said to be: one thing, or, of what is not durable yet, all that was said since.
#[derive(Default)]
struct Model(BTreeMap<(u32, u64), Vec<Said>>);

impl Model {
    fn say(&mut self, inode: u32, at: u64, said: Said) {
        self.0.entry((inode, at)).or_insert_with(|| vec![None]).push(said);
    }

    fn now(&self, inode: u32, at: u64) -> Said {
        self.0.get(&(inode, at)).and_then(|said| said.last().copied()).flatten()
    }

    fn commit(&mut self) {
        self.0.values_mut().for_each(|said| drop(said.drain(..said.len() - 1)));
    }
}

/// A cache that is open, with what is to be in it.
struct Tree<'a> {
    live: &'a Live,
    model: &'a mut Model,
    /// Sectors of a block.
    block: u64,
}

impl Tree<'_> {
    fn position(&self, inode: u32, at: u64) -> Position {
        Position::new(inode, at * self.block)
    }

    async fn lay(&mut self, inode: u32, at: u64, blocks: u64, is_dirty: bool) {
        let stream = if is_dirty { Stream::Dirty(inode) } else { Stream::Clean(inode) };
        // Where there is no room nothing is laid.
        let room = self.live.set.wait_room(stream, Purpose::Data, blocks * self.block).await;
        let Some(room) = room else { return };
        let key = self.live.set.key_of(&room, self.position(inode, at), is_dirty);
        self.live.set.insert(key).await.expect("no faults");
        self.live.set.end_write(&room);
        let pointer = key.pointer().expect("it lies somewhere");
        for block in 0..key.sectors() / self.block {
            let sector = pointer.sector() + block * self.block;
            self.model.say(inode, at + block, Some((sector, pointer.generation(), is_dirty)));
        }
    }

    async fn take(&mut self, step: Step) {
        match step {
            Step::Lay { volume, at, blocks, is_dirty } => {
                self.lay(INODES[volume], at, blocks, is_dirty).await;
            }
            Step::LayMany { volume, at, count } => {
                for number in 0..count {
                    self.lay(INODES[volume], (at + 3 * number) % SPAN, 1, number % 2 == 0).await;
                }
            }
            Step::Forget { volume, at, blocks } => {
                let hole = Key::hole(self.position(INODES[volume], at), blocks * self.block);
                self.live.set.insert(hole).await.expect("no faults");
                (at..at + blocks).for_each(|at| self.model.say(INODES[volume], at, None));
            }
            Step::Clean { volume, at } => self.clean(INODES[volume], at).await,
            Step::Commit => {
                let journal = self.live.set.journal();
                journal.commit(&self.live.set, journal.newest()).await.expect("no faults");
                self.model.commit();
            }
            Step::Wait => sleep_ms(10).await,
            Step::Cut => unreachable!("it ends the era"),
        }
    }

    async fn clean(&mut self, inode: u32, at: u64) {
        let from = self.position(inode, at);
        let Some(key) = self.live.set.next_dirty(from, 8 * self.block).await.expect("no faults") else {
            return;
        };
        let sectors = self.live.set.replace(key, key.with_dirty(false)).await.expect("no faults");
        assert_eq!(sectors, key.sectors(), "nobody came in between");
        let first = key.start().offset / self.block;
        for at in first..first + sectors / self.block {
            let (sector, generation, _) = self.model.now(inode, at).expect("it is there");
            self.model.say(inode, at, Some((sector, generation, false)));
        }
    }

    /// The tree says what was said last.
    async fn is_as_said(&mut self) -> Verdict {
        let mut last =
            Model(self.model.0.iter().map(|(at, said)| (*at, said[said.len() - 1..].to_vec())).collect());
        Tree { live: self.live, model: &mut last, block: self.block }.check().await
    }

    /// All that the tree says is right; of what may be several things, that is what is so from now on.
    async fn check(&mut self) -> Verdict {
        for inode in INODES {
            let end = SPAN + 400;
            let mut at = 0;
            while at < end {
                let found = self.live.set.find(self.position(inode, at), (end - at) * self.block).await;
                let found = found.expect("no faults");
                for block in 0..found.sectors / self.block {
                    let said = found.at.map(|(pointer, is_dirty)| {
                        (pointer.sector() + block * self.block, pointer.generation(), is_dirty)
                    });
                    self.check_block(inode, at + block, said)?;
                }
                at += found.sectors / self.block;
            }
            self.check_dirty(inode, end).await?;
        }
        Ok(())
    }

    fn check_block(&mut self, inode: u32, at: u64, said: Said) -> Verdict {
        let may_be = self.model.0.entry((inode, at)).or_insert_with(|| vec![None]);
        let is_clean = |said: &Said| said.is_some_and(|(_, _, is_dirty)| !is_dirty);
        match said {
            said if may_be.contains(&said) => *may_be = vec![said],
            // It was given up; unless that is durable it may be there again after a cut.
            None if may_be.iter().any(is_clean) => may_be.retain(|said| said.is_none() || is_clean(said)),
            _ => return Err(Wrong::Lost),
        }
        Ok(())
    }

    /// Who goes from one dirty extent to the next sees all that are dirty, and nothing else.
    async fn check_dirty(&self, inode: u32, end: u64) -> Verdict {
        let mut dirty = (0..end).filter(|at| self.model.now(inode, *at).is_some_and(|(_, _, dirty)| dirty));
        let mut from = self.position(inode, 0);
        while let Some(key) = self.live.set.next_dirty(from, 5 * self.block).await.expect("no faults") {
            let first = key.start().offset / self.block;
            for at in first..first + key.sectors() / self.block {
                if dirty.next() != Some(at) {
                    return Err(Wrong::Stale);
                }
            }
            from = key.end();
        }
        if dirty.next().is_none() { Ok(()) } else { Err(Wrong::Lost) }
    }
}

/// Plays steps, era after era. How many levels the tree has in the end.
fn play((buckets, block_sectors): (u64, u16), steps: &[Step]) -> Verdict<u64> {
    let mut bench = Bench::with_blocks(buckets, block_sectors, 3, CacheMode::Writeback);
    let (mut model, block) = (Model::default(), u64::from(block_sectors));
    for era in steps.split(|step| matches!(step, Step::Cut)) {
        bench.era(async |live| {
            live.set.set_tunable("copy_gc_enabled", "0").await.expect("it can be set");
            let mut tree = Tree { live, model: &mut model, block };
            tree.check().await?;
            for step in era {
                tree.take(*step).await;
            }
            tree.is_as_said().await
        })?;
        bench = bench.cut(Left::Durable);
    }
    bench.era(async |live| {
        Tree { live, model: &mut model, block }.check().await?;
        Ok(live.set.status().levels)
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn the_tree_is_what_a_map_of_sectors_says(
        shape in prop::sample::select(&SHAPES[..]),
        steps in prop::collection::vec(step(), 1..250),
    ) {
        let played = play(shape, &steps);
        prop_assert!(played.is_ok(), "{:?}", played);
    }
}

/// Extents all over both volumes, each apart from the next, so that nodes are divided; and some of them again.
fn many() -> Vec<Step> {
    let lay = |volume| (0..3).map(move |at| Step::LayMany { volume, at, count: SPAN / 3 });
    let again = (0..20).map(|number| Step::Forget { volume: 0, at: 31 * number, blocks: 9 });
    lay(0).chain(lay(1)).chain([Step::Commit, Step::Cut]).chain(again).chain(lay(0)).collect()
}

#[test]
fn divided_nodes_are_what_a_map_says() {
    assert_eq!(SHAPES.map(|shape| play(shape, &many())), [Ok(2); 3]);
}

#[cfg(debug_assertions)]
#[test]
fn the_map_notices_what_is_lost() {
    plant::set(Some(Plant::JournalLetsGo));
    let steps = [
        Step::LayMany { volume: 0, at: 0, count: 20 },
        Step::Commit,
        Step::Lay { volume: 1, at: 9, blocks: 2, is_dirty: true },
        Step::Commit,
        Step::Cut,
    ];
    let played = play(SHAPES[0], &steps);
    plant::set(None);
    assert_eq!(played, Err(Wrong::Lost));
}
