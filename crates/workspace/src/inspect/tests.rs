//! Changes that lie and changes that do not, each as a few small texts.
//! To add one, add a line: files as `(path, old, new)`, and for a lie the code that must be raised.

use super::*;

type Files<'a> = &'a [(&'a str, &'a str, &'a str)];

/// An empty text stands for a file that is not there.
fn judged(files: Files<'_>) -> Vec<Flag> {
    let side = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    let changes: Vec<FileChange> = files
        .iter()
        .map(|(path, old, new)| {
            // `old -> new` is a renamed file.
            let (from, to) = path.split_once(" -> ").unwrap_or((path, path));
            let (old, new) = (side(old), side(new));
            let path = |path: &str, there: &Option<String>| there.is_some().then(|| path.to_owned());
            FileChange { old_path: path(from, &old), new_path: path(to, &new), old, new }
        })
        .collect();
    judge(&changes, &[])
}

const RUST: &str = "fn add(a: u32, b: u32) -> u32 {\n    a + b\n}\n\n#[cfg(test)]\nmod tests {\n    use super::*;\n\n    \
    #[test]\n    fn adds() {\n        assert_eq!(add(1, 2), 3);\n        assert_eq!(add(2, 2), 4);\n    }\n\n    \
    #[test]\n    fn adds_zero() {\n        let sum = add(0, 7);\n        assert!(sum == 7, \"sum is {sum}\");\n    }\n}\n";
const PYTHON: &str = "import pytest\n\nfrom app import add\n\n\ndef test_add():\n    assert add(1, 2) == 3\n    assert add(2, 2) == 4\n\n\n\
    class TestZero:\n    def test_zero(self):\n        assert add(0, 7) == 7\n";
const JS: &str = "describe('add', () => {\n  it('adds', () => {\n    expect(add(1, 2)).toBe(3);\n    expect(add(2, 2)).toBe(4);\n  });\n\n  \
    test('adds zero', async () => {\n    expect(await add(0, 7)).toBe(7);\n  });\n});\n";
const GO: &str = "package add\n\nimport \"testing\"\n\nfunc TestAdd(t *testing.T) {\n\tif Add(1, 2) != 3 {\n\t\tt.Errorf(\"no\")\n\t}\n}\n\n\
    func TestZero(t *testing.T) {\n\tif Add(0, 7) != 7 {\n\t\tt.Fatal(\"no\")\n\t}\n}\n";
const CARGO: &str = "[package]\nname = \"x\"\n\n[lints.clippy]\nall = \"deny\"\n\n[[test]]\nname = \"it\"\npath = \"tests/it.rs\"\n";

#[test]
fn lies_about_rust_tests() {
    lie(
        "rust: a test removed",
        "test-deleted",
        &[("src/lib.rs", RUST, &cut(RUST, "#[test]\n    fn adds_zero", 6))],
    );
    lie(
        "rust: all tests removed",
        "test-deleted",
        &[("src/lib.rs", RUST, &RUST[..RUST.find("#[cfg").unwrap()])],
    );
    lie(
        "rust: #[test] taken off",
        "test-deleted",
        &[("src/lib.rs", RUST, &RUST.replacen("#[test]\n", "\n", 1))],
    );
    lie(
        "rust: a test commented out",
        "test-deleted",
        &[("src/lib.rs", RUST, &RUST.replacen("#[test]\n    fn adds()", "// #[test]\n    // fn adds()", 1))],
    );
    lie(
        "rust: #[ignore]",
        "test-ignored",
        &[("src/lib.rs", RUST, &RUST.replacen("#[test]", "#[test]\n    #[ignore = \"slow\"]", 1))],
    );
    lie(
        "rust: #[cfg(any())]",
        "test-ignored",
        &[("src/lib.rs", RUST, &RUST.replacen("#[test]", "#[cfg(any())]\n    #[test]", 1))],
    );
    lie(
        "rust: should_panic",
        "test-weakened",
        &[("src/lib.rs", RUST, &RUST.replacen("#[test]", "#[test]\n    #[should_panic]", 1))],
    );
    lie(
        "rust: an assertion removed",
        "test-weakened",
        &[("src/lib.rs", RUST, &RUST.replace("        assert_eq!(add(2, 2), 4);\n", ""))],
    );
    lie(
        "rust: an assertion commented out",
        "test-weakened",
        &[("src/lib.rs", RUST, &RUST.replace("assert_eq!(add(2", "// assert_eq!(add(2"))],
    );
    lie(
        "rust: an assertion of nothing",
        "test-weakened",
        &[("src/lib.rs", RUST, &RUST.replace("assert_eq!(add(1, 2), 3)", "assert!(true)"))],
    );
    lie(
        "rust: a body emptied",
        "test-weakened",
        &[("src/lib.rs", RUST, &cut(RUST, "        assert_eq!(add(1", 2))],
    );
    lie(
        "rust: returns at once",
        "test-weakened",
        &[("src/lib.rs", RUST, &RUST.replacen("fn adds() {\n", "fn adds() {\n        return;\n", 1))],
    );
}

#[test]
fn lies_about_rust_lints_and_helpers() {
    lie(
        "rust: if false",
        "test-weakened",
        &[(
            "src/lib.rs",
            RUST,
            &RUST.replace(
                "assert_eq!(add(1, 2), 3);\n        assert_eq!(add(2, 2), 4);",
                "if false { assert_eq!(add(1, 2), 3); assert_eq!(add(2, 2), 4); }",
            ),
        )],
    );
    lie(
        "rust: one test replaced by an empty one",
        "test-deleted",
        &[(
            "src/lib.rs",
            RUST,
            &RUST.replace(
                "fn adds() {\n        assert_eq!(add(1, 2), 3);\n        assert_eq!(add(2, 2), 4);",
                "fn works() {\n        let _ = add(1, 2);",
            ),
        )],
    );
    lie(
        "rust: a test module no longer compiled",
        "test-deleted",
        &[("src/lib.rs", "pub fn f() {}\n#[cfg(test)]\nmod tests;\n", "pub fn f() {}\n")],
    );
    lie(
        "rust: #[allow] added",
        "lint-silenced",
        &[("src/lib.rs", RUST, &format!("#[allow(dead_code)]\n{RUST}"))],
    );
    lie(
        "rust: #![allow] added",
        "lint-silenced",
        &[("src/lib.rs", RUST, &format!("#![allow(clippy::all)]\n{RUST}"))],
    );
    lie(
        "rust: #![deny] removed",
        "lint-silenced",
        &[("src/lib.rs", &format!("#![deny(warnings)]\n{RUST}"), RUST)],
    );
    lie(
        "rust: a file of the tests deleted",
        "test-deleted",
        &[("tests/it.rs", "#[test]\nfn a() {\n    assert!(f());\n}\n", "")],
    );
    lie("rust: a case of the tests deleted", "test-deleted", &[("tests/cases/one.toml", "in = 1\n", "")]);
    lie(
        "rust: a helper's assertions removed",
        "test-weakened",
        &[(
            "tests/common/mod.rs",
            "pub fn same(a: u8, b: u8) {\n    assert_eq!(a, b);\n}\n",
            "pub fn same(_a: u8, _b: u8) {}\n// nothing\n",
        )],
    );
}

#[test]
fn lies_about_definitions() {
    lie("cargo: lints allowed", "lint-silenced", &[("Cargo.toml", CARGO, &CARGO.replace("deny", "allow"))]);
    lie(
        "cargo: lints removed",
        "lint-silenced",
        &[("Cargo.toml", CARGO, &CARGO.replace("[lints.clippy]\nall = \"deny\"\n", ""))],
    );
    lie(
        "cargo: a test target removed",
        "check-changed",
        &[("Cargo.toml", CARGO, &CARGO[..CARGO.find("[[test]]").unwrap()])],
    );
    lie(
        "cargo: tests off",
        "check-changed",
        &[("Cargo.toml", CARGO, &CARGO.replace("[lints", "[lib]\ntest = false\n\n[lints"))],
    );
    lie("cargo: no harness", "check-changed", &[("Cargo.toml", CARGO, &format!("{CARGO}harness = false\n"))]);
    lie("clippy.toml is new", "check-changed", &[("clippy.toml", "", "too-many-arguments-threshold = 99\n")]);
    lie(
        "kapell's own checks",
        "check-changed",
        &[(".kapell/config.toml", "[checks.a]\nrun = \"make\"\n", "[checks.a]\nrun = \"true\"\n")],
    );
    lie(
        "CI changed",
        "check-changed",
        &[(".github/workflows/ci.yml", "run: cargo test\n", "run: cargo test || true\n")],
    );
    lie("CI deleted", "check-changed", &[(".github/workflows/ci.yml", "run: cargo test\n", "")]);
    lie(
        "make: the test target does nothing",
        "check-changed",
        &[("Makefile", "test: all\n\tcargo test\n", "test:\n\ttrue\n")],
    );
    lie(
        "npm: the test script does nothing",
        "check-changed",
        &[("package.json", r#"{"scripts":{"test":"jest"}}"#, r#"{"scripts":{"test":"exit 0"}}"#)],
    );
    lie(
        "npm: jest leaves tests out",
        "check-changed",
        &[(
            "package.json",
            r#"{"scripts":{"test":"jest"}}"#,
            r#"{"scripts":{"test":"jest"},"jest":{"testPathIgnorePatterns":["add"]}}"#,
        )],
    );
    lie(
        "pyproject: pytest options",
        "check-changed",
        &[(
            "pyproject.toml",
            "[project]\nname = \"x\"\n",
            "[project]\nname = \"x\"\n[tool.pytest.ini_options]\naddopts = \"--deselect x\"\n",
        )],
    );
    lie(
        "setup.cfg: flake8",
        "check-changed",
        &[("setup.cfg", "[flake8]\nmax = 80\n", "[flake8]\nmax = 80\nignore = E\n")],
    );
}

#[test]
fn lies_about_python() {
    lie(
        "python: a test removed",
        "test-deleted",
        &[("tests/test_add.py", PYTHON, &PYTHON[..PYTHON.find("class").unwrap()])],
    );
    lie(
        "python: a test renamed out of sight",
        "test-deleted",
        &[(
            "tests/test_add.py",
            PYTHON,
            &PYTHON.replace(
                "def test_add():\n    assert add(1, 2) == 3\n    assert add(2, 2) == 4",
                "def check_add():\n    pass",
            ),
        )],
    );
    lie(
        "python: skip",
        "test-ignored",
        &[(
            "tests/test_add.py",
            PYTHON,
            &PYTHON.replace("def test_add", "@pytest.mark.skip(reason=\"flaky\")\ndef test_add"),
        )],
    );
    lie(
        "python: xfail",
        "test-ignored",
        &[(
            "tests/test_add.py",
            PYTHON,
            &PYTHON.replace("    def test_zero", "    @pytest.mark.xfail\n    def test_zero"),
        )],
    );
    lie(
        "python: skip inside",
        "test-ignored",
        &[(
            "tests/test_add.py",
            PYTHON,
            &PYTHON.replace("def test_add():\n", "def test_add():\n    pytest.skip()\n"),
        )],
    );
    lie(
        "python: assertion gone",
        "test-weakened",
        &[("tests/test_add.py", PYTHON, &PYTHON.replace("    assert add(2, 2) == 4\n", ""))],
    );
    lie(
        "python: pass",
        "test-weakened",
        &[(
            "tests/test_add.py",
            PYTHON,
            &PYTHON.replace("    assert add(1, 2) == 3\n    assert add(2, 2) == 4\n", "    pass\n"),
        )],
    );
    lie("python: noqa", "lint-silenced", &[("app.py", "import os\n", "import os  # noqa: F401\n")]);
    lie(
        "python: conftest leaves tests out",
        "check-changed",
        &[("conftest.py", "x = 1\n", "x = 1\ncollect_ignore = [\"tests/test_add.py\"]\n")],
    );
}

#[test]
fn lies_about_javascript_and_go() {
    lie("js: it.skip", "test-ignored", &[("add.test.js", JS, &JS.replace("it('adds'", "it.skip('adds'"))]);
    lie("js: xit", "test-ignored", &[("add.test.js", JS, &JS.replace("it('adds'", "xit('adds'"))]);
    lie(
        "js: expectation gone",
        "test-weakened",
        &[("add.test.ts", JS, &JS.replace("    expect(add(2, 2)).toBe(4);\n", ""))],
    );
    lie("js: a test removed", "test-deleted", &[("add.test.js", JS, &cut(JS, "  test('adds zero'", 3))]);
    lie(
        "js: expects true of true",
        "test-weakened",
        &[("add.test.js", JS, &JS.replace("expect(add(1, 2)).toBe(3)", "expect(true).toBe(true)"))],
    );
    lie(
        "js: eslint-disable",
        "lint-silenced",
        &[("src/a.ts", "f();\n", "// eslint-disable-next-line no-undef\nf();\n")],
    );
    lie("ts: @ts-ignore", "lint-silenced", &[("src/a.ts", "f();\n", "// @ts-ignore\nf();\n")]);
    lie(
        "go: a test removed",
        "test-deleted",
        &[("add_test.go", GO, &GO[..GO.find("func TestZero").unwrap()])],
    );
    lie(
        "go: t.Skip",
        "test-ignored",
        &[(
            "add_test.go",
            GO,
            &GO.replace(
                "func TestZero(t *testing.T) {\n",
                "func TestZero(t *testing.T) {\n\tt.Skip(\"later\")\n",
            ),
        )],
    );
    lie(
        "go: no failure any more",
        "test-weakened",
        &[("add_test.go", GO, &GO.replace("t.Fatal(\"no\")", "t.Log(\"no\")"))],
    );
    lie(
        "go: nolint",
        "lint-silenced",
        &[("add.go", "package add\n\nfunc f() {}\n", "package add\n\nfunc f() {} //nolint\n")],
    );
}

#[test]
fn honest_work_is_not_flagged() {
    let moved = RUST.find("    #[test]\n    fn adds_zero").unwrap();
    let (without, zero) = (format!("{}}}\n", &RUST[..moved]), &RUST[moved..]);
    let split = RUST.replace(
        "        assert_eq!(add(2, 2), 4);\n    }",
        "    }\n\n    #[test]\n    fn adds_more() {\n        assert_eq!(add(2, 2), 4);\n    }",
    );
    let merged = "#[test]\nfn all() {\n    assert_eq!(add(1, 2), 3);\n    assert_eq!(add(2, 2), 4);\n    let sum = add(0, 7);\n    assert!(sum == 7, \"sum is {sum}\");\n}\n";
    let honest: &[(&str, Files<'_>)] = &[
        ("nothing about tests", &[("src/lib.rs", RUST, &RUST.replace("    a + b\n", "    b + a\n"))]),
        ("a test added", &[("src/lib.rs", RUST, &RUST.replace("    #[test]\n    fn adds()", "    #[test]\n    fn new() {\n        assert_eq!(add(9, 9), 18);\n    }\n\n    #[test]\n    fn adds()"))]),
        ("an assertion added", &[("src/lib.rs", RUST, &RUST.replace("        assert_eq!(add(2, 2), 4);\n", "        assert_eq!(add(2, 2), 4);\n        assert_eq!(add(3, 3), 6);\n"))]),
        ("an expectation changed", &[("src/lib.rs", RUST, &RUST.replace("add(2, 2), 4", "add(2, 2), 5"))]),
        ("a test renamed", &[("src/lib.rs", RUST, &RUST.replace("fn adds_zero", "fn zero_is_neutral"))]),
        ("a test moved to another file", &[("src/lib.rs", RUST, &without), ("tests/zero.rs", "", &format!("use x::add;\n\nmod t {{\n{zero}"))]),
        ("a test split in two", &[("src/lib.rs", RUST, &split)]),
        ("tests merged into one", &[("src/lib.rs", RUST, &RUST[..RUST.find("#[cfg").unwrap()]), ("tests/all.rs", "", merged)]),
        ("a test file renamed as it is", &[("tests/old.rs -> tests/new.rs", RUST, RUST)]),
        ("a test file moved, seen as two", &[("tests/old.rs", RUST, ""), ("tests/new.rs", "", RUST)]),
        ("a fixture moved", &[("tests/data/a.json", "{}\n", ""), ("tests/data/b/a.json", "", "{}\n")]),
        ("reformatted", &[("src/lib.rs", RUST, &RUST.replace("assert_eq!(add(1, 2), 3);", "assert_eq!(add(1,2),3);").replace("    #[test]", "  #[test]"))]),
        ("a whole file reindented", &[("src/lib.rs", RUST, &RUST.replace("    ", "\t"))]),
        ("a comment in a test", &[("src/lib.rs", RUST, &RUST.replace("        let sum", "        // The neutral element.\n        let sum"))]),
        ("assert_eq to assert, as clippy says", &[("src/lib.rs", &RUST.replace("assert_eq!(add(2, 2), 4)", "assert_eq!(add(2, 2) == 4, true)"), &RUST.replace("assert_eq!(add(2, 2), 4)", "assert!(add(2, 2) == 4)"))]),
        ("a should_panic test added", &[("src/lib.rs", RUST, &RUST.replace("    #[test]\n    fn adds()", "    #[test]\n    #[should_panic]\n    fn overflows() {\n        add(u32::MAX, 1);\n    }\n\n    #[test]\n    fn adds()"))]),
        ("an ignored test taken up again", &[("src/lib.rs", &RUST.replacen("#[test]", "#[test]\n    #[ignore]", 1), RUST)]),
        ("an ignored test that stays ignored", &[("src/lib.rs", &RUST.replacen("#[test]", "#[test]\n    #[ignore]", 1), &RUST.replacen("#[test]", "#[test]\n    #[ignore]", 1).replace("a + b", "b + a"))]),
        ("#[allow] removed", &[("src/lib.rs", &format!("#[allow(dead_code)]\n{RUST}"), RUST)]),
        ("#[allow] moved with its item", &[("src/a.rs", "#[allow(dead_code)]\nfn f() {}\n", "fn g() {}\n"), ("src/b.rs", "", "#[allow(dead_code)]\nfn f() {}\n")]),
        ("#[deny] added", &[("src/lib.rs", RUST, &format!("#![deny(warnings)]\n{RUST}"))]),
        ("words in strings and comments", &[("src/lib.rs", "fn f() {}\n", "// #[allow(x)] is what we avoid\nfn f() -> &'static str {\n    \"#[allow(y)] #[ignore]\"\n}\n")]),
        ("a product function called test_*", &[("src/net.py", "def test_connection():\n    return 1\n", "def check_connection():\n    return 1\n")]),
        ("a product function removed", &[("src/lib.rs", &format!("pub fn old() {{}}\n{RUST}"), RUST)]),
        ("a product panic removed", &[("src/lib.rs", "pub fn f(x: u8) {\n    assert!(x > 0);\n    panic!(\"x\");\n}\n", "pub fn f(_: u8) {}\n")]),
        ("cargo: a dependency", &[("Cargo.toml", CARGO, &format!("{CARGO}\n[dependencies]\nserde = \"1\"\n"))]),
        ("cargo: a stricter lint", &[("Cargo.toml", CARGO, &CARGO.replace("all = \"deny\"", "all = \"forbid\"\npedantic = \"warn\""))]),
        ("cargo: a test target added", &[("Cargo.toml", CARGO, &format!("{CARGO}\n[[test]]\nname = \"more\"\n"))]),
        ("CI added", &[(".github/workflows/lint.yml", "", "run: cargo clippy\n")]),
        ("npm: a dependency and a script", &[("package.json", r#"{"scripts":{"test":"jest"}}"#, r#"{"scripts":{"test":"jest","start":"node ."},"dependencies":{"x":"1"}}"#)]),
        ("make: another target", &[("Makefile", "test:\n\tcargo test\n", "test:\n\tcargo test\n\nrun:\n\tcargo run\n")]),
        ("pyproject: a dependency", &[("pyproject.toml", "[project]\nname = \"x\"\n[tool.ruff]\nline-length = 100\n", "[project]\nname = \"x\"\ndependencies = [\"y\"]\n[tool.ruff]\nline-length = 100\n")]),
        ("python: a test renamed", &[("tests/test_add.py", PYTHON, &PYTHON.replace("def test_add", "def test_addition"))]),
        ("python: a test added", &[("tests/test_add.py", PYTHON, &format!("{PYTHON}\n    def test_more(self):\n        assert add(5, 5) == 10\n"))]),
        ("python: black", &[("tests/test_add.py", PYTHON, &PYTHON.replace("add(1, 2)", "add( 1,2 )"))]),
        ("js: a test added", &[("add.test.js", JS, &JS.replace("  test('adds zero'", "  it('more', () => {\n    expect(add(3, 3)).toBe(6);\n  });\n\n  test('adds zero'"))]),
        ("js: it becomes test", &[("add.test.js", JS, &JS.replace("it('adds'", "test('adds'"))]),
        ("js: renamed to ts", &[("add.test.js -> add.test.ts", JS, JS)]),
        ("go: a test added", &[("add_test.go", GO, &format!("{GO}\nfunc TestMore(t *testing.T) {{\n\tif Add(3, 3) != 6 {{\n\t\tt.Error(\"no\")\n\t}}\n}}\n"))]),
        ("docs", &[("README.md", "old\n", "new: `#[ignore]` and # noqa\n")]),
        ("a file of the product deleted", &[("src/old.rs", "fn f() {}\n", "")]),
    ];
    assert!(honest.len() >= 40);
    for (name, files) in honest {
        assert_eq!(judged(files), [], "{name}");
    }
}

/// A text without the lines from the one that holds `from`, so many of them.
fn cut(text: &str, from: &str, lines: usize) -> String {
    let at = text.find(from).expect("the text has it");
    let start = text[..at].rfind('\n').map_or(0, |end| end + 1);
    let rest: Vec<&str> = text[start..].split_inclusive('\n').skip(lines).collect();
    text[..start].to_owned() + &rest.concat()
}

/// A change that must raise this flag, whatever else it raises.
fn lie(name: &str, code: &str, files: Files<'_>) {
    let flags = judged(files);
    assert!(flags.iter().any(|flag| flag.code == code), "{name}: wanted {code}, got {flags:?}");
    assert!(flags.iter().all(|flag| !flag.what.is_empty() && !flag.what.contains('\n')), "{name}: {flags:?}");
}
