//! Serves files over a unix socket, each under its own name: `serve SOCKET FILE...`. In place of a file, `memory=BYTES`
//! is a disk in memory, which shows what the protocol costs by itself. For measuring, and for a look at how the pieces
//! fit together.

use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use block::{Cause, Dev, Device, Failed, Geometry, Op, Request, Sectors, Ticket};
use nbd::{Export, Exports, Room, Server};
use runtime::os::{Choice, OpenMode, Os, listen};
use runtime::{Address, Runtime};

/// A disk in memory: every request is done when it is started.
struct Memory {
    bytes: RefCell<Vec<u8>>,
}

impl Device for Memory {
    fn start(&self, request: Request) -> Ticket {
        let mut bytes = self.bytes.borrow_mut();
        let start = request.range.start.byte_len();
        Ticket::ready(match (request.op, &request.buf) {
            (Op::Read, Some(buf)) => {
                buf.copy_from_slice(0, &bytes[start..][..buf.len()]);
                Ok(())
            }
            (Op::Write, Some(buf)) => {
                buf.copy_to_slice(0, &mut bytes[start..][..buf.len()]);
                Ok(())
            }
            (Op::Flush | Op::Discard, _) => Ok(()),
            _ => Err(Failed::new(Cause::Unsupported)),
        })
    }

    fn geometry(&self) -> Geometry {
        Geometry::plain(Sectors::from_bytes(self.bytes.borrow().len() as u64))
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args_os().skip(1).map(PathBuf::from);
    let socket = arguments.next().ok_or("usage: serve SOCKET FILE...")?;
    let os = Os::new(Choice::Auto)?;
    println!("{}", os.why());
    Runtime::new(os.clone()).block_on(async {
        let exports = Exports::new();
        for file in arguments {
            let name = file.file_name().unwrap_or_default().to_string_lossy();
            let device: Dev = match name.strip_prefix("memory=") {
                Some(bytes) => Rc::new(Memory { bytes: RefCell::new(vec![1; bytes.parse()?]) }),
                None => os.open(Path::new(&file), OpenMode::Write)?.device,
            };
            if !exports.add(Export::new(&name, "", device, false)) {
                return Err(format!("two of them are called {name}").into());
            }
        }
        let listener = listen(&os, &Address::Unix(socket))?;
        let server = Server::new(listener, Rc::new(exports), Room::default());
        server.arenas().for_each(|arena| os.register(arena));
        std::future::pending().await
    })
}
