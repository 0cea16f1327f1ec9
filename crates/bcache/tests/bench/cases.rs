//! Cases that end well, and end in exactly what is said beside them when a defect is planted: so none can pass because it never
//! comes to where the defect would be.

use bcache::plant::{self, Plant};

use super::{Verdict, Wrong};

/// One bug.
pub struct Case {
    /// What must be so, who broke it, and when.
    pub name: &'static str,
    pub plant: Plant,
    /// What comes of it.
    pub wrong: Wrong,
    pub play: fn() -> Verdict,
}

impl Case {
    /// Passes as things are, and fails as it must with its defect.
    pub fn check(&self) {
        assert_eq!((self.play)(), Ok(()), "{}", self.name);
        #[cfg(debug_assertions)]
        {
            plant::set(Some(self.plant));
            let planted = (self.play)();
            plant::set(None);
            assert_eq!(planted, Err(self.wrong), "{} with {:?} planted", self.name, self.plant);
        }
    }
}

/// A table of cases, and a test of each: `module::what_must_not_be: ThePlant, WhatComesOfIt;`.
macro_rules! cases {
    ($($module:ident::$name:ident: $plant:ident, $wrong:ident;)*) => {
        const CASES: &[$crate::bench::Case] = &[$($crate::bench::Case {
            name: stringify!($name),
            plant: ::bcache::plant::Plant::$plant,
            wrong: $crate::bench::Wrong::$wrong,
            play: $module::$name,
        }),*];

        $(#[test]
        fn $name() {
            CASES.iter().find(|case| case.name == stringify!($name)).expect("it is in the table").check();
        })*
    };
}
pub(crate) use cases;
