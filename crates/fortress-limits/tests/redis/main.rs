//! The script of distributed limits on real servers.

#[cfg(test)]
mod servers;
