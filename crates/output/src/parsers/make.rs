//! make, CMake, CTest and ninja. Start at [`TABLE`].

use super::Table;
use crate::rules::What::{Finding, Headless, Matters, Quiet, Test};
use crate::rules::rule;
use contract::found::Ending::Passed;
use contract::found::Severity::Error;

pub(super) const TABLE: Table = Table {
    name: "make",
    programs: &["make", "gmake", "cmake", "ctest", "ninja", "meson"],
    rules: &[
        rule(
            Finding(Error),
            r"^(?:\S*/)?(?:g?make|mingw32-make)(?:\[\d+\])?: \*\*\* (?:\[(?:(?<file>[^:\]]+):(?<line>\d+): )?)?(?<message>.+?)$",
        ),
        rule(Finding(Error), r"^(?<file>[^\s:]+):(?<line>\d+): \*\*\* (?<message>.+)$"),
        rule(
            Headless(Error),
            r"^CMake (?<severity>Error|Warning)(?: \(dev\))? at (?<file>[^:]+):(?<line>\d+)(?: \(.*\))?:$",
        ),
        rule(Finding(Error), r"^CMake Error: (?<message>.+)$"),
        rule(Finding(Error), r"^FAILED: (?:\[code=\d+\] )?(?<message>\S+\.(?:o|obj|so|a|dll|exe)\b.*)$"),
        rule(Matters, r"^ninja: (?:error|build stopped|fatal)"),
        rule(
            Test(Passed),
            r"^\s*\d+/\d+ Test +#\d+: (?<test>\S+) \.+ *(?:\*\*\*)?(?<ending>Passed|Failed|Not Run|Skipped|Exception|Timeout)\S* +(?<s>[\d.]+) sec",
        ),
        rule(Quiet, r"^\[ *\d+%\] (?:Building|Built|Linking)"),
        rule(Quiet, r"^(?:g?make)(?:\[\d+\])?: (?:Entering|Leaving|Nothing to be done)"),
    ],
    json: None,
};
