//! The guards, in the order in which a request meets them. Each returns a value that only it can
//! build; [`Cleared`](crate::serve::Cleared) needs one of each, and the upstreams accept nothing
//! else. So a guard cannot be forgotten, nor two of them swapped.

pub(crate) mod authenticate;
pub(crate) mod authorize;
pub(crate) mod body;
pub(crate) mod body_value;
pub(crate) mod challenge;
pub(crate) mod client;
pub(crate) mod credential;
pub(crate) mod inspect;
pub(crate) mod limit;
pub(crate) mod login;
pub(crate) mod objects;
pub(crate) mod principal;
