//! The words of the defence of logins: what is asked, by whom, and what is said of it.
//!
//! Deliberately not here: counting.

use std::{net::IpAddr, time::Duration};

use super::{Breadth, Delay, Fall, Suspicion};

/// The longest that an account's own count delays a stranger, as a part of the longest delay.
const ACCOUNT_SHARE: u32 = 30;

/// What an operation is for.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub enum Kind {
    /// Name and password, or the like.
    #[default]
    Login,
    /// A one-time code.
    Otp,
    /// A forgotten password; each counts, whatever the answer.
    Reset,
    /// A new account; each counts, whatever the answer.
    Registration,
}

impl Kind {
    /// Every attempt is one that counts, since the answer tells nothing.
    pub fn counts_all(self) -> bool {
        match self {
            Self::Reset | Self::Registration => true,
            Self::Login | Self::Otp => false,
        }
    }

    /// An address from which the account came in before is trusted more.
    pub(super) fn knows_places(self) -> bool {
        match self {
            Self::Login => true,
            // Whoever stands before the second factor from there may hold the first one unduly.
            Self::Otp | Self::Reset | Self::Registration => false,
        }
    }

    pub(super) fn code(self) -> u8 {
        match self {
            Self::Login => 1,
            Self::Otp => 2,
            Self::Reset => 3,
            Self::Registration => 4,
        }
    }

    pub(super) fn of_code(code: u8) -> Option<Self> {
        match code {
            1 => Some(Self::Login),
            2 => Some(Self::Otp),
            3 => Some(Self::Reset),
            4 => Some(Self::Registration),
            _ => None,
        }
    }
}

/// A lock of an account after many failures.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Lock {
    /// Failures.
    pub after: u32,
    /// How long it lasts.
    pub hold: Duration,
}

/// How an operation is defended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Rules {
    /// What it is for.
    pub kind: Kind,
    /// The delay of an account at an address; the others are made from it.
    pub delay: Delay,
    /// The time in which half of the failures are forgotten.
    pub forget: Duration,
    /// Locks accounts.
    pub lock: Option<Lock>,
    /// Looks for stuffing.
    pub suspicion: Option<Suspicion>,
    /// How long an address is known from which an account came in.
    pub known: Duration,
}

impl Rules {
    /// Failures from one address, whoever they are for.
    pub(super) fn of_address(&self) -> Delay {
        Delay {
            after: self.delay.after.saturating_mul(5),
            ..self.delay
        }
    }

    pub(super) fn of_network(&self) -> Delay {
        Delay {
            after: self.delay.after.saturating_mul(20),
            ..self.delay
        }
    }

    /// Short, since it falls on whoever owns the account too.
    pub(super) fn of_account(&self) -> Delay {
        Delay {
            after: self.delay.after.saturating_mul(3),
            first: self.delay.first,
            most: (self.delay.most / ACCOUNT_SHARE).max(self.delay.first),
        }
    }
}

/// Who attempts.
#[derive(Clone, Copy, Debug)]
pub struct Who<'a> {
    /// What counts together: the API.
    pub scope: &'a str,
    /// The account as it was written, if there is one.
    pub account: Option<&'a [u8]>,
    /// The client's address.
    pub address: IpAddr,
    /// What its TLS looks like (JA4), if that is known.
    pub client: Option<&'a str>,
    /// What it shows, if that is known; only a keyed hash of it is kept.
    pub password: Option<&'a [u8]>,
}

/// What is counted by.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum By {
    /// The account at the address.
    Pair,
    /// The address.
    Address,
    /// Its network.
    Network,
    /// The account.
    Account,
}

impl By {
    /// As it is written in a detail.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pair => "account and address",
            Self::Address => "address",
            Self::Network => "network",
            Self::Account => "account",
        }
    }
}

/// What looks like an attack.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Sign {
    /// Many accounts failed from there.
    Source(Breadth),
    /// The password failed for many accounts.
    Password,
    /// Far fewer logins succeed than usual.
    Ratio,
}

impl Sign {
    /// As it is written in a detail.
    pub fn name(self) -> &'static str {
        match self {
            Self::Source(Breadth::Address) => "many accounts failed from the address",
            Self::Source(Breadth::Network) => "many accounts failed from the network",
            Self::Source(Breadth::Client) => {
                "many accounts failed from clients whose TLS looks alike"
            }
            Self::Password => "the password failed for many accounts",
            Self::Ratio => "far fewer logins succeed than usual",
        }
    }
}

/// Why an attempt is refused.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Why {
    /// Too soon after so many failures.
    Delayed {
        /// Of what.
        by: By,
        /// How many.
        failures: u32,
    },
    /// The account is locked.
    Locked,
    /// It looks like stuffing.
    Stuffing(Sign),
}

/// A refused attempt.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Refused {
    /// Why.
    pub why: Why,
    /// When to come back.
    pub wait: Duration,
}

/// What an attempt was.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Attempt {
    /// The account did not come in.
    Failed,
    /// It did.
    Succeeded,
    /// Nobody judged it: the upstream failed, or found the request wrong in another way.
    Unjudged,
}

/// What was learnt from an attempt, as far as it is new.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Learnt {
    /// The account was locked.
    pub locked: bool,
    /// A source or a password was found to be an attacker's.
    pub found: Option<Sign>,
    /// Far fewer logins succeed than usual.
    pub fall: Option<Fall>,
}
