//! Answers that need no device: the greeting, names, what files are, opening and closing them.

use rustix::io::Errno;
use zerocopy::IntoBytes;

use super::House;
use super::plan::Command;
use super::reply::Reply;
use crate::limits::{FOLDER_BYTES, MOST_BYTES, NAME_BYTES, SLOTS, VALID_S};
use crate::wire::{
    Attr, AttrOut, EntryOut, InitOut, LEAST_MINOR, MAJOR, MINOR, OpenOut, StatFsOut, init_flag, open_flag,
};

impl House {
    /// Answers what asks about `node`, and not for its content.
    pub(super) fn answer(&self, reply: Reply, node: u64, command: Command<'_>) -> Result<(), Errno> {
        let channel = &*self.channel;
        match command {
            Command::Greet { major, minor, max_readahead, flags } => {
                if major != MAJOR || minor < LEAST_MINOR {
                    return Err(Errno::PROTO);
                }
                reply.done(channel, greeting(max_readahead, flags).as_bytes());
            }
            Command::Find { name } => {
                let nodeid = self.tree.find(node, name).ok_or(Errno::NOENT)?;
                let attr = self.attr(nodeid)?;
                let valid =
                    EntryOut { nodeid, entry_valid: VALID_S, attr_valid: VALID_S, ..EntryOut::default() };
                reply.done(channel, EntryOut { attr, ..valid }.as_bytes());
            }
            Command::Look => reply.done(channel, attr_out(self.attr(node)?).as_bytes()),
            Command::Change { size, rights } => {
                let attr = self.attr(node)?;
                // A device has the size that it has; the times are nobody's.
                if rights || size.is_some_and(|size| size != attr.size) {
                    return Err(Errno::PERM);
                }
                reply.done(channel, attr_out(attr).as_bytes());
            }
            Command::Open { write } => {
                let export = self.tree.export(node).ok_or(Errno::ISDIR)?;
                if write && export.is_read_only() {
                    return Err(Errno::ROFS);
                }
                self.counters.opens.set(self.counters.opens.get() + 1);
                let open_flags = open_flag::DIRECT_IO | open_flag::PARALLEL_DIRECT_WRITES;
                reply.done(channel, OpenOut { open_flags, ..OpenOut::default() }.as_bytes());
            }
            Command::OpenFolder => reply.done(channel, OpenOut::default().as_bytes()),
            Command::ReadFolder { from, most } => {
                let mut bytes = [0; FOLDER_BYTES];
                let used = self.tree.read_folder(node, from, most, &mut bytes).ok_or(Errno::NOTDIR)?;
                reply.done(channel, &bytes[..used]);
            }
            Command::Space => reply.done(channel, self.space().as_bytes()),
            Command::Nod { closes } => {
                if closes {
                    self.counters.opens.set(self.counters.opens.get().saturating_sub(1));
                }
                reply.done(channel, &[]);
            }
            Command::Silence => {}
            Command::Read { .. } | Command::Write { .. } | Command::Zero { .. } | Command::Flush => {
                unreachable!("these go to slots")
            }
        }
        Ok(())
    }

    fn attr(&self, node: u64) -> Result<Attr, Errno> {
        self.tree.attr(node).ok_or(Errno::NOENT)
    }

    fn space(&self) -> StatFsOut {
        const BLOCK: u32 = 4096;
        let files = self.tree.exports().len() as u64;
        let sizes =
            StatFsOut { bsize: BLOCK, frsize: BLOCK, namelen: NAME_BYTES as u32, ..StatFsOut::default() };
        StatFsOut { blocks: self.tree.size() / u64::from(BLOCK), files, ..sizes }
    }
}

fn attr_out(attr: Attr) -> AttrOut {
    AttrOut { attr_valid: VALID_S, attr, ..AttrOut::default() }
}

fn greeting(max_readahead: u32, offered: u32) -> InitOut {
    let wished = init_flag::ASYNC_READ
        | init_flag::BIG_WRITES
        | init_flag::ASYNC_DIO
        | init_flag::PARALLEL_DIROPS
        | init_flag::MAX_PAGES;
    InitOut {
        major: MAJOR,
        minor: MINOR,
        max_readahead,
        flags: wished & offered,
        max_background: SLOTS as u16,
        congestion_threshold: (SLOTS - SLOTS / 4) as u16,
        max_write: MOST_BYTES,
        time_gran: 1,
        max_pages: (MOST_BYTES / 4096) as u16,
        ..InitOut::default()
    }
}
