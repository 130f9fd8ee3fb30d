//! `fortress crs`: from a directory, an archive and a server; nothing but the release is installed,
//! and what is interrupted leaves nothing.

use std::{
    fs,
    io::{Read, Write},
    net::TcpListener,
    path::{Path, PathBuf},
    process::Command,
    thread,
};

use crate::program::{Place, shared};

/// A copy of the release that can be changed, below a directory as in its archive.
fn release(place: &Place) -> Option<PathBuf> {
    let crs = shared("crs")?;
    let copy = place.work().join("coreruleset-4.28.0");
    fs::create_dir_all(copy.join("rules")).expect("a directory");
    for name in ["LICENSE", "crs-setup.conf.example"] {
        write(&copy.join(name), &fs::read(crs.join(name)).expect("read"));
    }
    for entry in fs::read_dir(crs.join("rules")).expect("rules") {
        let entry = entry.expect("an entry");
        let bytes = fs::read(entry.path()).expect("read");
        write(&copy.join("rules").join(entry.file_name()), &bytes);
    }
    write(&copy.join("README.md"), b"not of the rules");
    Some(copy)
}

fn write(path: &Path, bytes: &[u8]) {
    fs::write(path, bytes).expect("written");
}

fn pack(place: &Place) -> PathBuf {
    let packed = Command::new("tar")
        .args(["czf", "release.tar.gz", "coreruleset-4.28.0"])
        .current_dir(place.work())
        .status()
        .expect("tar");
    assert!(packed.success());
    place.work().join("release.tar.gz")
}

/// Answers each connection with the next of these; gives the URL.
fn server(answers: Vec<Vec<u8>>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    thread::spawn(move || {
        for answer in answers {
            let (mut stream, _) = listener.accept().expect("a connection");
            let mut head = Vec::new();
            let mut byte = [0];
            while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).expect("a request") == 1 {
                head.push(byte[0]);
            }
            // Whoever has enough may close first.
            drop(stream.write_all(&answer));
        }
    });
    format!("http://{address}/release.tar.gz")
}

fn ok(body: &[u8]) -> Vec<u8> {
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}

/// What lies there besides what the test put there.
fn left(place: &Place) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(place.work())
        .expect("a directory")
        .map(|entry| entry.expect("an entry").file_name().display().to_string())
        .filter(|name| !name.starts_with("coreruleset") && name != "release.tar.gz")
        .collect();
    names.sort();
    names
}

#[test]
fn a_directory_is_installed_shown_and_mended() {
    let place = Place::new();
    assert!(
        place
            .run(&["crs", "show"])
            .expect(1)
            .out
            .contains("crs install")
    );
    let Some(from) = release(&place) else { return };
    let from = from.display().to_string();
    let shown = place
        .run(&["crs", "install", "--from", &from])
        .expect(0)
        .out;
    assert!(
        shown.contains("CRS 4.28.0 installed in crs: 52 files, "),
        "{shown}"
    );
    assert_eq!(left(&place), ["crs"]);
    assert!(!place.work().join("crs/README.md").exists());
    let json = place.run(&["crs", "show", "--json"]).expect(0).json();
    assert_eq!(json["version"], "4.28.0");
    assert_eq!(json["as_released"], true);

    let again = place
        .run(&["crs", "install", "--from", &from])
        .expect(0)
        .out;
    assert!(again.contains("installed in crs already"), "{again}");

    place.write("crs/crs-setup.conf", "# my own\n");
    place.write("crs/LICENSE", "changed\n");
    let shown = place.run(&["crs", "show"]).expect(1).out;
    assert!(shown.contains("not as released: LICENSE"), "{shown}");
    let refused = place
        .run(&["crs", "install", "--from", &from])
        .expect(3)
        .err;
    assert!(refused.contains("install --force"), "{refused}");
    let json = place
        .run(&["crs", "install", "--from", &from, "--force", "--json"])
        .expect(0)
        .json();
    assert_eq!(json["kept"][0], "crs-setup.conf");
    assert_eq!(json["changed"], true);
    let shown = place.run(&["crs", "show"]).expect(0).out;
    assert!(shown.contains("of your own: crs-setup.conf"), "{shown}");
    assert_eq!(left(&place), ["crs"]);
}

#[test]
fn an_archive_is_installed_where_it_is_told() {
    let place = Place::new();
    if release(&place).is_none() {
        return;
    }
    let archive = pack(&place).display().to_string();
    let shown = place
        .run(&["crs", "install", "--from", &archive, "--to", "rules-of-crs"])
        .expect(0)
        .out;
    assert!(
        shown.contains("waf: { directory: rules-of-crs }"),
        "{shown}"
    );
    assert!(
        place
            .work()
            .join("rules-of-crs/rules/unix-shell.data")
            .exists()
    );
    place.run(&["crs", "show", "rules-of-crs"]).expect(0);
}

#[test]
fn a_download_follows_its_redirect_and_is_proven() {
    let place = Place::new();
    if release(&place).is_none() {
        return;
    }
    let bytes = fs::read(pack(&place)).expect("read");
    let redirect = b"HTTP/1.1 302 Found\r\nLocation: /elsewhere?a=b%3Bc\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    let url = server(vec![redirect.to_vec(), ok(&bytes)]);
    let shown = place.run(&["crs", "install", "--url", &url]).expect(0).out;
    assert!(shown.contains("CRS 4.28.0 installed in crs"), "{shown}");
    place.run(&["crs", "show"]).expect(0);
}

#[test]
fn what_is_not_the_release_leaves_nothing() {
    let place = Place::new();
    let Some(copy) = release(&place) else { return };
    let whole = fs::read(pack(&place)).expect("read");
    let rules = copy.join("rules/REQUEST-942-APPLICATION-ATTACK-SQLI.conf");
    let mut changed = fs::read(&rules).expect("read");
    changed.extend_from_slice(b"SecRuleEngine Off\n");
    write(&rules, &changed);
    let changed = fs::read(pack(&place)).expect("read");
    fs::remove_file(&rules).expect("removed");
    let lacking = fs::read(pack(&place)).expect("read");
    let mut damaged = whole.clone();
    let middle = damaged.len() / 2;
    damaged[middle] ^= 1;
    let mut broken_off = ok(&whole);
    broken_off.truncate(broken_off.len() / 2);
    let not_found = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    let to_plain_text = b"HTTP/1.1 302 Found\r\nLocation: http://192.0.2.1/a\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    for (answer, why) in [
        (
            ok(&changed),
            "REQUEST-942-APPLICATION-ATTACK-SQLI.conf` has another content",
        ),
        (
            ok(&lacking),
            "REQUEST-942-APPLICATION-ATTACK-SQLI.conf` is missing",
        ),
        (ok(&damaged), ""),
        (ok(b"<html>sign in</html>"), "no whole gzip file"),
        (broken_off, "cannot download"),
        (not_found.to_vec(), "status 404"),
        (to_plain_text.to_vec(), "no https URL"),
    ] {
        let url = server(vec![answer]);
        let refused = place.run(&["crs", "install", "--url", &url]).expect(3).err;
        assert!(refused.contains(why), "{why}: {refused}");
        assert!(left(&place).is_empty(), "{:?}", left(&place));
    }
    let from = copy.display().to_string();
    let refused = place
        .run(&["crs", "install", "--from", &from])
        .expect(3)
        .err;
    assert!(
        refused.contains("waf: { rules: crs, directory: DIR }"),
        "{refused}"
    );
    let json = place
        .run(&["crs", "install", "--json", "--url", "http://192.0.2.1/a"])
        .expect(3)
        .json();
    let error = json["error"].as_str().expect("a message");
    assert!(error.contains("is not an https URL"), "{error}");
    assert!(left(&place).is_empty());
}
