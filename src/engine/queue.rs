//! A queue that needs no memory of its own for one entry.
//!
//! Most connections wait for one packet at a time, in either direction. A buffer that is kept for that
//! makes idle connections larger, and one that is given back each time costs more than the packet.

use std::collections::VecDeque;

/// See the module's description.
#[derive(Clone, Debug)]
pub(crate) struct Queue<T> {
    /// There is one whenever the queue is not empty.
    first: Option<T>,
    rest: VecDeque<T>,
}

impl<T> Default for Queue<T> {
    fn default() -> Self {
        Self { first: None, rest: VecDeque::new() }
    }
}

impl<T> Queue<T> {
    pub(crate) fn is_empty(&self) -> bool {
        self.first.is_none()
    }

    pub(crate) fn len(&self) -> usize {
        usize::from(self.first.is_some()) + self.rest.len()
    }

    pub(crate) fn front(&self) -> Option<&T> {
        self.first.as_ref()
    }

    pub(crate) fn iter(&self) -> impl DoubleEndedIterator<Item = &T> {
        self.first.iter().chain(&self.rest)
    }

    pub(crate) fn push(&mut self, entry: T) {
        if self.first.is_none() {
            self.first = Some(entry);
        } else {
            self.rest.push_back(entry);
        }
    }

    pub(crate) fn pop(&mut self) -> Option<T> {
        let next = self.rest.pop_front();
        std::mem::replace(&mut self.first, next)
    }

    /// Takes the entry back that came last.
    pub(crate) fn pop_back(&mut self) -> Option<T> {
        self.rest.pop_back().or_else(|| self.first.take())
    }

    /// Drops the entries for which `keep` says no; it is asked in their order.
    pub(crate) fn retain(&mut self, mut keep: impl FnMut(&T) -> bool) {
        let first = self.first.take_if(|first| !keep(first));
        self.rest.retain(keep);
        if first.is_some() {
            self.first = self.rest.pop_front();
        }
    }

    /// Gives back what a burst has left behind.
    pub(crate) fn trim(&mut self) {
        if self.rest.is_empty() && self.rest.capacity() > 0 {
            self.rest = VecDeque::new();
        }
    }
}

impl<T> Extend<T> for Queue<T> {
    fn extend<I: IntoIterator<Item = T>>(&mut self, entries: I) {
        entries.into_iter().for_each(|entry| self.push(entry));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_leave_in_the_order_they_came() {
        let mut queue = Queue::default();
        assert_eq!(queue.pop(), None);
        queue.extend([1, 2, 3]);
        assert_eq!((queue.len(), queue.front()), (3, Some(&1)));
        assert_eq!(queue.pop(), Some(1));
        queue.push(4);
        assert_eq!(queue.iter().copied().collect::<Vec<_>>(), [2, 3, 4]);
        assert_eq!(
            (queue.pop(), queue.pop(), queue.pop(), queue.pop()),
            (Some(2), Some(3), Some(4), None)
        );
        assert!(queue.is_empty());
    }

    #[test]
    fn entries_are_taken_out_anywhere() {
        for dropped in 1..=3 {
            let mut queue = Queue::default();
            queue.extend([1, 2, 3]);
            queue.retain(|entry| *entry != dropped);
            let left: Vec<_> = queue.iter().copied().collect();
            assert_eq!(left, [1, 2, 3].into_iter().filter(|n| *n != dropped).collect::<Vec<_>>());
            assert_eq!(
                (queue.pop_back(), queue.pop_back(), queue.pop_back()),
                (Some(left[1]), Some(left[0]), None)
            );
        }
    }

    #[test]
    fn one_entry_takes_no_memory_and_a_burst_gives_it_back() {
        let mut queue = Queue::default();
        queue.push(1);
        assert_eq!(queue.rest.capacity(), 0);
        queue.extend(2..100);
        while queue.pop().is_some() {}
        queue.trim();
        assert_eq!(queue.rest.capacity(), 0);
    }
}
