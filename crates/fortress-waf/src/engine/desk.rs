//! A thread's room to work in: large, and of no use to a transaction that waits for its upstream. So
//! it is not part of a transaction's memory, but lent to it while rules run.

use std::sync::atomic::{AtomicU64, Ordering};

use super::{known::Known, memo::Memo, run::Running, screen::Lens};

/// Room to work in, one for each thread. Any transaction of any engine may run on any; it grows to
/// some 300 KB and stays.
#[derive(Debug)]
pub struct Desk {
    /// No two desks have the same.
    number: u64,
    /// The transactions that began to use it.
    turns: u64,
    memo: Memo,
    known: Known,
    request: Lens,
    response: Lens,
}

/// Which transaction used a desk last: the desk's number and its turn.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Turn(u64, u64);

impl Default for Desk {
    fn default() -> Self {
        static DESKS: AtomicU64 = AtomicU64::new(1);
        Self {
            number: DESKS.fetch_add(1, Ordering::Relaxed),
            turns: 0,
            memo: Memo::default(),
            known: Known::default(),
            request: Lens::default(),
            response: Lens::default(),
        }
    }
}

impl Desk {
    /// Lends its room to a transaction of a program.
    pub(super) fn lend(&mut self, running: &mut Running, program: u64) {
        self.trade(running);
        running.known.serve(program);
        // What the memory holds are the texts of whoever had the last turn.
        if running.turn != Turn(self.number, self.turns) {
            self.turns += 1;
            running.turn = Turn(self.number, self.turns);
            running.memo.reset();
        }
    }

    /// Takes it back.
    pub(super) fn take_back(&mut self, running: &mut Running) {
        self.trade(running);
    }

    fn trade(&mut self, running: &mut Running) {
        std::mem::swap(&mut self.memo, &mut running.memo);
        std::mem::swap(&mut self.known, &mut running.known);
        std::mem::swap(&mut self.request, &mut running.request.lens);
        std::mem::swap(&mut self.response, &mut running.response.lens);
    }
}
