//! The order of the layers, and how far a rule holds.

use super::*;

fn rule(verdict: Decision, command: &str) -> Rule {
    let words = command.split(' ').map(str::to_owned).collect();
    let matches = Match::Command { words, exact: false };
    Rule { verdict, matches, layer: Layer::User, place: "config.toml:1".into() }
}

fn part(line: &str) -> Part {
    // `$x` stands for what is not known, `@x` for any number of words.
    let words = line.split(' ').map(|word| match word.as_bytes()[0] {
        b'$' => Arg::One(word.into()),
        b'@' => Arg::Many(word.into()),
        _ => Arg::Known(word.into()),
    });
    Part { words: words.collect(), ..Part::default() }
}

fn touching(line: &str, how: How, path: &str) -> Part {
    let inside = path.strip_prefix("/w/").map(str::to_owned);
    Part { touches: vec![Touch { path: Some(path.into()), inside, how }], ..part(line) }
}

const OPEN: Setting = Setting { ask: Ask::External, confined: false, caged: None, reads: false };
const CONFINED: Setting = Setting { confined: true, ..OPEN };

fn policy(rules: &[Rule]) -> Policy {
    Policy {
        rules: rules.to_vec(),
        home: "/home/me".into(),
        own: vec!["/home/me/.kapell".into()],
        hosts: vec!["github.com".into()],
    }
}

fn verdict(rules: &[Rule], setting: Setting, part: &Part) -> Decision {
    policy(rules).part(setting, part).verdict
}

#[test]
fn deny_before_ask_before_allow_whatever_the_order() {
    let rules = |order: [Decision; 3]| order.map(|verdict| rule(verdict, "make x"));
    for order in [
        [Decision::Allow, Decision::Ask, Decision::Deny],
        [Decision::Deny, Decision::Ask, Decision::Allow],
        [Decision::Ask, Decision::Allow, Decision::Deny],
    ] {
        assert_eq!(verdict(&rules(order), OPEN, &part("make x")), Decision::Deny);
    }
    let two = [rule(Decision::Allow, "make"), rule(Decision::Ask, "make x")];
    assert_eq!(verdict(&two, OPEN, &part("make x")), Decision::Ask);
    assert_eq!(verdict(&two, OPEN, &part("make y")), Decision::Allow);
    assert_eq!(verdict(&[], OPEN, &part("make y")), Decision::Ask);
    assert_eq!(verdict(&[], CONFINED, &part("make y")), Decision::Allow);
}

#[test]
fn the_strictest_part_decides_and_is_named() {
    let policy = policy(&[rule(Decision::Deny, "git push")]);
    let ruling = policy.rule(OPEN, &[part("ls"), part("make"), part("git push"), part("rm x")]);
    assert_eq!(ruling.verdict, Decision::Deny);
    assert_eq!(ruling.why, "`git push`: deny command `git push` (config.toml:1)");
    assert_eq!(policy.rule(OPEN, &[]).verdict, Decision::Allow);
}

#[test]
fn denying_looks_behind_options_and_allowing_does_not() {
    use Decision::{Allow, Ask, Deny};
    for (says, about, line, is) in [
        (Deny, "git push", "git --odd push", Deny),
        (Deny, "git push", "git push -f origin", Deny),
        (Deny, "git push", "git log push", Allow),
        (Deny, "git push", "git --odd value push", Ask),
        (Deny, "git push", "git $x", Ask),
        (Deny, "git push", "$git push", Ask),
        (Deny, "git push", "/opt/x/git push", Deny),
        (Deny, "npm *", "npm ci", Deny),
        (Deny, "rm -rf", "rm -r -f x", Deny),
        (Deny, "rm -rf", "rm -fr x", Deny),
        (Deny, "rm -rf", "rm -r x", Allow),
        (Deny, "rm -rf", "rm @x", Ask),
        (Deny, "git commit --no-verify", "git commit --no-verif -m x", Ask),
        (Deny, "git commit --no-verify", "git commit --no-edit", Allow),
        (Deny, "node*", "nodejs x", Deny),
    ] {
        assert_eq!(verdict(&[rule(says, about)], CONFINED, &part(line)), is, "{about}: {line}");
    }
    for (about, line, is) in [
        ("make x", "make x y", Allow),
        ("make x *", "make x", Allow),
        ("make x", "make -C /y x", Ask),
        ("make x", "make $x", Ask),
        ("make x", "/tmp/make x", Ask),
        ("make x", "/usr/bin/make x", Allow),
        ("make", "makefs", Ask),
        ("npm run *", "npm run build:x", Allow),
        ("npm run *", "npm install x", Ask),
        ("*", "rm x", Ask),
    ] {
        assert_eq!(verdict(&[rule(Allow, about)], OPEN, &part(line)), is, "{about}: {line}");
    }
}

#[test]
fn an_exact_rule_allows_nothing_more() {
    let mut exact = rule(Decision::Allow, "make x");
    exact.matches = Match::Command { words: vec!["make".into(), "x".into()], exact: true };
    assert_eq!(verdict(std::slice::from_ref(&exact), OPEN, &part("make x")), Decision::Allow);
    assert_eq!(verdict(&[exact], OPEN, &part("make x y")), Decision::Ask);
}

#[test]
fn a_doubt_is_never_allowed_by_a_rule() {
    let doubtful = |doubt| Part { doubts: vec![doubt], ..part("make x") };
    for doubt in [
        Doubt::Program,
        Doubt::Code,
        Doubt::Input,
        Doubt::Elsewhere,
        Doubt::Variable("PATH".into()),
        Doubt::Host,
    ] {
        assert_eq!(
            verdict(&[rule(Decision::Allow, "make")], OPEN, &doubtful(doubt.clone())),
            Decision::Ask,
            "{doubt:?}"
        );
    }
}

#[test]
fn the_floor_holds_under_every_rule_and_setting() {
    let all =
        [rule(Decision::Allow, "rm *"), rule(Decision::Allow, "cp *"), rule(Decision::Allow, "kapell *")];
    let never = Setting { ask: Ask::Never, ..OPEN };
    for setting in [OPEN, CONFINED, never] {
        for (it, is) in [
            (touching("rm -rf /", How::Write, "/"), Decision::Deny),
            (touching("rm -rf /home/me", How::Write, "/home/me"), Decision::Deny),
            (
                Part {
                    words: vec![Arg::Known("rm".into()), Arg::Known("-rf".into()), Arg::Many("/*".into())],
                    ..Part::default()
                },
                Decision::Deny,
            ),
            (touching("cp a", How::Write, "/home/me/.kapell/data/x"), Decision::Deny),
            (touching("odd", How::Any, "/home/me/.kapell/data/x"), Decision::Deny),
            (touching("cat", How::Read, "/home/me/.ssh/id_rsa"), Decision::Ask),
            (touching("cp a", How::Write, "/w/.git/hooks/pre-commit"), Decision::Ask),
            (touching("cp a", How::Write, "/w/.kapell/memory/sub/x.md"), Decision::Ask),
            (touching("cp a", How::Write, "/w/.kapell/memory/x.md"), Decision::Allow),
            (touching("cp a", How::Write, "/home/me/.bashrc"), Decision::Ask),
            (part("kapell approve last"), Decision::Deny),
            (part("mkfs.ext4 x"), Decision::Deny),
            (Part { doubts: vec![Doubt::Input], ..part("bash") }, Decision::Ask),
            (Part { doubts: vec![Doubt::Unread("x".into())], ..Part::default() }, Decision::Ask),
        ] {
            assert_eq!(verdict(&all, setting, &it), is, "{it:?} {setting:?}");
        }
    }
    assert_eq!(verdict(&[], never, &part("make x")), Decision::Allow);
    assert_eq!(verdict(&[rule(Decision::Ask, "make")], never, &part("make x")), Decision::Ask);
}

#[test]
fn a_mode_that_reads_denies_what_is_more() {
    let plan = Setting { reads: true, ..CONFINED };
    let all = [rule(Decision::Allow, "git *")];
    assert_eq!(verdict(&all, plan, &part("git commit --amend")), Decision::Deny);
    assert_eq!(verdict(&all, plan, &part("git log")), Decision::Allow);
    assert_eq!(verdict(&all, plan, &touching("ls src", How::Read, "/w/src")), Decision::Allow);
    let file = Part { words: Vec::new(), ..touching("x", How::Write, "/w/a") };
    assert_eq!(verdict(&all, plan, &file), Decision::Deny);
    // A page of a host that a person has allowed elsewhere.
    let page = Part { hosts: vec!["odd.example".into()], wraps: true, ..Part::default() };
    assert_eq!(verdict(&all, plan, &page), Decision::Allow);
    assert_eq!(verdict(&all, plan, &Part { wraps: false, ..page.clone() }), Decision::Deny);
    let never = Rule { matches: Match::Host("odd.example".into()), ..rule(Decision::Deny, "x") };
    assert_eq!(verdict(&[never], CONFINED, &page), Decision::Deny);
    assert!(only_reads("plan") && only_reads("review") && !only_reads("code"));
}

#[test]
fn paths_and_hosts() {
    let path = |verdict, pattern: &str, how| Rule {
        matches: Match::Path { pattern: pattern.into(), how },
        ..rule(verdict, "x")
    };
    let env = path(Decision::Deny, ".env", How::Read);
    assert_eq!(
        verdict(std::slice::from_ref(&env), CONFINED, &touching("cat", How::Read, "/w/a/.env")),
        Decision::Deny
    );
    assert_eq!(verdict(&[env], CONFINED, &touching("cat", How::Read, "/w/a/.envrc")), Decision::Allow);
    let writes = path(Decision::Ask, "src/gen/**", How::Write);
    assert_eq!(
        verdict(std::slice::from_ref(&writes), CONFINED, &touching("cat", How::Read, "/w/src/gen/a")),
        Decision::Allow
    );
    assert_eq!(verdict(&[writes], CONFINED, &touching("tee", How::Write, "/w/src/gen/a")), Decision::Ask);
    let out = touching("cp a", How::Write, "/srv/x/a");
    assert_eq!(verdict(&[], CONFINED, &out), Decision::Ask);
    let both = [path(Decision::Allow, "/srv/x", How::Write), rule(Decision::Allow, "cp")];
    assert_eq!(verdict(&both[..1], CONFINED, &out), Decision::Allow);
    assert_eq!(verdict(&both[1..], OPEN, &out), Decision::Ask);
    assert_eq!(verdict(&both, OPEN, &out), Decision::Allow);
    let speaks = |host: &str| Part { hosts: vec![host.into()], ..part("curl x") };
    let host = |verdict, host: &str| Rule { matches: Match::Host(host.into()), ..rule(verdict, "x") };
    assert_eq!(verdict(&[], CONFINED, &speaks("evil.com")), Decision::Ask);
    assert_eq!(verdict(&[], CONFINED, &speaks("github.com")), Decision::Allow);
    assert_eq!(verdict(&[], CONFINED, &speaks("x.github.com")), Decision::Ask);
    assert_eq!(
        verdict(&[host(Decision::Allow, "*.evil.com")], CONFINED, &speaks("a.evil.com")),
        Decision::Allow
    );
    assert_eq!(verdict(&[host(Decision::Allow, "*.evil.com")], CONFINED, &speaks("evil.com")), Decision::Ask);
    assert_eq!(
        verdict(&[host(Decision::Deny, "github.com")], CONFINED, &speaks("github.com")),
        Decision::Deny
    );
}

#[test]
fn where_a_sandbox_holds_the_network_nobody_is_asked_whom_it_would_speak_to() {
    let offline = Setting { caged: Some(Network::Off), ..CONFINED };
    let listed = Setting { caged: Some(Network::Hosts), ..CONFINED };
    let speaks = Part { hosts: vec!["evil.com".into()], ..part("curl x") };
    let out = touching("cp a", How::Write, "/srv/x/a");
    let doubtful = |doubt| Part { doubts: vec![doubt], ..part("make x") };
    for (it, is) in [
        (speaks, [Decision::Ask, Decision::Allow, Decision::Allow]),
        (out, [Decision::Ask, Decision::Allow, Decision::Allow]),
        (part("git push"), [Decision::Ask, Decision::Ask, Decision::Allow]),
        (part("docker run x"), [Decision::Ask, Decision::Ask, Decision::Allow]),
        (doubtful(Doubt::Host), [Decision::Ask, Decision::Allow, Decision::Allow]),
        (doubtful(Doubt::Program), [Decision::Ask; 3]),
        (doubtful(Doubt::Input), [Decision::Ask; 3]),
        (doubtful(Doubt::Unread("x".into())), [Decision::Ask; 3]),
    ] {
        let given = [CONFINED, listed, offline].map(|setting| verdict(&[], setting, &it));
        assert_eq!(given, is, "{it:?}");
    }
    // What people wrote holds all the same.
    assert_eq!(verdict(&[rule(Decision::Deny, "git push")], offline, &part("git push")), Decision::Deny);
    assert_eq!(verdict(&[rule(Decision::Ask, "git push")], offline, &part("git push")), Decision::Ask);
}

#[test]
fn a_person_has_a_shell_where_a_sandbox_holds_it_unless_somebody_wrote_otherwise() {
    use Decision::{Allow, Ask, Deny};
    for (written, setting, is) in [
        (None, CONFINED, Allow),
        (None, OPEN, Ask),
        (Some(Ask), CONFINED, Ask),
        (Some(Deny), CONFINED, Deny),
        (Some(Deny), OPEN, Deny),
        (Some(Allow), CONFINED, Allow),
    ] {
        let rules: Vec<Rule> = written.map(|verdict| rule(verdict, "bash")).into_iter().collect();
        let shell = Part { doubts: vec![Doubt::Code], ..part("/bin/bash") };
        let ruling = policy(&rules).shell(setting, &[shell]);
        assert_eq!(ruling.verdict, is, "{written:?} {setting:?}: {}", ruling.why);
    }
}
