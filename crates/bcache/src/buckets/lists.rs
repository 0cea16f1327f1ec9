//! Which buckets can be given up, in the order in which they are: lists through a table, so that a bucket goes from one to
//! another in a few steps and nothing is ever looked for. Pure.

use bcache_format::BucketNo;

/// How a bucket can be given up.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Class {
    /// Nothing refers to it.
    Empty,
    /// It holds data that the backing device has too.
    Clean,
    /// It could be, but for pointers that are too old to tell its next generation from theirs.
    Stuck,
}

const CLASSES: usize = 3;
/// No bucket.
const NONE: u32 = u32::MAX;

#[derive(Clone, Copy)]
struct Link {
    class: Option<Class>,
    before: u32,
    behind: u32,
}

/// A list for each class. Without a table nothing is kept in them.
#[derive(Default)]
pub struct Lists {
    links: Box<[Link]>,
    /// The first and the last of each class.
    ends: [Option<(u32, u32)>; CLASSES],
}

impl Lists {
    /// Empty lists for so many buckets.
    pub fn new(buckets: usize) -> Lists {
        let link = Link { class: None, before: NONE, behind: NONE };
        Lists { links: vec![link; buckets].into_boxed_slice(), ends: [None; CLASSES] }
    }

    /// Says which class a bucket is in: in a new one it comes last.
    pub fn put(&mut self, bucket: BucketNo, class: Option<Class>) {
        let at = bucket.0 as u32;
        match self.links.get(at as usize) {
            Some(link) if link.class != class => {
                self.remove(at);
                self.append(at, class);
            }
            _ => {}
        }
    }

    /// Puts a bucket last in its class.
    pub fn put_last(&mut self, bucket: BucketNo) {
        let at = bucket.0 as u32;
        if let Some(class) = self.links.get(at as usize).and_then(|link| link.class) {
            self.remove(at);
            self.append(at, Some(class));
        }
    }

    /// The bucket that has been longest in a class.
    pub fn first(&self, class: Class) -> Option<BucketNo> {
        self.ends[class as usize].map(|(first, _)| BucketNo(first.into()))
    }

    /// Any bucket of a class: the first behind a random place, looked for a few steps; then the one that is first.
    pub fn any(&self, class: Class, random: u64) -> Option<BucketNo> {
        const TRIES: u64 = 64;
        let count = self.links.len() as u64;
        let near = (0..TRIES.min(count)).map(|step| (random % count + step) % count);
        let found = near.into_iter().find(|at| self.links[*at as usize].class == Some(class));
        found.map(BucketNo).or_else(|| self.first(class))
    }

    fn remove(&mut self, at: u32) {
        let Link { class, before, behind } = self.links[at as usize];
        let Some(class) = class else { return };
        self.links[at as usize] = Link { class: None, before: NONE, behind: NONE };
        let (first, last) = self.ends[class as usize].expect("it was in there");
        match before {
            NONE => {}
            before => self.links[before as usize].behind = behind,
        }
        match behind {
            NONE => {}
            behind => self.links[behind as usize].before = before,
        }
        self.ends[class as usize] = match (first == at, last == at) {
            (true, true) => None,
            (true, false) => Some((behind, last)),
            (false, true) => Some((first, before)),
            (false, false) => Some((first, last)),
        };
    }

    fn append(&mut self, at: u32, class: Option<Class>) {
        let Some(class) = class else { return };
        let end = &mut self.ends[class as usize];
        let before = end.map_or(NONE, |(_, last)| last);
        *end = Some((end.map_or(at, |(first, _)| first), at));
        if before != NONE {
            self.links[before as usize].behind = at;
        }
        self.links[at as usize] = Link { class: Some(class), before, behind: NONE };
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ALL: [Class; CLASSES] = [Class::Empty, Class::Clean, Class::Stuck];

    proptest! {
        #[test]
        fn lists_are_what_vectors_would_be(
            steps in proptest::collection::vec((0u64..8, 0usize..5), 1..200),
        ) {
            let mut lists = Lists::new(8);
            let mut model: [Vec<u64>; CLASSES] = Default::default();
            for (bucket, to) in steps {
                let was = model.iter().position(|list| list.contains(&bucket));
                let target = match to {
                    4 => { lists.put_last(BucketNo(bucket)); was }
                    to => {
                        lists.put(BucketNo(bucket), ALL.get(to).copied());
                        (to < CLASSES).then_some(to)
                    }
                };
                if was != target || to == 4 {
                    model.iter_mut().for_each(|list| list.retain(|other| *other != bucket));
                    if let Some(target) = target { model[target].push(bucket); }
                }
                for (class, list) in ALL.iter().zip(&model) {
                    let mut found = Vec::new();
                    while let Some(first) = lists.first(*class) {
                        found.push(first.0);
                        lists.put(first, None);
                    }
                    prop_assert_eq!(&found, list);
                    found.iter().for_each(|bucket| lists.put(BucketNo(*bucket), Some(*class)));
                }
            }
        }
    }
}
