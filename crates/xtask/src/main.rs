//! everything a person runs by hand: test, bench, oracle, sim, fuzz, man, tidy

fn main() {}
