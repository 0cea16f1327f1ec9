//! Runs of bytes: what clients speak of, where devices speak of sectors and blocks.

use block::{MAX_BUFFER, Range, Sectors};

/// A run of bytes of an export. It lies within the export, so its end does not overflow.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Span {
    /// The first byte.
    pub start: u64,
    /// How many.
    pub len: u64,
}

impl Span {
    /// The run of `len` bytes from `start`; `None` when it does not lie within `size` bytes.
    pub fn within(start: u64, len: u64, size: u64) -> Option<Span> {
        (start.checked_add(len)? <= size).then_some(Span { start, len })
    }

    /// The first byte behind it.
    pub fn end(self) -> u64 {
        self.start + self.len
    }

    /// Whether it begins and ends at edges of blocks.
    pub fn is_aligned(self, block: u64) -> bool {
        self.start.is_multiple_of(block) && self.len.is_multiple_of(block)
    }

    /// Bytes between the edge of the block in which it begins and its first byte.
    pub fn head(self, block: u64) -> usize {
        (self.start % block) as usize
    }

    /// The blocks that hold any of it.
    pub fn cover(self, block: u64) -> Range {
        sectors(self.start - self.start % block, self.end().next_multiple_of(block))
    }

    /// The blocks that hold nothing but it; `None` when there are none.
    pub fn whole_blocks(self, block: u64) -> Option<Range> {
        let (from, to) = (self.start.next_multiple_of(block), self.end() - self.end() % block);
        (from < to).then(|| sectors(from, to))
    }

    /// The parts of it, each in one block, that do not fill their block: none, one or two.
    pub fn edges(self, block: u64) -> impl Iterator<Item = Span> {
        let first_end = self.start.next_multiple_of(block).min(self.end());
        let last_start = (self.end() - self.end() % block).max(first_end);
        let first = Span { start: self.start, len: first_end - self.start };
        let last = Span { start: last_start, len: self.end() - last_start };
        [first, last].into_iter().filter(|edge| edge.len > 0)
    }

    /// The pieces in which it is served: each fits a buffer together with the blocks around it and one to work in,
    /// and all inner edges are edges of blocks.
    pub fn pieces(self, block: u64) -> impl Iterator<Item = Span> {
        let most = if self.is_aligned(block) { MAX_BUFFER } else { MAX_BUFFER / 2 } as u64;
        let mut at = self.start;
        std::iter::from_fn(move || {
            let end = (at - at % block + most).min(self.end());
            let piece = (at < end).then_some(Span { start: at, len: end - at });
            at = end;
            piece
        })
    }
}

/// The sectors from byte `from` to byte `to`, both at edges of sectors.
fn sectors(from: u64, to: u64) -> Range {
    Range::new(Sectors::from_bytes(from), Sectors::from_bytes(to - from))
}

#[cfg(test)]
mod tests {
    use super::*;
    use runtime::sim::Random;

    const SIZE: u64 = 8 << 20;

    /// Small and large, aligned and not.
    fn any_span(random: &mut Random, block: u64) -> Span {
        let start = random.below(SIZE);
        let longest = if random.one_in(2) { 3 * block } else { SIZE };
        let len = random.below(longest.min(SIZE - start) + 1);
        match random.below(3) {
            0 => Span { start: start - start % block, len: len - len % block },
            _ => Span { start, len },
        }
    }

    #[test]
    fn pieces_make_up_the_whole_and_fit_their_buffers() {
        for seed in 0..2000 {
            let mut random = Random::new(seed);
            let block = *random.choose(&[512, 4096]);
            let span = any_span(&mut random, block);
            let mut at = span.start;
            for piece in span.pieces(block) {
                assert_eq!(piece.start, at, "seed {seed}");
                let room = piece.cover(block).count.byte_len();
                let scratch = if piece.is_aligned(block) { 0 } else { block as usize };
                assert!(piece.len > 0 && room + scratch <= MAX_BUFFER, "seed {seed}");
                at = piece.end();
                assert!(at == span.end() || at.is_multiple_of(block), "seed {seed}");
            }
            assert_eq!(at, span.end(), "seed {seed}");
        }
    }

    #[test]
    fn whole_blocks_and_edges_make_up_the_whole() {
        for seed in 0..2000 {
            let mut random = Random::new(seed);
            let block = *random.choose(&[512, 4096]);
            let span = any_span(&mut random, block);
            let inner = span.whole_blocks(block).map_or(0, |range| range.count.bytes());
            let edges: u64 = span.edges(block).map(|edge| edge.len).sum();
            assert_eq!(inner + edges, span.len, "seed {seed}: {span:?}");
            for edge in span.edges(block) {
                assert!(edge.cover(block).count.bytes() == block && !edge.is_aligned(block), "seed {seed}");
            }
        }
    }

    #[test]
    fn what_lies_beyond_the_end_is_no_span() {
        assert_eq!(Span::within(SIZE - 1, 2, SIZE), None);
        assert_eq!(Span::within(u64::MAX, 2, SIZE), None);
        assert!(Span::within(SIZE, 0, SIZE).is_some());
    }
}
