//! The memory that all request bodies may take together.
//!
//! A body reserves what it is about to hold, and its reservation ends with it. When there is nothing
//! left, the next body is refused at once, instead of all of them dying of one allocation.
//! Deliberately not here: what one body may have, which is a bound of its operation.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

/// Bytes that can be reserved.
#[derive(Debug)]
pub struct Budget {
    total: u64,
    used: AtomicU64,
}

/// Bytes that are reserved. Dropping it gives them back.
#[derive(Debug)]
pub struct Reservation {
    budget: Arc<Budget>,
    bytes: u64,
}

/// There are not as many bytes left.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Spent;

impl Budget {
    /// A budget of `total` bytes.
    pub fn new(total: u64) -> Arc<Self> {
        Arc::new(Self {
            total,
            used: AtomicU64::new(0),
        })
    }

    /// Reserves `bytes`; zero is a reservation that can grow.
    pub fn reserve(self: &Arc<Self>, bytes: u64) -> Result<Reservation, Spent> {
        self.take(bytes)?;
        Ok(Reservation {
            budget: Arc::clone(self),
            bytes,
        })
    }

    /// Bytes that are reserved now.
    pub fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }

    /// Bytes that there are in all.
    pub fn total(&self) -> u64 {
        self.total
    }

    fn take(&self, bytes: u64) -> Result<(), Spent> {
        let grow = |used: u64| {
            let next = used.checked_add(bytes)?;
            (next <= self.total).then_some(next)
        };
        self.used
            .fetch_update(Ordering::AcqRel, Ordering::Relaxed, grow)
            .map_or(Err(Spent), |_| Ok(()))
    }
}

impl Reservation {
    /// Bytes of this reservation.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Reserves `bytes` more; without them the reservation stays as it is.
    pub fn grow(&mut self, bytes: u64) -> Result<(), Spent> {
        self.budget.take(bytes)?;
        self.bytes = self.bytes.saturating_add(bytes);
        Ok(())
    }

    /// Gives back all but `bytes`.
    pub fn shrink_to(&mut self, bytes: u64) {
        let back = self.bytes.saturating_sub(bytes);
        self.bytes -= back;
        self.budget.used.fetch_sub(back, Ordering::AcqRel);
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.budget.used.fetch_sub(self.bytes, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    #[test]
    fn bytes_are_reserved_and_come_back() {
        let budget = Budget::new(100);
        let mut first = budget.reserve(60).unwrap();
        assert_eq!(budget.reserve(41).unwrap_err(), Spent);
        let second = budget.reserve(40).unwrap();
        assert_eq!(first.grow(1), Err(Spent));
        assert_eq!((first.bytes(), budget.used()), (60, 100));
        first.shrink_to(10);
        assert_eq!(budget.used(), 50);
        first.shrink_to(1_000);
        assert_eq!((first.bytes(), budget.used()), (10, 50));
        assert_eq!(first.grow(50), Ok(()));
        drop((first, second));
        assert_eq!(budget.used(), 0);
        assert!(budget.reserve(u64::MAX).is_err());
        assert!(Budget::new(u64::MAX).reserve(u64::MAX).is_ok());
    }

    #[test]
    fn threads_never_reserve_more_than_there_is() {
        let budget = Budget::new(1_000);
        thread::scope(|scope| {
            for bytes in 1..9 {
                let budget = &budget;
                scope.spawn(move || {
                    for _ in 0..20_000 {
                        if let Ok(mut held) = budget.reserve(bytes * 30) {
                            assert!(budget.used() <= budget.total());
                            assert!(held.grow(bytes).is_err() || held.bytes() == bytes * 31);
                        }
                    }
                });
            }
        });
        assert_eq!(budget.used(), 0);
    }
}
