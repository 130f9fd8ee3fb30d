//! The seeds of every fuzz target, replayed as ordinary tests.

#[cfg(test)]
mod replay;
