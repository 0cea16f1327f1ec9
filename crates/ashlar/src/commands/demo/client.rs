//! The demo's client: our own NBD client, a few requests at a time.

use std::collections::VecDeque;
use std::ops::Range;
use std::rc::Rc;

use anyhow::{Context, Result, anyhow, ensure};
use block::{Arena, Buf, Dev, MAX_BUFFER, Outcome, Request, Sectors, Ticket};
use nbd::Client;
use runtime::os::connect;
use runtime::{Address, yield_now};

use super::content::Content;
use crate::world::World;

/// Requests under way at once.
const DEPTH: usize = 4;

/// A connection to an export.
pub struct Connection<'a> {
    world: &'a World,
    client: Client,
}

impl<'a> Connection<'a> {
    /// Connects to the export of that name.
    pub fn new(world: &'a World, address: &Address, export: &str) -> Result<Connection<'a>> {
        let stream = connect(&world.os, address).with_context(|| format!("connecting to {address}"))?;
        let client = world.runtime.block_on(Client::connect(stream, export))?;
        Ok(Connection { world, client })
    }

    /// Writes `range` of `content`, and flushes.
    pub fn write(&self, content: &Content, range: Range<u64>) -> Result<()> {
        let device = self.client.device();
        self.world.runtime.block_on(async {
            let mut under_way = VecDeque::new();
            for at in range.clone().step_by(MAX_BUFFER) {
                under_way.push_back(start_write(&device, &self.world.arena, content, at, range.end).await);
                if under_way.len() == DEPTH {
                    done(under_way.pop_front()).await?;
                }
            }
            while !under_way.is_empty() {
                done(under_way.pop_front()).await?;
            }
            device.start(Request::flush()).await.map_err(|failed| anyhow!("flushing: {failed}"))
        })
    }

    /// Writes `range` of `content`: a quarter of it is answered, all the rest is under way when `strike` is called. What
    /// becomes of that is nobody's concern.
    pub fn write_until(
        &self,
        content: &Content,
        range: Range<u64>,
        strike: impl FnOnce() -> Result<()>,
    ) -> Result<()> {
        self.write(content, range.start..range.start + (range.end - range.start) / 4)?;
        let device = self.client.device();
        self.world.runtime.block_on(async {
            let mut under_way: Vec<(Ticket, Buf)> = Vec::new();
            for at in range.clone().step_by(MAX_BUFFER) {
                under_way.push(start_write(&device, &self.world.arena, content, at, range.end).await);
            }
            yield_now().await; // they are on their way
            strike()?;
            for (ticket, _buf) in under_way {
                let _: Outcome = ticket.await;
            }
            Ok(())
        })
    }

    /// Reads everything.
    pub fn read(&self) -> Result<Content> {
        let device = self.client.device();
        let size = device.geometry().size.bytes();
        self.world.runtime.block_on(async {
            let mut bytes = vec![0; size as usize];
            for (number, piece) in bytes.chunks_mut(MAX_BUFFER).enumerate() {
                let buf = self.world.arena.wait_take(piece.len()).await;
                let start = Sectors::from_bytes((number * MAX_BUFFER) as u64);
                let read = device.start(Request::read(start, buf.clone())).await;
                read.map_err(|failed| anyhow!("reading: {failed}"))?;
                buf.copy_to_slice(0, piece);
            }
            Ok(Content::of(bytes))
        })
    }

    /// Reads everything, and it must be `content`.
    pub fn verify(&self, content: &Content) -> Result<()> {
        ensure!(self.read()? == *content, "what was read is not what was written");
        Ok(())
    }
}

async fn start_write(device: &Dev, arena: &Rc<Arena>, content: &Content, at: u64, end: u64) -> (Ticket, Buf) {
    let bytes = content.bytes(at..end.min(at + MAX_BUFFER as u64));
    let buf = arena.wait_take(bytes.len()).await;
    buf.copy_from_slice(0, bytes);
    (device.start(Request::write(Sectors::from_bytes(at), buf.clone())), buf)
}

async fn done(write: Option<(Ticket, Buf)>) -> Result<()> {
    match write {
        Some((ticket, _buf)) => ticket.await.map_err(|failed| anyhow!("writing: {failed}")),
        None => Ok(()),
    }
}
