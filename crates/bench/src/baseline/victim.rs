//! The process that is made to fail: goes on with what its directory holds, until every message has been worked on.
//!
//! Started again after each death with the same arguments, as a supervisor and a client that repeats what was not
//! acknowledged would do it. Start at [`run`]; [`wrong`] looks at what is left.

use super::System;
use super::kapell::{Helpless, Kapell};
use super::naive::Naive;
use super::script::{MARK, Plant, Script, leave};
use super::work::each;
use anyhow::{Result, bail};
use contract::event::Event;
use contract::{ActionId, SessionId};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// Calls for each message.
const ROUNDS: u32 = 3;
/// Every so many messages the answer is lost, and the client sends again.
const RESENT: u32 = 2;

/// How the process ends when a session waits for a person: neither a crash nor a hang, but not recovered either.
pub(crate) const HELPLESS: i32 = 8;

/// The files beside the store, written by one line at a time.
struct Scene {
    store: PathBuf,
    effects: PathBuf,
    told: PathBuf,
    wide: usize,
    long: u32,
}

/// A session's name, its goal, and the key of a message to it.
fn goal(at: usize) -> String {
    format!("goal-{at}")
}

fn key(at: usize, nth: u32) -> String {
    format!("{MARK}{at}-{nth}")
}

impl Scene {
    fn of(dir: &Path, wide: usize, long: u32) -> Result<Self> {
        let store = dir.join("store");
        std::fs::create_dir_all(&store)?;
        Ok(Self { store, effects: dir.join("effects"), told: dir.join("told"), wide, long })
    }

    fn tell(&self, what: &str) {
        leave(&self.told, &format!("{what}\n"));
    }

    fn told(&self) -> BTreeSet<String> {
        let text = std::fs::read_to_string(&self.told).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    fn keys(&self, at: usize) -> Vec<String> {
        (0..self.long).map(|nth| key(at, nth)).collect()
    }
}

/// Times the victim under this directory has come up again.
pub(crate) fn times_up(dir: &Path) -> usize {
    let text = std::fs::read_to_string(dir.join("told")).unwrap_or_default();
    text.lines().filter(|line| *line == "up").count()
}

/// `wide` sessions, `long` messages to each, in the directory and with the plant that the arguments name.
pub(crate) fn run(system: System, wide: usize, long: u32, args: &[String]) -> Result<()> {
    let [dir, plant] = args else { bail!("victim DIR PLANT") };
    let scene = Scene::of(Path::new(dir), wide, long)?;
    // A bug that shows once is gone after the restart.
    let first = times_up(Path::new(dir)) == 0;
    let planted = match plant.as_str() {
        "model-fails" if first => Plant::ModelFails,
        "tool-panics" if first => Plant::ToolPanics,
        _ => Plant::Nothing,
    };
    let script = Script::new(ROUNDS).with_effects(scene.effects.clone(), planted);
    let resent = plant == "resent";
    let done = match system {
        System::B0 => naive(&scene, script, resent),
        System::Kapell => kapell(&scene, script, resent),
    };
    if done.as_ref().is_err_and(|error| error.is::<Helpless>()) {
        std::process::exit(HELPLESS);
    }
    done
}

fn naive(scene: &Scene, script: Script, resent: bool) -> Result<()> {
    let b0 = Naive::new(&scene.store, script);
    let told = scene.told();
    each(scene.wide, |at| {
        let id = format!("s{at}");
        match scene.store.join(format!("{id}.jsonl")).exists() {
            true => b0.resume(&id),
            false => b0.open(&id, &goal(at)),
        }
    })?;
    scene.tell("up");
    each(scene.wide, |at| {
        let id = format!("s{at}");
        for nth in 0..scene.long {
            let key = key(at, nth);
            if told.contains(&format!("ack {key}")) {
                continue;
            }
            b0.message(&id, &key, || scene.tell(&format!("ack {key}")))?;
            if resent && nth % RESENT == 0 {
                b0.message(&id, &key, || {})?;
            }
        }
        b0.close(&id)
    })?;
    Ok(())
}

fn kapell(scene: &Scene, script: Script, resent: bool) -> Result<()> {
    let kapell = Kapell::new(&scene.store, script, false)?;
    let told = scene.told();
    let ids = (0..scene.wide)
        .map(|at| kapell.again(&goal(at))?.map_or_else(|| kapell.open(&goal(at)), Ok))
        .collect::<Result<Vec<SessionId>>>()?;
    ids.iter().try_for_each(|id| kapell.rest(*id))?;
    scene.tell("up");
    each(scene.wide, |at| {
        let id = ids[at];
        for nth in 0..scene.long {
            let key = key(at, nth);
            if told.contains(&format!("ack {key}")) {
                continue;
            }
            kapell.message(id, &key)?;
            scene.tell(&format!("ack {key}"));
            if resent && nth % RESENT == 0 {
                kapell.message(id, &key)?;
            }
            kapell.rest(id)?;
        }
        kapell.close(id)
    })?;
    kapell.shutdown();
    Ok(())
}

/// What is not as it should be, once everything has been worked on: each effect once, each message that was
/// acknowledged on record once, each action with one end.
pub(crate) fn wrong(system: System, dir: &Path, wide: usize, long: u32) -> Result<Vec<String>> {
    let scene = Scene::of(dir, wide, long)?;
    let mut wrong = effects(&scene);
    match system {
        System::B0 => {
            let b0 = Naive::new(&scene.store, Script::new(0));
            (0..wide).for_each(|at| wrong.extend(b0.wrong(&format!("s{at}"), &scene.keys(at))));
        }
        System::Kapell => {
            let kapell = Kapell::new(&scene.store, Script::new(0), false)?;
            let verified = kapell.runtime.block_on(kapell.engine.journal().verify())?;
            wrong.extend(verified.damage.iter().map(|damage| format!("{}: {}", damage.what, damage.problem)));
            let mut streams = Vec::new();
            for listed in kapell.runtime.block_on(kapell.engine.journal().sessions(false))? {
                streams.push(kapell.events(listed.session)?);
            }
            wrong.extend(on_record(&scene, &streams));
            kapell.shutdown();
        }
    }
    Ok(wrong)
}

fn effects(scene: &Scene) -> Vec<String> {
    let text = std::fs::read_to_string(&scene.effects).unwrap_or_default();
    let mut seen: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (what, by) in text.lines().filter_map(|line| line.split_once(' ')) {
        let keys = seen.entry(what).or_default();
        // The world does the same key once; who passes none is served each time.
        if by == "-" || !keys.contains(&by) {
            keys.push(by);
        }
    }
    let wanted = (0..scene.wide).flat_map(|at| scene.keys(at));
    let wanted = wanted.flat_map(|key| (0..ROUNDS).map(move |round| format!("{key}/{round}")));
    let count = |what: String| (seen.get(what.as_str()).map_or(0, Vec::len), what);
    let off = wanted.map(count).filter(|(times, _)| *times != 1);
    off.map(|(times, what)| format!("effect {what} happened {times} times")).collect()
}

fn on_record(scene: &Scene, streams: &[Vec<Event>]) -> Vec<String> {
    let mut wrong = Vec::new();
    for key in (0..scene.wide).flat_map(|at| scene.keys(at)) {
        let is = |event: &&Event| matches!(event, Event::Submitted { intent } if intent.key == key);
        let times = streams.iter().flatten().filter(is).count();
        if times != 1 {
            wrong.push(format!("message {key} is on record {times} times"));
        }
    }
    for events in streams {
        let mut open: BTreeMap<(ActionId, u32), i32> = BTreeMap::new();
        for event in events {
            match event {
                Event::Started { action, attempt, .. } => *open.entry((*action, *attempt)).or_default() += 1,
                Event::Finished { outcome } => {
                    *open.entry((outcome.action, outcome.attempt)).or_default() -= 1;
                }
                _ => {}
            }
        }
        let odd = open.into_iter().filter(|(_, left)| *left != 0);
        wrong.extend(odd.map(|((action, attempt), left)| {
            format!("attempt {attempt} of action {action} has {} ends", 1 - left)
        }));
    }
    wrong
}
