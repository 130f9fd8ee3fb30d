//! The best fit of US-ASCII (code page 20127): what Windows makes of characters that ASCII does not
//! have. ModSecurity's `unicode.mapping` says the same; a test holds the tables to it.
//!
//! Not here: the full width forms, which are ASCII at an offset and stand with the escapes.

/// The ASCII that a code fits best, if it has one.
pub(super) fn ascii(code: u16) -> Option<u8> {
    let fit = match code {
        0x00A0..=0x00FF => *LATIN_1.get(usize::from(code - 0x00A0))?,
        0x0100..=0x017F => *EXTENDED_A.get(usize::from(code - 0x0100))?,
        0x0180..=0x01FF => *EXTENDED_B.get(usize::from(code - 0x0180))?,
        0x0261 => b'g',
        0x02B9 | 0x02BC | 0x02C8 | 0x2018 | 0x2019 | 0x2032 => b'\'',
        0x02BA | 0x030E | 0x201C..=0x201E => b'"',
        0x02C4 | 0x02C6 | 0x0302 => b'^',
        0x02CB | 0x0300 | 0x2035 => b'`',
        0x02CD | 0x0331 | 0x0332 => b'_',
        0x02DC | 0x0303 => b'~',
        0x2000..=0x2006 => b' ',
        0x2010 | 0x2011 | 0x2013 | 0x2014 => b'-',
        0x201A => b',',
        0x2022 | 0x2026 => b'.',
        0x2039 => b'<',
        0x203A => b'>',
        0x2122 => b'T',
        _ => NONE,
    };
    (fit != NONE).then_some(fit)
}

/// Where nothing fits: no code has a question mark as its best fit.
const NONE: u8 = b'?';

/// From 00A0.
const LATIN_1: &[u8] = b"\x20!c?$Y|??Ca<?-R???23???.,1o>????\
    AAAAAAACEEEEIIIIDNOOOOO?OUUUUY??\
    aaaaaaaceeeeiiii?nooooo?ouuuuy?y";
/// From 0100.
const EXTENDED_A: &[u8] = b"\
    AaAaAaCcCcCcCcDdDdEeEeEeEeEeGgGg\
    GgGgHhHhIiIiIiIiIi??JjKk?LlLlLl?\
    ?LlNnNnNn???OoOoOoOoRrRrRrSsSsSs\
    SsTtTtTtUuUuUuUuUuUuWwYyYZ?ZzZz?";
/// From 0180.
const EXTENDED_B: &[u8] = b"\
    b????????D???????Ff????I??l????O\
    Oo?????????t??TUu?????z?????????\
    ?????????????AaIiOoUuUuUuUuUu?Aa\
    ????GgGgKkOoOo??j???????????????";
