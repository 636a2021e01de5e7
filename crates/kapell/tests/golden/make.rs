//! How a golden journal is made: the real binary, a scripted model, one session for each way in which work can stand.
//!
//! Runs only for a store schema that has no journal yet. Start at [`make`]; each line of it is one session.

use crate::golden::{self, Golden, Place, copy_tree};
use crate::world::{DONE, FREE, call, shell, until, write};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Child;

const PRICED: &str =
    "[model]\nprice_input_usd_per_mtok = 3.0\nprice_output_usd_per_mtok = 15.0\noutput_tokens = 4096\n";
/// A model that thinks until the process is killed. The script kept with the journal answers at once.
const SLOW: &str = "delay_ms = 3600000\n";

#[test]
fn every_store_schema_has_a_golden_journal() {
    ensure();
}

/// Makes the newest schema's journal when there is none and that is wanted.
pub(crate) fn ensure() {
    let golden = Golden { version: golden::newest_schema() };
    if golden.dir().exists() {
        return;
    }
    assert!(
        golden::update(),
        "store schema {} has no golden journal: UPDATE_GOLDEN=1 cargo test -p kapell --test golden, and commit it",
        golden.version
    );
    let place = Place::take(golden.version);
    // Another test may have been first.
    if !golden.dir().exists() {
        make(&golden, place);
    }
}

fn make(golden: &Golden, place: Place) {
    let Stage { place, made } = Stage { place, made: Default::default() }.play();
    // Whatever is not the store: repository, scripts as they answer from now on, workspaces. Locks and records of
    // processes are of this machine and not kept.
    fs::remove_dir_all(place.path("bin")).unwrap();
    fs::create_dir_all(golden.dir()).unwrap();
    let tar = golden.dir().join("world.tar.gz");
    place.tar(&[
        "-czf",
        tar.to_str().unwrap(),
        "--sort=name",
        "--owner=0",
        "--group=0",
        "--numeric-owner",
        "repo",
        "scripts",
        "kapell/state/sessions",
    ]);
    copy_tree(&place.path("kapell/data"), &golden.dir().join("data"));
    for name in ["kapell.db-shm", "kapell.lock", "kapell.open"] {
        drop(fs::remove_file(golden.dir().join("data").join(name)));
    }
    // The signed log is no part of the store, and its key nobody's business.
    drop(fs::remove_dir_all(golden.dir().join("data/audit")));
    let text = serde_json::to_string_pretty(&made).unwrap();
    fs::write(golden.dir().join("sessions.json"), text + "\n").unwrap();
}

/// The place while a journal is being made.
struct Stage {
    place: Place,
    made: serde_json::Map<String, Value>,
}

impl Stage {
    fn play(mut self) -> Self {
        self.repository();
        // What commands do outside is part of what is recorded.
        self.place.write("kapell/config/config.toml", "[sandbox]\nprofile = \"full\"\n");
        let fixes = format!("{}{DONE}", write("fixed.txt", "fixed\\n"));
        let outside = self.place.path("outside.log").display().to_string();
        let asks = call("ask", "question = \"Which colour?\"");
        let reads =
            "[[turn]]\nrepeat = 40\n[[turn.call]]\ntool = \"read\"\nargs = { path = \"readme.txt\" }\n";

        self.rests("completed", FREE, &format!("{reads}{fixes}"), &[], 0);
        self.rests("failed", FREE, &DONE.repeat(4), &[], 3);
        self.rests("cancelled", FREE, &format!("{asks}{fixes}"), &[], 8);
        self.place.kapell(&["cancel", "last"]).expect(0);
        self.rests("question", FREE, &format!("{asks}{fixes}"), &[], 8);
        self.rests("approval", FREE, &format!("{}{fixes}", shell(&format!("echo x >> {outside}"))), &[], 8);
        // Enough events for a snapshot, then a stop.
        self.rests("budget", FREE, &format!("{reads}{fixes}"), &["--max-steps", "75"], 7);
        self.paused(&fixes);

        self.dies("inbox-message", FREE, &fixes, &[], Hold::Message);
        self.dies("inbox-cancel", FREE, &fixes, &[], Hold::Cancel);
        self.dies("prepare-keyed", FREE, &fixes, &[], Hold::Git);
        self.dies("model-billed", PRICED, &fixes, &["--max-budget-usd", "2.5"], Hold::Model(2));
        self.dies("call-staged", FREE, &format!("{}{fixes}", shell("sh check.sh")), &[], Hold::Half);
        let begun = shell(&format!(
            "echo begun >> {outside}; while [ -e {} ]; do sleep 0.1; done",
            self.place.path("hold").display()
        ));
        self.dies("call-external", FREE, &format!("{begun}{fixes}"), &["--ask", "never"], Hold::Outside);
        let family = "[[turn]]\n[[turn.call]]\ntool = \"delegate\"\nargs = { goal = \"write the file\" }\n\
            [[turn.call]]\ntool = \"write\"\nargs = { path = \"fixed.txt\", content = \"fixed\" }\n";
        self.dies("parent", FREE, &format!("{family}{DONE}"), &[], Hold::Child);
        self
    }

    /// A repository whose check passes once a file says so, and which can be made to wait.
    fn repository(&self) {
        let place = &self.place;
        let hold = place.path("hold").display().to_string();
        place.write("repo/.kapell/config.toml", "[checks.test]\nrun = \"sh check.sh\"\nkind = \"test\"\n");
        place.write(
            "repo/check.sh",
            &format!(
                "if [ -e {hold} ]; then echo half > half.txt; fi\nwhile [ -e {hold} ]; do sleep 0.1; done\nyes a log too large for a row | head -n 4000\ngrep -q fixed fixed.txt\n"
            ),
        );
        place.write("repo/readme.txt", "hello\n");
        let git = place.path("hold-git").display().to_string();
        place.write(
            "bin/git",
            &format!("#!/bin/sh\nwhile [ -e {git} ]; do sleep 0.1; done\nexec /usr/bin/git \"$@\"\n"),
        );
        fs::set_permissions(place.path("bin/git"), fs::Permissions::from_mode(0o755)).unwrap();
        place.git(&["init", "-q", "-b", "main", "--template="]);
        place.git(&["add", "-A"]);
        place.git(&["commit", "-q", "-m", "start"]);
    }

    /// Arguments that run this session; its script is in place.
    fn run<'a>(&self, name: &'a str, prices: &str, turns: &str, more: &[&'a str]) -> Vec<String> {
        let file = format!("scripts/{name}.toml");
        self.place.write(&file, &format!("{prices}{turns}"));
        let model = format!("builtin/script:{}", self.place.path(&file).display());
        let mut args = vec!["run".to_owned(), "--no-land".into(), "-m".into(), model];
        args.extend(more.iter().map(|arg| (*arg).to_owned()));
        args.push(format!("make the test pass ({name})"));
        args
    }

    /// A session that comes to rest by itself, with this exit code.
    fn rests(&mut self, name: &str, prices: &str, turns: &str, more: &[&str], code: i32) {
        let args = self.run(name, prices, turns, more);
        self.place.kapell(&args.iter().map(String::as_str).collect::<Vec<_>>()).expect(code);
        self.note(name);
    }

    fn paused(&mut self, fixes: &str) {
        let args = self.run("paused", FREE, &format!("{}{fixes}", write("one.txt", "1")), &[]);
        let slow = self.slow("paused", "delay_ms = 1500\n");
        let mut running = self.place.start(&args.iter().map(String::as_str).collect::<Vec<_>>());
        self.steps(2);
        self.place.kapell(&["pause", "last"]).expect(0);
        running.wait().unwrap();
        self.place.write("scripts/paused.toml", &slow);
        self.note("paused");
        assert_eq!(self.place.shown("last")["state"], "paused");
    }

    /// Slows the model's turns down; the script as it was.
    fn slow(&self, name: &str, delay: &str) -> String {
        let file = format!("scripts/{name}.toml");
        let fast = self.place.read(&file);
        self.place.write(&file, &fast.replace("[[turn]]\n", &format!("[[turn]]\n{delay}")));
        fast
    }

    /// A session whose process is killed at a known point.
    fn dies(&mut self, name: &str, prices: &str, turns: &str, more: &[&str], hold: Hold) {
        let args = self.run(name, prices, turns, more);
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let fast = match hold {
            Hold::Model(_) | Hold::Message | Hold::Cancel => self.slow(name, SLOW),
            // The first turn delegates at once; the second is the child's last.
            Hold::Child => {
                let fast = self.place.read(&format!("scripts/{name}.toml"));
                let slow = fast.replace(DONE, &DONE.replace("[[turn]]\n", &format!("[[turn]]\n{SLOW}")));
                self.place.write(&format!("scripts/{name}.toml"), &slow);
                fast
            }
            _ => self.place.read(&format!("scripts/{name}.toml")),
        };
        if matches!(hold, Hold::Half | Hold::Outside) {
            self.place.write("hold", "");
        }
        if matches!(hold, Hold::Git) {
            self.place.write("hold-git", "");
        }
        let mut running = Dying(self.place.start(&args));
        match hold {
            Hold::Git => self.steps(1),
            Hold::Model(steps) => self.steps(steps),
            Hold::Half => self.steps(3),
            Hold::Outside => until("it has begun", || !self.place.read("outside.log").is_empty()),
            Hold::Child => until("the child's model thinks", || {
                let tree = self.place.kapell(&["sessions", "tree", "last", "--json"]);
                let child = tree.code == 0 && tree.json()[0]["children"][0].is_object();
                child && self.place.shown(tree.json()[0]["children"][0]["id"].as_str().unwrap())["steps"] == 4
            }),
            Hold::Message | Hold::Cancel => {
                self.steps(2);
                let id = self.last();
                // Stopped in the middle of a write it would hold the store: then it is let go and stopped anew.
                until("its inbox is written to", || {
                    signal(&running, Signal::STOP);
                    let told = match hold {
                        Hold::Message => {
                            self.place.kapell(&["resume", &id, "--timeout", "300ms", "please be brief"])
                        }
                        _ => self.place.kapell(&["cancel", &id]),
                    };
                    let locked = told.err.contains("is locked");
                    if locked {
                        signal(&running, Signal::CONT);
                    }
                    !locked
                });
            }
        }
        running.kill();
        for held in ["hold", "hold-git"] {
            drop(fs::remove_file(self.place.path(held)));
        }
        drop(fs::remove_file(self.place.path("outside.log")));
        self.place.write(&format!("scripts/{name}.toml"), &fast);
        self.note(name);
    }

    fn steps(&self, steps: u64) {
        until("it got so far", || self.place.shown("last")["steps"] == steps);
    }

    fn last(&self) -> String {
        self.place.shown("last")["session_id"].as_str().unwrap().to_owned()
    }

    /// The newest root session is the one of this name.
    fn note(&mut self, name: &str) {
        let tree = self.place.kapell(&["sessions", "tree", "--json"]).expect(0).json();
        let fits = |node: &&Value| {
            node["goal_text"].as_str().is_some_and(|goal| goal.contains(&format!("({name})")))
        };
        let node = tree.as_array().unwrap().iter().find(fits).unwrap_or_else(|| panic!("{tree:#}"));
        let id = node["id"].as_str().unwrap();
        self.made.insert(name.to_owned(), id.into());
    }
}

/// What the process is killed in.
enum Hold {
    /// Preparing.
    Git,
    /// A model call, after so many steps.
    Model(u64),
    /// A declared check, halfway.
    Half,
    /// A command that has had its effect.
    Outside,
    /// A child's model call.
    Child,
    /// A model call, with a message unread.
    Message,
    /// A model call, with a cancel unread.
    Cancel,
}

/// A process that is killed in the end, however that comes.
struct Dying(Child);

impl Dying {
    fn kill(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

impl Drop for Dying {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

fn signal(child: &Dying, signal: Signal) {
    kill_process(Pid::from_child(&child.0), signal).unwrap();
}
