//! What the loop of a project reads of its files, and what it writes back: schedules, rows of time.
//!
//! Through the same lock and record as the tools, without a copy of what was there: a stamp a slot would fill the
//! directory of copies. Start at [`Desk::schedules`].

use crate::change::How;
use crate::report::text_of;
use crate::{Desk, Stop, develop, orchestrate, schedule, times};
use board::modes::Mode;
use board::schedules::Schedule;
use board::{Timing, when};
use contract::{Fault, Kind};
use serde_json::{Map, Value};

/// What is written in the column of tools.
const TOOL: &str = "loop";

fn fault(stop: Stop) -> Fault {
    let (Stop::Failed(what, _) | Stop::Wrong(what)) = stop;
    Fault::new(Kind::UserFixable, "project-files", what)
        .hint("kapell -C DIR schedules shows what can be read")
}

/// How a task that was timed ended.
#[derive(Debug, Clone, Copy)]
pub struct Timed<'a> {
    /// Its id, the same at both ends.
    pub id: &'a str,
    /// What it is.
    pub task: &'a str,
    /// The mode it is done in.
    pub mode: &'a str,
    /// What its time is booked under.
    pub priority: &'a str,
}

impl Desk {
    /// Every schedule of the file, in its order; none where there is no file.
    pub fn schedules(&self) -> Result<Vec<Schedule>, Fault> {
        Ok(schedule::read(self).map_err(fault)?.map(|all| all.all()).unwrap_or_default())
    }

    /// The project's modes; `None` where it declares none.
    pub fn modes(&self) -> Result<Option<Vec<Mode>>, Fault> {
        develop::read(self).map_err(fault)
    }

    /// Changes fields of a schedule, if it is still there and they are not so already. True: it was written.
    pub fn stamp(&self, id: &str, fields: &Map<String, Value>) -> Result<bool, Fault> {
        self.stamped(id, fields).map_err(fault)
    }

    fn stamped(&self, id: &str, fields: &Map<String, Value>) -> Result<bool, Stop> {
        let guard = self.locked()?;
        let Some(mut all) = schedule::read(self)?.filter(|all| all.get(id).is_some()) else {
            return Ok(false);
        };
        let before = all.text().to_owned();
        all.update(id, fields)?;
        if all.text() == before {
            return Ok(false);
        }
        let how = How::Replace(all.text().as_bytes());
        self.change(&guard, TOOL, &self.options.schedules, how, false)?;
        Ok(true)
    }

    /// Ticks the first open item of these words in the list of what is to be done. True: there was one.
    pub fn tick(&self, words: &str) -> Result<bool, Fault> {
        self.done(words).map_err(fault)
    }

    fn done(&self, words: &str) -> Result<bool, Stop> {
        let guard = self.locked()?;
        let path = &self.options.todo;
        let Some(bytes) = self.root.read_if(path)? else { return Ok(false) };
        let Some(text) = board::todo::ticked(&text_of(path, bytes)?, words) else { return Ok(false) };
        self.change(&guard, TOOL, path, How::Replace(text.as_bytes()), false)?;
        Ok(true)
    }

    /// Notes something in the memory of the project.
    pub fn remark(&self, category: &str, content: &str) -> Result<(), Fault> {
        orchestrate::remark(self, TOOL, category, content)
            .map_err(|why| Fault::new(Kind::UserFixable, "project-files", why))
    }

    /// A row that says it has begun, unless there is one.
    pub fn began(&self, of: Timed<'_>) -> Result<(), Fault> {
        self.started(of).map_err(fault)
    }

    fn started(&self, of: Timed<'_>) -> Result<(), Stop> {
        let guard = self.locked()?;
        let all = times::read(self)?.unwrap_or_else(|| Timing::parse(b""));
        if all.rows.iter().any(|row| row.get("task_id") == of.id) {
            return Ok(());
        }
        let now = when::written(self.now());
        let row = [&now, of.mode, of.id, &now, "", "", of.task, "started", of.priority].map(str::to_owned);
        let text = all.appended(&row);
        self.change(&guard, TOOL, &self.options.timing, How::Append(text.as_bytes()), false)?;
        Ok(())
    }

    /// A row that says how it ended, unless there is one.
    pub fn ended(&self, of: Timed<'_>, result: &str) -> Result<(), Fault> {
        self.stopped(of, result).map_err(fault)
    }

    fn stopped(&self, of: Timed<'_>, result: &str) -> Result<(), Stop> {
        let guard = self.locked()?;
        let all = times::read(self)?.unwrap_or_else(|| Timing::parse(b""));
        let Some(running) = all.running(of.id) else { return Ok(()) };
        let start = running.get("start_time");
        let seconds = when::read(start).map_or(0, |began| self.now().saturating_sub(began).max(0) / 1000);
        let (now, seconds) = (when::written(self.now()), seconds.to_string());
        let row =
            [&now, of.mode, of.id, start, &now, &seconds, of.task, result, of.priority].map(str::to_owned);
        let text = all.appended(&row);
        self.change(&guard, TOOL, &self.options.timing, How::Append(text.as_bytes()), false)?;
        Ok(())
    }
}
