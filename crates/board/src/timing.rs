//! `task_timing.tsv`: rows of nine columns, appended and never rewritten; rows of other shapes are read as far as they go.
//!
//! A stop is a row of its own beside the start it ends. Knows no clock. Start at [`Timing::parse`].

use crate::when;
use std::collections::BTreeMap;

/// The columns.
pub const COLUMNS: [&str; 9] =
    ["timestamp", "mode", "task_id", "start_time", "end_time", "duration", "task", "result", "priority"];

/// What the time of a task can be booked under.
pub const PRIORITIES: [&str; 3] = ["schedule", "todo", "normal"];

/// Characters that would break a row, and what stands for them in the file.
const SIGNS: [(char, char); 3] = [('\t', '\u{2409}'), ('\n', '\u{2424}'), ('\r', '\u{240d}')];

/// A row that has the columns.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Row {
    /// The nine columns; those a shorter row lacks are empty.
    pub columns: [String; 9],
    /// The line in the file, counted from 1.
    pub line: usize,
}

impl Row {
    /// A column by its name.
    pub fn get(&self, name: &str) -> &str {
        COLUMNS.iter().position(|column| *column == name).map_or("", |at| &self.columns[at])
    }

    /// When it was written, or began; milliseconds since 1970.
    pub fn at(&self) -> Option<i64> {
        ["timestamp", "start_time", "end_time"].into_iter().find_map(|name| when::read(self.get(name)))
    }

    /// Seconds, where the row says how many.
    pub fn duration(&self) -> Option<u64> {
        let seconds = self.get("duration").trim().parse::<f64>().ok()?;
        (seconds.is_finite() && seconds >= 0.0).then_some(seconds as u64)
    }

    fn is(&self, word: &str) -> bool {
        self.get("result").trim().to_lowercase().starts_with(word)
    }

    /// Says its result that it is done?
    pub fn is_completed(&self) -> bool {
        self.is("completed")
    }

    /// Says its result that it has begun?
    pub fn is_started(&self) -> bool {
        self.is("started")
    }
}

/// The file.
#[derive(Debug, Clone)]
pub struct Timing {
    /// Rows that have the columns, in order.
    pub rows: Vec<Row>,
    /// Lines that are no rows at all.
    pub odd: usize,
    headed: bool,
    /// The last line has its end.
    ends: bool,
}

impl Timing {
    /// Reads what can be read. Bytes that are no UTF-8 stand as replacement characters.
    pub fn parse(bytes: &[u8]) -> Self {
        let text = String::from_utf8_lossy(bytes);
        let ends = text.is_empty() || text.ends_with('\n');
        let mut all = Self { rows: Vec::new(), odd: 0, headed: false, ends };
        for (at, line) in text.lines().enumerate() {
            let cells: Vec<&str> = line.split('\t').collect();
            let first = !all.headed && all.rows.is_empty() && all.odd == 0;
            if first && cells[0].trim_start_matches('\u{feff}').trim() == COLUMNS[0] {
                all.headed = true;
                continue;
            }
            match placed(&cells) {
                _ if line.trim().is_empty() => {}
                Some(columns) => all.rows.push(Row { columns, line: at + 1 }),
                None => all.odd += 1,
            }
        }
        all
    }

    /// The row that began this task and that no later one ended.
    pub fn running(&self, task: &str) -> Option<&Row> {
        let last = self.rows.iter().rev().find(|row| row.get("task_id") == task)?;
        let open = when::read(last.get("end_time")).is_none() && last.get("duration").trim().is_empty();
        (open && when::read(last.get("start_time")).is_some()).then_some(last)
    }

    /// An id nobody has used: the moment, or the next free one after it.
    pub fn fresh_id(&self, now: i64) -> String {
        let ids = self.rows.iter().filter_map(|row| row.get("task_id").parse::<i64>().ok());
        let taken: std::collections::BTreeSet<i64> = ids.filter(|id| *id >= now).collect();
        (now..).find(|id| !taken.contains(id)).unwrap_or(now).to_string()
    }

    /// What is to be written behind the file so that this row stands in it: with a header where there is nothing yet, on
    /// a line of its own where the last one has no end.
    pub fn appended(&self, row: &[String; 9]) -> String {
        let mut out = String::new();
        if !self.ends {
            out.push('\n');
        }
        if !self.headed && self.rows.is_empty() && self.odd == 0 {
            out.push_str(&format!("{}\n", COLUMNS.join("\t")));
        }
        let cells: Vec<String> = row.iter().map(|cell| plain(cell)).collect();
        out.push_str(&cells.join("\t"));
        out.push('\n');
        out
    }

    /// Seconds and rows by mode.
    pub fn by_mode<'r>(rows: impl IntoIterator<Item = &'r Row>) -> BTreeMap<String, Spent> {
        let mut modes: BTreeMap<String, Spent> = BTreeMap::new();
        for row in rows {
            let mode = modes.entry(row.get("mode").to_owned()).or_default();
            mode.count += 1;
            mode.seconds = mode.seconds.saturating_add(row.duration().unwrap_or(0));
            mode.completed += u64::from(row.is_completed());
        }
        modes
    }
}

/// What the rows of one mode come to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Spent {
    /// Rows.
    pub count: u64,
    /// Their durations together.
    pub seconds: u64,
    /// Rows that say the task is done.
    pub completed: u64,
}

/// The cells in their columns. Older rows lack the last ones; of longer ones the task was cut by tabs.
fn placed(cells: &[&str]) -> Option<[String; 9]> {
    const TASK: usize = 6;
    let mut columns: [String; 9] = Default::default();
    match cells.len() {
        7..=9 => columns.iter_mut().zip(cells).for_each(|(column, cell)| *column = signed(cell)),
        more if more > 9 => {
            let tail = cells.len() - 2;
            columns.iter_mut().zip(&cells[..TASK]).for_each(|(column, cell)| *column = signed(cell));
            columns[TASK] = signed(&cells[TASK..tail].join("\t"));
            columns[7] = signed(cells[tail]);
            columns[8] = signed(cells[tail + 1]);
        }
        _ => return None,
    }
    Some(columns)
}

fn plain(cell: &str) -> String {
    cell.chars().map(|c| SIGNS.iter().find(|(real, _)| *real == c).map_or(c, |(_, sign)| *sign)).collect()
}

fn signed(cell: &str) -> String {
    cell.chars().map(|c| SIGNS.iter().find(|(_, sign)| *sign == c).map_or(c, |(real, _)| *real)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(id: &str, end: &str, task: &str, result: &str) -> [String; 9] {
        let duration = if end.is_empty() { "" } else { "60" };
        let start = "2026-11-20T10:00:00.000000Z";
        ["2026-11-20T10:00:00.000000Z", "m", id, start, end, duration, task, result, "normal"]
            .map(str::to_owned)
    }

    #[test]
    fn what_is_appended_is_read_back_whatever_stands_in_it() {
        let mut text = String::new();
        for task in ["plain", "a\ttab", "two\nlines\r\n", "back\\tslash", ""] {
            text += &Timing::parse(text.as_bytes()).appended(&row("7", "", task, "started"));
            let all = Timing::parse(text.as_bytes());
            let last = all.rows.last().unwrap();
            assert_eq!((last.get("task"), last.get("priority")), (task, "normal"));
        }
        assert!(text.starts_with(&COLUMNS.join("\t")) && text.matches("timestamp").count() == 1);
    }

    #[test]
    fn a_start_runs_until_a_row_ends_it() {
        let mut text = Timing::parse(b"").appended(&row("7", "", "t", "started"));
        assert_eq!(Timing::parse(text.as_bytes()).running("7").unwrap().line, 2);
        assert_eq!(Timing::parse(text.as_bytes()).running("8"), None);
        let ends = row("7", "2026-11-20T10:01:00Z", "t", "completed");
        text += &Timing::parse(text.as_bytes()).appended(&ends);
        let all = Timing::parse(text.as_bytes());
        assert_eq!((all.running("7"), all.rows.len()), (None, 2));
        assert!(all.rows[0].is_started() && all.rows[1].is_completed());
        assert_eq!(all.rows[1].duration(), Some(60));
    }

    #[test]
    fn old_rows_are_read_as_far_as_they_go_and_stay() {
        let old = "timestamp\tmode\ttask_id\tstart_time\tend_time\tduration\ttask\tresult\tpriority\n\
                   1761558330\tm\t1\t1761558330\t1761558390\t60\tt\tcompleted: fine\n\
                   nonsense\n\
                   2026-11-20T10:00:00Z\tm\t2\t\t\t\tcut\tin\ttwo\tstarted\thigh";
        let all = Timing::parse(old.as_bytes());
        assert_eq!((all.rows.len(), all.odd), (2, 1));
        assert_eq!(all.rows[0].at(), Some(1_761_558_330_000));
        assert!(all.rows[0].is_completed());
        assert_eq!((all.rows[1].get("task"), all.rows[1].get("priority")), ("cut\tin\ttwo", "high"));
        // The last line had no end: it gets one, and nothing else changes.
        assert!(all.appended(&row("3", "", "x", "started")).starts_with("\n2026"));
        let modes = Timing::by_mode(&all.rows);
        assert_eq!(modes["m"], Spent { count: 2, seconds: 60, completed: 1 });
    }

    #[test]
    fn ids_differ_within_a_millisecond() {
        let text = Timing::parse(b"").appended(&row("1000", "", "t", "started"));
        assert_eq!(Timing::parse(text.as_bytes()).fresh_id(1000), "1001");
        assert_eq!(Timing::parse(text.as_bytes()).fresh_id(999), "999");
    }
}
