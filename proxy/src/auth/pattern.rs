//! Topic patterns: `*` stands for any run of characters, including none; everything else stands for itself.

use memchr::memmem;

/// The most patterns in one list.
pub(crate) const PATTERNS_MAX: usize = 256;

/// The longest pattern, in bytes. Topic names have at most 255.
pub(crate) const PATTERN_BYTES_MAX: usize = 512;

/// Whether the pattern matches the whole text.
///
/// The text before the first `*` must be a prefix, that after the last a suffix, and what stands between is
/// searched from left to right; the leftmost place is always a right one, so nothing is ever tried twice and
/// the time is linear in the two lengths.
pub(crate) fn matches(pattern: &str, text: &str) -> bool {
    let Some((prefix, rest)) = pattern.split_once('*') else {
        return pattern == text;
    };
    let (middle, suffix) = rest.rsplit_once('*').unwrap_or(("", rest));
    let Some(inner) = text.strip_prefix(prefix).and_then(|text| text.strip_suffix(suffix)) else {
        return false;
    };
    let mut left = inner.as_bytes();
    for piece in middle.split('*') {
        match memmem::find(left, piece.as_bytes()) {
            Some(at) => left = &left[at + piece.len()..],
            None => return false,
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The definition, by trying everything.
    fn naive(pattern: &[char], text: &[char]) -> bool {
        match pattern.split_first() {
            None => text.is_empty(),
            Some(('*', rest)) => (0..=text.len()).any(|skip| naive(rest, &text[skip..])),
            Some((first, rest)) => text.first() == Some(first) && naive(rest, &text[1..]),
        }
    }

    #[test]
    fn examples() {
        for (pattern, text) in [
            ("*", ""),
            ("*", "a"),
            ("orders-*", "orders-"),
            ("a*c", "abc"),
            ("*.eu.*", "x.eu.y"),
            ("**", "a"),
            ("a", "a"),
        ] {
            assert!(matches(pattern, text), "{pattern} {text}");
        }
        for (pattern, text) in [
            ("", "a"),
            ("a*a", "a"),
            ("orders-*", "Orders-1"),
            ("a?c", "abc"),
            ("*b", "ba"),
            ("ab*bc", "abc"),
            ("[a]", "a"),
        ] {
            assert!(!matches(pattern, text), "{pattern} {text}");
        }
    }

    proptest! {
        #[test]
        fn agrees_with_the_definition(pattern in "[abé*]{0,8}", text in "[abé]{0,10}") {
            let (p, t): (Vec<char>, Vec<char>) = (pattern.chars().collect(), text.chars().collect());
            prop_assert_eq!(matches(&pattern, &text), naive(&p, &t));
        }

        #[test]
        fn literals_match_only_themselves(pattern in "[^*]{0,20}", text in "\\PC{0,20}") {
            prop_assert_eq!(matches(&pattern, &text), pattern == text);
        }
    }
}
