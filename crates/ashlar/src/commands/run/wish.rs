//! What is to be run: the command line and the file it may name, made one.

use std::path::{Path, PathBuf};

use anyhow::Result;
use control::{Config, Receivers, Rules};
use md::{JournalMode, Options};
use md_format::geometry::raid0::Raid0Layout;
use runtime::Address;

use crate::Usage;
use crate::cli::{Armour, Layout, Lenience, Piece, Run, Switch, Telling};
use crate::commands::monitor::receivers;
use crate::serve;
use crate::volumes::raid0_layout;

/// What is asked for.
pub struct Wish {
    pub name: Option<String>,
    pub members: Vec<String>,
    pub addresses: Vec<Address>,
    pub mounts: Vec<PathBuf>,
    pub degraded: bool,
    pub arrays: bool,
    pub read_only: bool,
    pub sole_writer: bool,
    pub accept_stale: bool,
    pub dirty_degraded: bool,
    pub without_cache: bool,
    pub private_log: Option<bool>,
    pub journal_mode: control::JournalMode,
    pub layout: Option<Raid0Layout>,
    pub armour: Armour,
    pub armour_without: Vec<Piece>,
    pub receivers: Receivers,
    pub rules: Rules,
}

impl Wish {
    /// Reads the file, if one is named; what the command line says is added to it.
    pub fn of(args: &Run) -> Result<Wish> {
        let files: Vec<&String> = args.members.iter().filter(|name| name.ends_with(".toml")).collect();
        let config = match (&files[..], args.members.len()) {
            ([], _) => Config { members: args.members.clone(), ..Config::default() },
            ([file], 1) => Config::read(Path::new(file))?,
            ([file, ..], _) => {
                return Err(Usage(format!("{file}: a file that says everything is named alone")).into());
            }
        };
        let from_file = config.layout.map(|layout| match layout {
            control::Layout::Original => Raid0Layout::Original,
            control::Layout::Alternate => Raid0Layout::Alternate,
        });
        let addresses = config.nbd.iter().chain(&args.nbd).map(|text| serve::address(text));
        let told = Telling {
            program: args.telling.program.clone().or(config.program),
            mail: args.telling.mail.clone().or(config.mail),
            spares: args.telling.spares.max(config.spares),
        };
        let wish = Wish {
            name: args.name.clone().or(config.name),
            members: config.members,
            addresses: addresses.collect::<Result<_>>()?,
            mounts: config.fuse.iter().chain(&args.fuse).cloned().collect(),
            degraded: config.degraded || args.degraded,
            arrays: config.arrays || args.arrays,
            read_only: config.read_only || args.read_only,
            sole_writer: config.sole_writer || args.sole_writer,
            accept_stale: config.accept_stale || args.lenience.accept_stale,
            dirty_degraded: config.dirty_degraded || args.lenience.dirty_degraded,
            without_cache: args.without_cache,
            private_log: args.private_log.map(|word| word == Switch::On).or(config.private_log),
            journal_mode: args
                .journal_mode
                .map(control::JournalMode::from)
                .or(config.journal_mode)
                .unwrap_or(control::JournalMode::WriteThrough),
            layout: args.lenience.layout.map(raid0_layout).or(from_file),
            armour: args.armour.or(config.armour.map(Armour::from)).unwrap_or(Armour::On),
            armour_without: left_off(&config.armour_without, &args.armour_without)?,
            receivers: receivers(&told)?,
            rules: Rules { spares: told.spares, ..Rules::default() },
        };
        wish.check(config.nbd_anywhere || args.nbd_anywhere, args.plan)?;
        Ok(wish)
    }

    /// How everything is looked at before.
    pub fn lenience(&self) -> Lenience {
        Lenience {
            layout: self.layout.map(|layout| match layout {
                Raid0Layout::Original => Layout::Original,
                Raid0Layout::Alternate => Layout::Alternate,
            }),
            dirty_degraded: self.dirty_degraded,
            accept_stale: self.read_only && self.accept_stale,
        }
    }

    /// How the arrays are to be opened.
    pub fn options(&self) -> Options {
        Options {
            write: !self.read_only,
            degraded: self.degraded,
            dirty_degraded: self.dirty_degraded,
            layout: self.layout,
            private_log: self.private_log.filter(|_| !self.read_only),
            journal_mode: match self.journal_mode {
                control::JournalMode::WriteThrough => JournalMode::WriteThrough,
                control::JournalMode::WriteBack => JournalMode::WriteBack,
            },
            ..Options::default()
        }
    }

    fn check(&self, anywhere: bool, plan: bool) -> Result<()> {
        if self.addresses.is_empty() && self.mounts.is_empty() && !plan {
            let text = "nowhere to serve: say --nbd ./NAME.sock, or --nbd 127.0.0.1:10809, or --fuse ./NAME";
            return Err(Usage(text.to_owned()).into());
        }
        match self.addresses.iter().find(|address| !serve::is_local(address)) {
            Some(address) if !anywhere => {
                let text = format!(
                    "{address}: other hosts can reach this address, and whoever reaches it can read and write \
                     everything; --nbd-anywhere serves there all the same"
                );
                Err(Usage(text).into())
            }
            _ => Ok(()),
        }
    }
}

/// The pieces of armour that are not wanted.
fn left_off(from_file: &[String], from_words: &[Piece]) -> Result<Vec<Piece>> {
    let unknown = |name: &String| {
        Usage(format!(
            "armour-without: {name:?} is no piece of the armour; there are io-flusher, oom-score, memory-locked, direct-io, \
             landlock and seccomp"
        ))
    };
    let named = from_file.iter().map(|name| Piece::of(name).map_err(|_| unknown(name)));
    Ok(named.chain(from_words.iter().copied().map(Ok)).collect::<Result<_, _>>()?)
}
