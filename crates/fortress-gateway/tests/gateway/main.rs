//! The whole request path, in this process: a real gateway on a free port, a real upstream behind
//! it, and raw bytes in front of it.

#[cfg(test)]
mod api_keys;
#[cfg(test)]
mod arrivals;
#[cfg(test)]
mod cases;
#[cfg(test)]
mod clients;
#[cfg(test)]
mod defence;
#[cfg(test)]
mod faults;
#[cfg(test)]
mod fingerprints;
#[cfg(test)]
mod h2;
#[cfg(test)]
mod http1;
#[cfg(test)]
mod idp;
#[cfg(test)]
mod keys;
#[cfg(test)]
mod limits;
#[cfg(test)]
mod load;
#[cfg(test)]
mod login;
#[cfg(test)]
mod networks;
#[cfg(test)]
mod signers;
#[cfg(test)]
mod streaming;
#[cfg(test)]
mod support;
#[cfg(test)]
mod tls;
#[cfg(test)]
mod tokens;
#[cfg(test)]
mod told;
#[cfg(test)]
mod upstream;
#[cfg(test)]
mod waf;
