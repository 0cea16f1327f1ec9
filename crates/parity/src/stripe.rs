//! What the kernels are handed: blocks of one stripe, with the index that gives each its coefficient in Q.

/// A data block: its index and its bytes. Its coefficient in Q is 2^index.
///
/// The *layout* says which index a block has. In md's layouts 0-5 and 16-20 the data block that follows Q (cyclically)
/// is 0 and the others follow in the order of the slots, P and Q skipped. In the DDF layouts 8-10 it is the slot's own
/// number: the slots of P and Q count, as blocks of zeros.
///
/// An index that is not in a list is a block of zeros. Indices are below 255: 2^255 is 2^0 again, and P and Q could not
/// tell two such blocks apart.
pub type Data<'a> = (u8, &'a [u8]);

/// A data block that changed, for [`update`](crate::update).
#[derive(Clone, Copy, Debug)]
pub struct Change<'a> {
    /// The index of the block.
    pub index: u8,
    /// What is on disk, and in the P and Q that are to be updated.
    pub old: &'a [u8],
    /// What will be on disk.
    pub new: &'a [u8],
}

/// Something to be xored: plain bytes, or a data block whose index does not matter for that.
pub trait Source: Copy + sealed::Sealed {
    /// The bytes.
    fn bytes(&self) -> &[u8];
}

impl Source for &[u8] {
    fn bytes(&self) -> &[u8] {
        self
    }
}

impl Source for Data<'_> {
    fn bytes(&self) -> &[u8] {
        self.1
    }
}

/// By how much a block changed: two contents, or their xor already.
pub trait Delta: Copy + sealed::Sealed {
    /// The index of the block.
    fn index(&self) -> u8;
    /// One content, or the difference.
    fn bytes(&self) -> &[u8];
    /// The other content.
    fn other(&self) -> Option<&[u8]>;
}

impl Delta for Data<'_> {
    fn index(&self) -> u8 {
        self.0
    }

    fn bytes(&self) -> &[u8] {
        self.1
    }

    fn other(&self) -> Option<&[u8]> {
        None
    }
}

impl Delta for Change<'_> {
    fn index(&self) -> u8 {
        self.index
    }

    fn bytes(&self) -> &[u8] {
        self.old
    }

    fn other(&self) -> Option<&[u8]> {
        Some(self.new)
    }
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for &[u8] {}
    impl Sealed for super::Data<'_> {}
    impl Sealed for super::Change<'_> {}
}

/// What a sum begins with.
#[derive(Clone, Copy)]
pub(crate) enum Start<'a> {
    /// Nothing: the target is overwritten.
    Zero,
    /// What the target holds.
    Target,
    /// These bytes, as long as the target.
    Bytes(&'a [u8]),
}

impl<'a> Start<'a> {
    /// The same for the part of the target from `at` on.
    pub(crate) fn from(self, at: usize) -> Start<'a> {
        match self {
            Start::Bytes(bytes) => Start::Bytes(&bytes[at..]),
            other => other,
        }
    }
}

/// Panics unless the indices ascend and each has a coefficient of its own: anything else is a wrong layout.
pub(crate) fn assert_ascending(data: &[Data<'_>]) {
    assert!(data.windows(2).all(|pair| pair[0].0 < pair[1].0), "data blocks are given by ascending index");
    assert!(data.last().is_none_or(|last| last.0 < u8::MAX), "an index is below 255");
}

/// A part of the blocks of a stripe.
#[derive(Clone, Copy)]
pub(crate) struct Column {
    /// Where it begins.
    pub(crate) at: usize,
    /// How long whole blocks are.
    pub(crate) whole: usize,
}

impl Column {
    /// All of blocks of `whole` bytes.
    pub(crate) fn all(whole: usize) -> Column {
        Column { at: 0, whole }
    }

    /// Panics unless all blocks have one length and this column of `len` bytes lies within.
    pub(crate) fn check(self, len: usize, lengths: impl Iterator<Item = usize>) {
        assert!(self.at <= self.whole && len <= self.whole - self.at, "a column lies within its blocks");
        assert_lengths(self.whole, lengths);
    }
}

/// Panics unless all `blocks` are `len` long.
pub(crate) fn assert_lengths(len: usize, mut blocks: impl Iterator<Item = usize>) {
    assert!(blocks.all(|each| each == len), "all blocks of a stripe have the same length");
}
