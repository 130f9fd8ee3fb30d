//! The whole request path, in this process: a real gateway on a free port, a real upstream behind
//! it, and raw bytes in front of it.

mod cases;
mod faults;
mod http1;
mod support;
mod tls;
