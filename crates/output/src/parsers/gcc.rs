//! GCC, Clang and whoever prints places as they do (javac, mypy, swiftc, shellcheck); linkers.
//! Start at [`TABLE`].

use super::Table;
use crate::rules::What::{Finding, Skip};
use crate::rules::rule;
use contract::found::Severity::Error;

pub(super) const TABLE: Table = Table {
    name: "gcc",
    programs: &[
        "gcc",
        "g++",
        "cc",
        "c++",
        "clang",
        "clang++",
        "javac",
        "mypy",
        "swiftc",
        "shellcheck",
        "ruff",
        "flake8",
    ],
    rules: &[
        rule(Skip, r"^collect2: error: "),
        rule(
            Finding(Error),
            r"^(?<file>[^\s:][^:]*):(?<line>\d+):(?:(?<column>\d+):)? (?<severity>fatal error|error|warning|note|remark): (?<message>.+?)(?: +\[(?<code>[\w+=-]+)\])?$",
        ),
        rule(
            Finding(Error),
            r"^(?:\S*ld(?:\.\w+)?: )?(?:(?:[^\s:]+\.o: )?(?<file>[^\s:]+\.\w+):(?:(?<line>\d+)|\([^)]*\)): )?(?<message>undefined reference to .+)$",
        ),
        rule(
            Finding(Error),
            r"^(?:\S*/)?ld(?:\.\w+)?: (?<message>(?:cannot find|symbol|library not found|unrecognized|.*: file not recognized).*)$",
        ),
        rule(
            Finding(Error),
            r"^(?:clang|gcc|cc1|cc1plus|c\+\+|g\+\+|clang\+\+|cc)(?:-[\d.]+)?: (?<severity>fatal error|error|warning): (?<message>.+)$",
        ),
        // Ruff's and flake8's.
        rule(
            Finding(Error),
            r"^(?<file>[^\s:]+\.pyi?):(?<line>\d+):(?<column>\d+): (?<code>[A-Z]+\d+) (?:\[\*\] )?(?<message>.+)$",
        ),
    ],
    json: None,
};
