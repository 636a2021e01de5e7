//! What must hold of configuration, quantities, names and diffs, for any input at all: called by the fuzz targets and
//! by the tests.
//!
//! An input of several parts has them between record separators (0x1e). Knows no command. Not part of a build that
//! ships. Start at [`config`].

use crate::config::Config;
use crate::show::clean;
use crate::show::diffstat::Stat;
use crate::{pick, quantity};
use contract::{SessionId, text};
use std::path::Path;

/// Separates the parts of an input.
const BETWEEN: u8 = 0x1e;

/// The user's file, then a project's: each is taken whole or its mistake names the line, and a project never widens
/// what the user allows.
pub fn config(bytes: &[u8]) {
    let mut parts = bytes.splitn(2, |byte| *byte == BETWEEN).map(String::from_utf8_lossy);
    let (user, project) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let mut config = Config::default();
    if !read(&mut config, "user.toml", &user, false) {
        config = Config::default();
    }
    let before = config.clone();
    if read(&mut config, "project.toml", &project, true) {
        assert!(config.ask.value >= before.ask.value && config.land.value <= before.land.value);
        assert!(config.budget().within(before.budget()));
    }
    let mut again = before;
    read(&mut again, "project.toml", &project, true);
    assert_eq!(again, config);
}

fn read(config: &mut Config, path: &str, text: &str, project: bool) -> bool {
    let Err(failure) = config.read(Path::new(path), text, project) else { return true };
    let fault = failure.fault;
    assert!(failure.code == 2 && !fault.hint.is_empty(), "{fault}");
    let line = fault.what.strip_prefix(path).and_then(|rest| rest.strip_prefix(':')?.split_once(':'));
    let line: usize = line.and_then(|(line, _)| line.parse().ok()).unwrap_or_default();
    assert!((1..=text.split('\n').count()).contains(&line), "{fault}");
    false
}

/// Amounts as people write them: what is read can be written so that it reads as the same.
pub fn quantities(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    if let Ok(nanos) = quantity::nanos(&text) {
        let dollars = format!("{}.{:09}", nanos / 1_000_000_000, nanos % 1_000_000_000);
        assert_eq!(quantity::nanos(&dollars), Ok(nanos));
    }
    if let Ok(ms) = quantity::millis(&text) {
        assert!(ms > 0);
        assert_eq!(quantity::millis(&format!("{ms}ms")), Ok(ms));
        assert!(!quantity::span(ms).is_empty());
    }
    if let Ok(count) = quantity::count(&text) {
        assert!(count > 0);
        assert_eq!(quantity::count(&count.to_string()), Ok(count));
        assert!(quantity::bytes(count).ends_with('B'));
    }
}

/// Any diff can be counted: never more than it has lines, and shown without harm.
pub fn diffs(bytes: &[u8]) {
    let stat = Stat::of(bytes);
    let lines = bytes.split(|byte| *byte == b'\n').count() as u64;
    let (added, removed) = stat.lines();
    assert!(added + removed + stat.files.len() as u64 <= lines);
    let table = stat.table();
    assert!(!table.contains(|c: char| c.is_control() && c != '\n'));
    assert!(stat.summary().starts_with(&stat.files.len().to_string()));
}

/// A name names one session, or the error says what could be meant; shown on one line within its columns.
pub fn names(bytes: &[u8]) {
    let name = String::from_utf8_lossy(bytes);
    let ids = [0xaaaa_1111_u128, 0xaaaa_2222, 0xbbbb_1111].map(|low| SessionId::v7(0x0193_4567_89ab, low));
    let plain: String = name.chars().filter(|c| *c != '-').collect::<String>().to_lowercase();
    let fits = |id: &&SessionId| {
        let id = id.to_string().replace('-', "");
        id.starts_with(&plain) || id.ends_with(&plain)
    };
    match pick::by_name(&name, &ids) {
        Ok(id) => {
            assert!(plain.len() >= 4);
            assert_eq!(ids.iter().filter(fits).collect::<Vec<_>>(), [&id]);
        }
        Err(failure) => {
            assert!(failure.code == 2 && !failure.fault.hint.is_empty());
            assert!(plain.len() < 4 || ids.iter().filter(fits).count() != 1);
        }
    }
    let line = clean::line(&name);
    assert!(!line.contains(|c: char| c.is_control() || text::is_hidden(c)));
    assert_eq!(clean::line(&line), line);
    for columns in [0, 1, 2, 10, 80] {
        let cut = clean::cut(&line, columns);
        assert!(cut.chars().map(clean::columns_of).sum::<usize>() <= columns, "{cut} in {columns}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn committed_inputs_keep_the_properties() {
        corpus::replay("config", config);
        corpus::replay("quantities", quantities);
        corpus::replay("diffs", diffs);
        corpus::replay("sessions", names);
    }

    fn file() -> &'static str {
        "(model = \"[a/]{0,3}\"\n|ask = \"(never|external|writes|no)\"\n|land = (true|false)\n|mode = \"(code|plan|x)\"\n|\\[budget\\]\n|usd = [0-9]{1,3}\\.?[0-9]{0,10}\n|tokens = -?[0-9_]{1,6}\n|steps = [0-9]{1,20}\n|time = \"[0-9]{1,5}(ms|s|m|h|d|x)\"\n|\\[checks.a\\]\n|run = \"[a ]{0,2}\"\n|timeout = \"1[mx]\"\n|setup = \\[\"a\"\\]\n|[a-z]{1,6} = 1\n){0,6}"
    }

    proptest! {
        #![proptest_config(corpus::cases(400))]

        #[test]
        fn files_are_taken_or_their_line_is_named(user in file(), project in file()) {
            config(format!("{user}\u{1e}{project}").as_bytes());
        }

        #[test]
        fn money_round_trips(nanos in any::<u64>(), ms in 1..u64::MAX, count in 1..u64::MAX) {
            quantities(format!("{}.{:09}", nanos / 1_000_000_000, nanos % 1_000_000_000).as_bytes());
            prop_assert_eq!(quantity::nanos(&format!("${}.{:09}", nanos / 1_000_000_000, nanos % 1_000_000_000)), Ok(nanos));
            prop_assert_eq!(quantity::millis(&format!("{ms}ms")), Ok(ms));
            prop_assert_eq!(quantity::count(&count.to_string()), Ok(count));
        }

        #[test]
        fn quantities_are_read_or_refused(text in "[$+-]?[0-9_]{0,21}\\.?[0-9]{0,11}( |k|M|ms|s|min|m|h|d|é)?") {
            quantities(text.as_bytes());
        }

        #[test]
        fn sessions_are_named_by_their_ends(which in 0usize..3, from in 0usize..36, to in 0usize..37, upper in any::<bool>()) {
            let ids = [0xaaaa_1111_u128, 0xaaaa_2222, 0xbbbb_1111].map(|low| SessionId::v7(0x0193_4567_89ab, low));
            let id = ids[which].to_string();
            let name = id.get(from.min(to)..to.max(from).min(36)).unwrap_or_default();
            names(if upper { name.to_uppercase() } else { name.to_owned() }.as_bytes());
        }

        #[test]
        fn diffs_are_counted(lines in prop::collection::vec(prop::sample::select(vec!["diff --git a/x b/x", "--- a/x", "+++ b/x", "+++ /dev/null", "@@ -1,2 +1,3 @@", "@@ -1 +1,18446744073709551615 @@", "@@ -0,0 +1 @@", "+a", "-b", " c", "\\ No newline at end of file", "Binary files a/x and b/x differ", "rename to y", "diff --git \"a/\\303\" \"b/\u{1b}[1m\"", ""]), 0..40)) {
            diffs(lines.join("\n").as_bytes());
        }
    }
}
