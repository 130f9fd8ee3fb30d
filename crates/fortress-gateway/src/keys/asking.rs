//! How often tokens may make an issuer's keys be fetched. Deliberately not here: fetching.

use std::time::Duration;

use tokio::time::Instant;

/// So many fetches may tokens with unknown keys ask for at once: an issuer that has just started
/// may rotate its keys soon. Another one may be asked for after each cooldown.
const BURST: u32 = 2;
const COOLDOWN: Duration = Duration::from_secs(2);

/// Who may ask for a fetch.
#[derive(Debug)]
pub(super) struct Asking {
    /// One was asked for, or runs: whoever needs keys waits for its end.
    pub(super) under_way: bool,
    /// Fetches that began.
    pub(super) begun: u64,
    left: u32,
    counted: Instant,
}

impl Asking {
    /// The first fetch begins by itself.
    pub(super) fn new(now: Instant) -> Self {
        Self {
            under_way: true,
            begun: 0,
            left: BURST,
            counted: now,
        }
    }

    /// Takes one of the fetches that tokens may ask for; else says how long the next one is away.
    pub(super) fn take(&mut self, now: Instant) -> Result<(), Duration> {
        while self.left < BURST && now.duration_since(self.counted) >= COOLDOWN {
            self.left += 1;
            self.counted += COOLDOWN;
        }
        if self.left == BURST {
            self.counted = now;
        }
        if self.left == 0 {
            return Err((self.counted + COOLDOWN).saturating_duration_since(now));
        }
        self.left -= 1;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_may_ask_for_few_fetches_at_once_and_then_one_each_cooldown() {
        let start = Instant::now();
        let mut asking = Asking::new(start);
        let mut count = |after: Duration| {
            (0..100)
                .filter(|_| asking.take(start + after).is_ok())
                .count()
        };
        assert_eq!(count(Duration::from_millis(500)), 2);
        assert_eq!(count(Duration::from_millis(1500)), 0);
        assert_eq!(count(Duration::from_millis(2600)), 1);
        assert_eq!(count(Duration::from_secs(3)), 0);
        assert_eq!(count(Duration::from_secs(1000)), 2);
        let wait = asking.take(start + Duration::from_millis(1_000_500));
        assert_eq!(wait, Err(Duration::from_millis(1500)));
    }
}
