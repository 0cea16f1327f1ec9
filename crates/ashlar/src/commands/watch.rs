//! `ashlar watch`: how what runs stands, live in a terminal; without one, as lines.

mod history;
mod lines;
mod screen;

use std::collections::BTreeMap;
use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use control::{Client, Place, StackStatus, running};
use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEventKind, KeyModifiers};

use super::monitor::now_s;
use super::status::place;
use crate::cli::Watch;
use crate::dirs;
use history::History;
use screen::{Screen, draw};

/// How often it is looked.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// How long a stack may take to answer, while keys are not heard.
const ANSWER_WITHIN: Duration = Duration::from_secs(2);

/// Runs the command.
pub fn run(args: &Watch) -> Result<()> {
    let dir = dirs::run_dir(args.run_dir.run_dir.as_deref())?;
    if let Some(name) = &args.name {
        place(&dir, name)?; // which says what runs instead
    }
    let mut watched =
        Watched { dir, name: args.name.clone(), stacks: Vec::new(), histories: BTreeMap::new(), last: None };
    if !io::stdout().is_terminal() {
        return print_lines(&mut watched, args.count);
    }
    let mut terminal = ratatui::try_init().context("the terminal cannot be drawn on")?;
    let done = show(&mut terminal, &mut watched, args.count);
    ratatui::restore();
    done
}

/// What is watched, and what it did so far.
struct Watched {
    dir: PathBuf,
    name: Option<String>,
    stacks: Vec<Seen>,
    /// By stack and array.
    histories: BTreeMap<(String, String), History>,
    last: Option<Instant>,
}

/// A stack at the last look, or why it does not say how it stands.
struct Seen {
    name: String,
    status: Result<StackStatus, String>,
}

impl Watched {
    /// Looks at everything.
    fn look(&mut self) -> Result<()> {
        let places = match &self.name {
            Some(name) => vec![Place::new(&self.dir, name)?],
            None => running(&self.dir)?,
        };
        self.stacks = places.iter().map(ask).collect();
        let elapsed_ms = self.last.map_or(0, |last| last.elapsed().as_millis() as u64);
        self.last = Some(Instant::now());
        for stack in &self.stacks {
            for array in stack.status.iter().flat_map(|status| &status.arrays) {
                let key = (stack.name.clone(), array.name.clone());
                self.histories.entry(key).or_default().take(array, elapsed_ms);
            }
        }
        Ok(())
    }

    fn dir(&self) -> &Path {
        &self.dir
    }
}

fn ask(place: &Place) -> Seen {
    let status = match place.is_taken() {
        true => {
            Client::new(&place.socket()).within(ANSWER_WITHIN).status().map_err(|error| error.to_string())
        }
        false => Err("does not run".to_owned()),
    };
    Seen { name: place.name().to_owned(), status }
}

/// Draws until a key says that it is enough.
fn show(terminal: &mut DefaultTerminal, watched: &mut Watched, count: Option<u64>) -> Result<()> {
    let (mut first, mut looks) = (0, 0);
    loop {
        let next = Instant::now() + LOOK_EVERY;
        watched.look()?;
        looks += 1;
        loop {
            terminal.draw(|frame| first = draw(frame, &Screen::of(watched, first)))?;
            let left = next.saturating_duration_since(Instant::now());
            if !event::poll(left)? {
                break;
            }
            match key(&event::read()?) {
                Key::Leave => return Ok(()),
                Key::Up => first = first.saturating_sub(1),
                Key::Down => first += 1,
                Key::Other => {}
            }
        }
        if count == Some(looks) {
            return Ok(());
        }
    }
}

enum Key {
    Leave,
    Up,
    Down,
    Other,
}

fn key(event: &Event) -> Key {
    let Event::Key(key) = event else { return Key::Other };
    if key.kind == KeyEventKind::Release {
        return Key::Other;
    }
    match key.code {
        KeyCode::Char('q') | KeyCode::Esc => Key::Leave,
        KeyCode::Char('c') if key.modifiers.contains(KeyModifiers::CONTROL) => Key::Leave,
        KeyCode::Up | KeyCode::Char('k') => Key::Up,
        KeyCode::Down | KeyCode::Char('j') => Key::Down,
        _ => Key::Other,
    }
}

/// Prints until nobody reads any more.
fn print_lines(watched: &mut Watched, count: Option<u64>) -> Result<()> {
    let mut looks = 0;
    loop {
        watched.look()?;
        let text = lines::lines(watched, now_s());
        match io::Write::write_all(&mut io::stdout(), text.as_bytes()) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(()),
            written => written?,
        }
        looks += 1;
        if count == Some(looks) {
            return Ok(());
        }
        sleep(LOOK_EVERY);
    }
}
