//! Outputs of each tool, as they are printed, and what they come to.

use crate::{Digest, Options, Reader, read};
use contract::checks::Tests;
use contract::found::{Ending, Severity};

/// `severity file:line:column code message` of each finding; `ending name ms` of each test.
fn found(digest: &Digest) -> (Vec<String>, Vec<String>) {
    let findings = digest.findings.iter().map(|finding| {
        let place =
            [finding.line, finding.column].iter().flatten().map(|n| format!(":{n}")).collect::<String>();
        let file = finding.file.as_deref().unwrap_or("-");
        let code = finding.code.as_deref().unwrap_or("-");
        format!("{} {file}{place} {code} {}", crate::severity(finding.severity), finding.message)
    });
    let tests = digest.ends.iter().map(|test| {
        let ms = test.ms.map_or(String::new(), |ms| format!(" {ms}"));
        format!("{} {}{ms}", crate::ending(test.ending), test.name)
    });
    (findings.collect(), tests.collect())
}

#[test]
fn every_pattern_of_the_registry_compiles() {
    assert!(crate::parsers::BUILTIN.rules.len() > 80);
}

/// A command, what it printed, and the findings and tests in that.
type Case = (&'static str, &'static str, &'static [&'static str], &'static [&'static str]);

const CASES: &[Case] = &[
    (
        "cargo test",
        "error[E0425]: cannot find value `x`\n  --> src/lib.rs:3:5\n   |\nwarning: unused variable: `y`\n --> src/a.rs:1:9\n\nerror: could not compile `a` (lib) due to 1 previous error\ntest a::b ... ok\ntest a::c ... FAILED\ntest d ... ignored\nthread 'a::c' panicked at src/lib.rs:9:5:\nboom\n",
        &[
            "error src/lib.rs:3:5 E0425 cannot find value `x`",
            "warning src/a.rs:1:9 - unused variable: `y`",
            "error src/lib.rs:9:5 - boom",
        ],
        &["passed a::b", "failed a::c", "skipped d"],
    ),
    (
        "cargo nextest run",
        "        PASS [   0.005s] a tests::one\n        FAIL [   1.250s] (2/2) a tests::two\n     Summary [   1.3s] 2 tests run: 1 passed, 1 failed, 0 skipped\n",
        &[],
        &["passed a tests::one 5", "failed a tests::two 1250"],
    ),
    (
        "",
        r#"{"reason":"compiler-message","message":{"level":"error","message":"mismatched types","code":{"code":"E0308"},"spans":[{"is_primary":true,"file_name":"src/a.rs","line_start":2,"column_start":7}]}}"#,
        &["error src/a.rs:2:7 E0308 mismatched types"],
        &[],
    ),
    (
        "go vet ./...",
        "# example.org/x\n./a.go:12:5: undefined: y\nvet: ./b.go:3:1: expected ;\n=== RUN   TestA\n    a_test.go:7: got 1, want 2\n--- FAIL: TestA (0.02s)\n--- PASS: TestB (1.00s)\npanic: runtime error: index out of range\n",
        &[
            "error ./a.go:12:5 - undefined: y",
            "error ./b.go:3:1 - expected ;",
            "error a_test.go:7 - got 1, want 2",
            "error - - runtime error: index out of range",
        ],
        &["failed TestA 20", "passed TestB 1000"],
    ),
    (
        "go test -json",
        "{\"Action\":\"run\",\"Package\":\"x\",\"Test\":\"TestA\"}\n{\"Action\":\"fail\",\"Package\":\"x\",\"Test\":\"TestA\",\"Elapsed\":0.5}\n",
        &[],
        &["failed TestA 500"],
    ),
    (
        "npm ci",
        "npm warn deprecated glob@7: old\nnpm error code ERESOLVE\nnpm error ERESOLVE unable to resolve\n",
        &["warning - deprecated glob@7: old", "error - ERESOLVE ERESOLVE"],
        &[],
    ),
    (
        "npx jest",
        "FAIL src/a.test.js\n  sums\n    ✓ adds (2 ms)\n    ✕ subtracts (3 ms)\n\n  ● sums › subtracts\n\nTests:       1 failed, 1 passed, 2 total\n",
        &[],
        &["passed adds 2", "failed subtracts 3"],
    ),
    (
        "vitest run",
        " ❯ src/a.test.ts (2 tests | 1 failed) 5ms\n   × sums > subtracts 3ms\n FAIL  src/a.test.ts > sums > subtracts\n      Tests  1 failed | 5 passed (6)\n",
        &[],
        &["failed sums > subtracts 3"],
    ),
    (
        "pytest -v",
        "tests/test_a.py::test_one PASSED [ 50%]\ntests/test_a.py::test_two[a b] FAILED [100%]\n>       assert 1 == 2\nE       assert 1 == 2\n\ntests/test_a.py:12: AssertionError\nFAILED tests/test_a.py::test_two[a b] - assert 1 == 2\n=== 1 failed, 1 passed in 0.12s ===\n",
        &["error tests/test_a.py:12 AssertionError assert 1 == 2"],
        &["passed tests/test_a.py::test_one", "failed tests/test_a.py::test_two[a b]"],
    ),
    (
        "python x.py",
        "Traceback (most recent call last):\n  File \"x.py\", line 3, in <module>\n    f()\n  File \"y.py\", line 9, in f\n    raise ValueError('no')\nValueError: no\n",
        &["error y.py:9 ValueError no"],
        &[],
    ),
    (
        "tsc",
        "src/a.ts(3,7): error TS2322: Type 'x' is bad.\nsrc/b.ts:4:1 - error TS1005: ';' expected.\n",
        &["error src/a.ts:3:7 TS2322 Type 'x' is bad.", "error src/b.ts:4:1 TS1005 ';' expected."],
        &[],
    ),
    (
        "eslint .",
        "/home/a/src/x.js\n  12:5  error    'y' is not defined  no-undef\n  13:1  warning  Unexpected console\n\n✖ 2 problems (1 error, 1 warning)\n",
        &[
            "error /home/a/src/x.js:12:5 no-undef 'y' is not defined",
            "warning /home/a/src/x.js:13:1 - Unexpected console",
        ],
        &[],
    ),
    (
        "biome check",
        "src/a.ts:3:7 lint/style/useConst ━━━━━━━━\n\n  ! This let declares a variable.\n\nsrc/b.ts format ━━━━━━━\n\n  × Formatter would have printed.\n",
        &[
            "warning src/a.ts:3:7 lint/style/useConst This let declares a variable.",
            "error src/b.ts format Formatter would have printed.",
        ],
        &[],
    ),
    (
        "gcc -c a.c",
        "a.c: In function 'main':\na.c:3:5: error: expected ';' before '}' token\na.c:2:7: warning: unused variable 'x' [-Wunused-variable]\n/usr/bin/ld: a.o: in function `main':\na.c:(.text+0x5): undefined reference to `f'\ncollect2: error: ld returned 1 exit status\n",
        &[
            "error a.c:3:5 - expected ';' before '}' token",
            "warning a.c:2:7 -Wunused-variable unused variable 'x'",
            "error a.c - undefined reference to `f'",
        ],
        &[],
    ),
    (
        "make",
        "make[1]: *** [Makefile:12: all] Error 2\nCMake Error at CMakeLists.txt:3 (find_package):\n  Could not find X\n",
        &["error Makefile:12 - all] Error 2", "error CMakeLists.txt:3 - Could not find X"],
        &[],
    ),
    (
        "git merge x",
        "Auto-merging a\nCONFLICT (content): Merge conflict in a\nfatal: not a git repository\n ! [rejected]        main -> main (fetch first)\n",
        &[
            "error - content Merge conflict in a",
            "error - - not a git repository",
            "error - rejected main -> main (fetch first)",
        ],
        &[],
    ),
    (
        "mvn test",
        "[ERROR] /x/A.java:[27,122] incompatible types\n[ERROR] one.two(T)  Time elapsed: 0.461 s  <<< FAILURE!\n[ERROR] Tests run: 469, Failures: 1, Errors: 0, Skipped: 2\n",
        &["error /x/A.java:27:122 - incompatible types"],
        &["failed one.two(T) 461"],
    ),
];

#[test]
fn each_tool_is_understood() {
    for (command, output, findings, tests) in CASES {
        let digest = read(output.as_bytes(), command);
        let (found_findings, found_tests) = found(&digest);
        assert_eq!(found_findings, *findings, "{command}\n{output}");
        assert_eq!(found_tests, *tests, "{command}\n{output}");
    }
}

#[test]
fn each_runner_sums_up() {
    let cases = [
        (
            "test result: ok. 5 passed; 0 failed; 1 ignored; 0 measured\n   Doc-tests x\ntest result: FAILED. 2 passed; 3 failed; 0 ignored",
            (7, 3, 1),
        ),
        ("     Summary [   0.105s] 9 tests run: 7 passed (1 slow), 2 failed, 4 skipped", (7, 2, 4)),
        ("==== 3 failed, 12 passed, 2 skipped, 1 xfailed in 0.12s ====", (12, 3, 3)),
        ("5 passed in 1.20s", (5, 0, 0)),
        ("Test Suites: 1 passed, 1 total\nTests:       1 failed, 2 skipped, 5 passed, 8 total", (5, 1, 2)),
        (" Test Files  1 passed (1)\n      Tests  1 failed | 5 passed (6)", (5, 1, 0)),
        ("  12 passing (30ms)\n  1 pending\n  2 failing", (12, 2, 1)),
        ("# tests 4\n# pass 3\n# fail 1\n# skipped 0", (3, 1, 0)),
        ("=== RUN TestA\n--- PASS: TestA (0.00s)\n    --- FAIL: TestB/x (0.00s)\n--- SKIP: TestC", (1, 1, 1)),
        ("[ERROR] Tests run: 469, Failures: 1, Errors: 0, Skipped: 2", (466, 1, 2)),
    ];
    for (output, (passed, failed, ignored)) in cases {
        assert_eq!(read(output.as_bytes(), "").tests, Some(Tests { passed, failed, ignored }), "{output}");
    }
    for output in ["ok  \texample.org/x\t0.1s", "all passed"] {
        assert_eq!(read(output.as_bytes(), "").tests, None, "{output}");
    }
}

#[test]
fn the_error_in_the_last_of_a_million_lines_is_shown() {
    let mut reader = Reader::new(Options::default());
    for n in 0..1_000_000 / 1000 {
        let lines: String = (0..1000).map(|m| format!("step {n} of something {m} was done\n")).collect();
        reader.push(lines.as_bytes(), &mut |_| ());
    }
    reader.push(b"src/a.c:7:3: error: the last line", &mut |_| ());
    let digest = reader.finish(&mut |_| ());
    assert_eq!((digest.lines, digest.errors, digest.truncated), (1_000_001, 1, true));
    assert!(digest.text.ends_with("src/a.c:7:3: error: the last line\n"), "{}", digest.text);
    assert_eq!(digest.findings[0].at, 1_000_001);
    assert!(digest.text.len() <= 10 * 1024);
}

#[test]
fn errors_in_the_middle_are_shown_once() {
    let filler = |n: u64| {
        format!("compiled unit {} without anything to tell, as {}\n", "x".repeat((n % 7) as usize), n * 7919)
    };
    let mut text: String = (0..5_000).map(filler).collect();
    for _ in 0..500 {
        text.push_str("ERROR: the disk is on fire\n  at a place\n");
    }
    text.extend((0..5_000).map(filler));
    let digest = read(text.as_bytes(), "");
    let times = digest.text.matches("the disk is on fire").count();
    assert!((1..5).contains(&times), "{times}: {}", digest.text);
    assert!(digest.text.contains("[... lines "));
}

#[test]
fn a_hundred_megabytes_in_one_line_take_little_memory() {
    let mut reader = Reader::new(Options::default());
    for _ in 0..1600 {
        reader.push(&[b'x'; 64 * 1024], &mut |_| ());
    }
    reader.push(b" error: at the end", &mut |_| ());
    let digest = reader.finish(&mut |_| ());
    assert!(digest.text.ends_with("error: at the end\n") && digest.text.len() < 10 * 1024, "{}", digest.text);
    assert_eq!(digest.lines, 1);
}

#[test]
fn what_is_no_text_is_not_shown() {
    let bytes: Vec<u8> = (0..200_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let digest = read(&bytes, "");
    assert!(digest.text.len() <= 10 * 1024 && !digest.text.contains('\u{fffd}'), "{}", digest.text);
    let digest = read(b"caf\xe9: error: no\xff\n", "");
    assert_eq!(digest.text, "caf\u{fffd}: error: no\u{fffd}\n");
}

#[test]
fn codes_are_text_like_any_other() {
    let code = r"E\u001b[2J\u202e1";
    let cargo = format!(
        r#"{{"reason":"compiler-message","message":{{"level":"error","message":"m","spans":[],"code":{{"code":"{code}"}}}}}}"#
    );
    let eslint =
        format!(r#"[{{"filePath":"a.js","messages":[{{"severity":2,"ruleId":"{code}","message":"m"}}]}}]"#);
    for (command, printed) in [("cargo build", cargo), ("eslint .", eslint)] {
        let digest = read(format!("{printed}\n").as_bytes(), command);
        assert_eq!(digest.findings[0].code.as_deref(), Some("E1"), "{command}");
    }
}

#[test]
fn events_come_while_it_is_read() {
    let mut reader = Reader::new(Options { command: "cargo test".into(), ..Options::default() });
    let mut seen = Vec::new();
    reader.push(b"error[E1]: no\n --> a.rs:1:2\n", &mut |event| seen.push(event));
    assert_eq!(seen.len(), 1);
    reader.push(b"test a ... FAILED\n", &mut |event| seen.push(event));
    assert_eq!(seen.len(), 2);
    let digest = reader.finish(&mut |_| ());
    assert_eq!(digest.findings[0].severity, Severity::Error);
    assert_eq!(digest.ends[0].ending, Ending::Failed);
    assert_eq!(digest.summary(), "1 error, 0 warnings in 3 lines; tests: 0 passed, 1 failed");
}
