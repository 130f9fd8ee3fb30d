//! What transformations cost: on a value that they leave alone, on one that they change, and on a
//! large one.

use std::hint::black_box;

use divan::{Bencher, counter::BytesCount};
use fortress_waf::{ByteSet, seclang::Transformation};

fn main() {
    divan::main();
}

/// Those that the Core Rule Set uses most.
const USED: [Transformation; 12] = [
    Transformation::UrlDecodeUni,
    Transformation::Lowercase,
    Transformation::JsDecode,
    Transformation::HtmlEntityDecode,
    Transformation::Utf8ToUnicode,
    Transformation::RemoveNulls,
    Transformation::CssDecode,
    Transformation::CmdLine,
    Transformation::RemoveWhitespace,
    Transformation::ReplaceComments,
    Transformation::NormalizePath,
    Transformation::Base64Decode,
];

/// A token as it stands in a cookie: nothing but lower case, digits and dashes.
const PLAIN: &[u8] = b"7d1f1c9e-6c6a-4f0e-8f8d-0a4b6c1d2e3f";
/// Something of everything.
const HOSTILE: &[u8] =
    b"%3Cscript%3E &lt;a href=\\u006a\\x61va\\73 cript&#58;alert(/*1*/1)&gt; /a/../b\0 Caf\xc3\xa9 %u2019";

#[divan::bench(args = USED)]
fn plain(bencher: Bencher<'_, '_>, transformation: Transformation) {
    run(bencher, transformation, PLAIN);
}

#[divan::bench(args = USED)]
fn hostile(bencher: Bencher<'_, '_>, transformation: Transformation) {
    run(bencher, transformation, HOSTILE);
}

#[divan::bench(args = USED, max_time = 0.3)]
fn megabyte(bencher: Bencher<'_, '_>, transformation: Transformation) {
    run(
        bencher,
        transformation,
        &HOSTILE.repeat((1 << 20) / HOSTILE.len()),
    );
}

fn run(bencher: Bencher<'_, '_>, transformation: Transformation, input: &[u8]) {
    let mut out = Vec::with_capacity(transformation.most(input.len()));
    bencher
        .counter(BytesCount::of_slice(input))
        .bench_local(|| {
            out.clear();
            black_box(transformation.apply(black_box(input), &mut out))
        });
}

/// The set of a value's bytes, by which most transformations are left out altogether.
#[divan::bench(args = [8, 36, 256, 4096])]
fn bytes_of(bencher: Bencher<'_, '_>, length: usize) {
    let text: Vec<u8> = PLAIN.iter().copied().cycle().take(length).collect();
    bencher
        .counter(BytesCount::of_slice(&text))
        .bench_local(|| black_box(ByteSet::from_text(black_box(&text))));
}
