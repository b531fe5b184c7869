//! The crate's only unsafe module: a fixed piece of memory that one writer appends to while any number of
//! readers look at what is already there.
//!
//! Delivery threads hand the kernel slices of a log that publishers are appending to. Copying each event for
//! each reader, or a lock around every read, would cost more than sending it. The standard library has no
//! safe type for "append-only, readable meanwhile", so these few lines make one.
//!
//! Why it is sound:
//! - [`Writer`] is not `Clone` and appends through `&mut self`, so there is one append at a time.
//! - Bytes below `len` have been written and are never written again; bytes at and above `len` are never read.
//! - `len` is stored with `Release` after the bytes and loaded with `Acquire` before them.
//! - The memory is freed when the last of writer and readers lets go of the `Arc`.
#![allow(unsafe_code)]

use std::{
    mem::MaybeUninit,
    ptr, slice,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

/// The reading side.
pub struct AppendBuf {
    start: *mut MaybeUninit<u8>,
    capacity: usize,
    len: AtomicUsize,
}

/// The one writing side of an [`AppendBuf`].
pub struct Writer(Arc<AppendBuf>);

// SAFETY: the pointer is owned by this value alone, and concurrent access follows the module's rules.
unsafe impl Send for AppendBuf {}
// SAFETY: as above; `&AppendBuf` only reads initialised bytes below `len`.
unsafe impl Sync for AppendBuf {}

// === impl Writer ===

impl Writer {
    /// Empty memory for `capacity` bytes, which it never exceeds.
    pub fn with_capacity(capacity: usize) -> Self {
        let memory = Box::into_raw(Box::<[u8]>::new_uninit_slice(capacity));
        Self(Arc::new(AppendBuf { start: memory.cast(), capacity, len: AtomicUsize::new(0) }))
    }

    /// The reading side.
    pub fn reader(&self) -> &Arc<AppendBuf> {
        &self.0
    }

    /// Appends all parts, or nothing and `false` if they do not fit.
    pub fn append(&mut self, parts: &[&[u8]]) -> bool {
        let len = self.0.len.load(Ordering::Relaxed);
        let more: usize = parts.iter().map(|part| part.len()).sum();
        if more > self.0.capacity - len {
            return false;
        }
        let mut at = len;
        for part in parts {
            // SAFETY: `at + part.len() <= capacity` was checked for the sum of the parts; the range lies at or
            // above `len`, where nobody reads, and `&mut self` on the only writer excludes another append.
            unsafe { ptr::copy_nonoverlapping(part.as_ptr(), self.0.start.add(at).cast(), part.len()) };
            at += part.len();
        }
        self.0.len.store(at, Ordering::Release);
        true
    }
}

// === impl AppendBuf ===

impl AppendBuf {
    /// What has been appended so far.
    pub fn bytes(&self) -> &[u8] {
        let len = self.len.load(Ordering::Acquire);
        // SAFETY: the first `len` bytes are initialised and are not written while `self` lives.
        unsafe { slice::from_raw_parts(self.start.cast(), len) }
    }

    /// How much fits in all.
    pub fn capacity(&self) -> usize {
        self.capacity
    }
}

impl Drop for AppendBuf {
    fn drop(&mut self) {
        // SAFETY: made by `Box::into_raw` with this length in `Writer::with_capacity`, and freed only here.
        drop(unsafe { Box::from_raw(ptr::slice_from_raw_parts_mut(self.start, self.capacity)) });
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    #[test]
    fn appends_whole_or_not_at_all() {
        let mut writer = Writer::with_capacity(6);
        assert!(writer.append(&[b"ab", b"cd"]));
        assert!(!writer.append(&[b"ef", b"g"]));
        assert!(writer.append(&[b"ef"]));
        assert_eq!(writer.reader().bytes(), b"abcdef");
        assert_eq!(writer.reader().capacity(), 6);
        assert!(writer.append(&[]) && Writer::with_capacity(0).append(&[b""]));
    }

    #[test]
    fn readers_see_only_finished_appends() {
        let mut writer = Writer::with_capacity(80_000);
        let readers: Vec<_> = (0..3)
            .map(|_| {
                let buf = Arc::clone(writer.reader());
                thread::spawn(move || {
                    loop {
                        let bytes = buf.bytes();
                        assert_eq!(bytes.len() % 8, 0);
                        for (i, word) in bytes.chunks_exact(8).enumerate() {
                            assert_eq!(word, (i as u64).to_le_bytes());
                        }
                        if bytes.len() == 80_000 {
                            return;
                        }
                    }
                })
            })
            .collect();
        for i in 0_u64..10_000 {
            let word = i.to_le_bytes();
            assert!(writer.append(&[&word[..3], &word[3..]]));
        }
        drop(writer);
        for reader in readers {
            reader.join().unwrap();
        }
    }
}
