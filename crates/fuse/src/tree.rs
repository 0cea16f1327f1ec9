//! What is seen at the place of the mount: one file, or a folder with a file for each volume.

use std::rc::Rc;

use export::Export;
use zerocopy::IntoBytes;

use crate::Error;
use crate::limits::{FOLDER_BYTES, NAME_BYTES};
use crate::wire::{Attr, Dirent, ROOT, kind};

/// The preferred block that is told: a page. It binds nobody.
const PAGE: u32 = 4096;

/// The nodes of a mount. They never change.
pub(crate) struct Tree {
    exports: Vec<Rc<Export>>,
    /// The names of the files in the folder; none where the root itself is the file.
    names: Vec<String>,
    uid: u32,
    gid: u32,
    since_s: u64,
}

/// The name of the file that is a volume: what cannot stand in a name is a line there.
pub fn file_name(volume: &str) -> String {
    let cut = &volume[..volume.floor_char_boundary(NAME_BYTES)];
    match cut.replace(['/', '\0'], "_").as_str() {
        "" | "." | ".." => "_".to_owned(),
        name => name.to_owned(),
    }
}

impl Tree {
    /// A single file.
    pub(crate) fn file(export: Rc<Export>, since_s: u64) -> Tree {
        Tree::new(vec![export], Vec::new(), since_s)
    }

    /// A folder with a file for each of `exports`.
    pub(crate) fn folder(exports: Vec<Rc<Export>>, since_s: u64) -> Result<Tree, Error> {
        let names: Vec<String> = exports.iter().map(|export| file_name(export.name())).collect();
        match names.iter().enumerate().find(|(at, name)| names[..*at].contains(name)) {
            Some((_, name)) => Err(Error::SameName(name.clone())),
            None => Ok(Tree::new(exports, names, since_s)),
        }
    }

    fn new(exports: Vec<Rc<Export>>, names: Vec<String>, since_s: u64) -> Tree {
        let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
        Tree { exports, names, uid, gid, since_s }
    }

    fn is_folder(&self, node: u64) -> bool {
        node == ROOT && !self.names.is_empty()
    }

    /// The export that is the file `node`.
    pub(crate) fn export(&self, node: u64) -> Option<&Rc<Export>> {
        let first = if self.names.is_empty() { ROOT } else { ROOT + 1 };
        self.exports.get(usize::try_from(node.checked_sub(first)?).ok()?)
    }

    /// The node of that name in the folder `node`.
    pub(crate) fn find(&self, node: u64, name: &[u8]) -> Option<u64> {
        let at = self.names.iter().position(|known| known.as_bytes() == name);
        at.filter(|_| self.is_folder(node)).map(|at| ROOT + 1 + at as u64)
    }

    /// What `node` is. Only its owner may do anything with it.
    pub(crate) fn attr(&self, node: u64) -> Option<Attr> {
        let time = Attr { atime: self.since_s, mtime: self.since_s, ctime: self.since_s, ..Attr::default() };
        let own = Attr { ino: node, uid: self.uid, gid: self.gid, nlink: 1, blksize: PAGE, ..time };
        if self.is_folder(node) {
            return Some(Attr { mode: kind::FOLDER | 0o500, nlink: 2, ..own });
        }
        let export = self.export(node)?;
        let rights = if export.is_read_only() { 0o400 } else { 0o600 };
        Some(Attr { mode: kind::FILE | rights, size: export.size(), blocks: export.size() / 512, ..own })
    }

    /// Writes the names in the folder `node` from the `from`th on into `bytes`, as many as fit into `most`; how many bytes
    /// they take. `None` where it is no folder.
    pub(crate) fn read_folder(
        &self,
        node: u64,
        from: u64,
        most: usize,
        bytes: &mut [u8; FOLDER_BYTES],
    ) -> Option<usize> {
        if !self.is_folder(node) {
            return None;
        }
        let dots = [(ROOT, kind::FOLDER, "."), (ROOT, kind::FOLDER, "..")];
        let files = (ROOT + 1..).zip(&self.names).map(|(node, name)| (node, kind::FILE, name.as_str()));
        let entries = (1..).zip(dots.into_iter().chain(files));
        let mut used = 0;
        for (off, (ino, mode, name)) in entries.skip(usize::try_from(from).unwrap_or(usize::MAX)) {
            let end = used + size_of::<Dirent>() + name.len();
            let padded = end.next_multiple_of(8);
            if padded > most.min(bytes.len()) {
                break;
            }
            let head = Dirent { ino, off, namelen: name.len() as u32, kind: mode >> 12 };
            bytes[used..used + size_of::<Dirent>()].copy_from_slice(head.as_bytes());
            bytes[used + size_of::<Dirent>()..end].copy_from_slice(name.as_bytes());
            bytes[end..padded].fill(0);
            used = padded;
        }
        Some(used)
    }

    /// Bytes in all files.
    pub(crate) fn size(&self) -> u64 {
        self.exports.iter().map(|export| export.size()).fold(0, u64::saturating_add)
    }

    pub(crate) fn exports(&self) -> &[Rc<Export>] {
        &self.exports
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use block::{Device, Geometry, Request, Sectors, Ticket};

    struct Nothing;

    impl Device for Nothing {
        fn start(&self, _: Request) -> Ticket {
            Ticket::ready(Ok(()))
        }

        fn geometry(&self) -> Geometry {
            Geometry::plain(Sectors(16))
        }
    }

    fn exports(names: &[&str]) -> Vec<Rc<Export>> {
        names.iter().map(|name| Rc::new(Export::new(name, "", Rc::new(Nothing), false))).collect()
    }

    #[test]
    fn what_cannot_stand_in_a_name_is_a_line() {
        assert_eq!(file_name("host:data"), "host:data");
        assert_eq!(file_name("../../etc/passwd"), ".._.._etc_passwd");
        assert_eq!(file_name("a\0b"), "a_b");
        assert_eq!([file_name(""), file_name("."), file_name("..")], ["_", "_", "_"]);
        assert_eq!(file_name(&"é".repeat(200)).len(), 254, "cut between letters");
    }

    #[test]
    fn two_volumes_of_one_file_name_are_refused() {
        assert!(
            matches!(Tree::folder(exports(&["a/b", "a_b"]), 0), Err(Error::SameName(name)) if name == "a_b")
        );
    }

    #[test]
    fn a_folder_gives_every_name_once_however_little_fits() {
        let long = "x".repeat(255);
        let tree = Tree::folder(exports(&["one", &long, "three"]), 0).unwrap();
        for most in [320, 400, 4096] {
            let (mut names, mut from) = (Vec::new(), 0);
            loop {
                let mut bytes = [0; FOLDER_BYTES];
                let used = tree.read_folder(ROOT, from, most, &mut bytes).unwrap();
                if used == 0 {
                    break;
                }
                assert!(used <= most);
                let mut at = 0;
                while at < used {
                    let (head, rest) =
                        <Dirent as zerocopy::FromBytes>::read_from_prefix(&bytes[at..]).unwrap();
                    names.push(String::from_utf8(rest[..head.namelen as usize].to_vec()).unwrap());
                    at = (at + size_of::<Dirent>() + head.namelen as usize).next_multiple_of(8);
                    from = head.off;
                }
            }
            assert_eq!(names, [".", "..", "one", &long, "three"], "{most} bytes at a time");
        }
    }

    #[test]
    fn nodes_that_are_not_there_are_not_found() {
        let tree = Tree::folder(exports(&["one"]), 0).unwrap();
        assert!(tree.export(2).is_some() && tree.export(1).is_none());
        for node in [0, 3, u64::MAX] {
            assert!(tree.attr(node).is_none() && tree.export(node).is_none(), "node {node}");
        }
        assert_eq!(
            (tree.find(ROOT, b"one"), tree.find(2, b"one"), tree.find(ROOT, b"two")),
            (Some(2), None, None)
        );
        let file = Tree::file(exports(&["one"]).remove(0), 0);
        assert_eq!((file.find(ROOT, b"one"), file.attr(ROOT).unwrap().size), (None, 8192));
    }
}
