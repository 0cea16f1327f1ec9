//! Going through every state that can be reached.

use std::collections::{HashSet, VecDeque};
use std::fmt;
use std::hash::{BuildHasherDefault, Hasher};

use md::sync::decide::{self, Plant};

use crate::array::{Model, State, Violation};
use crate::disks;

/// Steps in which everything must come to rest.
const STEPS: usize = 200;

/// Something that must not be, and where.
#[derive(Debug)]
pub struct Wrong {
    pub rule: &'static str,
    before: Box<State>,
    after: Box<State>,
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}\nbefore: {}\nafter: {}", self.rule, self.before, self.after)
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for disk in self.disks {
            writeln!(f, "  {:?}, holds {:02b}, {:?}", disk.member, disk.holds, disk.own)?;
        }
        writeln!(
            f,
            "  resync {:?}, flushed {:?}, differ {:02b}, {:?}, pending {}, short {}, behind {:?}",
            self.resync,
            self.resync_durable,
            self.differ,
            self.running,
            self.pending,
            self.short,
            self.behind
        )?;
        write!(
            f,
            "  dirty {}, {:?}, frozen {}, events {}, marked {:02b}, cleared at {}, {} left",
            self.dirty, self.scrub, self.frozen, self.events, self.marked, self.cleared, self.events_left
        )
    }
}

/// Every state that can be reached, looked at; how many there are.
pub fn explore(model: Model, plant: Option<Plant>) -> Result<usize, Wrong> {
    decide::plant(plant);
    disks::begin(&model);
    let outcome = go_through(&model);
    decide::plant(None);
    outcome
}

fn go_through(model: &Model) -> Result<usize, Wrong> {
    let first = [None, Some(0), Some(1)].map(|resync| model.first(resync).normalized());
    let mut seen: HashSet<State, BuildHasherDefault<Mixer>> = first.into_iter().collect();
    let mut to_do: VecDeque<State> = first.into_iter().collect();
    while let Some(state) = to_do.pop_front() {
        let wrong = |after: State| {
            move |Violation(rule)| Wrong { rule, before: Box::new(state), after: Box::new(after) }
        };
        settles(model, &state).map_err(wrong(state))?;
        let outside = model.events(&state).map_err(wrong(state))?;
        let others = model.ordinary(&state).into_iter().chain(outside);
        for next in model.steps(&state).into_iter().chain(others.map(Ok)) {
            let next = next.map_err(wrong(state))?;
            model.check(&next).map_err(wrong(next))?;
            let next = next.normalized();
            if seen.insert(next) {
                to_do.push_back(next);
            }
        }
    }
    Ok(seen.len())
}

/// Hashes states: nobody picks them to collide, and most of the time goes into this.
#[derive(Default)]
struct Mixer(u64);

impl Mixer {
    fn mix(&mut self, word: u64) {
        self.0 = (self.0.rotate_left(5) ^ word).wrapping_mul(0x517c_c1b7_2722_0a95);
    }
}

impl Hasher for Mixer {
    fn write(&mut self, bytes: &[u8]) {
        for part in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..part.len()].copy_from_slice(part);
            self.mix(u64::from_le_bytes(word));
        }
    }

    fn write_u8(&mut self, byte: u8) {
        self.mix(byte.into());
    }

    fn write_u16(&mut self, word: u16) {
        self.mix(word.into());
    }

    fn write_isize(&mut self, word: isize) {
        self.mix(word as u64);
    }

    fn finish(&self) -> u64 {
        self.0 ^ self.0 >> 29
    }
}

/// With nothing more from outside, everything that can be made whole becomes so, and then nothing moves.
fn settles(model: &Model, state: &State) -> Result<(), Violation> {
    let mut state = State { frozen: false, events_left: 0, ..*state };
    for _ in 0..STEPS {
        match model.steps(&state).into_iter().next() {
            Some(step) => state = step?.normalized(),
            None => break,
        }
    }
    if !model.steps(&state).is_empty() {
        return Err(Violation("P3: it never comes to rest"));
    }
    match model.is_left_as_it_is(&state) {
        true => Err(Violation("P3: what could be made whole is left as it is")),
        false => Ok(()),
    }
}
