//! The codec's hot leaves: what each request costs before and after its guards.

use bytes::BytesMut;
use divan::{Bencher, black_box};
use fortress_gateway::{
    h1::{
        ChunkedDecoder, Framing, HeadBounds, ResponseFraming, ScanState, Version, parse_request,
        parse_response, write_request_head, write_response_head,
    },
    path::{NormalizedPath, Semicolons},
};
use fortress_model::Bounds;
use http::Method;

fn main() {
    divan::main();
}

const SERVICE_GET: &str = "GET /orders/4711?expand=lines HTTP/1.1\r\nHost: api.example.com\r\nUser-Agent: client/1.0\r\nAccept: application/json\r\n\r\n";
const BROWSER_GET: &str = "GET /orders/4711?expand=lines&page=2 HTTP/1.1\r\nHost: api.example.com\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:141.0) Gecko/20100101 Firefox/141.0\r\nAccept: application/json, text/plain, */*\r\nAccept-Language: en-GB,en;q=0.8,de;q=0.5\r\nAccept-Encoding: gzip, deflate, br, zstd\r\nAuthorization: Bearer eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJhbGljZSIsInNjb3BlIjoib3JkZXJzOnJlYWQifQ.c2lnbmF0dXJlLWJ5dGVzLW9mLWEtdG9rZW4\r\nOrigin: https://app.example.com\r\nReferer: https://app.example.com/\r\nConnection: keep-alive\r\nCookie: session=0123456789abcdef0123456789abcdef; theme=dark\r\nSec-Fetch-Dest: empty\r\nSec-Fetch-Mode: cors\r\nSec-Fetch-Site: same-site\r\nPriority: u=0\r\n\r\n";
const RESPONSE: &str = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 512\r\nDate: Tue, 24 Nov 2026 02:30:09 GMT\r\nCache-Control: no-store\r\nVary: Accept-Encoding\r\n\r\n";

fn bounds() -> HeadBounds {
    HeadBounds::from(&Bounds::default())
}

#[divan::bench]
fn request_of_a_service(bencher: Bencher<'_, '_>) {
    request_head(bencher, SERVICE_GET);
}

#[divan::bench]
fn request_of_a_browser(bencher: Bencher<'_, '_>) {
    request_head(bencher, BROWSER_GET);
}

#[divan::bench]
fn response_head(bencher: Bencher<'_, '_>) {
    let bounds = bounds();
    let mut buffer = BytesMut::with_capacity(16 << 10);
    let mut scan = ScanState::default();
    bencher.bench_local(|| {
        buffer.reserve(RESPONSE.len());
        buffer.extend_from_slice(black_box(RESPONSE.as_bytes()));
        parse_response(&mut buffer, &bounds, &mut scan, &Method::GET).map(drop)
    });
}

#[divan::bench]
fn written_heads(bencher: Bencher<'_, '_>) {
    let mut scan = ScanState::default();
    let mut buffer = BytesMut::from(BROWSER_GET);
    let Ok(Some(head)) = parse_request(&mut buffer, &bounds(), &mut scan) else {
        return;
    };
    let mut out = BytesMut::with_capacity(16 << 10);
    bencher.bench_local(|| {
        out.clear();
        write_request_head(
            &mut out,
            &head.method,
            "/orders/4711",
            None,
            &head.headers,
            Framing::None,
        );
        write_response_head(
            &mut out,
            Version::Http11,
            http::StatusCode::OK,
            &head.headers,
            ResponseFraming::Length(5),
            b"Tue, 24 Nov 2026 02:30:09 GMT",
            true,
        );
        out.len()
    });
}

/// 1 MiB in chunks of the given size.
#[divan::bench(args = [1, 16, 1_024, 65_536])]
fn chunked_body(bencher: Bencher<'_, '_>, size: usize) {
    let chunk = format!("{size:x}\r\n{}\r\n", "a".repeat(size));
    let raw = format!("{}0\r\n\r\n", chunk.repeat((1 << 20) / size));
    let mut out = BytesMut::with_capacity(1 << 20);
    bencher.bench_local(|| {
        out.clear();
        ChunkedDecoder::for_request(&bounds()).decode(black_box(raw.as_bytes()), &mut out, 1 << 20)
    });
}

#[divan::bench(args = ["/orders/4711/lines", "/orders/%34711/./lines/caf%c3%a9"])]
fn normalized_path(raw: &str) -> Option<NormalizedPath> {
    NormalizedPath::parse(black_box(raw), Semicolons::Refused).ok()
}

fn request_head(bencher: Bencher<'_, '_>, raw: &str) {
    let bounds = bounds();
    let mut buffer = BytesMut::with_capacity(16 << 10);
    let mut scan = ScanState::default();
    bencher.bench_local(|| {
        buffer.reserve(raw.len());
        buffer.extend_from_slice(black_box(raw.as_bytes()));
        parse_request(&mut buffer, &bounds, &mut scan).map(drop)
    });
}
