//! The shared files beside other writers: whatever order their changes come in, each is as its writer left it.
//!
//! A second desk works on the same directory, and somebody who knows nothing of us edits the files in between. Start at
//! [`Model`], which says what every file holds to the byte.

use super::*;
use crate::Timed;
use proptest::prelude::*;
use std::path::Path;

/// Schedules of the file.
const SCHEDULES: usize = 3;
const SECTIONS: [&str; 3] = board::memory::SECTIONS;

/// One change.
#[derive(Debug, Clone)]
enum Act {
    /// Through one of two desks.
    Stamp(bool, usize, u32),
    Began(bool, u8),
    Ended(bool, u8),
    Tick(bool, usize),
    Remark(bool),
    /// Somebody else's, to one schedule: how a number is written is their matter.
    Number(usize, &'static str),
    /// A row that is none, not even text.
    Odd(&'static [u8]),
    Item(bool),
    Mode,
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let desk = || any::<bool>();
    let numbers = prop::sample::select(vec!["1.50e1", "\"15\"", "-0", "1E+40", "null"]);
    let odd = prop::sample::select(vec![
        &b"shifted\tcolumns\n"[..],
        b"\xff\xfe\t\t\n",
        b"1763600000\tx\ty\n",
        b"\n",
    ]);
    let act = prop_oneof![
        (desk(), 0..SCHEDULES, any::<u32>()).prop_map(|(desk, of, at)| Act::Stamp(desk, of, at)),
        (desk(), 0..5_u8).prop_map(|(desk, task)| Act::Began(desk, task)),
        (desk(), 0..5_u8).prop_map(|(desk, task)| Act::Ended(desk, task)),
        (desk(), 0..6_usize).prop_map(|(desk, item)| Act::Tick(desk, item)),
        desk().prop_map(Act::Remark),
        (0..SCHEDULES, numbers).prop_map(|(of, number)| Act::Number(of, number)),
        odd.prop_map(Act::Odd),
        any::<bool>().prop_map(Act::Item),
        Just(Act::Mode),
    ];
    prop::collection::vec(act, 1..25)
}

/// What the files hold.
struct Model {
    /// When each schedule ran last, and the number that is somebody else's.
    schedules: Vec<(String, &'static str)>,
    timing: Vec<u8>,
    items: Vec<(bool, String)>,
    memory: String,
    modes: String,
}

impl Model {
    fn new() -> Self {
        let sections = SECTIONS.map(|title| format!("# {title}\n\n")).join("");
        Self {
            schedules: vec![("never".to_owned(), "3"); SCHEDULES],
            timing: b"timestamp\tmode\ttask_id\tstart_time\tend_time\tduration\ttask\tresult\tpriority\n"
                .to_vec(),
            items: (0..4).map(|nth| (nth == 2, format!("task {nth}"))).collect(),
            memory: sections,
            modes: "customModes:\n  - slug: a   # kept\n".to_owned(),
        }
    }

    /// In an order, a spacing and a spelling of its own, with a field nobody knows.
    fn schedules(&self) -> String {
        let one = |(nth, (ran, number)): (usize, &(String, &str))| {
            format!(
                "\t{{\"zzz\": {number} , \"id\":\"{nth}\",\r\n \"lastExecutionTime\" :\"{ran}\", \"timeInterval\": \"010\"}}"
            )
        };
        let all: Vec<String> = self.schedules.iter().enumerate().map(one).collect();
        format!("{{ \"other\": [1, 2],\n\"schedules\": [\n{}\n] }}\n\n", all.join(",\n"))
    }

    fn todo(&self) -> String {
        let item = |(done, text): &(bool, String)| format!("- [{}] {text}\n", if *done { "x" } else { " " });
        format!("# Plan\n\n{}", self.items.iter().map(item).collect::<String>())
    }

    fn write(&self, dir: &Path) {
        std::fs::create_dir_all(dir.join(".roo")).unwrap();
        replace(&dir.join(".roo/schedules.json"), self.schedules().as_bytes());
        replace(&dir.join("task_timing.tsv"), &self.timing);
        replace(&dir.join("TODO.md"), self.todo().as_bytes());
        replace(&dir.join("persistent-memory.md"), self.memory.as_bytes());
        replace(&dir.join(".roomodes"), self.modes.as_bytes());
    }

    /// What every file holds, whoever wrote last.
    fn holds(&self, dir: &Path) {
        let read = |name: &str| std::fs::read(dir.join(name)).unwrap();
        let text = |name: &str| String::from_utf8(read(name)).unwrap();
        assert_eq!(text(".roo/schedules.json"), self.schedules());
        assert_eq!(text("TODO.md"), self.todo());
        assert_eq!(text(".roomodes"), self.modes);
        assert_eq!(read("task_timing.tsv"), self.timing);
        assert_eq!(text("persistent-memory.md"), self.memory);
    }
}

fn replace(path: &Path, bytes: &[u8]) {
    let beside = path.with_extension("new");
    std::fs::write(&beside, bytes).unwrap();
    std::fs::rename(beside, path).unwrap();
}

fn begun(model: &Model, id: &str, word: &str) -> usize {
    let text = String::from_utf8_lossy(&model.timing).into_owned();
    let row = |line: &&str| line.split('\t').nth(2) == Some(id) && line.split('\t').nth(7) == Some(word);
    text.lines().filter(row).count()
}

/// Does it, here and in the model.
fn act(act: &Act, model: &mut Model, desks: [&Desk; 2], dir: &Path) {
    let desk = |second: bool| desks[usize::from(second)];
    let read = |name: &str| std::fs::read(dir.join(name)).unwrap();
    match act {
        Act::Stamp(second, of, at) => {
            let fields = [("lastExecutionTime".to_owned(), json!(at.to_string()))].into_iter().collect();
            desk(*second).stamp(&of.to_string(), &fields).unwrap();
            model.schedules[*of].0 = at.to_string();
        }
        Act::Began(second, task) | Act::Ended(second, task) => {
            let id = format!("t{task}");
            let timed = Timed { id: &id, task: "a\ttask\nof two lines", mode: "m", priority: "todo" };
            let (started, done) = (begun(model, &id, "started"), begun(model, &id, "completed"));
            let rows = match act {
                Act::Began(..) => {
                    desk(*second).began(timed).unwrap();
                    usize::from(started + done == 0)
                }
                _ => {
                    desk(*second).ended(timed, "completed").unwrap();
                    usize::from(started == 1 && done == 0)
                }
            };
            let after = read("task_timing.tsv");
            assert!(after.starts_with(&model.timing), "what was there stays");
            let more = String::from_utf8(after[model.timing.len()..].to_vec()).unwrap();
            assert_eq!(more.lines().filter(|line| !line.is_empty()).count(), rows, "{more:?}");
            model.timing = after;
        }
        Act::Tick(second, item) => {
            let words = format!("task {item}");
            desk(*second).tick(&words).unwrap();
            if let Some(item) = model.items.iter_mut().find(|(done, text)| !done && *text == words) {
                item.0 = true;
            }
        }
        Act::Remark(second) => {
            desk(*second).remark("c", "Finding: said").unwrap();
            let after = String::from_utf8(read("persistent-memory.md")).unwrap();
            let mut lines = after.lines();
            assert!(
                model.memory.lines().all(|line| lines.any(|other| other == line)),
                "lines in their order"
            );
            assert!(after.lines().count() > model.memory.lines().count());
            model.memory = after;
        }
        Act::Number(of, number) => {
            model.schedules[*of].1 = number;
            replace(&dir.join(".roo/schedules.json"), model.schedules().as_bytes());
        }
        Act::Odd(row) => {
            model.timing.extend_from_slice(row);
            replace(&dir.join("task_timing.tsv"), &model.timing);
        }
        Act::Item(done) => {
            model.items.push((*done, format!("task {}", model.items.len())));
            replace(&dir.join("TODO.md"), model.todo().as_bytes());
        }
        Act::Mode => {
            model.modes.push_str("  - slug: b\n    groups: [ read ]\n");
            replace(&dir.join(".roomodes"), model.modes.as_bytes());
        }
    }
}

proptest! {
    #![proptest_config(corpus::cases(64))]

    #[test]
    fn every_change_of_every_writer_is_there_to_the_byte(acts in acts()) {
        let (place, mut model) = (place(), Model::new());
        let dir = place.dir.path().join("ws");
        let second = Desk::open(Options::new(dir.clone()), Arc::<Kept>::default(), Arc::new(Ticks::default())).unwrap();
        model.write(&dir);
        for one in &acts {
            act(one, &mut model, [&place.desk, &second], &dir);
            model.holds(&dir);
        }
        // What is read is what stands there.
        prop_assert_eq!(place.desk.schedules().unwrap().len(), SCHEDULES);
        let modes = place.desk.modes().unwrap().unwrap();
        prop_assert_eq!(modes[0].slug.as_str(), "a");
    }
}

#[test]
fn two_desks_at_once_lose_nothing() {
    const EACH: u32 = 20;
    let (place, mut model) = (place(), Model::new());
    let dir = place.dir.path().join("ws");
    model.write(&dir);
    std::thread::scope(|scope| {
        for of in 0..SCHEDULES {
            let dir = dir.clone();
            scope.spawn(move || {
                let desk = Desk::open(Options::new(dir), Arc::<Kept>::default(), Arc::new(Ticks::default()));
                let desk = desk.unwrap();
                for nth in 1..=EACH {
                    let id = format!("{of}-{nth}");
                    desk.began(Timed { id: &id, task: "t", mode: "m", priority: "todo" }).unwrap();
                    let fields =
                        [("lastExecutionTime".to_owned(), json!(nth.to_string()))].into_iter().collect();
                    assert!(desk.stamp(&of.to_string(), &fields).unwrap());
                }
            });
        }
    });
    model.schedules.iter_mut().for_each(|(ran, _)| *ran = EACH.to_string());
    let text = std::fs::read_to_string(dir.join(".roo/schedules.json")).unwrap();
    assert_eq!(text, model.schedules());
    let rows = std::fs::read_to_string(dir.join("task_timing.tsv")).unwrap();
    assert_eq!(rows.lines().count(), 1 + SCHEDULES * EACH as usize);
}
