//! What was probably meant by a word that nobody knows.

/// Longer words are not compared: the comparison is quadratic in their length.
const LONGEST: usize = 64;

/// The candidate nearest to `word`, if one is near enough to be a slip of the finger or a matter of
/// taste (`max-age` for `max_age`). Of equally near ones the first.
pub fn did_you_mean<'c>(
    word: &str,
    candidates: impl IntoIterator<Item = &'c str>,
) -> Option<&'c str> {
    let plain = |text: &str| text.to_lowercase().replace(['-', ' ', '.'], "_");
    let wanted = plain(word);
    let length = wanted.chars().count();
    if length == 0 || length > LONGEST {
        return None;
    }
    let near = |candidate: &'c str| {
        let candidate_length = candidate.chars().count();
        if candidate_length > LONGEST {
            return None;
        }
        let distance = strsim::damerau_levenshtein(&wanted, &plain(candidate));
        // A third may be wrong, but not so much that any short word stands for any other.
        let allowed = (length.max(candidate_length) / 3).max(1).min(length - 1);
        (distance <= allowed).then_some((distance, candidate))
    };
    candidates
        .into_iter()
        .filter_map(near)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::did_you_mean;

    #[track_caller]
    fn check(word: &str, expect: Option<&str>) {
        let candidates = [
            "issuer", "audience", "jwks", "max_age", "tls", "listen", "url",
        ];
        assert_eq!(did_you_mean(word, candidates), expect, "{word}");
    }

    #[test]
    fn near_words_are_found_and_others_are_not() {
        check("isuer", Some("issuer"));
        check("Issuer", Some("issuer"));
        check("max-age", Some("max_age"));
        check("maxAge", Some("max_age"));
        check("jwsk", Some("jwks"));
        check("tsl", Some("tls"));
        check("lisen", Some("listen"));
        check("uri", Some("url"));
        check("cache", None);
        check("x", None);
        check("", None);
        check(&"issuer".repeat(1_000), None);
    }
}
