//! Transformed values, each made once: rules share chains, and chains share beginnings.

use super::{
    program::{Chains, Node, ROOT},
    screen::LARGE,
};
use crate::{
    prefilter::Alphabet,
    store::{Store, Text},
};

/// Results that are remembered: a table in which a newer one takes an older one's place.
const ENTRIES: usize = 512;

#[derive(Clone, Copy, Debug, Default)]
struct Entry {
    stamp: u32,
    node: Node,
    input: Text,
    output: Text,
}

/// The results of one transaction; its room is another's afterwards.
#[derive(Debug, Default)]
pub(super) struct Memo {
    /// Made when the first result is remembered.
    entries: Box<[Entry]>,
    stamp: u32,
    scratch: Vec<u8>,
    /// A second one, for the steps of a large text.
    other: Vec<u8>,
}

/// Room to work in that is kept.
const KEPT: usize = 64 << 10;

impl Memo {
    /// Forgets all results: their texts are gone.
    pub(super) fn forget(&mut self) {
        self.stamp = self.stamp.wrapping_add(1);
        if self.stamp == 0 {
            self.entries.fill(Entry::default());
            self.stamp = 1;
        }
    }

    /// Is ready for another transaction, whose texts are others.
    pub(super) fn reset(&mut self) {
        self.forget();
        for scratch in [&mut self.scratch, &mut self.other] {
            if scratch.capacity() > KEPT {
                *scratch = Vec::new();
            }
        }
    }

    /// The value at a node, given the text and its alphabet, if it is known. What no transformation
    /// changes is the very same text. `work` counts the bytes that were looked at.
    pub(super) fn at(
        &mut self,
        store: &mut Store,
        chains: &Chains,
        (text, alphabet): (Text, Option<Alphabet>),
        node: Node,
        work: &mut u64,
    ) -> Text {
        if node == ROOT {
            return text;
        }
        let Some((parent, transformation)) = chains.get(node) else {
            return text;
        };
        if text.len() > LARGE {
            return self.large(store, chains, text, node, work);
        }
        // As long as nothing has changed the text, its alphabet says what can.
        let mut known = None;
        if let Some(alphabet) = alphabet
            && !chains.can_change(node, alphabet)
        {
            let input = self.at(store, chains, (text, Some(alphabet)), parent, work);
            if input == text {
                return text;
            }
            known = Some(input);
        }
        let slot = slot(text, node);
        if let Some(entry) = self.entries.get(slot)
            && entry.stamp == self.stamp
            && entry.node == node
            && entry.input == text
        {
            return entry.output;
        }
        let input = match known {
            Some(input) => input,
            None => self.at(store, chains, (text, alphabet), parent, work),
        };
        self.scratch.clear();
        *work += u64::try_from(input.len()).unwrap_or(u64::MAX);
        let output = if transformation.apply(store.get(input), &mut self.scratch) {
            store.add(&self.scratch)
        } else {
            input
        };
        self.remember(slot, node, text, output);
        output
    }
}

impl Memo {
    /// The same of a large text: nothing is kept of what lies between.
    fn large(
        &mut self,
        store: &mut Store,
        chains: &Chains,
        text: Text,
        node: Node,
        work: &mut u64,
    ) -> Text {
        let slot = slot(text, node);
        if let Some(entry) = self.entries.get(slot)
            && entry.stamp == self.stamp
            && entry.node == node
            && entry.input == text
        {
            return entry.output;
        }
        let mut is_changed = false;
        let mut output = None;
        let mut steps = chains.chain(node).into_iter().peekable();
        while let Some(step) = steps.next() {
            if is_changed && steps.peek().is_none() {
                // The last result need not be copied.
                let input = &self.scratch;
                *work += u64::try_from(input.len()).unwrap_or(u64::MAX);
                output = store.derive(step.most(input.len()), |out| step.apply(input, out));
                break;
            }
            let input = if is_changed {
                &self.scratch
            } else {
                store.get(text)
            };
            *work += u64::try_from(input.len()).unwrap_or(u64::MAX);
            self.other.clear();
            self.other.reserve_exact(step.most(input.len()));
            if step.apply(input, &mut self.other) {
                std::mem::swap(&mut self.scratch, &mut self.other);
                is_changed = true;
            }
        }
        let output = match output {
            Some(output) => output,
            None if is_changed => store.add(&self.scratch),
            None => text,
        };
        // Nobody needs room for a large text twice over.
        self.other = Vec::new();
        self.remember(slot, node, text, output);
        output
    }

    fn remember(&mut self, slot: usize, node: Node, input: Text, output: Text) {
        if self.entries.is_empty() {
            self.entries = vec![Entry::default(); ENTRIES].into();
            // What was never written has the stamp 0.
            self.stamp = self.stamp.max(1);
        }
        if let Some(entry) = self.entries.get_mut(slot) {
            *entry = Entry {
                stamp: self.stamp,
                node,
                input,
                output,
            };
        }
    }
}

fn slot(text: Text, node: Node) -> usize {
    let mixed = (text.key() ^ u64::from(node) << 17).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    usize::try_from(mixed >> 40).unwrap_or_default() % ENTRIES
}
