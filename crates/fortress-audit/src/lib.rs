//! The offline half: attacks that are made from a description and sent to a running API.
//!
//! Deliberately not here: anything that the gateway links, and anything of the command line
//! (colour, tables, progress bars). This crate says what to send, sends it, and judges the answers.

pub mod attack;
