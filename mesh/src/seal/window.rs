//! Which numbers of a sender have been seen (as RFC 6479 does for `IPsec`).

use super::Refused;

/// How far a number may lie behind the highest.
const BITS: u64 = 1024;
const WORDS: usize = 16;

/// See the module.
#[derive(Clone, Debug, Default)]
pub(super) struct Window {
    highest: u64,
    seen: [u64; WORDS],
}

// === impl Window ===

impl Window {
    /// Refuses a number that was seen or that is too old to tell. The first number is 1.
    pub(super) fn check(&self, number: u64) -> Result<(), Refused> {
        let is_new = number > self.highest
            || number > 0 && self.highest - number < BITS && self.seen[word(number)] & bit(number) == 0;
        if is_new && number > 0 { Ok(()) } else { Err(Refused::Replayed) }
    }

    /// Notes a number that was checked.
    pub(super) fn note(&mut self, number: u64) {
        if number > self.highest {
            let cleared = (number - self.highest).min(BITS);
            if cleared == BITS {
                self.seen = [0; WORDS];
            } else {
                (self.highest + 1..=number).for_each(|between| self.seen[word(between)] &= !bit(between));
            }
            self.highest = number;
        }
        self.seen[word(number)] |= bit(number);
    }
}

fn word(number: u64) -> usize {
    (number / 64) as usize % WORDS
}

fn bit(number: u64) -> u64 {
    1 << (number % 64)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn every_number_passes_once(steps in prop::collection::vec((-200_i64..300, any::<bool>()), 1..500)) {
            let (mut window, mut seen, mut at) = (Window::default(), BTreeSet::new(), 1_i64);
            for (step, far) in steps {
                at = (at + if far { step * 20 } else { step }).max(0);
                let number = u64::try_from(at).unwrap();
                let highest = seen.last().copied().unwrap_or(0);
                let wanted = number > 0 && !seen.contains(&number) && (number > highest || highest - number < BITS);
                prop_assert_eq!(window.check(number).is_ok(), wanted, "{} of {}", number, highest);
                if wanted {
                    window.note(number);
                    seen.insert(number);
                }
            }
        }
    }
}
