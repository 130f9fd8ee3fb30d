//! Operators that need no pattern: numbers, texts, networks, bytes, encodings and identity numbers.
//!
//! They decide as ModSecurity 3 does; where they do not, the functions say why. `pm` is here too. Not
//! here: `rx` and libinjection's; `noMatch` and `unconditionalMatch`, which need no function; and the
//! negation of any of them.

mod encodings;
mod identities;
mod networks;
mod phrases;
mod texts;

pub(crate) use self::{
    encodings::{ByteRanges, is_url_encoded, is_utf8},
    identities::{is_card_number, is_cpf, is_ssn, is_svnr},
    networks::IpNetworks,
    phrases::Phrases,
    texts::{begins_with, contains, contains_word, ends_with, number, within},
};

#[cfg(test)]
mod tests;
