//! What programs do to a session: wait for input, stay behind, resist, run in the background and at terminals.
//!
//! Start at the first test; each is one story.

use crate::world::{DONE, World, call, shell, until};
use rustix::process::{Pid, Signal};
use rustix::pty::{OpenptFlags, grantpt, ioctl_tiocgptpeer, openpt, unlockpt};
use rustix::termios::{LocalModes, Winsize, tcgetattr, tcsetwinsize};
use sandbox::Size;
use sandbox::job::Screen;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::process::{Child, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

const SIZE: Size = Size { columns: 80, rows: 24 };
/// Holds a session until it is killed.
const HOLD: &str = "[[turn]]\ndelay_ms = 600000\ntext = \"slow\"\n";

/// Does a process with this number live?
fn lives(pid: &str) -> bool {
    let pid = pid.trim().parse().ok().and_then(Pid::from_raw);
    pid.is_some_and(|pid| rustix::process::test_kill_process(pid).is_ok())
}

#[test]
fn a_command_that_waits_for_input_is_ended_and_the_model_is_told_why() {
    let world = World::new();
    let model = world.script("asks", &format!("{}{DONE}{DONE}", shell("mkfifo q; echo asking; cat q")));
    let ended = world.run(&["run", "-m", &model, "--ask", "never", "--no-land", "goal"]);
    let transcript = world.run(&["sessions", "transcript", "last"]).expect(0);
    let told =
        "waits for input from the named pipe q, which nobody opens for writing, and nobody can give any";
    assert!(transcript.out.contains(told), "{}\n{}", transcript.out, ended.err);
    assert!(ended.err.contains("cancelling mkfifo"), "{}", ended.err);
}

#[test]
fn the_steps_of_stopping_are_told_in_order_and_a_second_interrupt_skips_to_the_last() {
    let world = World::unconfined();
    let line = format!(
        "trap \"\" INT TERM; echo got as far; echo $$ > {}; sleep 600 & wait; wait",
        world.path("pid").display()
    );
    let model = world.script("stubborn", &shell(&line));
    let running = world.start(&["run", "-m", &model, "--ask", "never", "goal"]);
    until("the command runs", || world.read("pid").ends_with('\n'));
    running.signal(Signal::INT);
    world.wait("it is stopping", |_| true);
    running.signal(Signal::INT);
    let ended = running.end().expect(130);
    let steps: Vec<&str> = ended.err.lines().filter(|line| line.ends_with(" trap")).collect();
    assert_eq!(steps, ["cancelling trap", "force stopping trap", "killed trap"], "{}", ended.err);
    assert!(!lives(&world.read("pid")));
    // Killed, but in order: its end is on record, and a person is asked what it may have done.
    assert_eq!(world.shown()["state"], "waiting");
    let events = world.run(&["events", "last"]).expect(0);
    assert!(events.out.contains("\"end\":\"cancelled\""), "{}", events.out);
    // So is what it had written by then.
    let transcript = world.run(&["sessions", "transcript", "last"]).expect(0).out;
    assert!(transcript.contains("     got as far\n     [cancelled; stopped by SIGKILL"), "{transcript}");
}

#[test]
fn a_background_command_outlives_its_call_and_ends_with_the_session() {
    let world = World::unconfined();
    let pid = world.path("pid").display().to_string();
    let line = format!("echo $$ > {pid}; echo ready; read -r x; echo \"got $x\"; exec sleep 600");
    let turns = [
        call("shell", &format!("command = '{line}', background = true")),
        call("job", "action = \"write\", job = \"j1\", text = \"word\\n\""),
        call("job", "action = \"list\""),
        DONE.to_owned(),
        DONE.to_owned(),
    ];
    let model = world.script("server", &turns.concat());
    world.run(&["run", "-m", &model, "--ask", "never", "--no-land", "goal"]);
    let transcript = world.run(&["sessions", "transcript", "last"]).expect(0).out;
    for told in ["ready\n", "got word", "j1 (background) runs since"] {
        assert!(transcript.contains(told), "{told}: {transcript}");
    }
    until("it is gone", || !lives(&world.read("pid")));
    let jobs = world.run(&["jobs", "last", "--json"]).expect(0).json();
    assert_eq!(
        (&jobs["jobs"][0]["job"], &jobs["jobs"][0]["running"]),
        (&"j1".into(), &false.into()),
        "{jobs}"
    );
    assert_eq!(world.run(&["jobs", "last", "j1"]).expect(0).out, "ready\ngot word\n");
}

/// A person at a terminal, with what the terminal shows.
struct Person {
    child: Child,
    master: std::fs::File,
    screen: Arc<Mutex<Screen>>,
}

impl Person {
    fn attach(world: &World) -> Self {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let master = openpt(flags).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        tcsetwinsize(&master, winsize(SIZE)).unwrap();
        let slave: OwnedFd = ioctl_tiocgptpeer(&master, flags).unwrap();
        let end = || Stdio::from(slave.try_clone().unwrap());
        // The terminal becomes its own, so that a change of size reaches it.
        let kapell = world.kapell(&["attach", "last"]);
        let mut command = std::process::Command::new("setsid");
        command.arg("--ctty").arg(kapell.get_program()).args(kapell.get_args()).env_clear();
        command.envs(kapell.get_envs().filter_map(|(name, value)| Some((name, value?)))).env("TERM", "xterm");
        let child =
            command.current_dir(world.repo()).stdin(end()).stdout(end()).stderr(end()).spawn().unwrap();
        let screen = Arc::new(Mutex::new(Screen::new(SIZE)));
        let (shown, mut output) = (Arc::clone(&screen), std::fs::File::from(master.try_clone().unwrap()));
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(n @ 1..) = output.read(&mut bytes) {
                shown.lock().unwrap().feed(&bytes[..n]);
            }
        });
        Self { child, master: master.into(), screen }
    }

    fn rows(&self) -> Vec<String> {
        self.screen.lock().unwrap().rows()
    }

    #[track_caller]
    fn sees(&self, what: &str, fits: impl Fn(&[String]) -> bool) -> Vec<String> {
        let begin = Instant::now();
        while !fits(&self.rows()) {
            assert!(begin.elapsed() < Duration::from_secs(60), "never seen: {what}: {:#?}", self.rows());
            std::thread::sleep(Duration::from_millis(10));
        }
        self.rows()
    }

    fn types(&mut self, keys: &[u8]) {
        self.master.write_all(keys).unwrap();
    }
}

impl Drop for Person {
    fn drop(&mut self) {
        let _ended = self.child.kill();
        let _status = self.child.wait();
    }
}

fn winsize(size: Size) -> Winsize {
    Winsize { ws_row: size.rows, ws_col: size.columns, ws_xpixel: 0, ws_ypixel: 0 }
}

#[test]
fn a_person_leaves_a_terminal_is_killed_at_it_and_finds_it_as_it_was() {
    let world = World::unconfined();
    let pid = world.path("pid").display().to_string();
    // A program with a screen of its own that says what it is told.
    let line = format!(
        "echo $$ > {pid}; printf \"\\033[?1049h\\033[2J\\033[2;3Hmenu\\033[5;1H\"; \
         while read -r x; do printf \"\\033[4;3H\\033[38;5;123m%s\\033[0m\\033[5;1H\" \"$x\"; done"
    );
    let start = call("shell", &format!("command = '''{line}''', terminal = true"));
    let model = world.script("menu", &format!("{start}{HOLD}"));
    let running = world.start(&["run", "-m", &model, "--ask", "never", "goal"]);
    until("it runs", || world.read("pid").ends_with('\n'));

    let mut person = Person::attach(&world);
    person.sees("the menu", |rows| rows[1] == "  menu");
    person.types(b"soup\r");
    let before = person.sees("what was typed", |rows| rows[3] == "  soup");
    person.child.kill().unwrap();
    person.child.wait().unwrap();
    drop(person);

    let mut person = Person::attach(&world);
    assert_eq!(person.sees("the same again", |rows| rows[3] == "  soup"), before);
    let wide = Size { columns: 100, rows: 30 };
    person.screen.lock().unwrap().resize(wide);
    tcsetwinsize(&person.master, winsize(wide)).unwrap();
    person.types(b"salad\r");
    person.sees("it goes on", |rows| rows.len() == 30 && rows[3] == "  salad");
    person.types(b"\x1d");
    assert_eq!(person.child.wait().unwrap().code(), Some(0));
    assert!(lives(&world.read("pid")));

    // Nothing outlives a Kapell that is killed, and what there was can still be read.
    running.signal(Signal::KILL);
    running.end();
    let begin = Instant::now();
    until("it is gone", || !lives(&world.read("pid")));
    assert!(begin.elapsed() < Duration::from_secs(5), "{:?}", begin.elapsed());
    let jobs = world.run(&["jobs", "last", "--json"]).expect(0).json();
    assert_eq!(jobs["jobs"][0]["ended"], "killed together with the Kapell that ran it", "{jobs}");
    assert!(world.run(&["jobs", "last", "j1"]).expect(0).out.contains("soup"));
}

#[test]
fn a_flood_is_seen_and_a_killed_person_has_the_terminal_back() {
    let world = World::unconfined();
    let pid = world.path("pid").display().to_string();
    let line = format!("echo $$ > {pid}; n=0; while :; do n=$((n+1)); echo flood $n; done");
    let start = call("shell", &format!("command = '''{line}''', terminal = true"));
    let model = world.script("flood", &format!("{start}{HOLD}"));
    let _running = world.start(&["run", "-m", &model, "--ask", "never", "goal"]);
    until("it runs", || world.read("pid").ends_with('\n'));

    let mut person = Person::attach(&world);
    person.sees("the flood", |rows| rows.iter().any(|row| row.starts_with("flood ")));
    let modes = |person: &Person| tcgetattr(&person.master).unwrap().local_modes;
    assert!(!modes(&person).contains(LocalModes::ICANON));
    rustix::process::kill_process(Pid::from_child(&person.child), Signal::TERM).unwrap();
    person.child.wait().unwrap();
    assert!(modes(&person).contains(LocalModes::ICANON | LocalModes::ECHO));
    assert!(lives(&world.read("pid")));
    // What floods its terminal hears who stops it.
    world.run(&["jobs", "last", "j1", "--stop"]).expect(0);
    until("it is gone", || !lives(&world.read("pid")));
}
