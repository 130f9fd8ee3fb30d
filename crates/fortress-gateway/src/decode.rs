//! Undoing `Content-Encoding` within a bound of size and of growth.
//!
//! One coding at a time: a chain of them serves nobody but those who hide something.

use std::io::{self, Read};

use http::{HeaderMap, header};

/// A coding that is undone here.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Coding {
    Gzip,
    Brotli,
    Zstd,
}

impl Coding {
    /// The coding that the header fields name; `identity` is none.
    ///
    /// # Errors
    /// What they name, printable and cut, if it is not one that is undone here.
    pub(crate) fn of(headers: &HeaderMap) -> Result<Option<Self>, String> {
        let mut values = headers.get_all(header::CONTENT_ENCODING).iter();
        let Some(value) = values.next() else {
            return Ok(None);
        };
        let name = String::from_utf8_lossy(value.as_bytes())
            .trim()
            .to_ascii_lowercase();
        let name = if values.next().is_some() {
            format!("{name}, …")
        } else {
            name
        };
        match name.as_str() {
            "identity" => Ok(None),
            "gzip" | "x-gzip" => Ok(Some(Self::Gzip)),
            "br" => Ok(Some(Self::Brotli)),
            "zstd" => Ok(Some(Self::Zstd)),
            _ => Err(name
                .chars()
                .take(40)
                .map(|c| if c.is_control() { '?' } else { c })
                .collect()),
        }
    }
}

/// How much may come out.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Bytes.
    pub(crate) size: usize,
    /// Times the size of what went in; small inputs may always give 64 KiB.
    pub(crate) expansion: usize,
}

/// Why nothing came out.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DecodeError {
    #[error("larger than the bound")]
    TooLarge,
    #[error("grows more than {0} times")]
    Expansion(usize),
    #[error("does not decode: {0}")]
    Invalid(String),
}

/// Decodes to the end, or refuses. Bytes after the end of gzip and zstd data are refused too.
pub(crate) fn decode(coding: Coding, input: &[u8], limits: Limits) -> Result<Vec<u8>, DecodeError> {
    /// What RFC 8878, section 3.1.1.1.2, recommends to support.
    const WINDOW: u64 = 8 << 20;
    let mut rest = input;
    let output = match coding {
        Coding::Gzip => drain(
            &mut flate2::bufread::MultiGzDecoder::new(&mut rest),
            input.len(),
            limits,
        )?,
        Coding::Brotli => drain(
            &mut brotli_decompressor::Decompressor::new(&mut rest, 4096),
            input.len(),
            limits,
        )?,
        Coding::Zstd => {
            let mut decoder =
                ruzstd::decoding::StreamingDecoder::new_with_max_window_size(&mut rest, WINDOW)
                    .map_err(|error| DecodeError::Invalid(error.to_string()))?;
            drain(&mut decoder, input.len(), limits)?
        }
    };
    if rest.is_empty() {
        Ok(output)
    } else {
        Err(DecodeError::Invalid("bytes after its end".into()))
    }
}

fn drain(reader: &mut dyn Read, input: usize, limits: Limits) -> Result<Vec<u8>, DecodeError> {
    let grown = input.saturating_mul(limits.expansion).max(64 << 10);
    let mut output = Vec::with_capacity(input.saturating_mul(3).min(limits.size));
    let mut piece = [0; 16 << 10];
    loop {
        let read = match reader.read(&mut piece) {
            Ok(0) => return Ok(output),
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(DecodeError::Invalid(error.to_string())),
        };
        output.extend_from_slice(piece.get(..read).unwrap_or_default());
        if output.len() > limits.size {
            return Err(DecodeError::TooLarge);
        }
        if output.len() > grown {
            return Err(DecodeError::Expansion(limits.expansion));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn gzip(data: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        encoder.write_all(data).unwrap();
        encoder.finish().unwrap()
    }

    const LIMITS: Limits = Limits {
        size: 1 << 20,
        expansion: 100,
    };

    #[test]
    fn gzip_is_decoded_within_its_bounds() {
        assert_eq!(
            decode(Coding::Gzip, &gzip(b"hello"), LIMITS).unwrap(),
            b"hello"
        );
        let bomb = gzip(&vec![0; 900 << 10]);
        assert!(matches!(
            decode(Coding::Gzip, &bomb, LIMITS),
            Err(DecodeError::Expansion(100))
        ));
        let large = gzip(&vec![0; 2 << 20]);
        let wide = Limits {
            size: 1 << 20,
            expansion: 10_000,
        };
        assert!(matches!(
            decode(Coding::Gzip, &large, wide),
            Err(DecodeError::TooLarge)
        ));
    }

    #[test]
    fn what_is_cut_or_followed_by_more_is_refused() {
        let whole = gzip(b"hello hello hello");
        assert!(decode(Coding::Gzip, &whole[..whole.len() - 1], LIMITS).is_err());
        let mut more = whole.clone();
        more.extend_from_slice(b"x");
        assert!(decode(Coding::Gzip, &more, LIMITS).is_err());
        assert!(decode(Coding::Brotli, b"not brotli", LIMITS).is_err());
        assert!(decode(Coding::Zstd, b"not zstd", LIMITS).is_err());
    }
}
