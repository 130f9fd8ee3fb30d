//! The older forms of the headers beside those of others.

#[cfg(test)]
mod beside;
