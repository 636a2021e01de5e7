//! What was in flight when a golden journal was made goes on today, as its effect class says.
//!
//! Runs the real binary on a copy of the journal, in the place the journal names. Start at the first test.

use crate::golden::{self, Golden, Place};
use serde_json::Value;

/// A golden journal brought to life.
struct Alive {
    place: Place,
    golden: Golden,
}

impl Alive {
    fn all() -> Vec<Self> {
        golden::all().into_iter().map(|golden| Self { place: Place::restore(&golden), golden }).collect()
    }

    fn id(&self, name: &str) -> String {
        self.golden.sessions()[name].as_str().unwrap().to_owned()
    }

    /// Goes on with a session; it must end with this code.
    #[track_caller]
    fn resume(&self, name: &str, more: &[&str], code: i32) {
        let id = self.id(name);
        let ended = self.place.kapell(&[&["resume", &id, "--json"], more].concat());
        assert_eq!(ended.code, code, "{name}:\n{}\n{}", ended.out, ended.err);
    }

    /// What the newest process said it did about the action it found.
    fn recovered(&self, name: &str) -> String {
        let events = self.place.events(&self.id(name));
        let mut recovered = events.iter().filter(|(kind, _)| kind == "recovered");
        let found = recovered.rfind(|(_, event)| event["found"].is_string());
        found.map(|(_, event)| event["did"].as_str().unwrap().to_owned()).unwrap_or_default()
    }

    /// Attempts of each work that was started, in order: (name of the work, action, attempt).
    fn started(&self, name: &str) -> Vec<(String, String, u64)> {
        let started = |(kind, event): &(String, Value)| {
            let work = match &event["work"] {
                Value::Object(work) => work.keys().next()?.clone(),
                bare => bare.as_str()?.to_owned(),
            };
            (kind == "started").then(|| {
                (work, event["action"].as_str().unwrap().to_owned(), event["attempt"].as_u64().unwrap())
            })
        };
        self.place.events(&self.id(name)).iter().filter_map(started).collect()
    }

    fn state(&self, name: &str) -> String {
        self.place.shown(&self.id(name))["state"].as_str().unwrap().to_owned()
    }

    /// The second attempts: what ran again.
    fn again(&self, name: &str) -> Vec<String> {
        self.started(name).into_iter().filter(|(_, _, attempt)| *attempt > 1).map(|(work, ..)| work).collect()
    }
}

#[test]
fn what_is_over_stays_over() {
    for alive in Alive::all() {
        for (name, state) in [("completed", "completed"), ("failed", "failed"), ("cancelled", "cancelled")] {
            assert_eq!(alive.state(name), state);
            alive.resume(name, &[], 2);
            assert_eq!(alive.state(name), state);
        }
    }
}

#[test]
fn what_waits_for_a_person_goes_on_with_their_word() {
    for alive in Alive::all() {
        alive.resume("paused", &[], 0);
        alive.resume("budget", &[], 7);
        alive.resume("budget", &["--add-steps", "100"], 0);
        alive.resume("question", &[], 8);
        alive.place.kapell(&["answer", &alive.id("question"), "blue"]).expect(0);
        alive.resume("question", &[], 0);
        // The yes never comes, however much later this is: waiting on, or run out of time, but never done.
        let id = alive.id("approval");
        let ended = alive.place.kapell(&["resume", &id]);
        assert!([0, 6, 8].contains(&ended.code), "{}{}", ended.out, ended.err);
        assert_eq!(alive.place.read("outside.log"), "");
    }
}

#[test]
fn what_may_run_again_does() {
    for alive in Alive::all() {
        alive.resume("prepare-keyed", &[], 0);
        assert_eq!(alive.recovered("prepare-keyed"), "run-again");
        assert_eq!(alive.started("prepare-keyed")[0].0, "prepare");
        assert!(alive.started("prepare-keyed").iter().filter(|(work, ..)| work == "prepare").count() >= 2);

        alive.resume("model-billed", &[], 0);
        assert_eq!(
            (alive.recovered("model-billed").as_str(), alive.again("model-billed")),
            ("run-again", vec!["model".into()])
        );

        alive.resume("call-staged", &[], 0);
        assert_eq!(
            (alive.recovered("call-staged").as_str(), alive.again("call-staged")),
            ("restored", vec!["tools".into()])
        );
        let diff = alive.place.kapell(&["diff", &alive.id("call-staged")]).expect(0).out;
        assert!(diff.contains("fixed.txt") && !diff.contains("half.txt"), "half a change was left:\n{diff}");

        alive.resume("parent", &[], 0);
        let tree = alive.place.kapell(&["sessions", "tree", &alive.id("parent"), "--json"]).expect(0).json();
        assert_eq!(tree[0]["children"][0]["status"], "completed", "{tree:#}");
        alive.place.kapell(&["verify"]).expect(0);
    }
}

#[test]
fn what_was_spent_before_the_crash_is_settled() {
    for alive in Alive::all() {
        let cost = || {
            let cost = alive.place.kapell(&["cost", &alive.id("model-billed"), "--json"]).expect(0).json();
            let nanos = |what: &str| cost["total"][what]["nanos"].as_u64().unwrap_or_default();
            (nanos("held"), nanos("settled"))
        };
        let (held, settled) = cost();
        assert!(held > 0 && settled == 0, "{held} {settled}");
        alive.resume("model-billed", &[], 0);
        // Nobody knows what the lost call was billed: all that was reserved for it counts.
        let (left, settled) = cost();
        assert!(left == 0 && settled > held, "{left} {settled}");
    }
}

#[test]
fn what_happened_outside_is_asked_about_and_never_done_twice_silently() {
    for alive in Alive::all() {
        // As it was when the journal was made: what is approved really runs outside.
        alive.place.write("kapell/config/config.toml", "[sandbox]\nprofile = \"full\"\n");
        alive.resume("call-external", &[], 8);
        assert_eq!(alive.recovered("call-external"), "ask");
        assert_eq!(alive.place.read("outside.log"), "", "it ran again without a word");
        alive.resume("call-external", &[], 8);
        assert_eq!(alive.place.read("outside.log"), "");
        alive.place.kapell(&["approve", "--unseen", &alive.id("call-external")]).expect(0);
        alive.resume("call-external", &[], 0);
        assert_eq!(alive.place.read("outside.log"), "begun\n");
    }
}

#[test]
fn what_was_said_meanwhile_is_heard() {
    for alive in Alive::all() {
        alive.resume("inbox-message", &[], 0);
        let told = alive.place.kapell(&["sessions", "transcript", &alive.id("inbox-message")]).expect(0).out;
        assert!(told.contains("please be brief"), "{told}");

        let before = alive.started("inbox-cancel").len();
        alive.resume("inbox-cancel", &[], 130);
        assert_eq!(alive.state("inbox-cancel"), "cancelled");
        assert_eq!(alive.started("inbox-cancel").len(), before, "something started after the cancel");
    }
}
