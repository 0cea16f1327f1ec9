//! The place of a mount: what is there, and what is made there.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, StatxAttributes, StatxFlags, statx};

use crate::Error;

/// Where to mount.
#[derive(Debug)]
pub(super) struct Place {
    /// From the root, without links.
    pub(super) path: PathBuf,
    pub(super) is_folder: bool,
    /// It was not there before.
    pub(super) made: bool,
}

impl Place {
    /// Looks at `path`: an empty folder gets a file for each volume; an empty file is the only volume; where there is nothing,
    /// what fits the number of `volumes` is made. What holds something stays in sight.
    pub(super) fn find(path: &Path, volumes: usize) -> Result<Place, Error> {
        let failed = |what| move |error| Error::Io { path: path.to_owned(), what, error };
        let refused = |found| Err(Error::Place { path: path.to_owned(), found });
        let metadata = match fs::metadata(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Place::make(path, volumes),
            found => found.map_err(failed("looking at it"))?,
        };
        let own = fs::canonicalize(path).map_err(failed("looking at it"))?;
        if is_mount(&own).map_err(failed("looking at it"))? {
            return refused("something is mounted there");
        }
        if metadata.is_dir() {
            let mut entries = fs::read_dir(path).map_err(failed("looking into it"))?;
            return match entries.next() {
                Some(_) => refused("is a folder that holds something, which would be hidden"),
                None => Ok(Place { path: own, is_folder: true, made: false }),
            };
        }
        if !metadata.is_file() {
            return refused("is neither a file nor a folder");
        }
        match (metadata.len(), volumes) {
            (0, 1) => Ok(Place { path: own, is_folder: false, made: false }),
            (0, _) => Err(Error::NeedsFolder { path: path.to_owned(), volumes }),
            _ => refused("is a file that holds something, which would be hidden"),
        }
    }

    fn make(path: &Path, volumes: usize) -> Result<Place, Error> {
        let is_folder = volumes != 1;
        let made = match is_folder {
            true => fs::create_dir(path),
            false => File::create_new(path).map(drop),
        };
        let own = made.and_then(|()| fs::canonicalize(path));
        let own = own.map_err(|error| Error::Io { path: path.to_owned(), what: "making it", error })?;
        Ok(Place { path: own, is_folder, made: true })
    }
}

fn is_mount(path: &Path) -> io::Result<bool> {
    let found = statx(CWD, path, AtFlags::empty(), StatxFlags::empty())?;
    Ok(found.stx_attributes.contains(StatxAttributes::MOUNT_ROOT))
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Folder {
            let path = std::env::temp_dir().join(format!("fuse-{}-{name}", std::process::id()));
            fs::create_dir(&path).unwrap();
            Folder(path)
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn what_is_free_is_made_to_fit_the_volumes() {
        let folder = Folder::new("free");
        let one = Place::find(&folder.0.join("one"), 1).unwrap();
        assert!(one.made && !one.is_folder && one.path.is_file());
        let two = Place::find(&folder.0.join("two"), 2).unwrap();
        assert!(two.made && two.is_folder && two.path.is_dir());
        assert!(matches!(Place::find(&folder.0.join("no/where"), 1), Err(Error::Io { .. })));
    }

    #[test]
    fn what_holds_something_is_not_hidden() {
        let folder = Folder::new("holds");
        fs::write(folder.0.join("full"), "x").unwrap();
        File::create(folder.0.join("empty")).unwrap();
        fs::create_dir(folder.0.join("folder")).unwrap();
        assert!(matches!(Place::find(&folder.0.join("full"), 1), Err(Error::Place { .. })));
        assert!(matches!(Place::find(&folder.0, 1), Err(Error::Place { .. })));
        assert!(matches!(Place::find(Path::new("/dev/null"), 1), Err(Error::Place { .. })));
        assert!(matches!(Place::find(Path::new("/proc"), 1), Err(Error::Place { .. })), "a mount");
        assert!(matches!(
            Place::find(&folder.0.join("empty"), 2),
            Err(Error::NeedsFolder { volumes: 2, .. })
        ));
        let file = Place::find(&folder.0.join("empty"), 1).unwrap();
        assert!(!file.made && !file.is_folder);
        let inner = Place::find(&folder.0.join("folder"), 1).unwrap();
        assert!(!inner.made && inner.is_folder, "a folder is one also for a single volume");
    }
}
