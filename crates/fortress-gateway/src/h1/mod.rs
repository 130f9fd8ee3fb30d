//! HTTP/1.1, strict by construction.
