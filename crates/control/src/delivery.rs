//! Telling somebody: a program, as `mdadm --monitor` calls it, and mail by sendmail.
//!
//! On a thread of its own, or by a process of its own for one that may start no programs itself (ADR 24); with a queue that ends: a program that hangs is killed after a while, and meanwhile nobody waits
//! for it but the alerts behind it.

use std::io::{self, BufRead, Write};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::thread::{self, JoinHandle, sleep};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::alerts::Alert;

/// Alerts that wait while a program or sendmail is at work: more than a stack can bring about in the time of one.
const QUEUE: usize = 256;

/// How long a program or sendmail may take: long enough to write a mail to a slow host, and whoever hangs hangs forever.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// How often it is looked whether it has ended.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// Who is told.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Receivers {
    /// A program, called with the event, the array and, where there is one, the member.
    pub program: Option<PathBuf>,
    /// Somebody who gets mail of what has to be attended to.
    pub mail: Option<String>,
}

impl Receivers {
    /// Whether anybody is told at all.
    pub fn is_any(&self) -> bool {
        self.program.is_some() || self.mail.is_some()
    }
}

/// Whether mail can be sent to somebody of this name: why not.
pub fn check_address(address: &str) -> Result<(), String> {
    let is_plain = |letter: char| !letter.is_control() && !letter.is_whitespace();
    match !address.is_empty() && !address.starts_with('-') && address.chars().all(is_plain) {
        true => Ok(()),
        false => Err(format!("{address:?} is no address that mail can be sent to")),
    }
}

/// An alert, and how everything stands, for people to read.
#[derive(Serialize, Deserialize)]
struct Letter {
    alert: Alert,
    state: String,
}

/// The thread.
pub struct Delivery {
    letters: SyncSender<Letter>,
    thread: JoinHandle<()>,
}

impl Delivery {
    /// Begins; what goes wrong is said to `complain`.
    pub fn start(receivers: Receivers, complain: fn(&str)) -> io::Result<Delivery> {
        let (letters, waiting) = sync_channel(QUEUE);
        let deliver = move || waiting.iter().for_each(|letter| deliver(&receivers, &letter, complain));
        let thread = thread::Builder::new().name("alerts".to_owned()).spawn(deliver)?;
        Ok(Delivery { letters, thread })
    }

    /// Begins, and lets a process deliver that is fed by its standard input: it does what [`deliver_all`] does.
    pub fn through(mut courier: Child, complain: fn(&str)) -> io::Result<Delivery> {
        let (letters, waiting) = sync_channel::<Letter>(QUEUE);
        let mut input = courier.stdin.take().ok_or(io::ErrorKind::InvalidInput)?;
        let carry = move || {
            for letter in waiting.iter() {
                let mut line = serde_json::to_vec(&letter).expect("a letter is plain data");
                line.push(b'\n');
                if let Err(error) = input.write_all(&line) {
                    complain(&format!("{}: nobody was told: {error}", letter.alert));
                }
            }
            drop(input);
            let _ = courier.wait(); // it delivers what it has, and ends
        };
        let thread = thread::Builder::new().name("alerts".to_owned()).spawn(carry)?;
        Ok(Delivery { letters, thread })
    }

    /// Hands an alert over; false if too many wait, and it is lost.
    pub fn send(&self, alert: Alert, state: String) -> bool {
        !matches!(self.letters.try_send(Letter { alert, state }), Err(TrySendError::Full(_)))
    }

    /// Waits until all are delivered, or given up.
    pub fn finish(self) {
        drop(self.letters);
        let _ = self.thread.join(); // its panic was printed already
    }
}

/// Delivers the letters that come as lines, until they end: what a courier's process does.
pub fn deliver_all(receivers: &Receivers, lines: impl BufRead, complain: fn(&str)) -> io::Result<()> {
    for line in lines.lines() {
        deliver(receivers, &serde_json::from_str(&line?)?, complain);
    }
    Ok(())
}

fn deliver(receivers: &Receivers, letter: &Letter, complain: fn(&str)) {
    if let Some(program) = &receivers.program {
        let mut command = Command::new(program);
        command.arg(letter.alert.kind.to_string()).arg(&letter.alert.array).args(&letter.alert.member);
        if let Err(error) = run(&mut command, None) {
            complain(&format!("{}: {error}", program.display()));
        }
    }
    if let Some(address) = receivers.mail.as_ref().filter(|_| letter.alert.kind.is_for_mail()) {
        let mut command = Command::new(sendmail());
        command.arg("-t");
        if let Err(error) = run(&mut command, Some(&mail(address, letter))) {
            complain(&format!("mail to {address}: {error}"));
        }
    }
}

/// sendmail where it is on the path, or where mail systems put it.
fn sendmail() -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let usual = ["/usr/sbin", "/usr/lib"].map(PathBuf::from);
    let folders = std::env::split_paths(&path).chain(usual);
    let found = folders.map(|folder| folder.join("sendmail")).find(|file| file.is_file());
    found.unwrap_or_else(|| PathBuf::from("sendmail"))
}

/// The mail, its head first.
fn mail(address: &str, letter: &Letter) -> String {
    let alert = &letter.alert;
    let subject: String = format!("{} event on {}", alert.kind, alert.array)
        .chars()
        .filter(|letter| !letter.is_control())
        .collect();
    format!(
        "From: ashlar monitor <root>\nTo: {address}\nSubject: {subject}\n\n{alert}.\n\nHow everything stands, as /proc/mdstat \
         would show it:\n\n{}",
        letter.state
    )
}

/// Runs a program to its end, gives it `input`, and kills it when it takes too long. What it prints goes where errors go.
fn run(command: &mut Command, input: Option<&str>) -> io::Result<()> {
    command.stdin(if input.is_some() { Stdio::piped() } else { Stdio::null() });
    let mut child = command.stdout(io::stderr()).spawn()?;
    // It has inherited that the kernel spares this process when memory is short. Where it has not, this may be refused.
    let _ = std::fs::write(format!("/proc/{}/oom_score_adj", child.id()), "0");
    if let (Some(mut stdin), Some(input)) = (child.stdin.take(), input.map(str::to_owned)) {
        // A program that does not read must not be waited for here.
        thread::spawn(move || stdin.write_all(input.as_bytes()));
    }
    match wait(&mut child)? {
        true => Ok(()),
        false => Err(io::Error::other(format!("did not end within {} s and was killed", PATIENCE.as_secs()))),
    }
}

/// Whether it ended in time; how it ended is its own affair.
fn wait(child: &mut Child) -> io::Result<bool> {
    let start = Instant::now();
    while child.try_wait()?.is_none() {
        if start.elapsed() >= PATIENCE {
            child.kill()?;
            child.wait()?;
            return Ok(false);
        }
        sleep(LOOK_AGAIN);
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alerts::AlertKind;

    #[test]
    fn addresses_cannot_bring_lines_or_options_of_their_own() {
        for good in ["root", "storage@example.org", "a+b@x"] {
            assert!(check_address(good).is_ok(), "{good}");
        }
        for bad in ["", "-v", "a b", "a\nBcc: b", "a\t"] {
            assert!(check_address(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_mail_has_one_head_whatever_the_name_is() {
        let alert =
            Alert { kind: AlertKind::Fail, array: "x\nBcc: y\n".to_owned(), member: Some("m".to_owned()) };
        let text = mail("root", &Letter { alert, state: "state\n".to_owned() });
        let (head, body) = text.split_once("\n\n").unwrap();
        let expected = "From: ashlar monitor <root>\nTo: root\nSubject: Fail event on xBcc: y";
        assert_eq!(head, expected);
        assert!(body.ends_with("state\n"));
    }
}
