//! `ashlar wait`: until nothing is being synced, with a bar meanwhile.

use std::io::IsTerminal;
use std::path::Path;
use std::time::Duration;

use anyhow::{Result, bail};
use control::{ArrayStatus, Client, StackStatus, SyncStatus};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::status::place;
use crate::cli::Wait;
use crate::dirs;
use crate::text::size;

/// How often it looks.
const INTERVAL: Duration = Duration::from_millis(100);

/// Runs the command.
pub fn run(args: &Wait) -> Result<()> {
    let dir = dirs::run_dir(args.run_dir.run_dir.as_deref())?;
    let place = place(&dir, &args.name)?;
    let status = until_settled(&place.socket())?;
    for array in &status.arrays {
        if let SyncStatus::Pending { of } = &array.sync {
            bail!("{}: a {of} is needed and cannot run; see ashlar status {}", array.name, args.name);
        }
        if array.in_sync < array.slots {
            bail!(
                "{}: {} of {} members are in sync, and no spare is left",
                array.name,
                array.in_sync,
                array.slots
            );
        }
    }
    Ok(())
}

/// Waits until nothing runs and nothing is about to; how things stand then.
pub fn until_settled(socket: &Path) -> Result<StackStatus> {
    let client = Client::new(socket);
    let bar = bar();
    loop {
        let status = client.status()?;
        let Some(array) = status.arrays.iter().find(|array| is_at_work(array)) else {
            bar.finish_and_clear();
            return Ok(status);
        };
        if let Some((action, progress)) = array.sync.progress() {
            bar.set_length(progress.total_bytes);
            bar.set_position(progress.done_bytes);
            bar.set_message(format!("{action} of {}, {}/s", array.name, size(progress.bytes_per_second)));
        }
        std::thread::sleep(INTERVAL);
    }
}

/// Whether something runs, or will without anybody's doing.
fn is_at_work(array: &ArrayStatus) -> bool {
    array.sync.progress().is_some() || array.settling
}

fn bar() -> ProgressBar {
    let bar = ProgressBar::no_length();
    if !std::io::stderr().is_terminal() {
        bar.set_draw_target(ProgressDrawTarget::hidden());
    }
    let style =
        ProgressStyle::with_template("{msg} [{bar:40}] {percent}% {eta}").expect("the template is right");
    bar.set_style(style.progress_chars("=> "));
    bar
}
