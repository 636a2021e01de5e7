//! Text into commands: lists, pipelines, compound commands, redirections. Words are read in `word.rs`.
//!
//! Where shells differ or the meaning hangs on what only runs know, it stops with a [`Trouble`](contract::policy)
//! instead of choosing. Bounded: depth, size, and steps, so that no text takes long. Start at [`parse`].

use crate::syntax::{
    Assign, Body, Command, Item, Joint, Piece, Pipeline, Redirect, Script, Target, Tested, Value, Way, Word,
};
use std::sync::{Arc, OnceLock};

/// Commands in commands.
const DEPTH: usize = 60;

/// What a text holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parsed {
    /// Everything up to the trouble: a shell runs that before it sees what is wrong behind it.
    pub script: Script,
    /// Why the rest could not be read.
    pub trouble: Option<String>,
}

/// Reads a command line, or a script of several.
pub fn parse(text: &str) -> Parsed {
    nested(text, 0)
}

/// The same inside of something else.
pub(crate) fn nested(text: &str, depth: usize) -> Parsed {
    let mut reader = Reader { text, at: 0, depth, steps: text.len() * 16 + 4096, below: Vec::new() };
    let mut script = Script::default();
    let trouble = reader.script(&mut script, &[]).and_then(|()| reader.over()).err();
    Parsed { script, trouble }
}

/// What is wrong, in a few words.
pub(crate) type Read<T> = Result<T, String>;

/// A here-document whose text has yet to come.
pub(crate) struct Below {
    strip: bool,
    quoted: bool,
    end: String,
    word: Arc<OnceLock<Word>>,
}

/// A place in a text.
pub(crate) struct Reader<'a> {
    pub(crate) text: &'a str,
    pub(crate) at: usize,
    pub(crate) depth: usize,
    steps: usize,
    below: Vec<Below>,
}

pub(crate) const RESERVED: [&str; 17] = [
    "if", "then", "elif", "else", "fi", "for", "while", "until", "do", "done", "case", "esac", "select",
    "function", "{", "}", "coproc",
];

impl Reader<'_> {
    pub(crate) fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    pub(crate) fn sees(&self, what: &str) -> bool {
        self.text.as_bytes()[self.at..].starts_with(what.as_bytes())
    }

    pub(crate) fn takes(&mut self, what: &str) -> bool {
        let there = self.sees(what);
        self.at += if there { what.len() } else { 0 };
        there
    }

    /// Counts work, so that going back and forth has an end.
    pub(crate) fn step(&mut self) -> Read<()> {
        self.steps = self.steps.checked_sub(1).ok_or("it takes too many steps to read")?;
        Ok(())
    }

    pub(crate) fn deeper<T>(&mut self, read: impl FnOnce(&mut Self) -> Read<T>) -> Read<T> {
        if self.depth >= DEPTH {
            return Err(format!("it is nested more than {DEPTH} deep"));
        }
        self.depth += 1;
        let done = read(self);
        self.depth -= 1;
        done
    }

    /// Reads, or is back where it was.
    pub(crate) fn attempt<T>(&mut self, read: impl FnOnce(&mut Self) -> Read<T>) -> Read<T> {
        let (at, depth, below) = (self.at, self.depth, self.below.len());
        let done = read(self);
        if done.is_err() {
            (self.at, self.depth) = (at, depth);
            self.below.truncate(below);
        }
        done
    }

    fn over(&self) -> Read<()> {
        if self.at < self.text.len() {
            let rest: String = self.text[self.at..].chars().take(12).collect();
            return Err(format!("`{rest}` stands where a command should"));
        }
        if self.below.is_empty() { Ok(()) } else { Err("a here-document has no text".into()) }
    }

    /// Blanks, joined lines and a comment.
    pub(crate) fn blanks(&mut self) {
        loop {
            match self.peek() {
                Some(b' ' | b'\t') => self.at += 1,
                Some(b'\\') if self.sees("\\\n") => self.at += 2,
                Some(b'#') => {
                    while self.peek().is_some_and(|byte| byte != b'\n') {
                        self.at += 1;
                    }
                }
                _ => return,
            }
        }
    }

    /// Blanks and line ends.
    fn space(&mut self) -> Read<()> {
        loop {
            self.blanks();
            if self.peek() != Some(b'\n') {
                return Ok(());
            }
            self.line_end()?;
        }
    }

    /// A line end; here-documents that were announced before it follow.
    pub(crate) fn line_end(&mut self) -> Read<()> {
        self.step()?;
        self.at += 1;
        for below in std::mem::take(&mut self.below) {
            let mut body = String::new();
            // A line that goes on in the next one.
            let mut joined: Option<String> = None;
            loop {
                if self.at >= self.text.len() {
                    return Err(format!("the here-document `{}` has no end", below.end));
                }
                let rest = &self.text[self.at..];
                let (line, long) =
                    rest.split_once('\n').map_or((rest, rest.len()), |(line, _)| (line, line.len() + 1));
                self.at += long;
                let line = if below.strip { line.trim_start_matches('\t') } else { line };
                // Shells do not agree on whether joined lines can end it.
                let goes_on =
                    !below.quoted && line.bytes().rev().take_while(|byte| *byte == b'\\').count() % 2 == 1;
                let ends = line == below.end;
                let whole = joined.take().map(|front| front + line);
                if whole.as_ref().is_some_and(|whole| ends || *whole == below.end) {
                    return Err(format!("where the here-document `{}` ends is not clear", below.end));
                }
                if ends {
                    break;
                }
                if goes_on {
                    let mut front = whole.unwrap_or_else(|| line.to_owned());
                    front.pop();
                    joined = Some(front);
                }
                body.push_str(line);
                body.push('\n');
            }
            let word = match below.quoted {
                true => Word::quoted(body),
                false => self.here_text(&body)?,
            };
            // Nobody else sets it.
            let _set = below.word.set(word);
        }
        Ok(())
    }

    fn here_text(&mut self, body: &str) -> Read<Word> {
        let depth = self.depth;
        let mut reader =
            Reader { text: body, at: 0, depth, steps: body.len() * 16 + 4096, below: Vec::new() };
        reader.deeper(|reader| {
            let mut word = Word::default();
            reader.double(&mut word, None)?;
            Ok(word)
        })
    }

    /// Items up to one of these words or signs, or the end.
    pub(crate) fn script(&mut self, script: &mut Script, ends: &[&str]) -> Read<()> {
        loop {
            self.space()?;
            if self.at >= self.text.len() || self.ends(ends) {
                return Ok(());
            }
            self.step()?;
            let mut item = self.deeper(Self::item)?;
            self.blanks();
            if self.sees("&") && !self.sees("&&") {
                self.at += 1;
                item.background = true;
                script.items.push(item);
                continue;
            }
            script.items.push(item);
            match self.peek() {
                Some(b'\n') | None => {}
                Some(b';') if !self.sees(";;") && !self.sees(";&") => self.at += 1,
                _ => return Ok(()),
            }
        }
    }

    fn whole(&mut self, ends: &[&str]) -> Read<Script> {
        let mut script = Script::default();
        self.script(&mut script, ends)?;
        Ok(script)
    }

    /// One of these signs, or one of these reserved words as a word of its own.
    fn ends(&self, ends: &[&str]) -> bool {
        let word = |end: &str| {
            let next = self.text.as_bytes().get(self.at + end.len());
            next.is_none_or(|byte| b" \t\n;&|()<>".contains(byte))
        };
        ends.iter().any(|end| {
            self.sees(end) && (!end.ends_with(|c: char| c.is_alphabetic() || c == '}') || word(end))
        })
    }

    fn item(&mut self) -> Read<Item> {
        let mut item = Item { first: self.pipeline()?, rest: Vec::new(), background: false };
        loop {
            self.blanks();
            let joint = if self.takes("&&") {
                Joint::And
            } else if self.takes("||") {
                Joint::Or
            } else {
                return Ok(item);
            };
            self.space()?;
            item.rest.push((joint, self.pipeline()?));
        }
    }

    fn pipeline(&mut self) -> Read<Pipeline> {
        let mut pipeline = Pipeline { negated: false, timed: false, commands: Vec::new() };
        loop {
            self.blanks();
            if self.word_is("time") {
                self.at += 4;
                self.blanks();
                if self.word_is("-p") {
                    self.at += 2;
                }
                pipeline.timed = true;
            } else if self.word_is("!") {
                self.at += 1;
                pipeline.negated = !pipeline.negated;
            } else {
                break;
            }
        }
        loop {
            self.blanks();
            let mut command = self.deeper(Self::command)?;
            self.blanks();
            let both = self.sees("|&");
            let more = self.sees("|") && !self.sees("||");
            if both {
                let target = Target::Word(Word { pieces: vec![Piece::Plain("1".into())] });
                command.redirects.push(Redirect { stream: "2".into(), way: Way::CopyOut, target });
            }
            pipeline.commands.push(command);
            if !more {
                return Ok(pipeline);
            }
            self.at += if both { 2 } else { 1 };
            self.space()?;
        }
    }

    fn word_is(&self, what: &str) -> bool {
        let next = self.text.as_bytes().get(self.at + what.len());
        self.sees(what) && next.is_none_or(|byte| b" \t\n;&|()<>".contains(byte))
    }

    fn command(&mut self) -> Read<Command> {
        self.step()?;
        let body = if self.sees("((") {
            match self.attempt(|it| it.arithmetic_command()) {
                Ok(raw) => Body::Arithmetic(raw),
                Err(_) => self.subshell()?,
            }
        } else if self.sees("(") {
            self.subshell()?
        } else if self.word_is("[[") {
            self.at += 2;
            Body::Test(self.test()?)
        } else if let Some(reserved) = RESERVED.iter().find(|word| self.word_is(word)) {
            self.at += reserved.len();
            self.compound(reserved)?
        } else {
            return self.simple();
        };
        let mut redirects = Vec::new();
        loop {
            self.blanks();
            match self.redirect()? {
                Some(redirect) => redirects.push(redirect),
                None => return Ok(Command { body, redirects }),
            }
        }
    }

    fn subshell(&mut self) -> Read<Body> {
        self.at += 1;
        let script = self.whole(&[")"])?;
        self.needs(")")?;
        Ok(Body::Subshell(script))
    }

    pub(crate) fn needs(&mut self, what: &str) -> Read<()> {
        if self.takes(what) { Ok(()) } else { Err(format!("a `{what}` is missing")) }
    }

    fn keyword(&mut self, what: &str) -> Read<()> {
        self.space()?;
        if !self.word_is(what) {
            return Err(format!("`{what}` is missing"));
        }
        self.at += what.len();
        Ok(())
    }

    fn compound(&mut self, reserved: &str) -> Read<Body> {
        match reserved {
            "{" => {
                let script = self.whole(&["}"])?;
                self.keyword("}")?;
                Ok(Body::Group(script))
            }
            "if" => self.condition(),
            "while" | "until" => {
                let test = self.whole(&["do"])?;
                Ok(Body::Loop(reserved == "until", test, self.doing()?))
            }
            "for" | "select" => self.counted(reserved == "select"),
            "case" => self.case(),
            "function" => {
                self.blanks();
                let name = self.name()?;
                self.blanks();
                if self.takes("(") {
                    self.blanks();
                    self.needs(")")?;
                }
                self.function(name)
            }
            other => Err(format!("`{other}` stands where a command should")),
        }
    }

    fn condition(&mut self) -> Read<Body> {
        let mut branches = Vec::new();
        loop {
            let test = self.whole(&["then"])?;
            self.keyword("then")?;
            branches.push((test, self.whole(&["elif", "else", "fi"])?));
            self.space()?;
            if self.word_is("elif") {
                self.at += 4;
                continue;
            }
            let mut otherwise = None;
            if self.word_is("else") {
                self.at += 4;
                otherwise = Some(self.whole(&["fi"])?);
            }
            self.keyword("fi")?;
            return Ok(Body::If(branches, otherwise));
        }
    }

    fn doing(&mut self) -> Read<Script> {
        self.keyword("do")?;
        let script = self.whole(&["done"])?;
        self.keyword("done")?;
        Ok(script)
    }

    fn counted(&mut self, select: bool) -> Read<Body> {
        self.blanks();
        if !select && self.sees("((") {
            let raw = self.arithmetic_command()?;
            self.blanks();
            self.takes(";");
            return Ok(Body::Count(raw, self.doing()?));
        }
        let name = self.name()?;
        self.space()?;
        let mut words = None;
        if self.word_is("in") {
            self.at += 2;
            let mut list = Vec::new();
            loop {
                self.blanks();
                match self.word()? {
                    Some(word) => list.push(word),
                    None => break,
                }
            }
            words = Some(list);
        }
        self.blanks();
        self.takes(";");
        Ok(Body::For(select, name, words, self.doing()?))
    }

    fn case(&mut self) -> Read<Body> {
        self.blanks();
        let word = self.word()?.ok_or("`case` has no word")?;
        self.keyword("in")?;
        let mut arms = Vec::new();
        loop {
            self.space()?;
            if self.word_is("esac") {
                self.at += 4;
                return Ok(Body::Case(word, arms));
            }
            self.takes("(");
            let mut patterns = Vec::new();
            loop {
                self.blanks();
                patterns.push(self.word()?.ok_or("a pattern of `case` is missing")?);
                self.blanks();
                if !self.takes("|") {
                    break;
                }
            }
            self.needs(")")?;
            let script = self.whole(&[";;", ";&", "esac"])?;
            self.space()?;
            let end = [";;&", ";;", ";&"].into_iter().find(|end| self.takes(end)).unwrap_or(";;");
            arms.push((patterns, script, end));
        }
    }

    fn name(&mut self) -> Read<String> {
        let word = self.word()?.ok_or("a name is missing")?;
        match word.plain() {
            Some(name) if is_function(name) => Ok(name.to_owned()),
            _ => Err("a name holds what names do not".into()),
        }
    }

    fn function(&mut self, name: String) -> Read<Body> {
        self.space()?;
        let body = self.deeper(Self::command)?;
        match body.body {
            Body::Simple(..) => Err("the body of a function is not a compound command".into()),
            _ => Ok(Body::Function(name, Box::new(body))),
        }
    }

    fn simple(&mut self) -> Read<Command> {
        let (mut assigns, mut words, mut redirects) = (Vec::new(), Vec::new(), Vec::new());
        loop {
            self.blanks();
            self.step()?;
            if let Some(redirect) = self.redirect()? {
                redirects.push(redirect);
                continue;
            }
            let Some(word) = self.word()? else { break };
            let declares = words.first().and_then(Word::plain).is_some_and(|word| DECLARES.contains(&word));
            let names = (word.pieces.first(), word.pieces.last());
            if let ((Some(Piece::Plain(from)), Some(Piece::Plain(to))), true) =
                (names, self.sees("<") || self.sees(">"))
                && from.starts_with('{')
                && from.contains('[')
                && to.ends_with('}')
            {
                return Err("a redirection names an element of an array".into());
            }
            let first = (words.is_empty() || declares).then(|| assignment(&word)).flatten();
            if let Some(mut assign) = first {
                if self.sees("(") && assign.value == Value::Word(Word::default()) {
                    assign.value = Value::Array(self.array()?);
                }
                match words.is_empty() {
                    true => assigns.push(assign),
                    false if matches!(assign.value, Value::Array(_)) => {
                        return Err("it declares an array".into());
                    }
                    false => words.push(word),
                }
                continue;
            }
            if let (true, true, Some(name)) = (words.is_empty(), assigns.is_empty(), word.plain()) {
                let name = name.to_owned();
                let called = self.attempt(|it| {
                    it.blanks();
                    it.needs("(")?;
                    it.blanks();
                    it.needs(")")
                });
                if called.is_ok() {
                    if !is_function(&name) || !redirects.is_empty() {
                        return Err("a name holds what names do not".into());
                    }
                    return Ok(Command { body: self.function(name)?, redirects });
                }
            }
            words.push(word);
        }
        if assigns.is_empty() && words.is_empty() && redirects.is_empty() {
            return Err("a command is missing".into());
        }
        Ok(Command { body: Body::Simple(assigns, words), redirects })
    }

    fn array(&mut self) -> Read<Vec<Word>> {
        self.at += 1;
        let mut words = Vec::new();
        loop {
            self.space()?;
            if self.takes(")") {
                return Ok(words);
            }
            words.push(self.word()?.ok_or("an array has no end")?);
        }
    }

    fn redirect(&mut self) -> Read<Option<Redirect>> {
        const WAYS: [(&str, Way); 10] = [
            ("<>", Way::Open),
            ("<&", Way::CopyIn),
            (">>", Way::Append),
            (">|", Way::Clobber),
            (">&", Way::CopyOut),
            ("&>>", Way::BothAppend),
            ("&>", Way::Both),
            ("<", Way::Read),
            (">", Way::Write),
            ("<<<", Way::Here),
        ];
        let from = self.at;
        let digits = self.text[from..].bytes().take_while(u8::is_ascii_digit).count();
        let named =
            self.text[from..].strip_prefix('{').and_then(|rest| rest.split_once('}')).map(|(name, _)| name);
        self.at += match named.filter(|name| is_name(name)) {
            Some(name) => name.len() + 2,
            None => digits,
        };
        let stream = self.text[from..self.at].to_owned();
        // Between `<(` and `>(` and their neighbours there is a process, not a file.
        let process = self.sees("<(") || self.sees(">(");
        if process || !(self.sees("<") || self.sees(">") || (stream.is_empty() && self.sees("&>"))) {
            self.at = from;
            return Ok(None);
        }
        if self.sees("<<") && !self.sees("<<<") {
            return self.here(stream).map(Some);
        }
        let way = match self.takes("<<<") {
            true => Way::Here,
            false => WAYS.into_iter().find(|(sign, _)| self.takes(sign)).map_or(Way::Read, |(_, way)| way),
        };
        self.blanks();
        let word = self.word()?.ok_or("a redirection leads nowhere")?;
        Ok(Some(Redirect { stream, way, target: Target::Word(word) }))
    }

    fn here(&mut self, stream: String) -> Read<Redirect> {
        self.at += 2;
        let strip = self.takes("-");
        self.blanks();
        let word = self.word()?.ok_or("a here-document has no word to end it")?;
        let quoted = word.pieces.iter().any(|piece| matches!(piece, Piece::Quoted(_)));
        let text = |piece: &Piece| match piece {
            Piece::Plain(text) | Piece::Quoted(text) => Ok(text.clone()),
            Piece::Expand(..) => Err("the end of a here-document is not fixed"),
        };
        let end = word.pieces.iter().map(text).collect::<Result<String, _>>()?;
        let word = Arc::new(OnceLock::new());
        self.below.push(Below { strip, quoted, end, word: Arc::clone(&word) });
        Ok(Redirect { stream, way: Way::Here, target: Target::Below(word) })
    }

    /// Other here-documents wait for their text from here on; those that did so far.
    pub(crate) fn set_aside(&mut self, below: Vec<Below>) -> Vec<Below> {
        std::mem::replace(&mut self.below, below)
    }

    fn test(&mut self) -> Read<Vec<Tested>> {
        const SIGNS: [&str; 7] = ["&&", "||", "(", ")", "<", ">", "!"];
        let mut tested = Vec::new();
        loop {
            self.space()?;
            self.step()?;
            if self.word_is("]]") {
                self.at += 2;
                return Ok(tested);
            }
            let sign = SIGNS.into_iter().find(|sign| self.sees(sign) && (*sign != "!" || self.word_is("!")));
            if let Some(sign) = sign {
                self.at += sign.len();
                tested.push(Tested::Operator(sign));
            } else if self.word_is("=~") {
                self.at += 2;
                self.blanks();
                tested.push(Tested::Operator("=~"));
                tested.push(Tested::Regex(self.regex()?));
            } else {
                tested.push(Tested::Word(self.word()?.ok_or("`[[` has no `]]`")?));
            }
        }
    }
}

/// Builtins that take assignments as arguments.
const DECLARES: [&str; 5] = ["declare", "typeset", "local", "export", "readonly"];

/// The word as an assignment, if it begins like one outside quotes.
fn assignment(word: &Word) -> Option<Assign> {
    let Some(Piece::Plain(first)) = word.pieces.first() else { return None };
    let long = first.bytes().take_while(|byte| byte.is_ascii_alphanumeric() || *byte == b'_').count();
    let name = first[..long].to_owned();
    if !is_name(&name) {
        return None;
    }
    let mut rest = Word { pieces: word.pieces.clone() };
    cut_front(&mut rest, long);
    let mut index = None;
    if matches!(rest.pieces.first(), Some(Piece::Plain(text)) if text.starts_with('[')) {
        cut_front(&mut rest, 1);
        let close = |piece: &Piece| matches!(piece, Piece::Plain(text) if text.contains("]=") || text.contains("]+="));
        let at = rest.pieces.iter().position(close)?;
        let Piece::Plain(text) = &rest.pieces[at] else { return None };
        let split = text.find("]=").or_else(|| text.find("]+="))?;
        let mut inside: Vec<Piece> = rest.pieces[..at].to_vec();
        if split > 0 {
            inside.push(Piece::Plain(text[..split].to_owned()));
        }
        rest.pieces.drain(..at);
        cut_front(&mut rest, split + 1);
        index = Some(Word { pieces: inside });
    }
    let Some(Piece::Plain(text)) = rest.pieces.first() else { return None };
    let append = text.starts_with("+=");
    if !append && !text.starts_with('=') {
        return None;
    }
    cut_front(&mut rest, if append { 2 } else { 1 });
    Some(Assign { name, index, append, value: Value::Word(rest) })
}

/// Takes bytes away from the plain piece in front.
fn cut_front(word: &mut Word, bytes: usize) {
    if let Some(Piece::Plain(text)) = word.pieces.first_mut() {
        text.drain(..bytes);
        if text.is_empty() {
            word.pieces.remove(0);
        }
    }
}

pub(crate) fn is_name(text: &str) -> bool {
    let first = text.bytes().next();
    first.is_some_and(|byte| byte.is_ascii_alphabetic() || byte == b'_')
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// Functions may have names that variables may not.
fn is_function(name: &str) -> bool {
    let odd = |c: char| c.is_control() || "$'\"\\`<>|&;(){}*?[]~=#! ".contains(c);
    !name.is_empty() && !name.contains(odd) && !RESERVED.contains(&name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn troubles_keep_what_stands_before_them() {
        for (text, items) in [
            ("ls; )", 1),
            ("ls\nrm x\nfi", 2),
            ("echo 'a", 0),
            ("cat <<E\nx", 1),
            ("a && ", 0),
            ("coproc ls", 0),
            ("for x in a b; { ls; }", 0),
            ("f() ls", 0),
            ("$(ls", 0),
            ("${x", 0),
            ("ls |", 0),
            ("ls;;", 1),
            ("$[1]", 0),
            ("cat <<EOF\nEO\\\nF\nls\nEOF", 1),
            ("cat <<EOF\nx\\\nEOF\nls\nEOF", 1),
            ("echo {a[x]}>y", 0),
            ("echo <<EOF $(ls <<E\n)\nE\nEOF\n", 0),
        ] {
            let parsed = parse(text);
            assert!(parsed.trouble.is_some(), "{text}");
            assert_eq!(parsed.script.items.len(), items, "{text}");
        }
    }

    #[test]
    fn no_text_takes_long_or_goes_deep() {
        for piece in ["(", "((", "$(", "$((", "${x:-", "\"$(", "`", "{ ", "if ", "a=$((", "<(", "[[ ("] {
            assert!(parse(&piece.repeat(3001)).trouble.is_some(), "{piece}");
        }
        assert!(parse(&"ls; ".repeat(3000)).trouble.is_none());
    }
}
