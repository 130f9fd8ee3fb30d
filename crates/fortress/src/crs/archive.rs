//! The files of a release, out of a tar.gz or a directory, into memory.
//!
//! Nothing is written here, and nothing is ever written under a name that an archive gives: of the
//! archive's entries only regular files are looked at, and only those that the release is known to
//! have are kept. Links and devices are passed over; a name that leads outside ends it all.

use std::{collections::BTreeMap, fs, io::Read, path::Path};

use flate2::read::GzDecoder;

use super::release::{self, Files};

/// Bytes of an archive when unpacked: the release with all its tests has a fifth of it.
const MAX_UNPACKED: u64 = 128 << 20;
/// Bytes of a single file of the release.
const MAX_FILE: usize = 4 << 20;
/// Entries of an archive.
const MAX_ENTRIES: usize = 50_000;
const BLOCK: usize = 512;
/// By this file the root of a release is known.
const ROOT: &str = "crs-setup.conf.example";

/// The files of the release that an archive holds.
///
/// # Errors
/// Why it is no archive that can be trusted.
pub(super) fn unpack(bytes: &[u8]) -> Result<Files, String> {
    let mut plain = Vec::new();
    GzDecoder::new(bytes)
        .take(MAX_UNPACKED + 1)
        .read_to_end(&mut plain)
        .map_err(|error| format!("it is no whole gzip file: {error}"))?;
    if u64::try_from(plain.len()).unwrap_or(u64::MAX) > MAX_UNPACKED {
        return Err(format!(
            "it unpacks to more than {} MiB",
            MAX_UNPACKED >> 20
        ));
    }
    rooted(entries(&plain)?)
}

/// The files of the release that a directory holds, in itself or in its only directory that looks
/// like a release.
///
/// # Errors
/// Why they cannot be read.
pub(super) fn directory(from: &Path) -> Result<Files, String> {
    let mut root = from.to_owned();
    if !root.join(ROOT).is_file() {
        let listed = fs::read_dir(from).map_err(|error| error.to_string())?;
        let mut inner = listed
            .flatten()
            .map(|entry| entry.path())
            .filter(|path| path.join(ROOT).is_file());
        root = match (inner.next(), inner.next()) {
            (Some(only), None) => only,
            (None, _) => return Err(format!("it holds no `{ROOT}`")),
            (Some(_), Some(_)) => return Err(format!("several directories hold a `{ROOT}`")),
        };
    }
    let mut files = Files::new();
    for (path, _) in release::pinned() {
        let file = root.join(path);
        if !file.is_file() {
            continue;
        }
        let mut bytes = Vec::new();
        let most = u64::try_from(MAX_FILE).unwrap_or(u64::MAX);
        fs::File::open(&file)
            .and_then(|file| file.take(most + 1).read_to_end(&mut bytes))
            .map_err(|error| format!("cannot read `{path}`: {error}"))?;
        files.insert(path.to_owned(), bytes);
    }
    Ok(files)
}

/// The regular files that could be the release's, by their whole name.
fn entries(tar: &[u8]) -> Result<BTreeMap<String, &[u8]>, String> {
    let mut found = BTreeMap::new();
    let mut rest = tar;
    let mut long_name: Option<String> = None;
    for _ in 0..MAX_ENTRIES {
        let (header, after) = rest
            .split_at_checked(BLOCK)
            .ok_or("the archive breaks off")?;
        if header.iter().all(|byte| *byte == 0) {
            return Ok(found);
        }
        let entry = Entry::read(header)?;
        let padded = entry
            .size
            .checked_next_multiple_of(BLOCK)
            .ok_or("an entry is too large")?;
        let (content, next) = after
            .split_at_checked(padded)
            .ok_or("the archive breaks off")?;
        let content = content.get(..entry.size).unwrap_or(content);
        rest = next;
        match entry.kind {
            // A name that has no room in the header: POSIX's own way, and GNU's.
            b'x' => {
                long_name = pax_path(content)?.or(long_name);
                continue;
            }
            b'L' => {
                long_name = Some(text(content)?);
                continue;
            }
            b'0' | 0 => {
                let name = safe_name(&long_name.take().unwrap_or(entry.name))?;
                let is_wanted = release::pinned().any(|(path, _)| {
                    name.strip_suffix(path)
                        .is_some_and(|before| before.is_empty() || before.ends_with('/'))
                });
                if is_wanted && content.len() > MAX_FILE {
                    return Err(format!("`{name}` is too large"));
                }
                if is_wanted && found.insert(name.clone(), content).is_some() {
                    return Err(format!("`{name}` stands in it twice"));
                }
            }
            _ => long_name = None,
        }
    }
    Err(format!("it has more than {MAX_ENTRIES} entries"))
}

/// The files below the root of the release, by their path in it.
fn rooted(entries: BTreeMap<String, &[u8]>) -> Result<Files, String> {
    let roots = entries.keys().filter_map(|name| name.strip_suffix(ROOT));
    let root = roots
        .min_by_key(|root| root.len())
        .ok_or_else(|| format!("it holds no `{ROOT}`"))?;
    let mut files = Files::new();
    for (path, _) in release::pinned() {
        if let Some(content) = entries.get(&format!("{root}{path}")) {
            files.insert(path.to_owned(), content.to_vec());
        }
    }
    Ok(files)
}

/// A header of POSIX's ustar format (IEEE Std 1003.1, pax).
#[derive(Debug)]
struct Entry {
    name: String,
    size: usize,
    kind: u8,
}

impl Entry {
    fn read(header: &[u8]) -> Result<Self, String> {
        let field = |from: usize, length: usize| header.get(from..from + length).unwrap_or(&[]);
        let sum: u64 = header
            .iter()
            .enumerate()
            .map(|(at, byte)| {
                // The checksum itself counts as spaces.
                u64::from(if (148..156).contains(&at) {
                    b' '
                } else {
                    *byte
                })
            })
            .sum();
        if octal(field(148, 8)) != Some(sum) {
            return Err("it is no tar archive, or a damaged one".into());
        }
        let size = octal(field(124, 12)).and_then(|size| usize::try_from(size).ok());
        let mut name = text(field(0, 100))?;
        if field(257, 6) == b"ustar\0" {
            let prefix = text(field(345, 155))?;
            if !prefix.is_empty() {
                name = format!("{prefix}/{name}");
            }
        }
        Ok(Self {
            name,
            size: size.ok_or("an entry has no size")?,
            kind: header.get(156).copied().unwrap_or_default(),
        })
    }
}

/// Octal digits, with spaces or zero bytes around them.
fn octal(field: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(field).ok()?;
    let digits = text.trim_matches([' ', '\0']);
    u64::from_str_radix(digits, 8)
        .ok()
        .filter(|_| !digits.starts_with('+'))
}

/// Up to the first zero byte.
fn text(field: &[u8]) -> Result<String, String> {
    let end = field.iter().position(|byte| *byte == 0);
    let text = field.get(..end.unwrap_or(field.len())).unwrap_or(field);
    String::from_utf8(text.to_vec()).map_err(|_| "a name in it is not UTF-8".into())
}

/// `path` of an extended header: records of `LENGTH key=value` and a line break.
fn pax_path(content: &[u8]) -> Result<Option<String>, String> {
    const WRONG: &str = "an extended header in it cannot be read";
    let mut found = None;
    let mut rest = content;
    while !rest.is_empty() {
        let space = rest.iter().position(|byte| *byte == b' ').ok_or(WRONG)?;
        let length = rest.get(..space).map(text).ok_or(WRONG)??;
        let length: usize = length.parse().map_err(|_| WRONG)?;
        let record = rest.get(space + 1..length).ok_or(WRONG)?;
        rest = rest.get(length..).ok_or(WRONG)?;
        if let Some(path) = record.strip_prefix(b"path=") {
            found = Some(text(path.strip_suffix(b"\n").ok_or(WRONG)?)?);
        }
        // It would make the header's size a lie.
        if record.starts_with(b"size=") {
            return Err("an entry in it is too large".into());
        }
    }
    Ok(found)
}

/// A relative name without steps upwards.
fn safe_name(name: &str) -> Result<String, String> {
    let name = name.strip_prefix("./").unwrap_or(name);
    let is_safe = !name.is_empty()
        && !name.contains(['\\', '\0'])
        && name
            .split('/')
            .all(|step| !step.is_empty() && step != "." && step != "..");
    if !is_safe {
        let shown: String = name.chars().take(80).collect();
        return Err(format!(
            "`{}` in it is no name that a release has",
            crate::screen::safe(&shown)
        ));
    }
    Ok(name.to_owned())
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::{Compression, write::GzEncoder};

    use super::*;

    fn header(name: &str, size: usize, kind: u8) -> Vec<u8> {
        let mut header = vec![0; BLOCK];
        header[..name.len()].copy_from_slice(name.as_bytes());
        header[124..135].copy_from_slice(format!("{size:011o}").as_bytes());
        header[156] = kind;
        header[257..263].copy_from_slice(b"ustar\0");
        header[148..156].copy_from_slice(b"        ");
        let sum: u64 = header.iter().map(|byte| u64::from(*byte)).sum();
        header[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
        header
    }

    fn entry(name: &str, kind: u8, content: &[u8]) -> Vec<u8> {
        let mut entry = header(name, content.len(), kind);
        entry.extend_from_slice(content);
        entry.resize(entry.len().next_multiple_of(BLOCK), 0);
        entry
    }

    fn packed(entries: &[Vec<u8>]) -> Vec<u8> {
        let mut tar = entries.concat();
        tar.resize(tar.len() + 2 * BLOCK, 0);
        gzip(&tar)
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    #[track_caller]
    fn refused(entries: &[Vec<u8>], part: &str) {
        let why = unpack(&packed(entries)).unwrap_err();
        assert!(why.contains(part), "{why}");
    }

    fn root() -> Vec<u8> {
        entry("crs-4/crs-setup.conf.example", b'0', b"setup")
    }

    #[test]
    fn the_files_of_the_release_are_found_below_their_root() {
        let long = "crs-4/rules/REQUEST-901-INITIALIZATION.conf";
        let pax = format!("{} path={long}\n", " path=\n".len() + long.len() + 2);
        let files = unpack(&packed(&[
            entry("g", b'g', b"22 comment=anything...\n"),
            entry("crs-4/", b'5', b""),
            root(),
            entry("crs-4/tests/crs-setup.conf.example", b'0', b"other"),
            entry("x", b'x', pax.as_bytes()),
            entry("cut", b'0', b"SecRule"),
            entry("crs-4/LICENSE", b'2', b""),
            entry("crs-4/README.md", b'0', &[b'a'; 1000]),
        ]))
        .unwrap();
        let names: Vec<_> = files.keys().map(String::as_str).collect();
        assert_eq!(
            names,
            [
                "crs-setup.conf.example",
                "rules/REQUEST-901-INITIALIZATION.conf"
            ]
        );
        assert_eq!(files["crs-setup.conf.example"], b"setup");
        assert_eq!(files["rules/REQUEST-901-INITIALIZATION.conf"], b"SecRule");
    }

    #[test]
    fn what_leads_outside_is_refused() {
        for name in [
            "../crs-setup.conf.example",
            "/etc/crs-setup.conf.example",
            "a/../../LICENSE",
            "a//LICENSE",
            "a\\..\\LICENSE",
        ] {
            refused(
                &[root(), entry(name, b'0', b"")],
                "no name that a release has",
            );
        }
        let evil = entry("x", b'L', b"../../etc/passwd\0");
        refused(
            &[root(), evil, entry("cut", b'0', b"")],
            "no name that a release has",
        );
    }

    #[test]
    fn links_are_not_followed() {
        for kind in [b'1', b'2', b'3', b'4', b'6'] {
            let files = unpack(&packed(&[root(), entry("crs-4/LICENSE", kind, b"")])).unwrap();
            assert_eq!(files.len(), 1);
        }
    }

    #[test]
    fn what_is_damaged_ambiguous_or_no_archive_is_refused() {
        refused(&[root(), root()], "twice");
        refused(&[entry("crs-4/LICENSE", b'0', b"")], "holds no `crs-setup");
        refused(
            &[entry("x", b'x', b"99 path=a\n"), root()],
            "extended header",
        );
        refused(&[entry("x", b'x', b"9 size=5\n"), root()], "too large");
        let mut damaged = root();
        damaged[0] = b'X';
        refused(&[damaged], "damaged");
        assert!(unpack(b"").is_err());
        assert!(unpack(b"<html>").is_err());
        assert!(unpack(&gzip(b"not a tar")).is_err());
        // Without its end it is not known to be whole.
        assert!(unpack(&gzip(&root())).unwrap_err().contains("breaks off"));
        let whole = packed(&[root()]);
        for end in 0..whole.len() - 1 {
            assert!(unpack(&whole[..end]).is_err(), "{end}");
        }
    }

    #[test]
    fn what_unpacks_without_end_is_refused() {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        let zeros = vec![0; 1 << 20];
        for _ in 0..=(MAX_UNPACKED >> 20) {
            encoder.write_all(&zeros).unwrap();
        }
        let why = unpack(&encoder.finish().unwrap()).unwrap_err();
        assert!(why.contains("unpacks to more"), "{why}");
        let large = entry("crs-4/LICENSE", b'0', &vec![b'a'; MAX_FILE + 1]);
        refused(&[root(), large], "too large");
    }
}
