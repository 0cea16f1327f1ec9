//! Buffers in, parity out: the way from blocks of a stripe to the kernels of `parity`.

use block::{Buf, MOST_LENT, lend};
use parity::{Change, Data, Parity};

/// Few enough blocks to be listed in little stack.
const FEW: usize = 16;

/// P and Q of data blocks by ascending index; either may not be wanted.
pub(crate) fn generate(indices: &[u8], data: &[Buf], p: Option<&Buf>, q: Option<&Buf>) {
    let targets = [p, q];
    with_targets(targets, |targets| {
        lend(data, targets, |data, targets| {
            with_data(indices, data, |data| match (targets, p.is_some()) {
                ([p, q], _) => parity::pq(p, q, data),
                ([p], true) => parity::xor_into(p, data),
                ([q], false) => parity::q(q, data),
                _ => {}
            })
        })
    });
}

/// Brings P and Q from old to new content. `contents` are the old and the new one of each block, in turn.
pub(crate) fn modify(indices: &[u8], contents: &[Buf], p: Option<&Buf>, q: Option<&Buf>) {
    with_targets([p, q], |targets| {
        lend(contents, targets, |contents, targets| {
            let (p, q) = match (targets, p.is_some()) {
                ([p, q], _) => (Some(&mut **p), Some(&mut **q)),
                ([p], true) => (Some(&mut **p), None),
                ([q], false) => (None, Some(&mut **q)),
                _ => (None, None),
            };
            match indices.len() {
                0..=FEW => update::<FEW>(indices, contents, p, q),
                _ => update::<MOST_LENT>(indices, contents, p, q),
            }
        });
    });
}

fn update<const N: usize>(indices: &[u8], contents: &[&[u8]], p: Option<&mut [u8]>, q: Option<&mut [u8]>) {
    let mut changes = [Change { index: 0, old: &[], new: &[] }; N];
    for ((change, index), pair) in changes.iter_mut().zip(indices).zip(contents.chunks_exact(2)) {
        *change = Change { index: *index, old: pair[0], new: pair[1] };
    }
    parity::update(p, q, &changes[..indices.len()]);
}

/// Recovers one or two data blocks. `good` are the other data blocks by ascending index, then P and Q as far as there
/// are any; whoever calls this has planned it, so that they suffice.
pub(crate) fn recover(lost: &[(u8, Buf)], indices: &[u8], good: &[Buf], has_p: bool, has_q: bool) {
    let targets = [lost.first(), lost.get(1)].map(|lost| lost.map(|(_, buf)| buf));
    with_targets(targets, |targets| {
        lend(good, targets, |good, targets| {
            let (data, parities) = good.split_at(indices.len());
            let p = if has_p { Parity::Good(parities[0]) } else { Parity::Absent };
            let q = if has_q { Parity::Good(parities[usize::from(has_p)]) } else { Parity::Absent };
            with_data(indices, data, |data| {
                let recovered = match targets {
                    [one, two] => parity::recover(&mut [(lost[0].0, one), (lost[1].0, two)], p, q, data),
                    [one] => parity::recover(&mut [(lost[0].0, one)], p, q, data),
                    _ => Ok(()),
                };
                recovered.expect("planned with enough parity");
            });
        });
    });
}

/// Whether P and Q belong to the data blocks by ascending index. `blocks` are the data, then P and Q.
pub(crate) fn belongs(indices: &[u8], blocks: &[Buf]) -> bool {
    lend(blocks, &[], |blocks, _| {
        let (data, parities) = blocks.split_at(indices.len());
        with_data(indices, data, |data| match parities {
            [p, q] => parity::check_pq(p, q, data).is_none(),
            [p] => parity::check_xor(p, data).is_none(),
            _ => true,
        })
    })
}

/// Whether Q alone belongs to the data blocks by ascending index.
pub(crate) fn belongs_to_q(indices: &[u8], data: &[Buf], q: &Buf) -> bool {
    let blocks: Vec<Buf> = data.iter().chain([q]).cloned().collect();
    lend(&blocks, &[], |blocks, _| {
        let (data, q) = blocks.split_at(indices.len());
        with_data(indices, data, |data| parity::check_q(q[0], data).is_none())
    })
}

/// Which block is wrong, where P and Q do not belong to the data blocks by ascending index.
pub(crate) fn locate(indices: &[u8], data: &[Buf], p: &Buf, q: &Buf) -> parity::Verdict {
    let blocks: Vec<Buf> = data.iter().chain([p, q]).cloned().collect();
    lend(&blocks, &[], |blocks, _| {
        let (data, parities) = blocks.split_at(indices.len());
        with_data(indices, data, |data| parity::locate(parities[0], parities[1], data))
    })
}

fn with_targets<R>(targets: [Option<&Buf>; 2], work: impl FnOnce(&[Buf]) -> R) -> R {
    match targets {
        [Some(one), Some(two)] => work(&[one.clone(), two.clone()]),
        [Some(one), None] | [None, Some(one)] => work(std::slice::from_ref(one)),
        [None, None] => work(&[]),
    }
}

fn with_data<R>(indices: &[u8], blocks: &[&[u8]], work: impl FnOnce(&[Data<'_>]) -> R) -> R {
    match blocks.len() {
        0..=FEW => work(&listed::<FEW>(indices, blocks)[..blocks.len()]),
        _ => work(&listed::<MOST_LENT>(indices, blocks)[..blocks.len()]),
    }
}

fn listed<'a, const N: usize>(indices: &[u8], blocks: &[&'a [u8]]) -> [Data<'a>; N] {
    let mut data: [Data<'a>; N] = [(0, &[]); N];
    for ((data, index), block) in data.iter_mut().zip(indices).zip(blocks) {
        *data = (*index, block);
    }
    data
}
