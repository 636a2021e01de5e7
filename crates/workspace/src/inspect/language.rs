//! How tests, assertions, skips and silenced linters look in each language, as data.
//!
//! Knows no change. To add a language, add one entry to [`LANGUAGES`].

/// One language.
#[derive(Debug)]
pub(crate) struct Language {
    /// File name endings.
    pub(crate) endings: &'static [&'static str],
    /// What starts a comment to the end of the line.
    pub(crate) line_comment: &'static str,
    /// `/* */` comments.
    pub(crate) block_comments: bool,
    /// Quotes that open a string, beside `"`.
    pub(crate) quotes: &'static [Quote],
    /// How a body is bounded.
    pub(crate) body: Body,
    /// A test function has one of these above it. Empty = every function of the right name is a test.
    pub(crate) attributes: &'static [&'static str],
    /// What precedes a function's name.
    pub(crate) keyword: &'static str,
    /// Beginnings of test functions' names, where the name makes the test.
    pub(crate) names: &'static [&'static str],
    /// Calls whose first argument is the test's name and whose block is its body.
    pub(crate) calls: &'static [&'static str],
    /// Words that count as one assertion.
    pub(crate) assertions: &'static [&'static str],
    /// Words that switch a test off, above it, in its call, or in its body.
    pub(crate) skips: &'static [&'static str],
    /// Words in code that silence a linter.
    pub(crate) silencers: &'static [&'static str],
    /// Words in comments that silence a linter.
    pub(crate) comment_silencers: &'static [&'static str],
    /// Words in code that make a linter stricter; losing one is like silencing it.
    pub(crate) strict: &'static [&'static str],
}

/// A kind of string.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Quote {
    /// `'x'`, strings.
    Single,
    /// `'x'`, one character; `'a` alone is a lifetime.
    Character,
    /// `` `x` ``, over several lines.
    Back,
    /// `"""x"""` and `'''x'''`.
    Triple,
    /// `r#"x"#`.
    Raw,
}

/// How a function's body is bounded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Body {
    Braces,
    Indent,
}

const NONE: &[&str] = &[];

/// The languages known.
pub(crate) const LANGUAGES: &[Language] = &[
    Language {
        endings: &[".rs"],
        line_comment: "//",
        block_comments: true,
        quotes: &[Quote::Character, Quote::Raw],
        body: Body::Braces,
        attributes: &[
            "#[test]",
            "::test]",
            "::test(",
            "#[rstest",
            "#[test_case",
            "#[wasm_bindgen_test",
            "#[quickcheck",
            "#[bench]",
        ],
        keyword: "fn ",
        names: NONE,
        calls: NONE,
        assertions: &[
            "assert!",
            "assert_eq!",
            "assert_ne!",
            "assert_",
            "panic!",
            "prop_assert",
            "unreachable!",
            "expect_err(",
            "unwrap_err(",
        ],
        skips: &["#[ignore", "#[cfg(", "#[cfg_attr("],
        silencers: &[
            "#[allow(",
            "#![allow(",
            "#[expect(",
            "#![expect(",
            "#[rustfmt::skip",
            "#![rustfmt::skip",
        ],
        comment_silencers: NONE,
        strict: &["#![deny(", "#![forbid(", "#![warn(", "#[deny(", "#[forbid("],
    },
    Language {
        endings: &[".py"],
        line_comment: "#",
        block_comments: false,
        quotes: &[Quote::Triple, Quote::Single],
        body: Body::Indent,
        attributes: NONE,
        keyword: "def ",
        names: &["test"],
        calls: NONE,
        assertions: &[
            "assert ",
            "assert(",
            "self.assert",
            "pytest.raises",
            "self.fail(",
            "pytest.fail(",
            ".assert_called",
            ".assert_not_called",
        ],
        skips: &[
            "mark.skip",
            "mark.xfail",
            "unittest.skip",
            "pytest.skip(",
            "pytest.xfail(",
            "self.skipTest(",
            "expectedFailure",
            "importorskip(",
        ],
        silencers: NONE,
        comment_silencers: &[
            "noqa",
            "type: ignore",
            "pylint: disable",
            "pyright: ignore",
            "mypy: ignore-errors",
            "fmt: off",
            "fmt: skip",
            "nosec",
            "pragma: no cover",
        ],
        strict: NONE,
    },
    Language {
        endings: &[".js", ".jsx", ".ts", ".tsx", ".mjs", ".cjs", ".mts", ".cts"],
        line_comment: "//",
        block_comments: true,
        quotes: &[Quote::Single, Quote::Back],
        body: Body::Braces,
        attributes: NONE,
        keyword: "",
        names: NONE,
        calls: &[
            "it",
            "test",
            "specify",
            "xit",
            "xtest",
            "fit",
            "it.skip",
            "test.skip",
            "it.only",
            "test.only",
            "it.todo",
            "test.todo",
            "it.fails",
            "test.fails",
            "it.failing",
            "test.failing",
            "test.fixme",
            "it.concurrent",
            "test.concurrent",
            "Deno.test",
        ],
        assertions: &[
            "expect(",
            "assert(",
            "assert.",
            "should.",
            ".should(",
            "t.is(",
            "t.deepEqual(",
            "t.true(",
            "t.throws(",
        ],
        skips: &[
            "xit(",
            "xtest(",
            ".skip(",
            ".todo(",
            ".fails(",
            ".failing(",
            ".fixme(",
            "xdescribe(",
            "describe.skip(",
            "this.skip(",
        ],
        silencers: NONE,
        comment_silencers: &[
            "eslint-disable",
            "@ts-ignore",
            "@ts-expect-error",
            "@ts-nocheck",
            "biome-ignore",
            "prettier-ignore",
            "tslint:disable",
            "deno-lint-ignore",
            "istanbul ignore",
            "c8 ignore",
        ],
        strict: NONE,
    },
    Language {
        endings: &[".go"],
        line_comment: "//",
        block_comments: true,
        quotes: &[Quote::Back, Quote::Character],
        body: Body::Braces,
        attributes: NONE,
        keyword: "func ",
        names: &["Test", "Fuzz", "Example"],
        calls: NONE,
        assertions: &[
            "t.Error",
            "t.Fatal",
            "t.Fail",
            "f.Error",
            "f.Fatal",
            "b.Fatal",
            "require.",
            "assert.",
            "is.Equal(",
        ],
        skips: &["t.Skip(", "t.Skipf(", "t.SkipNow("],
        silencers: NONE,
        comment_silencers: &["nolint", "lint:ignore", "lint:file-ignore", "#nosec"],
        strict: NONE,
    },
    Language {
        endings: &[".java", ".kt", ".kts", ".scala", ".groovy"],
        line_comment: "//",
        block_comments: true,
        quotes: &[Quote::Triple, Quote::Character],
        body: Body::Braces,
        attributes: &["@Test", "@ParameterizedTest", "@RepeatedTest", "@TestFactory"],
        keyword: "",
        names: NONE,
        calls: NONE,
        assertions: &["assert", "verify(", "fail(", "expectThrows("],
        skips: &["@Ignore", "@Disabled"],
        silencers: &["@SuppressWarnings", "@Suppress("],
        comment_silencers: &["NOSONAR", "noinspection", "CHECKSTYLE:OFF"],
        strict: NONE,
    },
    Language {
        endings: &[".cs"],
        line_comment: "//",
        block_comments: true,
        quotes: &[Quote::Character],
        body: Body::Braces,
        attributes: &["[Test]", "[Fact]", "[Fact(", "[Theory]", "[Theory(", "[TestMethod]", "[TestCase("],
        keyword: "",
        names: NONE,
        calls: NONE,
        assertions: &["Assert.", ".Should("],
        skips: &["[Ignore", "Skip ="],
        silencers: &["#pragma warning disable", "[SuppressMessage("],
        comment_silencers: NONE,
        strict: NONE,
    },
    Language {
        endings: &[".rb"],
        line_comment: "#",
        block_comments: false,
        quotes: &[Quote::Single],
        body: Body::Indent,
        attributes: NONE,
        keyword: "def ",
        names: &["test_"],
        calls: NONE,
        assertions: &["assert", "refute", "expect(", "must_", ".should"],
        skips: &["skip", "pending"],
        silencers: NONE,
        comment_silencers: &["rubocop:disable"],
        strict: NONE,
    },
];

/// The language of a file, by its name.
pub(crate) fn of(path: &str) -> Option<&'static Language> {
    LANGUAGES.iter().find(|language| language.endings.iter().any(|ending| path.ends_with(ending)))
}

/// Directories whose files belong to tests.
const TEST_DIRS: [&str; 8] =
    ["test", "tests", "__tests__", "spec", "specs", "testdata", "e2e", "__snapshots__"];

/// Is this a file of the tests, by its path alone?
pub(crate) fn is_test_path(path: &str) -> bool {
    let (dirs, file) = path.rsplit_once('/').unwrap_or(("", path));
    let stem = file.split('.').next().unwrap_or_default();
    let marked = [".test.", ".spec.", ".snap"].iter().any(|mark| file.contains(mark));
    let named = file.ends_with("_test.go") || file.ends_with("_test.rb") || file.ends_with("_spec.rb");
    let python =
        file.ends_with(".py") && (stem.starts_with("test_") || stem.ends_with("_test") || stem == "conftest");
    let java = [".java", ".kt"].iter().any(|end| file.ends_with(end))
        && (stem.ends_with("Test") || stem.ends_with("Tests"));
    dirs.split('/').any(|dir| TEST_DIRS.contains(&dir)) || marked || named || python || java
}
