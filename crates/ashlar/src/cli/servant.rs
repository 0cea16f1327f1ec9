//! The command line of the processes that a running stack starts for itself.

use std::path::PathBuf;

use clap::{Args, Subcommand};

/// What `ashlar run` starts for itself; of no use to anybody else
#[derive(Args, Debug)]
pub struct Servant {
    /// What to do.
    #[command(subcommand)]
    pub work: ServantWork,
}

/// What to do.
#[derive(Subcommand, Debug)]
pub enum ServantWork {
    /// Mount, and take the mount away when told to
    Hold {
        /// Where
        path: PathBuf,
    },
    /// Deliver the alerts that come on standard input
    Deliver {
        /// A program that is called with each
        #[arg(long)]
        program: Option<PathBuf>,
        /// Who gets mail
        #[arg(long)]
        mail: Option<String>,
    },
}
