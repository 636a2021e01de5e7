//! How much a line matters to somebody who asks what went wrong, by its words alone.
//!
//! Knows no tool: what a parser says of a line goes first. The words were tuned over real logs
//! (`cargo xtask bench parsers`). Start at [`weigh`].

use crate::parsers::compile;
use crate::rules::Weight;
use regex::Regex;
use std::sync::LazyLock;

/// What a line is to its reader.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Class {
    /// Progress, blanks, passed tests: shown only where all is shown.
    Noise,
    /// Any other line.
    Plain,
    /// A warning.
    Warning,
    /// Has a word of trouble in it.
    Weak,
    /// Tells of trouble.
    Strong,
    /// A parser says so.
    Sure,
}

/// What stands in front of a line and says nothing of it: times that CI systems and builders add.
static PREFIX: LazyLock<Regex> = LazyLock::new(|| {
    compile(
        r"^(?:[^\t]{1,80}\t[^\t]{1,80}\t)?\u{feff}?(?:\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:[.,]\d+)?(?:Z|[+-]\d\d:?\d\d)? |\[\d\d:\d\d:\d\d(?:\.\d+)?\] |#\d+ \d+\.\d+ )",
    )
});

static STRONG: LazyLock<Regex> = LazyLock::new(|| {
    compile(concat!(
        r"^\W*(?:[Ee]rror|ERROR|[Ff]atal|FATAL|[Ff]ailure|[Ee]xception|[Pp]anic|SEVERE|[Aa]borted|Traceback|Caused by|Unhandled)\b",
        r"|\w(?:Error|Exception|Failure)\b|\[(?i:error|fatal|severe)\]|(?i:\b(?:error|fatal|failed|failure|errno) ?(?:[:!]|\[))",
        r"|\bFAIL(?:ED|URES?)?\b|\bERROR\b|panicked at|^E {3}|^\s*[✕✖✗✘×] |^\s*--- FAIL|^not ok\b|npm ERR!",
        r"|(?i:core dumped|segmentation fault|out of memory|no space left on device|command not found|permission denied",
        r"|no such file or directory|undefined (?:reference|symbol|variable|method|local)|connection (?:refused|reset|timed out)",
        r"|cannot find|could not|unable to|build failed|unresolved|does not exist|assertion|exited with [1-9]|exit(?:ed)?(?: with)? (?:code|status):? ?[1-9]",
        r"|non-zero (?:exit|status|code)|errored|marked build as failure|finished: (?:failure|aborted)|failed to|failed with|timed out)",
    ))
});

static WEAK: LazyLock<Regex> = LazyLock::new(|| {
    compile(concat!(
        r"(?i)\b(?:errors?|fail|fails|failed|failing|failures?|exceptions?|fatal|panic|invalid|unexpected|missing|refused|denied",
        r"|assert\w*|mismatch|cannot|can't|couldn't|not found|abort\w*|killed|crash\w*|violation|illegal|rejected|unsupported|broken)\b",
    ))
});

static WARNING: LazyLock<Regex> = LazyLock::new(|| compile(r"(?i)\bwarn(?:ing)?s?\b|\bdeprecat\w+"));

/// Words of trouble that tell of none: sums of nothing, names, flags.
static DENIED: LazyLock<Regex> = LazyLock::new(|| {
    compile(concat!(
        r"(?i)\b(?:no|0|zero|without|ignor\w+|if) (?:\w+ )?(?:errors?|failures?|failed|failing|exceptions?|warnings?)\b",
        r"|\b(?:errors?|failures?|failed|warnings?)(?: in tests)?[:=] *(?:0|no|none|false)\b",
        r"|--?[\w-]*(?:error|fail|warn)[\w-]*|\b(?:errors?|exceptions?|fail(?:ure|ed)?|warnings?)[/._-]\w[\w./-]*|[/._-](?:errors?|fail|failed|exceptions?|warnings?)\b",
        r"|[\w./$-]+\.(?:html?|java|class|py|pyc|rs|go|[cm]?[jt]sx?|rb|php|[ch](?:pp)?|md|txt|json|xml|o)\b",
        r"|continue on error|error-prone|errorprone",
    ))
});

static NOISE: LazyLock<Regex> = LazyLock::new(|| {
    compile(concat!(
        r"^\s*$|^(?:\[\w+\] ?)?[\s.·=#>*+|/\\_~─━═-]*$|^\s*\d{1,3}(?:\.\d+)?%|\d{1,3}% ?(?:\[|\|| completed|$)|^\s*[⠁-⣿]",
        r"|\b\d+(?:\.\d+)? ?/ ?\d+(?:\.\d+)? ?[kKMG]i?B|^travis_(?:fold|time)|##\[(?:group|endgroup|command|debug|section)\]|^\[command\]",
        r"|(?i:^\W*(?:info\W+)?(?:downloading|downloaded|fetching|fetched|unpacking|extracting|preparing to unpack|selecting previously|setting up|get:\d|hit:\d|ign:\d",
        r"|collecting|requirement already|using cached|reading (?:package|state)|building dependency|progress \(|receiving objects|resolving deltas|counting objects",
        r"|compressing objects|remote: (?:counting|compressing|enumerating|total)|compiling|checking|linking|installing|installed|copying|caching",
        r"|pulling|pull complete|verifying|waiting|already exists|inflating|processing triggers)\b)",
    ))
});

/// Goes on where the line before left off.
static FOLLOWS: LazyLock<Regex> = LazyLock::new(|| {
    compile(
        r"^(?:\s|\||>|\^|\+|\.\.\.|[)}\]]|at |Caused by|(?i:note|help|hint|required|found|reason|expected|actual|received|got|but|but was|left|right|diff|symbol|location|stdout|stderr|input|output|message)\b ?[:=])",
    )
});

/// The line without the time in front of it.
pub(crate) fn bare(text: &str) -> &str {
    // Most lines have none, and most of those begin with a letter or a blank.
    if !text.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '[' | '#' | '\u{feff}'))
        && !text.contains('\t')
    {
        return text;
    }
    PREFIX.find(text).map_or(text, |prefix| &text[prefix.end()..])
}

/// What a line is. `known`: what a parser makes of it.
pub(crate) fn weigh(text: &str, known: Option<Weight>) -> Class {
    match known {
        Some(Weight::Error) => return Class::Sure,
        Some(Weight::Warning) => return Class::Warning,
        Some(Weight::Nothing) => return Class::Noise,
        Some(Weight::Plain) | None => {}
    }
    let troubled = WEAK.is_match(text) || STRONG.is_match(text);
    if troubled {
        let rest = DENIED.replace_all(text, "");
        if STRONG.is_match(&rest) {
            return Class::Strong;
        }
        if WEAK.is_match(&rest) {
            return Class::Weak;
        }
    }
    if NOISE.is_match(text) {
        return Class::Noise;
    }
    if WARNING.is_match(text) && WARNING.is_match(&DENIED.replace_all(text, "")) {
        return Class::Warning;
    }
    Class::Plain
}

/// Whether a line belongs to the one before it.
pub(crate) fn follows(text: &str) -> bool {
    FOLLOWS.is_match(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_weighed() {
        for (text, class) in [
            ("error: expected one of `;`", Class::Strong),
            ("java.lang.IllegalStateException: no", Class::Strong),
            ("[INFO] BUILD FAILURE", Class::Strong),
            ("bash: line 169: pom.bak9.xml: No space left on device", Class::Strong),
            ("Build step 'Execute shell' marked build as failure", Class::Strong),
            ("Process finished with 3 failures, 0 errors", Class::Weak),
            ("no errors, no warnings", Class::Plain),
            ("Number of errors in tests: 0", Class::Plain),
            ("gcc -Werror -c src/error.c", Class::Plain),
            ("warning: unused variable", Class::Warning),
            ("0 warnings", Class::Plain),
            ("   Compiling serde v1.0.0", Class::Noise),
            ("Progress (1): 1.8/1.8 MB", Class::Noise),
            ("  45% [=====>     ]", Class::Noise),
            ("--------", Class::Noise),
            ("", Class::Noise),
            ("the quick brown fox", Class::Plain),
        ] {
            assert_eq!(weigh(text, None), class, "{text}");
        }
    }

    #[test]
    fn times_in_front_are_no_part_of_a_line() {
        for (text, rest) in [
            ("2022-03-15T21:06:26.1357963Z [ERROR] x", "[ERROR] x"),
            ("build\tRun tests\t2022-03-15T21:06:26.1357963Z x", "x"),
            ("#12 0.345 npm ERR! x", "npm ERR! x"),
            ("[12:34:56] x", "x"),
            ("[ERROR] x", "[ERROR] x"),
        ] {
            assert_eq!(bare(text), rest);
        }
    }
}
