//! The C libinjection as a program of its own, compiled where a C compiler and the library are.

use std::{
    io::{Read, Write},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
};

/// For a shared library: where it and what it needs are found when the program starts.
fn beside(library: &str) -> Option<String> {
    let folder = Path::new(library).parent()?.to_str()?;
    library
        .contains(".so")
        .then(|| format!("-Wl,-rpath,{folder},--allow-shlib-undefined"))
}

/// What the C library says of a value.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Answer {
    pub(crate) sqli: Option<String>,
    pub(crate) xss: bool,
}

/// The program.
pub(crate) struct Oracle {
    program: PathBuf,
    /// libinjection before 3.10 takes any attribute that begins with `on` for an event; those since
    /// list the events.
    pub(crate) lists_events: bool,
    /// libinjection 4 skips a number with an empty exponent, as MySQL does, and knows `IIF`.
    pub(crate) skips_exponents: bool,
}

impl Oracle {
    /// Builds it, under a name of its own since tests run at once. Debian's `libmodsecurity-dev` contains the library; `FORTRESS_LIBINJECTION` names
    /// another one.
    pub(crate) fn build(name: &str) -> Option<Self> {
        let program =
            Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("libinjection-oracle-{name}"));
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/injection/oracle.c");
        let libraries = super::option("FORTRESS_LIBINJECTION")
            .into_iter()
            .chain(["-l:libmodsecurity.a", "-lmodsecurity"].map(str::to_owned));
        for library in libraries {
            let built = Command::new("cc")
                .args(["-O2", "-o"])
                .args([&program, &source])
                .arg(&library)
                .args(beside(&library))
                .stderr(Stdio::null())
                .status();
            if built.is_ok_and(|status| status.success()) {
                return Some(Self::asked(program));
            }
        }
        assert!(
            super::option("FORTRESS_REQUIRE_ALL").as_deref() != Some("1"),
            "no C compiler, or no C libinjection: install gcc and libmodsecurity-dev"
        );
        println!(
            "skipped: no C compiler, or no C libinjection (install gcc and libmodsecurity-dev)"
        );
        None
    }

    /// With what tells the library's versions apart.
    fn asked(program: PathBuf) -> Self {
        let mut oracle = Self {
            program,
            lists_events: false,
            skips_exponents: false,
        };
        let answers = oracle.ask(&[b"a onzzzz=1".to_vec(), b"1.e(ascii(1.e(1))) or 1".to_vec()]);
        oracle.lists_events = !answers[0].xss;
        oracle.skips_exponents = answers[1].sqli.is_some();
        oracle
    }

    /// Its answers, in order.
    pub(crate) fn ask(&self, texts: &[Vec<u8>]) -> Vec<Answer> {
        let mut child = Command::new(&self.program)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the oracle starts");
        let mut questions = Vec::new();
        for text in texts {
            let length = u32::try_from(text.len()).expect("a value is short");
            questions.extend_from_slice(&length.to_le_bytes());
            questions.extend_from_slice(text);
        }
        let mut input = child.stdin.take().expect("stdin is a pipe");
        let writer = thread::spawn(move || input.write_all(&questions));
        let mut bytes = Vec::new();
        let mut output = child.stdout.take().expect("stdout is a pipe");
        output.read_to_end(&mut bytes).expect("the oracle answers");
        writer
            .join()
            .expect("the writer ends")
            .expect("the oracle reads");
        assert!(child.wait().expect("the oracle ends").success());
        let (answers, rest) = bytes.as_chunks::<10>();
        assert!(rest.is_empty() && answers.len() == texts.len());
        answers
            .iter()
            .map(|[is_sqli, fingerprint @ .., is_xss]| Answer {
                sqli: (*is_sqli == 1).then(|| {
                    let letters = fingerprint.iter().take_while(|&&byte| byte != 0);
                    letters.map(|&byte| char::from(byte)).collect()
                }),
                xss: *is_xss == 1,
            })
            .collect()
    }
}
