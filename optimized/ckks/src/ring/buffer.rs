//! Recycled buffers.
//!
//! A limb of a large ring is half a megabyte; asking the allocator for hundreds of them per operation costs more in
//! page faults than the arithmetic on them, so buffers return to a pool when they are dropped.

use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, PoisonError};

/// A pool of buffers of one length.
///
/// Clones share the pool.
#[derive(Debug)]
pub(crate) struct Pool<T>(Arc<Shelf<T>>);

#[derive(Debug)]
struct Shelf<T> {
    length: usize,
    /// Buffers kept at most; beyond it they are freed.
    capacity: usize,
    free: Mutex<Vec<Vec<T>>>,
}

impl<T> Clone for Pool<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T: Copy + Default> Pool<T> {
    /// An empty pool of buffers of `length` elements that keeps at most `capacity` of them.
    pub(crate) fn new(length: usize, capacity: usize) -> Self {
        Self(Arc::new(Shelf { length, capacity, free: Mutex::new(Vec::new()) }))
    }

    /// A buffer with arbitrary contents, for callers that overwrite all of it.
    pub(crate) fn take(&self) -> Buffer<T> {
        let recycled = self.0.free.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let data = recycled.unwrap_or_else(|| vec![T::default(); self.0.length]);
        Buffer { data, shelf: Arc::clone(&self.0) }
    }

    /// A buffer of zeros.
    pub(crate) fn zero(&self) -> Buffer<T> {
        let mut buffer = self.take();
        buffer.fill(T::default());
        buffer
    }
}

/// A buffer that returns to its pool when dropped.
#[derive(Debug)]
pub struct Buffer<T> {
    data: Vec<T>,
    shelf: Arc<Shelf<T>>,
}

/// One limb: `N` residues of one prime.
pub type Limb = Buffer<u64>;

impl<T> Drop for Buffer<T> {
    fn drop(&mut self) {
        let mut free = self.shelf.free.lock().unwrap_or_else(PoisonError::into_inner);
        if free.len() < self.shelf.capacity {
            free.push(std::mem::take(&mut self.data));
        }
    }
}

impl<T: Copy + Default> Clone for Buffer<T> {
    fn clone(&self) -> Self {
        let mut copy = Pool(Arc::clone(&self.shelf)).take();
        copy.data.copy_from_slice(&self.data);
        copy
    }
}

impl<T: PartialEq> PartialEq for Buffer<T> {
    fn eq(&self, other: &Self) -> bool {
        self.data == other.data
    }
}

impl<T> Deref for Buffer<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.data
    }
}

impl<T> DerefMut for Buffer<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        &mut self.data
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_return_and_zero_really_zeroes() {
        let pool = Pool::<u64>::new(8, 1);
        let mut first = pool.take();
        first.fill(7);
        let second = pool.take();
        drop(first);
        drop(second);
        assert_eq!(pool.0.free.lock().unwrap().len(), 1, "capacity bounds the pool");
        assert_eq!(&pool.zero()[..], &[0; 8]);
    }
}
