//! What outlives the process: API keys, revocations, counters and the state of logins, in a file
//! (SQLite) or in PostgreSQL 15 or newer for several instances.
//!
//! Records are sealed one by one (AES-256-GCM, bound to their table, id and version); the keys that
//! seal them are themselves wrapped by a key that the store does not hold (see [`Seal`]). There is
//! no way to write a record in plain text.
//!
//! Everything here blocks: it belongs on a thread of its own, never on one that serves requests.
//! For the request path, [`Feed`] keeps what it needs in memory.
//!
//! What the records mean is written once, over a small [`Driver`]; the two databases differ in how
//! they connect, lock and report, and in nothing else.

mod cipher;
mod copy;
mod driver;
mod error;
mod feed;
mod keys;
mod place;
mod postgres;
mod record;
mod schema;
mod seal;
mod sqlite;
mod state;
mod store;
pub mod thread;

pub use driver::{Connection, Driver, EachRow, Row, Transaction, Value};
pub use error::StoreError;
pub use feed::Feed;
pub use keys::{Changes, Position};
pub use place::{Presence, look, make_pepper, master_keys, open, open_backup, pepper};
pub use postgres::Postgres;
pub use seal::{MasterKeys, Seal, SealError};
pub use sqlite::Sqlite;
pub use state::Count;
pub use store::{MAX_API_KEYS, Store};
