//! Watching a guest: what its script prints, the words for the harness in between, and its end.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};

use crate::error::Named;
use crate::{Ending, Error};

/// What begins a word for the harness. See `guest/init.sh`.
const MARK: &str = "@oracle ";

/// How long a guest that was killed may take to be gone.
const DYING: Duration = Duration::from_secs(10);

/// Starts the guest and waits for its end, at most `timeout`. Returns how it ended and what the script printed.
///
/// Each line that the script prints is handed to `hear` when it comes.
pub(super) fn watch(
    command: &mut Command,
    timeout: Duration,
    hear: Option<fn(&str)>,
) -> Result<(Ending, String), Error> {
    use std::os::unix::process::CommandExt;

    let deadline = Instant::now() + timeout;
    // A group of its own, because UML is many processes and a power cut takes them all at once. UML itself has to
    // lead the group: started by another program that leads it, it would leave for a session of its own and live on.
    command.stdin(Stdio::null()).stdout(Stdio::piped()).process_group(0);
    let child = command.spawn().named("start", command.get_program().as_ref())?;
    let mut guest = Guest(child);
    let lines = lines_of(guest.0.stdout.take().expect("piped"));

    let mut console = Console::default();
    let ending = loop {
        match lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(line) => {
                let before = console.script.len();
                console.take(&line);
                if let Some(hear) = hear.filter(|_| console.script.len() > before) {
                    hear(console.script[before..].trim_end());
                }
            }
            Err(mpsc::RecvTimeoutError::Timeout) => break Ending::TimedOut,
            Err(mpsc::RecvTimeoutError::Disconnected) => {
                let died = if console.started { Ending::Died } else { Ending::NeverStarted };
                break console.ending.unwrap_or(died);
            }
        }
        if let Some(cut @ Ending::Cut(_)) = console.ending {
            break cut;
        }
    };
    drop(guest);
    // Only the leader could be waited for. The others are told by what they print to: who has closed that writes no more.
    let gone = Instant::now() + DYING;
    while lines.recv_timeout(gone.saturating_duration_since(Instant::now())).is_ok() {}
    Ok((ending, console.script))
}

/// What was understood of the guest's terminal.
#[derive(Default)]
struct Console {
    started: bool,
    script: String,
    ending: Option<Ending>,
}

impl Console {
    /// Takes one line, with its end. A mark may stand behind output that ended without a new line.
    fn take(&mut self, line: &str) {
        let Some((output, word)) = line.split_once(MARK) else { return self.output(line) };
        self.output(output);
        let status = || word.split_whitespace().nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
        match word.split_whitespace().next() {
            Some("started") => self.started = true,
            Some("exit") => self.ending = Some(Ending::Exited(status())),
            Some("cut") => self.ending = Some(Ending::Cut(status())),
            _ => self.output(&line[output.len()..]),
        }
    }

    /// Before its start and after its end nothing comes from the script.
    fn output(&mut self, text: &str) {
        if self.started && self.ending.is_none() {
            self.script.push_str(text);
        }
    }
}

/// A guest that does not outlive its run, whichever way the run ends.
struct Guest(Child);

impl Drop for Guest {
    fn drop(&mut self) {
        // Until it is waited for, its number cannot be another's. Both calls fail only for a guest that is gone.
        kill_process_group(Pid::from_child(&self.0), Signal::KILL).ok();
        self.0.wait().ok();
    }
}

/// Reads lines in a thread of their own, so that the deadline holds while nothing comes.
fn lines_of(stdout: impl Read + Send + 'static) -> mpsc::Receiver<String> {
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        let mut reader = BufReader::new(stdout);
        let mut line = Vec::new();
        while matches!(reader.read_until(b'\n', &mut line), Ok(bytes) if bytes > 0) {
            let text = String::from_utf8_lossy(&line).replace('\r', "");
            if sender.send(text).is_err() {
                return;
            }
            line.clear();
        }
    });
    receiver
}

#[cfg(test)]
mod tests {
    use super::*;

    fn console(lines: &[&str]) -> Console {
        let mut console = Console::default();
        lines.iter().for_each(|line| console.take(line));
        console
    }

    #[test]
    fn only_the_script_is_heard() {
        let heard = console(&["booting\n", "@oracle started\n", "one\n", "two@oracle exit 3\n", "bye\n"]);
        assert_eq!((heard.script.as_str(), heard.ending), ("one\ntwo", Some(Ending::Exited(3))));
    }

    #[test]
    fn a_power_cut_keeps_its_status() {
        assert_eq!(console(&["@oracle started\n", "@oracle cut 7\n"]).ending, Some(Ending::Cut(7)));
    }

    #[test]
    fn a_guest_that_dies_on_its_way_up_is_told_from_one_that_dies_later() {
        for (words, expected) in
            [("echo booting", Ending::NeverStarted), ("echo '@oracle started'", Ending::Died)]
        {
            let mut command = Command::new("sh");
            command.args(["-c", words]);
            assert_eq!(watch(&mut command, Duration::from_secs(60), None).unwrap().0, expected);
        }
    }

    #[test]
    fn a_guest_that_hangs_is_killed_in_time() {
        let begun = Instant::now();
        let mut command = Command::new("sh");
        command.args(["-c", "echo '@oracle started'; echo half; sleep 60 & sleep 60"]);
        let (ending, heard) = watch(&mut command, Duration::from_millis(300), None).unwrap();
        assert_eq!((ending, heard.as_str()), (Ending::TimedOut, "half\n"));
        assert!(begun.elapsed() < Duration::from_secs(10));
    }
}
