//! An NBD client of the plainest kind: one request at a time, over a unix socket, written from the protocol alone.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

const OPTION_MAGIC: &[u8; 8] = b"IHAVEOPT";
const REQUEST_MAGIC: u32 = 0x2560_9513;
const REPLY_MAGIC: u32 = 0x6744_6698;
const EXPORT_NAME: u32 = 1;

/// Fixed newstyle, no zeroes behind the export's facts.
const CLIENT_FLAGS: u32 = 3;

const READ: u16 = 0;
const WRITE: u16 = 1;
const FLUSH: u16 = 3;
const TRIM: u16 = 4;
const WRITE_ZEROES: u16 = 6;
const FUA: u16 = 1;

/// The longest request.
const LONGEST: usize = 1 << 20;

/// A connection in transmission.
pub struct Nbd {
    stream: UnixStream,
    size: u64,
    cookie: u64,
}

impl Nbd {
    /// Asks for the default export.
    pub fn try_connect(socket: &Path) -> io::Result<Nbd> {
        Nbd::try_connect_to(socket, "")
    }

    /// Asks for the export of that name.
    pub fn try_connect_to(socket: &Path, name: &str) -> io::Result<Nbd> {
        let mut stream = UnixStream::connect(socket)?;
        stream.set_read_timeout(Some(Duration::from_secs(120)))?;
        let mut greeting = [0; 18];
        stream.read_exact(&mut greeting)?;
        let mut words = CLIENT_FLAGS.to_be_bytes().to_vec();
        words.extend(OPTION_MAGIC);
        words.extend(EXPORT_NAME.to_be_bytes());
        words.extend((name.len() as u32).to_be_bytes());
        words.extend(name.as_bytes());
        stream.write_all(&words)?;
        let mut facts = [0; 10];
        stream.read_exact(&mut facts)?;
        let size = u64::from_be_bytes(facts[..8].try_into().expect("eight bytes"));
        Ok(Nbd { stream, size, cookie: 0 })
    }

    /// Bytes of the export.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// All of it.
    pub fn content(&mut self) -> Vec<u8> {
        self.read(0, self.size as usize).unwrap()
    }

    pub fn read(&mut self, offset: u64, length: usize) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; length];
        for (piece, at) in bytes.chunks_mut(LONGEST).zip((offset..).step_by(LONGEST)) {
            self.ask(READ, 0, at, piece.len(), &[])?;
            self.stream.read_exact(piece)?;
        }
        Ok(bytes)
    }

    pub fn write(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.write_pieces(0, offset, bytes)
    }

    /// A write that is answered when it is durable.
    pub fn write_fua(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.write_pieces(FUA, offset, bytes)
    }

    /// What is there is wanted no more.
    pub fn trim(&mut self, offset: u64, length: usize) -> io::Result<()> {
        self.ask(TRIM, 0, offset, length, &[])
    }

    pub fn write_zeroes(&mut self, offset: u64, length: usize) -> io::Result<()> {
        self.ask(WRITE_ZEROES, 0, offset, length, &[])
    }

    pub fn flush(&mut self) -> io::Result<()> {
        self.ask(FLUSH, 0, 0, 0, &[])
    }

    /// Writes the pattern of `seed` over `offset..offset + length`, sectors counted from the start of the export.
    pub fn fill(&mut self, offset: u64, length: usize, seed: u64) {
        let mut bytes = vec![0; length];
        oracle::pattern::fill(&mut bytes, offset / 512, seed);
        self.write(offset, &bytes).unwrap();
    }

    fn write_pieces(&mut self, flags: u16, offset: u64, bytes: &[u8]) -> io::Result<()> {
        for (piece, at) in bytes.chunks(LONGEST).zip((offset..).step_by(LONGEST)) {
            self.ask(WRITE, flags, at, piece.len(), piece)?;
        }
        Ok(())
    }

    fn ask(&mut self, command: u16, flags: u16, at: u64, length: usize, payload: &[u8]) -> io::Result<()> {
        self.cookie += 1;
        let mut words = REQUEST_MAGIC.to_be_bytes().to_vec();
        words.extend(flags.to_be_bytes());
        words.extend(command.to_be_bytes());
        words.extend(self.cookie.to_be_bytes());
        words.extend(at.to_be_bytes());
        words.extend((length as u32).to_be_bytes());
        words.extend(payload);
        self.stream.write_all(&words)?;
        let mut reply = [0; 16];
        self.stream.read_exact(&mut reply)?;
        let word = |at: usize| u32::from_be_bytes(reply[at..at + 4].try_into().expect("four bytes"));
        assert_eq!(word(0), REPLY_MAGIC);
        assert_eq!(reply[8..], self.cookie.to_be_bytes());
        match word(4) {
            0 => Ok(()),
            error => Err(io::Error::from_raw_os_error(error as i32)),
        }
    }
}
