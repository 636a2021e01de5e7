//! The conversation of a case, for `builtin/script`: commands that count themselves, files written and edited, plans.
//!
//! Knows the script's format (FORMATS.md section 5), not what is killed. Start at [`Script::new`].

use std::path::{Path, PathBuf};

/// Answers of a session's model, written one after the other.
#[derive(Debug)]
pub(super) struct Script {
    text: String,
    outside: PathBuf,
    lines: u32,
}

impl Script {
    /// Nothing said yet. Commands append to the file `outside`.
    pub(super) fn new(outside: &Path) -> Self {
        let text = "[model]\ncontext_tokens = 100000\noutput_tokens = 1000\n\
            price_input_usd_per_mtok = 3.0\nprice_output_usd_per_mtok = 15.0\n";
        Self { text: text.to_owned(), outside: outside.to_owned(), lines: 0 }
    }

    /// The next answer, after thinking for so long.
    pub(super) fn turn(&mut self, delay_ms: u64) -> &mut Self {
        self.text.push_str(&format!("\n[[turn]]\ntext = \"turn {{{{step}}}}\"\ndelay_ms = {delay_ms}\n"));
        self
    }

    fn call(&mut self, tool: &str, args: &str) -> &mut Self {
        self.text.push_str(&format!("[[turn.call]]\ntool = \"{tool}\"\nargs = {{ {args} }}\n"));
        self
    }

    /// A command that appends one line to the file outside: session and number, so that no two are alike.
    pub(super) fn line(&mut self) -> &mut Self {
        let (n, file) = (self.lines, self.outside.display().to_string());
        self.lines += 1;
        self.call("shell", &format!("command = 'd=${{PWD%/tree}}; sleep 0.0{0}; echo line-${{d##*/}}-{n} >> {file}; sleep 0.0{0}'", 1 + n % 3))
    }

    /// A whole file.
    pub(super) fn write(&mut self, path: &str, content: &str) -> &mut Self {
        self.call("write", &format!("path = \"{path}\", content = \"{content}\""))
    }

    /// Puts a word before the mark of a file: done twice, it would stand there twice.
    pub(super) fn append(&mut self, path: &str, word: &str) -> &mut Self {
        let edit = format!("{{ old_string = \"END\", new_string = \"{word}\\nEND\" }}");
        self.call("edit", &format!("path = \"{path}\", edits = [{edit}]"))
    }

    /// A part for a child session.
    pub(super) fn delegate(&mut self, goal: &str) -> &mut Self {
        self.call("delegate", &format!("goal = \"{goal}\""))
    }

    /// A plan: each task after these others.
    pub(super) fn plan(&mut self, tasks: &[(&str, &[&str])]) -> &mut Self {
        let tasks = tasks
            .iter()
            .map(|(id, after)| format!("{{ id = \"{id}\", goal = \"do {id}\", after = {after:?} }}"));
        let tasks: Vec<String> = tasks.collect();
        self.call("plan", &format!("tasks = [{}]", tasks.join(", ")))
    }

    /// A question to the person.
    pub(super) fn ask(&mut self) -> &mut Self {
        self.call("ask", "question = \"go on?\"")
    }

    /// It says that it is done.
    pub(super) fn finish(&mut self) -> &mut Self {
        self.call("finish", "status = \"done\", summary = \"done\"")
    }

    /// The file's text.
    pub(super) fn text(&self) -> &str {
        &self.text
    }
}

/// Session and number in a line of the file outside.
pub(super) fn of_line(line: &str) -> Option<(&str, u32)> {
    let (session, number) = line.strip_prefix("line-")?.rsplit_once('-')?;
    Some((session, number.parse().ok()?))
}

/// The number of the line that a command as it is shown to a person would write.
pub(super) fn of_command(shown: &str) -> Option<u32> {
    let (_, rest) = shown.split_once("##*/}-")?;
    rest.split_once(' ')?.0.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_and_its_line_have_one_number() {
        let mut script = Script::new(Path::new("/tmp/out"));
        script.turn(0).line().line();
        let command = script.text().lines().rfind(|line| line.contains("command")).unwrap().to_owned();
        assert_eq!(of_command(&command), Some(1));
        assert_eq!(of_line("line-01a1-33-1"), Some(("01a1-33", 1)));
        assert_eq!(of_line("line-torn"), None);
    }
}
