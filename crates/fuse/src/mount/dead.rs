//! Mounts that a killed process has left: whoever looks at one learns that nobody answers.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use rustix::io::Errno;

use super::{TYPE, detach};
use crate::Error;
use crate::limits::DEAD_MOUNTS;

/// Takes dead mounts of this program at `path` away, and says so; the path to go on with.
pub(super) fn clear(path: &Path, tell: fn(&str)) -> Result<PathBuf, Error> {
    for _ in 0..DEAD_MOUNTS {
        if !is_dead(path) {
            return Ok(path.to_owned());
        }
        let failed = |what| move |error| Error::Io { path: path.to_owned(), what, error };
        // The mount itself cannot be looked at; the folder that it is in can.
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let folder = fs::canonicalize(folder).map_err(failed("looking at its folder"))?;
        let own = folder.join(path.file_name().unwrap_or_default());
        let mounts =
            fs::read_to_string("/proc/self/mountinfo").map_err(failed("reading the list of mounts"))?;
        match kind_of(&mounts, &own) {
            Some(kind) if kind == TYPE => {}
            kind => {
                let kind = kind.unwrap_or("unknown").to_owned();
                return Err(Error::DeadMount { path: path.to_owned(), kind });
            }
        }
        detach(&own, true).map_err(|errno| failed("taking a dead mount away")(errno.into()))?;
        tell(&format!("{}: a mount was here whose process is gone; it was taken away", path.display()));
    }
    Ok(path.to_owned())
}

/// Whether nobody will ever answer there. Who asks in the very moment in which the process goes has to ask again.
fn is_dead(path: &Path) -> bool {
    let is = |error: &io::Error, errno: Errno| error.raw_os_error() == Some(errno.raw_os_error());
    loop {
        match fs::metadata(path) {
            Err(error) if is(&error, Errno::CONNABORTED) => {}
            looked => return looked.is_err_and(|error| is(&error, Errno::NOTCONN)),
        }
    }
}

/// The type of the mount that is seen at `path`, by the list of mounts: the last one there.
fn kind_of<'a>(mounts: &'a str, path: &Path) -> Option<&'a str> {
    let mut lines = mounts.lines().rev().map(|line| {
        let (own, rest) = line.split_once(" - ")?;
        Some((unescaped(own.split(' ').nth(4)?), rest.split(' ').next()?))
    });
    lines.find_map(|line| {
        line.filter(|(place, _)| place.as_os_str() == path.as_os_str()).map(|(_, kind)| kind)
    })
}

/// Blanks and their like stand there as three digits behind a backslash.
fn unescaped(text: &str) -> OsString {
    let (mut bytes, mut rest) = (Vec::new(), OsString::from(text).as_bytes().to_vec().into_iter());
    while let Some(byte) = rest.next() {
        let digits = rest.as_slice().get(..3).filter(|_| byte == b'\\');
        let digits = digits.and_then(|digits| std::str::from_utf8(digits).ok());
        match digits.and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(escaped) => {
                bytes.push(escaped);
                rest.nth(2);
            }
            None => bytes.push(byte),
        }
    }
    OsString::from_vec(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOUNTS: &str = "\
22 1 8:1 / / rw - ext4 /dev/sda1 rw
90 22 0:50 / /mnt/a\\040b\\134 rw,nosuid - fuse.ashlar ashlar rw
91 22 0:51 / /mnt/x rw master:1 - fuse.sshfs host rw
92 22 0:52 / /mnt/x rw - fuse.ashlar ashlar rw
";

    #[test]
    fn the_mount_that_is_seen_is_the_last_one_there() {
        assert_eq!(kind_of(MOUNTS, Path::new("/mnt/x")), Some("fuse.ashlar"));
        assert_eq!(kind_of(MOUNTS, Path::new("/mnt/a b\\")), Some("fuse.ashlar"));
        assert_eq!(kind_of(MOUNTS, Path::new("/mnt")), None);
    }
}
