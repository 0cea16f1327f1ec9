//! `ashlar cat`: the content of a volume on standard output.
//!
//! The members are opened for reading and the ordinary engine runs over overlays: not one byte reaches a member.

use std::io::{self, IsTerminal, Write};
use std::rc::Rc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use anyhow::{Context, Result, anyhow, bail};
use block::{Arena, Buf, Dev, Failed, MAX_BUFFER, Request, SECTOR, Sectors, Ticket};
use serde::Serialize;

use crate::Usage;
use crate::cli::{Cat, Driver};
use crate::members::How;
use crate::pile::Pile;
use crate::stack::{Stack, Top, TopKind};
use crate::text::{print, print_json, uuid};
use crate::world::World;

/// Reads under way at once: enough for a stripe over many disks, and for a disk to run ahead of whoever takes the bytes.
const READS: usize = 8;

/// Pieces that wait for standard output, beside the one that is being written.
const PIECES: usize = 4;

/// Runs the command.
pub fn run(args: &Cat, driver: Driver) -> Result<()> {
    if !args.list && io::stdout().is_terminal() {
        let text =
            "standard output is a terminal: redirect the content to a file or a program, or say --list";
        return Err(Usage(text.to_owned()).into());
    }
    let world = World::new(driver)?;
    world.tell_if_slower(driver);
    let mut pile = Pile::open(&world, &args.members, How::read(args.reading.live))?;
    if args.lenience.accept_stale {
        for name in pile.accept_stale() {
            warn(&format!("{name} is out of date and used all the same"));
        }
    }
    world.runtime.block_on(async {
        let stack = Stack::read(&world, &pile, &args.lenience).await;
        match args.list {
            true => list(&stack, args.json),
            false => write_volume(&world, &stack, args).await,
        }
    })
}

/// A volume as `--list --json` prints it.
#[derive(Serialize)]
struct Listed<'a> {
    name: &'a str,
    uuid: String,
    level: String,
    readable: bool,
    warnings: Vec<String>,
}

impl<'a> Listed<'a> {
    fn of(pile: &Pile, top: &'a Top<'_>) -> Listed<'a> {
        let (uuid, level, readable) = match &top.kind {
            TopKind::Array(volume) => {
                let summary = &pile.candidates[volume.set.freshest].examined.summary;
                let uuid = summary.array_uuid_text().to_string();
                (uuid, summary.level.to_string(), volume.set.unreadable.is_empty())
            }
            TopKind::Cached(cached) => (uuid(&cached.uuid), "bcache".to_owned(), cached.device.is_ok()),
        };
        Listed { name: &top.name, uuid, level, readable, warnings: top.warnings(pile) }
    }
}

fn list(stack: &Stack<'_>, json: bool) -> Result<()> {
    if stack.tops.is_empty() {
        stack.choose(None)?;
    }
    warn_of_strangers(stack);
    if !json {
        return Ok(print(&stack.tops.iter().map(|top| format!("{}\n", top.name)).collect::<String>())?);
    }
    print_json(&stack.tops.iter().map(|top| Listed::of(stack.pile, top)).collect::<Vec<_>>())
}

async fn write_volume(world: &World, stack: &Stack<'_>, args: &Cat) -> Result<()> {
    let top = stack.choose(args.volume.as_deref())?;
    warn_of_strangers(stack);
    let (device, found) = top.open(stack.pile, &args.lenience).await?;
    for warning in top.warnings(stack.pile).into_iter().chain(found) {
        warn(&format!("{}: {warning}", top.name));
    }
    let span = Span::new(device.geometry().size, args.offset, args.length)?;
    let (sender, receiver) = sync_channel(PIECES);
    let writer = thread::spawn(move || write_pieces(&receiver));
    let read = stream(&device, &world.arena, span, &sender).await;
    drop(sender);
    let written = writer.join().map_err(|_| anyhow!("the writing thread has panicked"))?;
    match written {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()), // whoever reads has seen enough
        Err(error) => Err(error).context("standard output"),
        Ok(()) => read.with_context(|| format!("volume {}", top.name)),
    }
}

fn warn(text: &str) {
    eprintln!("ashlar: warning: {text}");
}

fn warn_of_strangers(stack: &Stack<'_>) {
    stack.strangers().for_each(|stranger| warn(&format!("{stranger}; it is not used")));
}

/// A range of bytes of a volume.
#[derive(Clone, Copy, Debug)]
struct Span {
    start: u64,
    end: u64,
}

impl Span {
    fn new(size: Sectors, offset: u64, length: Option<u64>) -> Result<Span> {
        let size =
            size.checked_bytes().context("the volume says that it is larger than 64 bits can count")?;
        let end = length.map_or(Some(size), |length| offset.checked_add(length));
        match end {
            Some(end) if offset <= end && end <= size => Ok(Span { start: offset, end }),
            _ => bail!("the volume has {size} bytes; --offset and --length reach beyond its end"),
        }
    }
}

/// A read under way: whole blocks, of which `skip..skip+len` are wanted.
struct Piece {
    ticket: Ticket,
    buf: Buf,
    first: u64,
    skip: usize,
    len: usize,
}

/// Reads `span` with several reads under way, and hands its bytes on in order.
async fn stream(device: &Dev, arena: &Rc<Arena>, span: Span, out: &SyncSender<Vec<u8>>) -> Result<()> {
    let block = u64::from(device.geometry().logical_block).max(SECTOR);
    let mut under_way = std::collections::VecDeque::with_capacity(READS);
    let mut next = span.start;
    loop {
        while under_way.len() < READS && next < span.end {
            let first = next - next % block;
            let end = (first + MAX_BUFFER as u64).min(span.end);
            let buf = arena.wait_take((end.next_multiple_of(block) - first) as usize).await;
            let ticket = device.start(Request::read(Sectors::from_bytes(first), buf.clone()));
            let (skip, len) = ((next - first) as usize, (end - next) as usize);
            under_way.push_back(Piece { ticket, buf, first, skip, len });
            next = end;
        }
        let Some(piece) = under_way.pop_front() else { return Ok(()) };
        let (good, failed) = match piece.ticket.await {
            Ok(()) => (piece.skip + piece.len, None),
            Err(_) => readable(device, &piece.buf, piece.first, block as usize).await,
        };
        let mut bytes = vec![0; good.min(piece.skip + piece.len).saturating_sub(piece.skip)];
        piece.buf.copy_to_slice(piece.skip, &mut bytes);
        if out.send(bytes).is_err() {
            return Ok(()); // the writer says why it has ended
        }
        if let Some(failed) = failed {
            bail!("what follows byte {} cannot be read: {failed}", piece.first + good as u64);
        }
    }
}

/// Reads block by block what could not be read in one piece: how many bytes, and what stands in the way of more.
async fn readable(device: &Dev, buf: &Buf, first: u64, block: usize) -> (usize, Option<Failed>) {
    for at in (0..buf.len()).step_by(block) {
        let start = Sectors::from_bytes(first + at as u64);
        if let Err(failed) = device.start(Request::read(start, buf.slice(at, block))).await {
            return (at, Some(failed));
        }
    }
    (buf.len(), None)
}

fn write_pieces(pieces: &Receiver<Vec<u8>>) -> io::Result<()> {
    // The file itself, not the buffered handle: the pieces are large, and the handle looks for line ends in them.
    use std::os::fd::AsFd;
    let mut out = std::fs::File::from(io::stdout().as_fd().try_clone_to_owned()?);
    pieces.iter().try_for_each(|bytes| out.write_all(&bytes))
}
