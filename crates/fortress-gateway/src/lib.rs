//! The request path: listeners, guards, upstreams, replies and the journal.
//!
//! [`compile::compile`] turns a configuration into a [`compile::Gateway`], [`server::Server`] runs
//! it. Deliberately not here: anything of the admin side or of the offline half (audit, attack).

mod browser_login;
mod client_certificate;
pub mod client_hello;
pub mod compile;
mod connection;
mod connections;
mod cookie;
mod decode;
mod defence;
pub mod fetch;
mod forwarded;
mod guard;
pub mod h1;
mod hashers;
pub mod journal;
mod kept_quotas;
pub mod keys;
mod limits;
mod listen;
mod load;
pub mod metrics;
mod networks;
pub mod path;
pub mod proxy_protocol;
mod questions;
mod reply;
mod request;
mod route;
pub mod rules;
mod serve;
pub mod server;
mod shared_counts;
mod told;
mod upstream;
mod well_known;
mod worker;

pub use compile::{Compiled, Exposed, Exposure, Gateway, compile};
pub use keys::KeyRing;
pub use server::{Listening, Server, ServerError};
