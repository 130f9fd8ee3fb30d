//! Questions to an issuer that are under way: so many at once, and about one token one at a time, so
//! that those who show the same token wait for one answer.

use std::hash::{BuildHasher as _, RandomState};

use tokio::sync::{Semaphore, SemaphorePermit};

/// Questions under way at once.
const PLACES: usize = 64;
/// Tokens that are told apart: two of one turn wait for each other, though they need not.
const TURNS: usize = 1024;

/// See the module.
#[derive(Debug)]
pub(crate) struct Questions {
    places: Semaphore,
    turns: Box<[Semaphore]>,
    hasher: RandomState,
}

/// Leave to ask about a token; dropping it gives the turn to the next.
#[derive(Debug)]
pub(crate) struct Leave<'q> {
    _turn: Option<SemaphorePermit<'q>>,
    _place: SemaphorePermit<'q>,
}

impl Default for Questions {
    fn default() -> Self {
        Self {
            places: Semaphore::new(PLACES),
            turns: (0..TURNS).map(|_| Semaphore::new(1)).collect(),
            hasher: RandomState::new(),
        }
    }
}

impl Questions {
    /// Waits for the turn of a token, and for a place.
    pub(crate) async fn leave(&self, token: &str) -> Option<Leave<'_>> {
        let hash = self.hasher.hash_one(token) >> 32;
        let turn = usize::try_from(hash).unwrap_or_default() % TURNS;
        let turn = match self.turns.get(turn) {
            Some(turn) => Some(turn.acquire().await.ok()?),
            None => None,
        };
        Some(Leave {
            _turn: turn,
            _place: self.places.acquire().await.ok()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    async fn waits(questions: &Questions, token: &str) -> bool {
        let leave = tokio::time::timeout(Duration::from_millis(20), questions.leave(token));
        leave.await.is_err()
    }

    #[tokio::test]
    async fn one_token_is_asked_about_once_at_a_time() {
        let questions = Questions::default();
        let leave = questions.leave("token").await.unwrap();
        assert!(waits(&questions, "token").await);
        let mut others = (0..100).map(|number| format!("another {number}"));
        let other = others.find(|other| {
            let turn = |token: &str| (questions.hasher.hash_one(token) >> 32) % 1024;
            turn(other) != turn("token")
        });
        assert!(!waits(&questions, &other.unwrap()).await);
        drop(leave);
        assert!(!waits(&questions, "token").await);
    }

    #[tokio::test]
    async fn so_many_questions_are_under_way() {
        let questions = Questions::default();
        let places = questions.places.acquire_many(64).await.unwrap();
        assert!(waits(&questions, "token").await);
        drop(places);
        assert!(!waits(&questions, "token").await);
    }
}
