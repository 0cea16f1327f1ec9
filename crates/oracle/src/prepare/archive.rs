//! An initramfs: a cpio archive in the `newc` form that the kernel unpacks into the guest's root.
//!
//! Source: the kernel's Documentation/driver-api/early-userspace/buffer-format.rst. Archives may follow each
//! other; a later file replaces an earlier one. Nothing is compressed: emulated kernels inflate slowly.

use std::collections::BTreeSet;
use std::path::Path;

use crate::Error;
use crate::error::Named;

const DIRECTORY: u32 = 0o040_755;
const FILE: u32 = 0o100_644;
const PROGRAM: u32 = 0o100_755;
const LINK: u32 = 0o120_777;

/// Bytes that an archive is padded to, so that the next one begins where the kernel looks for it.
const BLOCK_BYTES: usize = 512;

/// An archive that grows entry by entry. Paths are relative to the guest's root; parents are made by themselves.
#[derive(Default)]
pub(crate) struct Archive {
    bytes: Vec<u8>,
    entries: u32,
    directories: BTreeSet<String>,
}

impl Archive {
    /// An empty directory.
    pub(crate) fn directory(&mut self, path: &str) {
        if path.is_empty() || !self.directories.insert(path.to_owned()) {
            return;
        }
        self.parents_of(path);
        self.entry(path, DIRECTORY, &[]);
    }

    /// A file that is only read.
    pub(crate) fn file(&mut self, path: &str, content: &[u8]) {
        self.parents_of(path);
        self.entry(path, FILE, content);
    }

    /// A file that may be run.
    pub(crate) fn program(&mut self, path: &str, content: &[u8]) {
        self.parents_of(path);
        self.entry(path, PROGRAM, content);
    }

    /// A program that lies on the host.
    pub(crate) fn host_program(&mut self, path: &str, source: &Path) -> Result<(), Error> {
        let content = std::fs::read(source).named("read", source)?;
        self.program(path, &content);
        Ok(())
    }

    /// A symbolic link.
    pub(crate) fn link(&mut self, path: &str, target: &str) {
        self.parents_of(path);
        self.entry(path, LINK, target.as_bytes());
    }

    /// The finished archive.
    pub(crate) fn finish(mut self) -> Vec<u8> {
        self.entry("TRAILER!!!", 0, &[]);
        self.pad(BLOCK_BYTES);
        self.bytes
    }

    fn parents_of(&mut self, path: &str) {
        if let Some((parent, _)) = path.rsplit_once('/') {
            self.directory(parent);
        }
    }

    /// Thirteen numbers of eight hexadecimal digits behind the magic, the name with its NUL, the content; name and
    /// content each end on a multiple of four bytes.
    fn entry(&mut self, path: &str, mode: u32, content: &[u8]) {
        self.entries += 1;
        let length =
            |bytes: usize| u32::try_from(bytes).expect("no part of a guest's root is larger than 4 GiB");
        let (name_bytes, content_bytes) = (length(path.len() + 1), length(content.len()));
        let (inode, links) = (self.entries, 1);
        let numbers = [inode, mode, 0, 0, links, 0, content_bytes, 0, 0, 0, 0, name_bytes, 0];
        self.bytes.extend_from_slice(b"070701");
        for number in numbers {
            self.bytes.extend_from_slice(format!("{number:08x}").as_bytes());
        }
        self.bytes.extend_from_slice(path.as_bytes());
        self.bytes.push(0);
        self.pad(4);
        self.bytes.extend_from_slice(content);
        self.pad(4);
    }

    fn pad(&mut self, multiple: usize) {
        self.bytes.resize(self.bytes.len().next_multiple_of(multiple), 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parents_stand_before_their_children_once() {
        let mut archive = Archive::default();
        archive.file("a/b/one", b"1");
        archive.file("a/b/two", b"2");
        let bytes = archive.finish();
        let place = |name: &[u8]| -> Vec<usize> {
            (0..bytes.len() - name.len()).filter(|&at| bytes[at..].starts_with(name)).collect()
        };
        assert_eq!(bytes.len() % BLOCK_BYTES, 0);
        assert_eq!(place(b"\0a/b\0").len() + place(b"a/b\0").len(), 1);
        assert!(place(b"a/b\0")[0] < place(b"a/b/one\0")[0]);
        assert_eq!(place(b"070701").len(), 5); // a, a/b, one, two, the trailer
    }
}
