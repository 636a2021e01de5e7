//! What cases there are, as a table: what the session does, who else takes part, who is killed and when.
//!
//! Knows no processes. A new kind of case is a row of [`SCENARIOS`].

use super::script::Script;

/// One kind of case.
pub(super) struct Scenario {
    /// Its name, in the tally and behind `--only`.
    pub(super) name: &'static str,
    /// How often it comes, against the others.
    pub(super) weight: u64,
    /// What the model says, in the root session and in every child.
    pub(super) script: fn(&mut Script),
    /// More arguments for `kapell run`.
    pub(super) args: &'static [&'static str],
    /// Texts in the stream of events behind which a kill is aimed; half of the kills come at any moment.
    pub(super) aims: &'static [&'static str],
    /// What other processes do meanwhile.
    pub(super) others: Others,
    /// Who is killed.
    pub(super) victims: &'static [Victim],
    /// What the user does in the repository meanwhile.
    pub(super) user: User,
    /// States the root session may end in.
    pub(super) ends: &'static [&'static str],
    /// What the file that is edited word by word holds once landed, if there is one.
    pub(super) words: u32,
}

/// What other processes do while the session runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Others {
    /// Nothing, until a person is asked.
    Wait,
    /// Two at once answer what is asked, and may be killed at it.
    Answer,
    /// Cancel it, once in a while.
    Cancel,
    /// Pause it.
    Pause,
    /// Rewind it to any of its savepoints.
    Rewind,
    /// Conduct the same session: who is second follows, and takes over when the first is killed.
    Conduct,
}

/// Who gets a SIGKILL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Victim {
    /// A process that conducts the session.
    Main,
    /// The small process of ours that starts programs for it.
    Keeper,
    /// Both, the keeper first.
    Both,
}

/// What the user does in the own repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum User {
    /// Has a changed and an unknown file lying there.
    Dirty,
    /// The same, and commits to the target branch now and then.
    Commits,
    /// Has changed the very file that is to land.
    InTheWay,
}

/// The file that [`Script::append`] edits.
pub(super) const WORDS: &str = "words.txt";
/// A tracked file of the user's, changed by hand and not committed.
pub(super) const MINE: &str = "mine.txt";

const MAIN: &[Victim] = &[Victim::Main];
const ANY: &[Victim] = &[Victim::Main, Victim::Keeper, Victim::Both, Victim::Main];
/// A process took over, a call was answered: the moments after those are as good as any.
const BUSY: &[&str] = &["\"recovered\"", "tool_use", "tool_result"];
const LANDING: &[&str] = &["\"to\":\"integrate\"", "\"recovered\""];
const COMPLETES: &[&str] = &["completed"];

/// A case as most are.
const PLAIN: Scenario = Scenario {
    name: "lines",
    weight: 3,
    script: lines,
    args: &["--ask", "never"],
    aims: BUSY,
    others: Others::Wait,
    victims: ANY,
    user: User::Dirty,
    ends: COMPLETES,
    words: 0,
};

/// Every kind of case.
pub(super) const SCENARIOS: &[Scenario] = &[
    PLAIN,
    Scenario { name: "family", weight: 3, script: family, ..PLAIN },
    Scenario { name: "plan", weight: 3, script: plan, aims: LANDING, user: User::Commits, ..PLAIN },
    Scenario { name: "savepoints", weight: 3, script: words, words: 8, ..PLAIN },
    Scenario { name: "rewind", weight: 2, script: words, others: Others::Rewind, victims: MAIN, ..PLAIN },
    Scenario {
        name: "approval",
        weight: 3,
        script: few_lines,
        args: &["--ask", "external"],
        aims: &["\"approval-answered\"", "tool_use"],
        others: Others::Answer,
        ..PLAIN
    },
    Scenario { name: "question", weight: 1, script: questions, others: Others::Answer, ..PLAIN },
    Scenario {
        name: "cancel",
        weight: 2,
        others: Others::Cancel,
        ends: &["completed", "cancelled"],
        ..PLAIN
    },
    Scenario {
        name: "cancel-family",
        weight: 1,
        script: family,
        others: Others::Cancel,
        ends: &["completed", "cancelled"],
        ..PLAIN
    },
    Scenario { name: "pause", weight: 2, others: Others::Pause, ..PLAIN },
    Scenario { name: "integrate", weight: 5, script: many_files, aims: LANDING, ..PLAIN },
    Scenario {
        name: "integrate-moved",
        weight: 3,
        script: many_files,
        aims: LANDING,
        user: User::Commits,
        ..PLAIN
    },
    Scenario {
        name: "integrate-dirty",
        weight: 1,
        script: in_the_way,
        aims: LANDING,
        user: User::InTheWay,
        ends: &["failed"],
        ..PLAIN
    },
    Scenario { name: "two", weight: 4, others: Others::Conduct, victims: MAIN, ..PLAIN },
    Scenario {
        name: "two-family",
        weight: 2,
        script: family,
        others: Others::Conduct,
        victims: MAIN,
        ..PLAIN
    },
    Scenario {
        name: "budget",
        weight: 2,
        script: few_lines,
        args: &["--ask", "never", "--max-budget-usd", "0.06"],
        ..PLAIN
    },
];

fn lines(script: &mut Script) {
    for n in 0..8 {
        script.turn(n % 3 * 5).line();
        if n % 3 == 0 {
            script.write(&format!("out/{n}.txt"), "whole");
        }
    }
    script.turn(0).finish();
}

fn few_lines(script: &mut Script) {
    for n in 0..4 {
        script.turn(10).line().write(&format!("out/{n}.txt"), "whole");
    }
    script.turn(0).finish();
}

/// Root delegates `a` and `b`; `a` may still delegate `b`, and the other way round: five sessions, three levels.
fn family(script: &mut Script) {
    script.turn(0).delegate("a").delegate("b").line().write("out/{{last}}.txt", "whole");
    script.turn(10).line();
    script.turn(0).finish();
}

fn plan(script: &mut Script) {
    script.turn(0).plan(&[("p1", &[]), ("p2", &["p1"]), ("p3", &["p1", "p2"])]);
    for n in 0..3 {
        script.turn(0).write(&format!("out/{n}.txt"), "whole").finish();
    }
}

/// Words are put into a file one by one, between other writes.
fn words(script: &mut Script) {
    script.turn(0).write(WORDS, "END");
    for n in 0..8 {
        script.turn(n % 2 * 10).write(&format!("out/{n}.txt"), "whole").append(WORDS, &format!("w{n}"));
    }
    script.turn(0).finish();
}

fn questions(script: &mut Script) {
    script.turn(0).write("out/0.txt", "whole");
    script.turn(0).ask();
    script.turn(0).line();
    script.turn(0).ask();
    script.turn(0).finish();
}

fn many_files(script: &mut Script) {
    script.turn(0);
    for n in 0..30 {
        script.write(&format!("out/{n}.txt"), "whole");
    }
    script.finish();
}

fn in_the_way(script: &mut Script) {
    script.turn(0).write(MINE, "the agent's").write("out/0.txt", "whole").finish();
}

/// The kind of case behind a number below the sum of all weights.
pub(super) fn at(mut number: u64) -> &'static Scenario {
    for scenario in SCENARIOS {
        if number < scenario.weight {
            return scenario;
        }
        number -= scenario.weight;
    }
    &SCENARIOS[0]
}

/// The sum of all weights.
pub(super) fn weights() -> u64 {
    SCENARIOS.iter().map(|scenario| scenario.weight).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_comes_and_has_a_name_of_its_own() {
        let names: std::collections::BTreeSet<&str> = (0..weights()).map(|n| at(n).name).collect();
        assert_eq!(names.len(), SCENARIOS.len());
    }
}
