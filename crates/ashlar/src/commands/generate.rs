//! `ashlar generate`: man pages and completions, from the one definition of the command line.

use std::fs;
use std::io;
use std::path::Path;

use anyhow::{Context, Result};
use clap::{Command, CommandFactory};

use crate::cli::{Cli, Generate, GenerateWhat};

/// Runs the command.
pub fn run(args: &Generate) -> Result<()> {
    let mut command = Cli::command();
    match &args.what {
        GenerateWhat::Man { dir } => {
            fs::create_dir_all(dir).with_context(|| format!("making {}", dir.display()))?;
            command.build();
            pages(&command, dir)
        }
        GenerateWhat::Completions { shell } => {
            clap_complete::generate(*shell, &mut command, "ashlar", &mut io::stdout());
            Ok(())
        }
    }
}

/// A page for the command, and one for each of its commands.
fn pages(command: &Command, dir: &Path) -> Result<()> {
    clap_mangen::Man::new(command.clone())
        .generate_to(dir)
        .with_context(|| format!("writing to {}", dir.display()))?;
    for sub in command.get_subcommands().filter(|sub| !sub.is_hide_set() && sub.get_name() != "help") {
        pages(sub, dir)?;
    }
    Ok(())
}
