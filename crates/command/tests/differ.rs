//! What real shells execute, beside what the reader says a line would run. The programs are stubs that write down how
//! they were called; a line with a doubt says nothing, for it is asked about. Start at [`compare`].

use command::{Place, parts};
use contract::policy::Arg;
use proptest::prelude::*;
use proptest::test_runner::{RngAlgorithm, TestRng, TestRunner};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};

/// Programs of the system that lines may use; they run stubs or nothing.
const REAL: [&str; 7] = ["env", "nice", "timeout", "xargs", "bash", "sh", "cat"];
/// Ends a call in the log.
const END: &str = "(end)";

/// A place with stubs in front of everything.
struct Stage {
    dir: tempfile::TempDir,
    runs: AtomicUsize,
}

impl Stage {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        for name in ["bin", "home", "work", "work/bin", "log"] {
            std::fs::create_dir(at(name)).unwrap();
        }
        let stub = format!("#!/bin/sh\nprintf '%s\\0' \"$0\" \"$@\" '{END}' >> \"$OUT\"\n");
        for name in ["bin/a", "bin/b", "bin/touch", "work/bin/a", "work/x"] {
            std::fs::write(at(name), &stub).unwrap();
            std::fs::set_permissions(at(name), std::fs::Permissions::from_mode(0o755)).unwrap();
        }
        for name in REAL {
            let real =
                ["/bin", "/usr/bin"].map(|dir| Path::new(dir).join(name)).into_iter().find(|it| it.exists());
            symlink(real.unwrap_or_else(|| panic!("{name} is not installed")), at("bin").join(name)).unwrap();
        }
        Self { dir, runs: AtomicUsize::new(0) }
    }

    fn at(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Every stub that a shell ran for this line, with its arguments.
    fn ran(&self, line: &str) -> Vec<Vec<String>> {
        let log = self.at(&format!("log/{}", self.runs.fetch_add(1, Ordering::Relaxed)));
        Command::new("/usr/bin/timeout")
            .args(["-k", "1", "10", "bash", "-c", line])
            .current_dir(self.at("work"))
            .env_clear()
            .env("PATH", self.at("bin"))
            .env("HOME", self.at("home"))
            .env("OUT", &log)
            .env("FUNCNEST", "20")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .unwrap();
        let text = String::from_utf8_lossy(&std::fs::read(&log).unwrap_or_default()).into_owned();
        let stubs = format!("{}/", self.at("bin").display());
        let end = format!("{END}\0");
        let calls = text.split_terminator(&end);
        let words = |call: &str| {
            let mut words: Vec<String> = call.split_terminator('\0').map(str::to_owned).collect();
            words[0] = words[0].strip_prefix(&stubs).unwrap_or(&words[0]).to_owned();
            words
        };
        calls.map(words).collect()
    }

    /// Is all that runs among the parts? `None`: there is a doubt. The error: what ran and what was read.
    fn compare(&self, line: &str) -> Result<Option<usize>, String> {
        let text = |name: &str| self.at(name).display().to_string();
        let place = Place { root: text("work"), home: text("home") };
        let read = parts(line, &place, &place.root);
        if read.iter().any(|part| !part.doubts.is_empty()) {
            return Ok(None);
        }
        let ran = self.ran(line);
        for call in &ran {
            if !read.iter().any(|part| fits(&part.words, call)) {
                let words: Vec<_> = read.iter().map(|part| &part.words).collect();
                return Err(format!("{line:?}\n  ran  {call:?}\n  read {words:?}"));
            }
        }
        Ok(Some(ran.len()))
    }
}

fn fits(words: &[Arg], call: &[String]) -> bool {
    match words.split_first() {
        None => call.is_empty(),
        Some((Arg::Known(text), rest)) => call.first() == Some(text) && fits(rest, &call[1..]),
        Some((Arg::One(_), rest)) => !call.is_empty() && fits(rest, &call[1..]),
        Some((Arg::Many(_), rest)) => (0..=call.len()).any(|n| fits(rest, &call[n..])),
    }
}

/// The same line as the text of another shell.
fn within(shell: &str, line: &str) -> String {
    format!("{shell} -c '{}'", line.replace('\'', "'\\''"))
}

/// Lines that must be read as they run; what is behind `?` may be a doubt.
const LINES: &[&str] = &[
    "a | touch x &>f b",
    "a ~\"\" ~''/x ~/x\"\"",
    "a",
    "a x 'y z' \"w\"",
    "a; b && a || b",
    "a | b x | cat",
    "a $(b 1) `b 2` \"$(b 3)\"",
    "if a; then b; else a x; fi",
    "for i in 1 2; do a $i; done",
    "case x in y) a;; *) b;; esac",
    "{ a; b; }; (a; b)",
    "f() { a in; }; f",
    "a <<EOF\n$(b)\nEOF\nb behind",
    "a <<'EOF'\n$(b)\nEOF\nb behind",
    "a <<-EOF\n\tx\n\tEOF\nb behind",
    "a <<EOF; b <<OTHER\nx\nEOF\ny\nOTHER\na z",
    "cat <<< $(a)",
    "cat <(a)",
    "a \\\n x",
    "a x#y #z; b",
    "a {x,y} *",
    "a $'\\x41\\'; b'",
    "a \"x $(b \"y\") z\"",
    "a ${x:-$(b)} ${x:-y z}",
    "a ~ ~/x k=~/y",
    "env LANG=C a x",
    "env -S 'a x' y",
    "nice -n 1 a x",
    "timeout 5 a x",
    "xargs a x",
    "eval 'a;' b",
    "bash -c 'a; b $0' x",
    "sh -c 'a | b'",
    "a \"$(cat <<EOF\nx\nEOF\n)\"",
    "x=(1 2 $(a)); b",
    "[[ -n $(a) ]] && b",
    "? a $'\\c'; touch pwned #'",
    "? a=; x='a[$(touch pwned)]'; a ${!x}",
    "? y='$(touch pwned)'; a ${x:-${y@P}}",
    "? y='b[$(touch pwned)]'; a ${x:-$((y))}",
    "? y='b[$(touch pwned)]'; z=(1 2); a ${z[@]:y}",
    "? y='b[$(touch pwned)]'; a ${@:y}",
    "? RANDOM='b[$(touch pwned)]'; a",
    "? y='b[$(touch pwned)]'; echo {z[y]}>f",
    "? for PATH in ./bin; do a; done",
    "? : {PATH}>f; a",
    "? : ${IFS:=x}; a",
    "? cat <<EOF\nEO\\\nF\ntouch pwned\nEOF",
    "? cat <<EOF\nx\\\nEOF\ntouch pwned\nEOF",
    "? echo <<EOF $(true\ntouch x\nEOF\n)\nx\nEOF",
    "? echo <<EOF $(( $(true\ntouch pwned\nEOF\n) ))\nx\nEOF",
    "? env -S 'a x' touch; b",
    "? env -S 'a\\_x'",
    "? sh -c \"a $'\\\\'; touch pwned #'\"",
    "? sh -c 'function f {\ntouch pwned\n}'",
    "? xargs --replace a {}",
];

#[test]
fn what_runs_was_read() {
    let stage = Stage::new();
    let (mut wrong, mut seen) = (Vec::new(), 0);
    for line in LINES {
        let (may_doubt, line) = line.strip_prefix("? ").map_or((false, *line), |line| (true, line));
        match stage.compare(line) {
            Ok(None) if !may_doubt => wrong.push(format!("{line:?}\n  there is a doubt about it")),
            Ok(ran) => seen += ran.unwrap_or_default(),
            Err(why) => wrong.push(why),
        }
        wrong.extend(stage.compare(&within("sh", line)).err());
    }
    assert!(wrong.is_empty(), "{} of {} lines:\n{}", wrong.len(), LINES.len(), wrong.join("\n"));
    assert!(seen > 50, "only {seen} programs ran");
}

#[test]
fn pieces_in_any_order() {
    let stage = Stage::new();
    let pieces = proptest::collection::vec(proptest::sample::select(PIECES), 1..12);
    // Every day the same ones: what shells do in corners is known by the long form only.
    let mut runner = match corpus::long() {
        true => TestRunner::new(corpus::cases(60)),
        false => {
            TestRunner::new_with_rng(corpus::cases(60), TestRng::deterministic_rng(RngAlgorithm::ChaCha))
        }
    };
    let done = runner.run(&pieces, |pieces| {
        let line = pieces.concat();
        for line in [within("sh", &line), line] {
            stage.compare(&line).map_err(TestCaseError::fail)?;
        }
        Ok(())
    });
    done.unwrap_or_else(|error| panic!("{error}"));
}

const PIECES: &[&str] = &[
    "a ",
    "a ",
    "b ",
    "touch x ",
    " ",
    ";",
    "; ",
    "&& ",
    "|| ",
    "| ",
    "& ",
    "\n",
    "\n",
    "'",
    "\"",
    "\\",
    "\\\n",
    "$(",
    "$(a ",
    ")",
    ") ",
    "`",
    "(",
    "{ ",
    "; }",
    "<<E\n",
    "\nE\n",
    "E",
    "<<'E' ",
    "<<-E ",
    "<<E ",
    "$'",
    "\\c",
    "\\'",
    "$x",
    "\"$x\"",
    "${x:-",
    "}",
    "x=b ",
    "x=a;",
    "$((",
    "))",
    "<<<",
    ">f ",
    "2>&1 ",
    "#",
    "if ",
    "; then ",
    "; fi",
    "for x in ",
    "; do ",
    "; done",
    "case a in a) ",
    ";; esac",
    "eval ",
    "nice ",
    "env ",
    "env -S ",
    "sh -c ",
    "bash -c ",
    "xargs ",
    "[[ ",
    " ]] ",
    "{a,b} ",
    "~",
    "*",
    "=~",
    "${!x} ",
    "${x@P} ",
    "! ",
    "time ",
    "<(",
    "|& ",
    "&>f ",
    "=",
    "x=( ",
    "1",
];
