//! Volumes in the cache alone that are made, used and deleted, over and over, beside the others: each gives back what was written to
//! it, and takes nothing from anybody.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use bcache::{CacheSet, Volume};
use bcache_format::Label;
use block::{Arena, Buf, Dev, Failed, Request, Sectors};
use runtime::sim::World;
use runtime::sleep_ms;

use crate::run::Violation;

/// Blocks of 8 sectors of each volume.
const BLOCKS: u64 = 12;
/// Sectors of a block: a multiple of any cache's.
const BLOCK: u64 = 8;

/// Who makes and deletes them.
pub struct Passing {
    pub world: Rc<World>,
    pub set: Rc<CacheSet>,
    pub arena: Rc<Arena>,
    /// Volumes that stay.
    pub kept: Vec<u32>,
    pub violations: Rc<RefCell<Vec<Violation>>>,
    /// Disks fail, so anything may.
    pub may_fail: bool,
}

impl Passing {
    /// Goes on until the others are done. What an era before has left goes first.
    pub async fn run(&self, is_over: &Cell<bool>) {
        for (inode, sectors) in self.set.flash() {
            if !self.kept.contains(&inode) {
                let left = Volume::start_flash("left", self.set.clone(), inode, sectors);
                self.judge("deleted", left.delete().await);
            }
        }
        while !is_over.get() && self.set.failure().is_none() {
            if let Err(failed) = self.come_and_go().await {
                self.judge("used", Err(failed));
                return;
            }
            sleep_ms(self.world.draw(|random| random.below(50))).await;
        }
    }

    async fn come_and_go(&self) -> Result<(), Failed> {
        let uuid = runtime::random_uuid();
        let made = self.set.create_flash(uuid, Label([0; 32]), BLOCKS * BLOCK).await;
        let Ok(inode) = made else { return Ok(()) }; // no place in the table is left, or the set has failed
        let volume = Volume::start_flash("passing", self.set.clone(), inode, BLOCKS * BLOCK);
        let device = volume.device();
        for at in 0..BLOCKS {
            self.write(&device, at, inode).await?;
        }
        sleep_ms(self.world.draw(|random| random.below(20))).await;
        for at in 0..BLOCKS {
            if !self.reads(&device, at, inode).await? {
                self.complain(format!("block {at} of volume {inode} is not what was written to it"));
            }
        }
        volume.delete().await
    }

    fn block(&self, buf: &Buf, at: u64, inode: u32) -> Vec<u8> {
        (u64::from(inode) << 32 | at).to_le_bytes().repeat(buf.len() / 8)
    }

    async fn write(&self, device: &Dev, at: u64, inode: u32) -> Result<(), Failed> {
        let buf = self.arena.wait_take(BLOCK as usize * 512).await;
        buf.copy_from_slice(0, &self.block(&buf, at, inode));
        device.start(Request::write(Sectors(at * BLOCK), buf)).await
    }

    async fn reads(&self, device: &Dev, at: u64, inode: u32) -> Result<bool, Failed> {
        let buf = self.arena.wait_take(BLOCK as usize * 512).await;
        device.start(Request::read(Sectors(at * BLOCK), buf.clone())).await?;
        let mut bytes = vec![0; buf.len()];
        buf.copy_to_slice(0, &mut bytes);
        Ok(bytes == self.block(&buf, at, inode))
    }

    fn judge(&self, what: &str, outcome: Result<(), Failed>) {
        if let Err(failed) = outcome
            && !self.may_fail
        {
            self.complain(format!("a volume in the cache alone cannot be {what}: {failed}"));
        }
    }

    fn complain(&self, what: String) {
        self.violations.borrow_mut().push(Violation { invariant: "C1", what });
    }
}
