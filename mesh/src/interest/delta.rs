//! Changes of a filter on their way to others.
//!
//! A change says which bits of which blocks are set and which are cleared since the version before; it does not
//! toggle, so a sequence of changes gives the same whether or not some of them were applied before.

use super::filter::{BLOCK_BITS, BLOCK_BYTES, Block, Filter};
use crate::wire::Malformed;

const CHANGES: u8 = 0;
const RESIZED: u8 = 1;
/// Stands for the number of bits when the whole block follows.
const WHOLE: u8 = 255;

/// A change, decoded as far as needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Delta<'a> {
    /// Of some blocks.
    Changes(&'a [u8]),
    /// The filter has another size now and has to be fetched.
    Resized,
}

/// Begins a change to `version`.
pub(super) fn begin(version: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(&version.to_le_bytes());
    out.push(CHANGES);
}

/// The change to `version` that says that the size is another.
pub(super) fn resized(version: u64) -> Vec<u8> {
    let mut out = version.to_le_bytes().to_vec();
    out.push(RESIZED);
    out
}

/// Adds what is different in one block.
pub(super) fn add(index: u32, before: &Block, after: &Block, out: &mut Vec<u8>) {
    out.extend_from_slice(&index.to_le_bytes());
    let changed = |from: &Block, to: &Block| {
        let bits = (0..BLOCK_BITS).filter(|bit| to[bit / 64] & !from[bit / 64] & (1 << (bit % 64)) != 0);
        bits.map(|bit| u16::try_from(bit).expect("a block has 512 bits")).collect::<Vec<_>>()
    };
    let (set, cleared) = (changed(before, after), changed(after, before));
    if (set.len() + cleared.len()) * 2 >= BLOCK_BYTES {
        out.push(WHOLE);
        out.extend(after.iter().flat_map(|word| word.to_le_bytes()));
        return;
    }
    // Both are below 32, or the whole block would have been shorter.
    out.extend([&set, &cleared].map(|bits| u8::try_from(bits.len()).expect("few bits changed")));
    out.extend(set.iter().chain(&cleared).flat_map(|bit| bit.to_le_bytes()));
}

/// Reads the version and what kind of change it is.
pub(super) fn decode(bytes: &[u8]) -> Result<(u64, Delta<'_>), Malformed> {
    let truncated = Malformed::Truncated("a change of the interest");
    let (version, rest) = bytes.split_first_chunk().ok_or(truncated)?;
    let (kind, rest) = rest.split_first().ok_or(truncated)?;
    let delta = match *kind {
        CHANGES => Delta::Changes(rest),
        RESIZED if rest.is_empty() => Delta::Resized,
        kind => return Err(Malformed::Unknown { what: "a change of the interest", kind }),
    };
    Ok((u64::from_le_bytes(*version), delta))
}

/// Applies changes of blocks.
pub(super) fn apply(mut changes: &[u8], filter: &mut Filter) -> Result<(), Malformed> {
    let truncated = Malformed::Truncated("a change of the interest");
    let wrong = Malformed::Invalid("a change of the interest");
    while let Some((index, rest)) = changes.split_first_chunk() {
        let index = u32::from_le_bytes(*index) as usize;
        let (set, rest) = rest.split_first().ok_or(truncated)?;
        let mut block = *filter.block(index).ok_or(wrong)?;
        if *set == WHOLE {
            let (bytes, rest) = rest.split_at_checked(BLOCK_BYTES).ok_or(truncated)?;
            for (word, bytes) in block.iter_mut().zip(bytes.as_chunks::<8>().0) {
                *word = u64::from_le_bytes(*bytes);
            }
            changes = rest;
        } else {
            let (cleared, rest) = rest.split_first().ok_or(truncated)?;
            let count = usize::from(*set) + usize::from(*cleared);
            let (bits, rest) = rest.split_at_checked(count * 2).ok_or(truncated)?;
            for (n, bit) in bits.as_chunks::<2>().0.iter().enumerate() {
                let bit = usize::from(u16::from_le_bytes(*bit));
                let word = block.get_mut(bit / 64).ok_or(wrong)?;
                let mask = 1 << (bit % 64);
                *word = if n < usize::from(*set) { *word | mask } else { *word & !mask };
            }
            changes = rest;
        }
        if filter.set_block(index, block) {
            filter.rehash(index);
        }
    }
    if changes.is_empty() { Ok(()) } else { Err(truncated) }
}
