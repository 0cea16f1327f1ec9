//! A disk behind NBD that throws unflushed writes away when its power is cut: what the page cache of this machine would
//! hide. Writes stay in a cache until a flush; forced unit access makes one write durable.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener};
use std::ops::Range;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::JoinHandle;

use super::versions::Random;

const SECTOR: usize = 512;

const OPTION_MAGIC: u64 = 0x4948_4156_454f_5054;
const REPLY_MAGIC: u64 = 0x0003_e889_0455_65a9;
const EXPORT_NAME: u32 = 1;
const ABORT: u32 = 2;
const INFO: u32 = 6;
const GO: u32 = 7;
const ACK: u32 = 1;
const FACT: u32 = 3;
const UNSUPPORTED: u32 = 1 << 31 | 1;

const READ: u16 = 0;
const WRITE: u16 = 1;
const LEAVE: u16 = 2;
const FLUSH: u16 = 3;
const FUA: u16 = 1;

/// The error of the protocol for what a disk cannot do.
const EIO: u32 = 5;

/// The fact that tells block sizes.
const BLOCK_SIZES: [u8; 2] = [0, 3];

/// What a disk's server tells of it.
#[derive(Clone, Copy)]
pub struct Offer {
    /// Flushes, and forced unit access with them.
    pub flush: bool,
    /// Requests are multiples of this; the server sees to it.
    pub block: usize,
}

impl Offer {
    /// What every disk should have.
    pub const PLAIN: Offer = Offer { flush: true, block: SECTOR };

    fn flags(self) -> u16 {
        if self.flush { 1 | 4 | 8 } else { 1 }
    }
}

/// The disk.
pub struct VolatileDisk {
    socket: PathBuf,
    state: Arc<Mutex<State>>,
    accepting: JoinHandle<()>,
}

struct State {
    durable: Vec<u8>,
    cached: BTreeMap<usize, [u8; SECTOR]>,
    connections: Vec<(UnixStream, JoinHandle<()>)>,
    /// Nobody is let in.
    dark: bool,
    lost: usize,
    writes: usize,
    offer: Offer,
    /// Sectors that take no write.
    worn: Range<usize>,
}

impl VolatileDisk {
    /// A disk of zeroes, served at `socket`.
    pub fn new(socket: &Path, bytes: usize) -> VolatileDisk {
        VolatileDisk::offering(socket, bytes, Offer::PLAIN)
    }

    /// The same, with a server that has more or less to offer.
    pub fn offering(socket: &Path, bytes: usize, offer: Offer) -> VolatileDisk {
        let listener = UnixListener::bind(socket).unwrap();
        let (durable, cached, connections) = (vec![0; bytes], BTreeMap::new(), Vec::new());
        let (dark, lost, writes, worn) = (false, 0, 0, 0..0);
        let state = State { durable, cached, connections, dark, lost, writes, offer, worn };
        let state = Arc::new(Mutex::new(state));
        let own = state.clone();
        // The thread ends with the test's process.
        let accepting = std::thread::spawn(move || accept(&listener, &own));
        VolatileDisk { socket: socket.to_owned(), state, accepting }
    }

    /// As a member's name.
    pub fn url(&self) -> String {
        assert!(!self.accepting.is_finished(), "the disk at {} has broken", self.socket.display());
        format!("nbd+unix:///?socket={}", self.socket.display())
    }

    /// Cuts the power: every connection ends, and of what was not flushed each sector is lost or kept, as chance has it.
    pub fn cut_power(&self, random: &mut Random) {
        let connections = std::mem::take(&mut self.lock().connections);
        for (stream, thread) in connections {
            let _ = stream.shutdown(Shutdown::Both); // it may have ended
            thread.join().unwrap();
        }
        let mut state = self.lock();
        let cached = std::mem::take(&mut state.cached);
        let keeps_one_in = [0, 0, 2, 10][random.below(4)];
        for (sector, bytes) in cached {
            match keeps_one_in != 0 && random.below(keeps_one_in) == 0 {
                true => state.durable[sector * SECTOR..][..SECTOR].copy_from_slice(&bytes),
                false => state.lost += 1,
            }
        }
    }

    /// What the server tells those who come from now on.
    pub fn set_offer(&self, offer: Offer) {
        self.lock().offer = offer;
    }

    /// These sectors take no write any more: one that touches any of them fails, and changes nothing.
    pub fn wear_out(&self, sectors: Range<usize>) {
        self.lock().worn = sectors;
    }

    /// Whether anybody is let in from now on.
    pub fn set_dark(&self, dark: bool) {
        self.lock().dark = dark;
    }

    /// Sectors that power cuts have thrown away.
    pub fn lost(&self) -> usize {
        self.lock().lost
    }

    /// Requests so far that write.
    pub fn writes(&self) -> usize {
        self.lock().writes
    }

    /// A TCP port of this machine that leads to the disk, as a member's name.
    pub fn tcp_url(&self) -> String {
        let (listener, socket) = (TcpListener::bind("127.0.0.1:0").unwrap(), self.socket.clone());
        let port = listener.local_addr().unwrap().port();
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let Ok(disk) = UnixStream::connect(&socket) else { return };
                let (client_too, disk_too) = (client.try_clone().unwrap(), disk.try_clone().unwrap());
                relay(client, disk_too);
                relay(disk, client_too);
            }
        });
        format!("nbd://127.0.0.1:{port}/")
    }

    /// What a power cut would leave.
    pub fn durable(&self) -> Vec<u8> {
        self.lock().durable.clone()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }
}

/// Hands on what comes, until one of both leaves.
fn relay(mut from: impl Read + Send + 'static, mut to: impl Write + Send + 'static) {
    std::thread::spawn(move || std::io::copy(&mut from, &mut to));
}

fn accept(listener: &UnixListener, state: &Arc<Mutex<State>>) {
    for stream in listener.incoming() {
        let (Ok(stream), mut held) = (stream, state.lock().unwrap()) else { return };
        if held.dark {
            continue;
        }
        let (own, peer) = (state.clone(), stream.try_clone().unwrap());
        // A peer that is killed leaves in the middle of a sentence: no error of ours.
        let thread = std::thread::spawn(move || drop(serve(peer, &own)));
        held.connections.push((stream, thread));
    }
}

fn serve(mut stream: UnixStream, state: &Mutex<State>) -> io::Result<()> {
    if !shake_hands(&mut stream, state)? {
        return Ok(());
    }
    loop {
        let words: [u8; 28] = take(&mut stream)?;
        let (flags, command) = (u16_at(&words, 4), u16_at(&words, 6));
        let (offset, length) = (u64_at(&words, 16) as usize, u32_at(&words, 24) as usize);
        let mut payload = vec![0; if command == WRITE { length } else { 0 }];
        stream.read_exact(&mut payload)?;
        let mut state = state.lock().unwrap();
        let (block, mut error) = (state.offer.block, 0);
        assert!(offset % block == 0 && length % block == 0, "{length} bytes at {offset}: no whole blocks");
        let answer = match command {
            READ => state.read(offset, length),
            WRITE => {
                state.writes += 1;
                let touched = offset / SECTOR..(offset + length).div_ceil(SECTOR);
                error =
                    if touched.start < state.worn.end && state.worn.start < touched.end { EIO } else { 0 };
                if error == 0 {
                    state.write(offset, &payload, flags & FUA != 0);
                }
                Vec::new()
            }
            FLUSH => {
                assert!(state.offer.flush, "flushes were never offered");
                state.flush();
                Vec::new()
            }
            LEAVE => return Ok(()),
            other => panic!("command {other} was never offered"),
        };
        drop(state);
        let mut reply = 0x6744_6698u32.to_be_bytes().to_vec();
        reply.extend(error.to_be_bytes());
        reply.extend(&words[8..16]);
        reply.extend(answer);
        stream.write_all(&reply)?;
    }
}

/// Fixed newstyle; nothing but the plain export is known. False when the client leaves.
fn shake_hands(stream: &mut UnixStream, state: &Mutex<State>) -> io::Result<bool> {
    let size = state.lock().unwrap().durable.len() as u64;
    let offer = state.lock().unwrap().offer;
    stream.write_all(b"NBDMAGICIHAVEOPT\0\x03")?;
    let no_zeroes = u32_at(&take::<4>(stream)?, 0) & 2 != 0;
    loop {
        let words: [u8; 16] = take(stream)?;
        assert_eq!(u64_at(&words, 0), OPTION_MAGIC);
        let (option, length) = (u32_at(&words, 8), u32_at(&words, 12));
        let mut data = vec![0; length as usize];
        stream.read_exact(&mut data)?;
        let reply = |kind: u32, data: &[u8]| {
            let mut bytes = REPLY_MAGIC.to_be_bytes().to_vec();
            [option, kind, data.len() as u32].iter().for_each(|word| bytes.extend(word.to_be_bytes()));
            bytes.extend(data);
            bytes
        };
        let facts = [&size.to_be_bytes()[..], &offer.flags().to_be_bytes()].concat();
        match option {
            EXPORT_NAME => {
                let zeroes = if no_zeroes { 0 } else { 124 };
                stream.write_all(&[&facts[..], &vec![0; zeroes]].concat())?;
                return Ok(true);
            }
            GO | INFO => {
                stream.write_all(&reply(FACT, &[&[0, 0], &facts[..]].concat()))?;
                let sizes = [offer.block as u32, 4096, 1 << 20].map(u32::to_be_bytes);
                stream.write_all(&reply(FACT, &[&BLOCK_SIZES[..], sizes.as_flattened()].concat()))?;
                stream.write_all(&reply(ACK, &[]))?;
                if option == GO {
                    return Ok(true);
                }
            }
            ABORT => return Ok(false),
            _ => stream.write_all(&reply(UNSUPPORTED, &[]))?,
        }
    }
}

impl State {
    fn read(&self, offset: usize, length: usize) -> Vec<u8> {
        let mut bytes = self.durable[offset..offset + length].to_vec();
        for (sector, cached) in self.cached.range(offset / SECTOR..(offset + length) / SECTOR) {
            bytes[sector * SECTOR - offset..][..SECTOR].copy_from_slice(cached);
        }
        bytes
    }

    fn write(&mut self, offset: usize, bytes: &[u8], durable: bool) {
        for (sector, bytes) in (offset / SECTOR..).zip(bytes.chunks_exact(SECTOR)) {
            if durable {
                self.durable[sector * SECTOR..][..SECTOR].copy_from_slice(bytes);
                self.cached.remove(&sector);
            } else {
                self.cached.insert(sector, bytes.try_into().expect("a sector"));
            }
        }
    }

    fn flush(&mut self) {
        for (sector, bytes) in std::mem::take(&mut self.cached) {
            self.durable[sector * SECTOR..][..SECTOR].copy_from_slice(&bytes);
        }
    }
}

fn take<const N: usize>(stream: &mut UnixStream) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    stream.read_exact(&mut bytes)?;
    Ok(bytes)
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_be_bytes(bytes[at..at + 2].try_into().expect("two bytes"))
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_be_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}
