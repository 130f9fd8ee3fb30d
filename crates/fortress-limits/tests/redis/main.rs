//! The scripts of distributed limits on real servers.

#[cfg(test)]
mod servers;
#[cfg(test)]
mod slots;
