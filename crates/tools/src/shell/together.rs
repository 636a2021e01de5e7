//! Which commands do the same for several files as for each of them, so that one process can do it for all (S2.6-2); and
//! whose part of what it printed is whose. Data and functions: runs nothing.
//! Start at [`one_of_many`]; [`split`] is the way back.
//!
//! Only commands that leave the files as they are: each is judged by itself, and what one holds changes nothing for
//! another. What cannot be told apart for certain is `None`, and each command runs alone.

use std::collections::BTreeMap;

/// A command that takes many files.
struct Rule {
    /// Its first words.
    words: &'static [&'static str],
    /// One of these must be there, if there are any: without it, it would do something else.
    needs: &'static [&'static str],
    /// What else may stand before the file. Any other word, and the command runs alone.
    may: &'static [&'static str],
    /// Lines that are as true of each file as of all of them.
    same: &'static [&'static str],
    /// Lines that begin with the number of files: what follows it for many, and the whole line for one.
    counts: &'static [(&'static str, &'static str)],
}

const fn rule(words: &'static [&'static str], may: &'static [&'static str]) -> Rule {
    Rule { words, needs: &[], may, same: &[], counts: &[] }
}

const ESLINT: &[&str] = &["--quiet", "--no-color", "--color", "--max-warnings=0", "--max-warnings", "0"];
const PRETTIER: Rule = Rule {
    words: &["prettier"],
    needs: &["--check", "-c", "--list-different", "-l"],
    may: &["--no-color", "--ignore-unknown", "-u"],
    same: &["Checking formatting...", "All matched files use Prettier code style!"],
    counts: &[],
};
const RULES: [Rule; 17] = [
    rule(&["eslint"], ESLINT),
    rule(&["npx", "eslint"], ESLINT),
    PRETTIER,
    Rule { words: &["npx", "prettier"], ..PRETTIER },
    rule(&["stylelint"], &["--quiet", "--no-color"]),
    Rule {
        same: &["All checks passed!"],
        ..rule(&["ruff", "check"], &["-q", "--quiet", "--no-fix", "--no-cache"])
    },
    Rule {
        needs: &["--check"],
        counts: &[(" files already formatted", "1 file already formatted")],
        ..rule(&["ruff", "format"], &["-q", "--quiet", "--no-cache"])
    },
    Rule {
        needs: &["--check"],
        same: &["All done! \u{2728} \u{1f370} \u{2728}"],
        counts: &[(" files would be left unchanged.", "1 file would be left unchanged.")],
        ..rule(&["black"], &["-q", "--quiet"])
    },
    rule(&["flake8"], &[]),
    rule(&["pycodestyle"], &[]),
    rule(&["pyflakes"], &[]),
    rule(&["python", "-m", "py_compile"], &[]),
    rule(&["python3", "-m", "py_compile"], &[]),
    Rule {
        needs: &["--check"],
        ..rule(
            &["rustfmt"],
            &["-q", "--quiet", "--edition", "--edition=2021", "--edition=2024", "2021", "2024"],
        )
    },
    Rule { needs: &["-l"], ..rule(&["gofmt"], &["-s"]) },
    rule(&["shellcheck"], &["--norc"]),
    rule(&["yamllint"], &["-s", "--strict"]),
];

/// A command for one file, taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct One {
    /// Everything before the file: the same words are the same command.
    pub(super) words: Vec<String>,
    /// The file, as it was written.
    pub(super) file: String,
}

/// These words as a command that could be run for other files along with its own.
pub(super) fn one_of_many(words: &[&str]) -> Option<One> {
    let (file, before) = words.split_last()?;
    let rule = found(before)?;
    let options = &before[rule.words.len()..];
    let known = options.iter().all(|word| rule.may.contains(word) || rule.needs.contains(word));
    let meant = rule.needs.is_empty() || options.iter().any(|word| rule.needs.contains(word));
    // An option, standard input, a directory that may hold the others' files, another way to write a file.
    let plain = !file.starts_with(['-', '@', ':', '+']) && !file.ends_with('/') && !file.contains("//");
    let named = file.split('/').all(|part| !matches!(part, "." | ".."));
    (known && meant && plain && named).then(|| One {
        words: before.iter().map(|&word| word.to_owned()).collect(),
        file: (*file).to_owned(),
    })
}

fn found(words: &[impl AsRef<str>]) -> Option<&'static Rule> {
    RULES.iter().find(|rule| {
        rule.words.len() <= words.len() && rule.words.iter().zip(words).all(|(one, two)| *one == two.as_ref())
    })
}

/// What each of these files would have printed by itself, of what was printed when all of them were well; `None` where
/// any line cannot be given to whom it belongs. `top`: the directory it ran in.
pub(super) fn split<'f>(
    words: &[String],
    files: &'f [String],
    top: &str,
    printed: &str,
) -> Option<BTreeMap<&'f str, String>> {
    let rule = found(words)?;
    let mut parts: BTreeMap<&str, String> = files.iter().map(|file| (file.as_str(), String::new())).collect();
    let mut add = |file: &str, line: &str| {
        if let Some(part) = parts.get_mut(file) {
            part.push_str(line);
            part.push('\n');
        }
    };
    for line in printed.lines() {
        let count = |(many, one): &(&str, &'static str)| {
            let alone = files.len() == 1 && line == *one;
            (line.strip_suffix(many).is_some_and(|n| n == files.len().to_string()) || alone).then_some(*one)
        };
        let same = rule.same.iter().find(|same| line == **same).copied();
        match same.or_else(|| rule.counts.iter().find_map(count)) {
            Some(said) => files.iter().for_each(|file| add(file, said)),
            None => add(files.iter().find(|file| names(line, file, top))?, line),
        }
    }
    Some(parts)
}

/// Does the line begin with this file, and go on with something that is no part of a name?
fn names(line: &str, file: &str, top: &str) -> bool {
    let whole = format!("{top}/{file}");
    [file, whole.as_str()].iter().any(|name| {
        line.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with([':', '(']))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(line: &str) -> Option<One> {
        one_of_many(&line.split(' ').collect::<Vec<_>>())
    }

    #[test]
    fn what_only_looks_at_one_file_can_look_at_others_too() {
        for (line, words, file) in [
            ("eslint src/a.js", "eslint", "src/a.js"),
            ("npx eslint --max-warnings 0 a.js", "npx eslint --max-warnings 0", "a.js"),
            ("python3 -m py_compile x.py", "python3 -m py_compile", "x.py"),
            ("rustfmt --edition 2024 --check src/lib.rs", "rustfmt --edition 2024 --check", "src/lib.rs"),
            ("ruff check f.py", "ruff check", "f.py"),
        ] {
            let found = one(line).unwrap();
            assert_eq!((found.words.join(" ").as_str(), found.file.as_str()), (words, file));
        }
        for line in [
            "eslint",
            "eslint --fix a.js",
            "eslint a.js b.js",
            "eslint -o out a.js",
            "eslint ./a.js",
            "eslint ../a.js",
            "eslint src/",
            "eslint --quiet",
            "prettier a.js",
            "prettier --write a.js",
            "rustfmt a.rs",
            "ruff format a.py",
            "ruff a.py",
            "gofmt -l -w a.go",
            "python3 x.py",
            "python3 -m pytest x.py",
            "tsc a.ts",
            "rm a.js",
            "flake8 -",
            "flake8 @list",
        ] {
            assert_eq!(one(line), None, "{line}");
        }
    }

    #[test]
    fn every_line_goes_to_whom_it_belongs_or_nobody_gets_any() {
        let files = ["a.py".to_owned(), "a.pyi".to_owned(), "sub/b.py".to_owned()];
        let split = |words: &str, printed: &str| {
            let words: Vec<String> = words.split(' ').map(str::to_owned).collect();
            let parts = split(&words, &files, "/top", printed)?;
            Some(files.iter().map(|file| parts[file.as_str()].clone()).collect::<Vec<_>>())
        };
        assert_eq!(split("flake8", "").unwrap(), ["", "", ""]);
        let own = split("gofmt -l", "sub/b.py\n/top/a.pyi\n").unwrap();
        assert_eq!(own, ["", "/top/a.pyi\n", "sub/b.py\n"]);
        let own = split("flake8", "a.py:1:1: W\na.pyi:2: W\na.py:3: W\n").unwrap();
        assert_eq!(own, ["a.py:1:1: W\na.py:3: W\n", "a.pyi:2: W\n", ""]);
        let all = "All checks passed!\n";
        assert_eq!(split("ruff check", all).unwrap(), [all, all, all]);
        let one = "1 file already formatted\n";
        assert_eq!(split("ruff format --check", "3 files already formatted\n").unwrap(), [one, one, one]);
        for (words, printed) in [
            ("ruff format --check", "2 files already formatted\n"),
            ("flake8", "2 problems\n"),
            ("flake8", "All checks passed!\n"),
            ("flake8", "a.py:1: W\n\n"),
            ("flake8", "other.py:1: W\n"),
            ("flake8", "a.pyc: W\n"),
            ("cat", "a.py\n"),
        ] {
            assert_eq!(split(words, printed), None, "{words}: {printed}");
        }
        let alone = ["a.py".to_owned()];
        let words = ["ruff".to_owned(), "format".to_owned(), "--check".to_owned()];
        assert_eq!(super::split(&words, &alone, "/top", one).unwrap()["a.py"], one);
    }
}
