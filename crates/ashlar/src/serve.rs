//! Addresses to serve on, as people type them, and listening on them.

use std::fs;
use std::io;
use std::net::IpAddr;
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::rc::Rc;

use anyhow::{Context, Result, bail};
use runtime::os::{Os, listen};
use runtime::{Address, Listener};

use crate::Usage;

/// Reads `HOST:PORT`, or the path of a unix socket, which has a slash in it.
pub fn address(text: &str) -> Result<Address> {
    if text.contains('/') {
        return Ok(Address::Unix(text.into()));
    }
    let wrong = || {
        Usage(format!(
            "--nbd {text}: expected HOST:PORT, or the path of a socket with a slash in it (./{text})"
        ))
    };
    let (host, port) = text.rsplit_once(':').ok_or_else(wrong)?;
    let port = port.parse().map_err(|_| wrong())?;
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    match host {
        "" => Err(wrong().into()),
        host => Ok(Address::Tcp(host.to_owned(), port)),
    }
}

/// Whether only this machine reaches the address.
pub fn is_local(address: &Address) -> bool {
    match address {
        Address::Unix(_) => true,
        Address::Tcp(host, _) => {
            host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
        }
    }
}

/// Listens. A socket that a process left behind when it died is replaced.
pub fn open(os: &Rc<Os>, address: &Address) -> Result<Rc<dyn Listener>> {
    if let Address::Unix(path) = address {
        clear(path)?;
    }
    listen(os, address).with_context(|| format!("listening on {address}"))
}

fn clear(path: &Path) -> Result<()> {
    let kind = match fs::symlink_metadata(path) {
        Ok(metadata) => metadata.file_type(),
        Err(_) => return Ok(()), // nothing there, or listening says what is wrong
    };
    if !kind.is_socket() {
        bail!("{}: is something else than a socket; name a path that is free", path.display());
    }
    match UnixStream::connect(path) {
        Ok(_) => bail!("{}: somebody listens there already", path.display()),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            fs::remove_file(path).with_context(|| format!("{}: replacing a dead socket", path.display()))
        }
        Err(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_told_apart() {
        assert_eq!(address("./a.sock").unwrap(), Address::Unix("./a.sock".into()));
        assert_eq!(address("localhost:1").unwrap(), Address::Tcp("localhost".into(), 1));
        assert_eq!(address("[::1]:10809").unwrap(), Address::Tcp("::1".into(), 10809));
        for wrong in ["a.sock", "host:", ":1", "host:99999"] {
            assert!(address(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn only_loopback_is_local() {
        for local in ["/a", "127.0.0.1:1", "localhost:1", "[::1]:1"] {
            assert!(is_local(&address(local).unwrap()), "{local}");
        }
        for open in ["0.0.0.0:1", "[::]:1", "host:1", "192.168.0.1:1"] {
            assert!(!is_local(&address(open).unwrap()), "{open}");
        }
    }
}
