//! What every sector may hold: the memory of all writes that still matter, and the judge of what is read.
//!
//! A write counts from its start to its answer. A value may be read if no other write both began after it had been
//! answered and was answered itself before the read began. After a crash only writes that were made durable, by FUA or by
//! a flush that began after their answer, rule older values out.

use std::collections::BTreeMap;

/// The content of one sector, as the load writes it: the write's number, or zero.
pub type Value = u64;

/// What a write leaves behind.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Left {
    /// This value.
    Value(Value),
    /// Anything: the range was discarded.
    Anything,
}

/// A moment in the order of things, not a time.
pub type Tick = u64;

#[derive(Clone, Debug)]
struct Write {
    number: u64,
    left: Left,
    start: Tick,
    /// When it was answered, well or not; `None` while it is under way.
    end: Option<Tick>,
    /// It was answered well: then older values are gone.
    good: bool,
    durable: bool,
}

/// The memory.
#[derive(Default)]
pub struct Model {
    sectors: BTreeMap<u64, Vec<Write>>,
    tick: Tick,
    numbers: u64,
    readers: BTreeMap<Tick, u32>,
}

/// A write under way.
#[derive(Clone, Copy, Debug)]
pub struct WriteToken {
    number: u64,
    start: u64,
    count: u64,
}

impl WriteToken {
    /// The value that the write puts in each of its sectors.
    pub fn value(self) -> Value {
        self.number
    }
}

impl Model {
    fn next_tick(&mut self) -> Tick {
        self.tick += 1;
        self.tick
    }

    /// A write of `count` sectors from `start` begins. Without `left`, it leaves its own number.
    pub fn begin_write(&mut self, start: u64, count: u64, left: Option<Left>) -> WriteToken {
        self.numbers += 1;
        let (number, tick) = (self.numbers, self.next_tick());
        let left = left.unwrap_or(Left::Value(number));
        for sector in start..start + count {
            let write = Write { number, left, start: tick, end: None, good: false, durable: false };
            self.sectors.entry(sector).or_default().push(write);
        }
        WriteToken { number, start, count }
    }

    /// The write was answered.
    pub fn end_write(&mut self, token: WriteToken, good: bool, fua: bool) {
        let tick = self.next_tick();
        let oldest_reader = self.readers.keys().next().copied().unwrap_or(tick);
        for sector in token.start..token.start + token.count {
            let writes = self.sectors.get_mut(&sector).expect("begun");
            let write = writes.iter_mut().find(|write| write.number == token.number).expect("begun");
            (write.end, write.good) = (Some(tick), good);
            write.durable = good && fua;
            forget(writes, oldest_reader);
        }
    }

    /// A flush begins: the tick before which writes must have been answered to be covered.
    pub fn begin_flush(&mut self) -> Tick {
        self.next_tick()
    }

    /// The flush was answered well.
    pub fn end_flush(&mut self, began: Tick) {
        for writes in self.sectors.values_mut() {
            for write in writes.iter_mut().filter(|write| write.good && write.end < Some(began)) {
                write.durable |= write.end.is_some();
            }
        }
    }

    /// A read begins.
    pub fn begin_read(&mut self) -> Tick {
        let tick = self.next_tick();
        *self.readers.entry(tick).or_default() += 1;
        tick
    }

    /// The read ended; what it saw is judged by [`Model::may_hold`] before this.
    pub fn end_read(&mut self, began: Tick) {
        let readers = self.readers.get_mut(&began).expect("begun");
        *readers -= 1;
        if *readers == 0 {
            self.readers.remove(&began);
        }
    }

    /// Whether a read that began at `began` and ends now may see `value` in `sector`; the error says what it might see.
    pub fn may_hold(&self, sector: u64, value: Value, began: Tick) -> Result<(), String> {
        let writes = self.writes(sector);
        let rules_out = |write: &Write| write.good && write.end.is_some_and(|end| end < began);
        judge(&writes, value, rules_out)
    }

    /// Whether `sector` may hold `value` after a crash.
    pub fn may_survive(&self, sector: u64, value: Value) -> Result<(), String> {
        judge(&self.writes(sector), value, |write| write.durable)
    }

    /// After a crash or a stop: `sector` holds one of `values` now, and that is durable history.
    pub fn settle(&mut self, sector: u64, values: Vec<Value>) {
        let settled = |value| {
            let left = Left::Value(value);
            Write { number: 0, left, start: 0, end: Some(0), good: true, durable: true }
        };
        self.sectors.insert(sector, values.into_iter().map(settled).collect());
    }

    /// After a crash nobody can say what `sector` holds: what was not durable may be gone.
    pub fn lose(&mut self, sector: u64) {
        let tick = self.next_tick();
        for write in self.sectors.entry(sector).or_default().iter_mut().filter(|write| !write.durable) {
            (write.end, write.good) = (write.end.or(Some(tick)), false);
        }
    }

    /// Nothing is under way any more: the world in which it was has ended.
    pub fn forget_readers(&mut self) {
        self.readers.clear();
    }

    fn writes(&self, sector: u64) -> Vec<Write> {
        let zero =
            Write { number: 0, left: Left::Value(0), start: 0, end: Some(0), good: true, durable: true };
        match self.sectors.get(&sector) {
            Some(writes) if writes.iter().any(|write| write.number == 0) => writes.clone(),
            Some(writes) => std::iter::once(zero).chain(writes.iter().cloned()).collect(),
            None => vec![zero],
        }
    }
}

/// A value is possible if some write left it that no write ruling others out came wholly after.
fn judge(writes: &[Write], value: Value, rules_out: impl Fn(&Write) -> bool) -> Result<(), String> {
    let is_gone =
        |old: &Write| writes.iter().any(|new| rules_out(new) && old.end.is_some_and(|end| end < new.start));
    let possible: Vec<Left> = writes.iter().filter(|write| !is_gone(write)).map(|write| write.left).collect();
    if possible.iter().any(|left| *left == Left::Anything || *left == Left::Value(value)) {
        return Ok(());
    }
    Err(format!("holds {value}, expected one of {possible:?}"))
}

/// Drops writes that no read and no crash can bring back.
fn forget(writes: &mut Vec<Write>, oldest_reader: Tick) {
    if writes.len() < 8 {
        return;
    }
    let done: Vec<(Tick, bool)> = writes
        .iter()
        .filter(|write| write.good && write.end.is_some_and(|end| end < oldest_reader))
        .map(|write| (write.start, write.durable))
        .collect();
    writes.retain(|old| {
        let covered = |durable: bool| {
            done.iter().any(|(start, is_durable)| {
                (*is_durable || !durable) && old.end.is_some_and(|end| end < *start)
            })
        };
        !(covered(false) && covered(true))
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answered_write_rules_the_older_one_out_for_reads_but_not_for_crashes() {
        let mut model = Model::default();
        let one = model.begin_write(0, 1, None);
        model.end_write(one, true, true);
        let two = model.begin_write(0, 1, None);
        model.end_write(two, true, false);
        let began = model.begin_read();
        assert!(model.may_hold(0, two.value(), began).is_ok());
        assert!(model.may_hold(0, one.value(), began).is_err());
        assert!(model.may_survive(0, one.value()).is_ok());
        let flush = model.begin_flush();
        model.end_flush(flush);
        assert!(model.may_survive(0, one.value()).is_err());
    }

    #[test]
    fn a_flush_covers_only_what_was_answered_before_it_began() {
        let mut model = Model::default();
        let flush = model.begin_flush();
        let one = model.begin_write(0, 1, None);
        model.end_write(one, true, false);
        model.end_flush(flush);
        assert!(model.may_survive(0, 0).is_ok());
    }

    #[test]
    fn a_failed_write_may_show_or_not() {
        let mut model = Model::default();
        let one = model.begin_write(0, 1, None);
        model.end_write(one, false, true);
        let began = model.begin_read();
        assert!(model.may_hold(0, 0, began).is_ok() && model.may_hold(0, one.value(), began).is_ok());
        assert!(model.may_hold(0, 99, began).is_err());
    }

    #[test]
    fn concurrent_writes_may_win_either_way() {
        let mut model = Model::default();
        let (one, two) = (model.begin_write(0, 1, None), model.begin_write(0, 1, None));
        model.end_write(two, true, true);
        model.end_write(one, true, true);
        let began = model.begin_read();
        assert!(
            model.may_hold(0, one.value(), began).is_ok() && model.may_hold(0, two.value(), began).is_ok()
        );
        assert!(model.may_hold(0, 0, began).is_err());
    }
}
