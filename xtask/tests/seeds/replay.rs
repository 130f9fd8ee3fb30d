//! Replays the seeds of every fuzz target, whole and with each of their bytes cut off or changed,
//! through the functions that the fuzzer calls.

use std::{fs, path::Path};

#[path = "../../../fuzz/entries.rs"]
mod entries;

/// Beyond this a seed is replayed whole only: the neighbours are quadratic in its length.
const SHORT: usize = 600;

#[track_caller]
fn replay(target: &str, entry: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../fuzz/seeds")
        .join(target);
    let mut seeds = 0;
    for file in
        fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
    {
        let path = file.unwrap().path();
        let seed = fs::read(&path).unwrap();
        seeds += 1;
        entry(&seed);
        if seed.len() > SHORT {
            continue;
        }
        for at in 0..seed.len() {
            entry(&seed[..at]);
            for changed in [0x00, b'\n', b' ', b'"', seed[at] ^ 0x20, 0xFF] {
                let mut neighbour = seed.clone();
                neighbour[at] = changed;
                entry(&neighbour);
            }
        }
    }
    assert!(seeds >= 5, "{target} has {seeds} seeds");
}

macro_rules! targets {
    ($($target:ident)+) => {
        $(#[test] fn $target() { replay(stringify!($target), entries::$target); })+

        /// A target that is not replayed would be fuzzed by nobody.
        #[test]
        fn every_target_is_replayed() {
            let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/targets");
            let mut files: Vec<String> = fs::read_dir(folder)
                .unwrap()
                .map(|file| file.unwrap().path().file_stem().unwrap().to_str().unwrap().to_owned())
                .collect();
            files.sort();
            let mut replayed = vec![$(stringify!($target)),+];
            replayed.sort_unstable();
            assert_eq!(files, replayed);
        }
    };
}

targets! {
    request_head
    response_head
    chunked
    client_hello
    path
    login_log
    proxy_protocol
    browser_login
    parameters
    json_body
    openapi_load
    yaml_config
    jws
    dpop_proof
    introspection
    certificate
    message_signature
    shared_secrets
    seclang
    waf_multipart
    waf_json
    waf_xml
    transformations
    waf_urlencoded
    waf_injection
    waf_engine
    waf_core_rules
}
