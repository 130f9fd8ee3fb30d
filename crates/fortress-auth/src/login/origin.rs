//! What a browser says of where a request comes from (Fetch Metadata, RFC 6454), and what follows.

/// What a browser says of a request in header fields that no page can set.
#[derive(Clone, Copy, Debug, Default)]
pub struct Fetch<'r> {
    /// `Sec-Fetch-Site`.
    pub site: Option<&'r str>,
    /// `Sec-Fetch-Mode`.
    pub mode: Option<&'r str>,
    /// `Sec-Fetch-Dest`.
    pub destination: Option<&'r str>,
    /// `Origin`.
    pub origin: Option<&'r str>,
    /// `Accept`.
    pub accept: Option<&'r str>,
}

/// Whether the request comes from a page of this origin, or from nobody's page (`none`: the person
/// typed the address, or a bookmark). A browser that says neither is not believed.
pub fn is_same_origin(fetch: &Fetch<'_>, own: &str) -> bool {
    match (fetch.site, fetch.origin) {
        (Some("same-origin" | "none"), _) => true,
        (Some(_), _) | (None, None) => false,
        (None, Some(origin)) => origin.eq_ignore_ascii_case(own),
    }
}

/// Whether a person looks at a page with this request, rather than a program of a page asking: only
/// then a redirect to the issuer leads anywhere.
pub fn is_navigation(fetch: &Fetch<'_>) -> bool {
    match (fetch.mode, fetch.destination) {
        (Some("navigate"), None | Some("document")) => true,
        (Some(_), _) => false,
        // An older browser.
        (None, _) => fetch.accept.is_some_and(|accept| {
            accept.split(',').any(|range| {
                let media = range.split(';').next().unwrap_or_default();
                media.trim().eq_ignore_ascii_case("text/html")
            })
        }),
    }
}
