//! Command lines with the verdicts they must get, wrapping tricks included: a table, `verdicts.tsv`.
//! Knows the rules the table is about. Start at [`the_table_holds`].

use command::{Place, parts};
use contract::confine::Network;
use contract::policy::Decision;
use contract::session::Ask;
use kernel::policy::{Layer, Match, Policy, Rule, Setting};

fn policy() -> Policy {
    let rule = |verdict, matches| Rule { verdict, matches, layer: Layer::User, place: "table".into() };
    let words = |text: &str| text.split(' ').map(str::to_owned).collect();
    let command = |verdict, text: &str| rule(verdict, Match::Command { words: words(text), exact: false });
    let allowed = ["git add", "git commit", "cargo test", "cargo build", "make", "npm run *", "rm"];
    let mut rules: Vec<Rule> = allowed.iter().map(|text| command(Decision::Allow, text)).collect();
    let exact = Match::Command { words: words("python3 tests/run.py"), exact: true };
    rules.push(rule(Decision::Allow, exact));
    rules.push(command(Decision::Ask, "npm install"));
    rules.push(command(Decision::Deny, "git push --force"));
    rules.push(command(Decision::Deny, "curl"));
    rules
        .push(rule(Decision::Deny, Match::Path { pattern: ".env".into(), how: contract::policy::How::Read }));
    rules.push(rule(Decision::Deny, Match::Host("*.evil.com".into())));
    rules.push(rule(Decision::Deny, Match::Host("evil.com".into())));
    let own = ["/home/me/.local/state/kapell", "/home/me/.config/kapell"].map(str::to_owned).to_vec();
    Policy { rules, home: "/home/me".into(), own, hosts: Vec::new() }
}

#[test]
fn the_table_holds() {
    let (policy, place) = (policy(), Place { root: "/w/proj".into(), home: "/home/me".into() });
    let (mut lines, mut wrong) = (0, Vec::new());
    for line in include_str!("verdicts.tsv").lines().filter(|line| !line.starts_with("# ")) {
        let [text, expected, why] = line.split('\t').collect::<Vec<_>>()[..] else { panic!("{line}") };
        lines += 1;
        let parts = parts(&text.replace('⏎', "\n"), &place, "/w/proj");
        let given = [false, true].map(|confined| {
            let caged = confined.then_some(Network::Off);
            let setting = Setting { ask: Ask::External, confined, caged, reads: false };
            policy.rule(setting, &parts)
        });
        let names = format!("{}/{}", given[0].verdict.name(), given[1].verdict.name());
        if names != expected {
            wrong.push(format!(
                "{text}\n    is {names}, not {expected} ({why}): {} / {}",
                given[0].why, given[1].why
            ));
        }
    }
    assert!(lines >= 300, "only {lines} lines");
    assert!(wrong.is_empty(), "{} of {lines} lines:\n{}", wrong.len(), wrong.join("\n"));
}
