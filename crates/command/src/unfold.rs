//! Everything that a script would run, wherever it stands: in lists, substitutions, wrappers, functions, `eval`.
//!
//! What the shell decides while it runs (which branch, how often) is not followed: every branch counts. Start at
//! [`parts`].

use crate::known::{self, Operands};
use crate::parse::{self, Parsed, parse};
use crate::path::{Place, looks_like_path};
use crate::syntax::{
    Assign, Body, Command, Expansion, Item, Joint, Piece, Raw, Redirect, Script, Tested, Value, Way, Word,
};
use crate::wrap::{self, Inner, Unwrapped};
use contract::policy::{Arg, Doubt, How, Part, Touch};

/// Wrappers in wrappers.
const DEPTH: usize = 12;
/// Parts of one line; what is beyond is a doubt.
const MOST: usize = 4096;
/// Directories a line may be in at one place.
const DIRS: usize = 4;

/// What this text would do, run in this directory.
pub fn parts(text: &str, place: &Place, cwd: &str) -> Vec<Part> {
    of_script(&parse(text), place, cwd)
}

/// The same of a text that was read.
pub fn of_script(parsed: &Parsed, place: &Place, cwd: &str) -> Vec<Part> {
    let mut unfold =
        Unfold { place, dirs: vec![cwd.to_owned()], depth: 0, parts: Vec::new(), inside: Vec::new() };
    unfold.parsed(parsed);
    if unfold.parts.len() > MOST {
        unfold.parts.truncate(MOST);
        unfold.doubt(Doubt::Unread(format!("it does more than {MOST} things")));
    }
    unfold.parts
}

/// Where a program's input comes from.
#[derive(Clone)]
enum Fed {
    Nothing,
    Stream,
    Text(String),
}

pub(crate) struct Unfold<'a> {
    place: &'a Place,
    /// Where it may be by now; empty = anywhere.
    dirs: Vec<String>,
    depth: usize,
    parts: Vec<Part>,
    /// Functions whose bodies are being read.
    inside: Vec<String>,
}

impl Unfold<'_> {
    fn parsed(&mut self, parsed: &Parsed) {
        self.script(&parsed.script);
        if let Some(why) = &parsed.trouble {
            self.doubt(Doubt::Unread(why.clone()));
        }
    }

    fn doubt(&mut self, doubt: Doubt) {
        self.parts.push(Part { doubts: vec![doubt], ..Part::default() });
    }

    /// What happens in there leaves no trace on where the rest runs.
    fn apart(&mut self, script: &Script) {
        let dirs = self.dirs.clone();
        self.script(script);
        self.dirs = dirs;
    }

    /// It may have run or not.
    fn maybe(&mut self, script: &Script) {
        let before = self.dirs.clone();
        self.script(script);
        self.or_still(before);
    }

    /// It is where it was, or where it would be now.
    fn or_still(&mut self, before: Vec<String>) {
        if self.dirs.is_empty() || before.is_empty() {
            self.dirs.clear();
            return;
        }
        let new: Vec<String> = before.into_iter().filter(|dir| !self.dirs.contains(dir)).collect();
        self.dirs.extend(new);
        if self.dirs.len() > DIRS {
            self.dirs.clear();
        }
    }

    fn script(&mut self, script: &Script) {
        for item in &script.items {
            if self.parts.len() > MOST {
                return;
            }
            let before = self.dirs.clone();
            self.item(item);
            match item.background {
                true => self.dirs = before,
                // A `cd` may have failed.
                false => self.or_still(before),
            }
        }
    }

    fn item(&mut self, item: &Item) {
        let start = self.dirs.clone();
        self.pipeline(&item.first, item.background);
        for (joint, pipeline) in &item.rest {
            if *joint == Joint::Or {
                self.or_still(start.clone());
            }
            self.pipeline(pipeline, item.background);
        }
    }

    fn pipeline(&mut self, pipeline: &crate::syntax::Pipeline, background: bool) {
        let alone = pipeline.commands.len() == 1;
        for (at, command) in pipeline.commands.iter().enumerate() {
            let dirs = self.dirs.clone();
            let fed = if at > 0 { Fed::Stream } else { Fed::Nothing };
            self.command(command, fed, background || !alone);
            if !alone {
                self.dirs = dirs;
            }
        }
    }

    fn command(&mut self, command: &Command, fed: Fed, beside: bool) {
        let mut touches = Vec::new();
        let mut hosts = Vec::new();
        let mut fed = fed;
        for redirect in &command.redirects {
            self.set(redirect.stream.trim_matches(['{', '}']));
            if let Some(word) = redirect.target.word() {
                self.word(word);
            }
            self.redirect(redirect, &mut touches, &mut hosts, &mut fed);
        }
        if !touches.is_empty() || !hosts.is_empty() {
            self.parts.push(Part { touches, hosts, ..Part::default() });
        }
        match &command.body {
            Body::Simple(assigns, words) => self.simple(assigns, words, fed, beside),
            Body::Group(script) => self.script(script),
            Body::Subshell(script) => self.apart(script),
            Body::If(branches, otherwise) => {
                for (test, then) in branches {
                    self.maybe(test);
                    self.maybe(then);
                }
                otherwise.iter().for_each(|script| self.maybe(script));
            }
            Body::Loop(_, test, doing) => {
                self.maybe(test);
                self.maybe(doing);
                self.again(doing);
            }
            Body::For(_, name, words, doing) => {
                words.iter().flatten().for_each(|word| self.word(word));
                self.set(name);
                self.maybe(doing);
                self.again(doing);
            }
            Body::Count(raw, doing) => {
                self.raw(raw, true);
                self.maybe(doing);
                self.again(doing);
            }
            Body::Case(word, arms) => {
                self.word(word);
                for (patterns, script, _) in arms {
                    patterns.iter().for_each(|word| self.word(word));
                    self.maybe(script);
                }
            }
            Body::Function(name, body) => self.function(name, body),
            Body::Arithmetic(raw) => self.raw(raw, true),
            Body::Test(tested) => self.test(tested),
        }
    }

    /// The shell itself gives a value to a variable of this name.
    fn set(&mut self, name: &str) {
        if known::dangerous_variable(name) {
            self.doubt(Doubt::Variable(name.to_owned()));
        }
    }

    /// A loop that changes the directory is in another one each time round.
    fn again(&mut self, doing: &Script) {
        let moves = |command: &Command| match &command.body {
            Body::Simple(_, words) => {
                words.first().and_then(Word::plain).is_some_and(|it| it == "cd" || it == "pushd")
            }
            Body::Subshell(_) => false,
            _ => true,
        };
        let commands = doing.items.iter().flat_map(|item| {
            let rest = item.rest.iter().map(|(_, pipeline)| pipeline);
            std::iter::once(&item.first).chain(rest).flat_map(|pipeline| &pipeline.commands)
        });
        if commands.into_iter().any(moves) && self.dirs.len() > 1 {
            self.dirs.clear();
        }
    }

    fn function(&mut self, name: &str, body: &Command) {
        self.inside.push(name.to_owned());
        let dirs = std::mem::take(&mut self.dirs);
        self.command(body, Fed::Stream, false);
        self.dirs = dirs;
        self.inside.pop();
        // Called from now on, it may go anywhere.
        let text = crate::print::print(&Script {
            items: vec![Item {
                first: crate::syntax::Pipeline { negated: false, timed: false, commands: vec![body.clone()] },
                rest: Vec::new(),
                background: false,
            }],
        });
        if text.contains("cd ") || text.contains("pushd") || text.contains("popd") {
            self.dirs.clear();
        }
    }

    fn test(&mut self, tested: &[Tested]) {
        let mut counts = false;
        for it in tested {
            if let Tested::Word(word) | Tested::Regex(word) = it {
                self.word(word);
                counts |= word.plain().is_some_and(|text| {
                    matches!(text, "-eq" | "-ne" | "-lt" | "-le" | "-gt" | "-ge" | "-v" | "-R")
                });
            }
        }
        let numbers = |it: &Tested| match it {
            Tested::Word(word) => {
                word.fixed().is_some_and(|text| text.starts_with('-') || text.parse::<u64>().is_ok())
            }
            _ => true,
        };
        // What is compared as a number is evaluated, and what is evaluated may run something.
        if counts && !tested.iter().all(numbers) {
            self.doubt(Doubt::Code);
        }
    }

    fn word(&mut self, word: &Word) {
        for piece in &word.pieces {
            if let Piece::Expand(expansion, _) = piece {
                self.expansion(expansion);
            }
        }
    }

    fn expansion(&mut self, expansion: &Expansion) {
        match expansion {
            Expansion::Parameter(raw) => self.parameter(raw),
            Expansion::Arithmetic(raw) => self.raw(raw, true),
            Expansion::Command(script) | Expansion::Process(_, script) => self.apart(script),
        }
    }

    fn parameter(&mut self, raw: &Raw) {
        const SPECIAL: [char; 7] = ['@', '*', '?', '-', '$', '!', '#'];
        let text = raw.text.as_str();
        let evaluated =
            |text: &str| text.chars().any(|c| c.is_ascii_alphabetic() || matches!(c, '_' | '$' | '`'));
        // `${!x}` looks into what `x` names, but `${!x*}` and `${!x[@]}` list; `${ x; }` runs.
        let lists = |rest: &str| {
            let sign = rest.trim_start_matches(|c: char| c.is_ascii_alphanumeric() || c == '_');
            rest.is_empty() || (sign.len() < rest.len() && matches!(sign, "*" | "@" | "[@]" | "[*]"))
        };
        let odd = text.starts_with([' ', '\t', '\n', '|', '(']);
        let indirect = text.strip_prefix('!').is_some_and(|rest| !lists(rest));
        let name = text.strip_prefix(['#', '!']).filter(|rest| !rest.is_empty()).unwrap_or(text);
        let behind = name.trim_start_matches(|c: char| c.is_ascii_alphanumeric() || c == '_');
        let named = &name[..name.len() - behind.len()];
        let behind = if named.is_empty() { behind.strip_prefix(SPECIAL).unwrap_or(behind) } else { behind };
        let (index, behind) = match behind.strip_prefix('[').map(|rest| rest.split_once(']')) {
            Some(Some((index, behind))) => (index, behind),
            Some(None) => ("_", behind),
            None => ("", behind),
        };
        let part = behind.strip_prefix(':').filter(|rest| !rest.starts_with(['-', '=', '?', '+']));
        let runs = evaluated(index) || part.is_some_and(evaluated);
        if odd || indirect || runs || behind.ends_with("@P") {
            self.doubt(Doubt::Code);
        }
        if behind.trim_start_matches(':').starts_with('=') {
            self.set(named);
        }
        self.raw(raw, false);
    }

    fn raw(&mut self, raw: &Raw, counts: bool) {
        raw.inner.iter().for_each(|expansion| self.expansion(expansion));
        if counts && raw.text.contains(|c: char| c.is_ascii_alphabetic() || c == '_' || c == '$' || c == '`')
        {
            self.doubt(Doubt::Code);
        }
    }

    fn redirect(
        &mut self,
        redirect: &Redirect,
        touches: &mut Vec<Touch>,
        hosts: &mut Vec<String>,
        fed: &mut Fed,
    ) {
        let Some(word) = redirect.target.word() else { return };
        if redirect.way == Way::Here {
            *fed = word.fixed().map_or(Fed::Stream, Fed::Text);
            return;
        }
        let arg = self.place.arg(word);
        let copies = matches!(redirect.way, Way::CopyIn | Way::CopyOut);
        let number = arg
            .known()
            .is_some_and(|text| text.trim_end_matches('-').bytes().all(|byte| byte.is_ascii_digit()));
        if copies && number {
            return;
        }
        let how = match redirect.way {
            Way::Read | Way::CopyIn => How::Read,
            _ => How::Write,
        };
        if how == How::Read {
            *fed = Fed::Stream;
        }
        if let Some(rest) =
            arg.known().and_then(|text| text.strip_prefix("/dev/tcp/").or(text.strip_prefix("/dev/udp/")))
        {
            hosts.push(rest.split('/').next().unwrap_or_default().to_ascii_lowercase());
            return;
        }
        // The file behind a process substitution is a pipe.
        if !matches!(word.pieces[..], [Piece::Expand(Expansion::Process(..), _)]) {
            self.touch(&arg, how, touches);
        }
    }

    fn touch(&self, arg: &Arg, how: How, touches: &mut Vec<Touch>) {
        // Everything in a directory is nearly the directory.
        if let Arg::Many(shown) = arg
            && let Some(dir) = shown.strip_suffix('*').map(|dir| dir.strip_suffix('.').unwrap_or(dir))
            && (dir.is_empty() || dir.ends_with('/'))
            && !dir.contains(['$', '`', '*', '?', '[', '{', '~', '\'', '"'])
        {
            self.touch(&Arg::Known(if dir.is_empty() { ".".into() } else { dir.to_owned() }), how, touches);
        }
        let absolute = arg.known().is_some_and(|text| text.starts_with('/'));
        if self.dirs.is_empty() || absolute {
            touches.push(self.place.touch(None, arg, how));
            return;
        }
        touches.extend(self.dirs.iter().map(|dir| self.place.touch(Some(dir), arg, how)));
    }

    fn simple(&mut self, assigns: &[Assign], words: &[Word], fed: Fed, beside: bool) {
        words.iter().for_each(|word| self.word(word));
        let mut doubts = Vec::new();
        for assign in assigns {
            let index = assign.index.as_ref();
            index.iter().for_each(|word| self.word(word));
            match &assign.value {
                Value::Word(word) => self.word(word),
                Value::Array(words) => words.iter().for_each(|word| self.word(word)),
            }
            if index.is_some_and(|word| word.fixed().is_none_or(|text| text.parse::<u64>().is_err())) {
                doubts.push(Doubt::Code);
            }
            let bad = match words.is_empty() {
                true => known::dangerous_variable(&assign.name),
                false => !known::harmless_variable(&assign.name),
            };
            if bad {
                doubts.push(Doubt::Variable(assign.name.clone()));
            }
        }
        if words.is_empty() {
            if !doubts.is_empty() {
                self.parts.push(Part { doubts, ..Part::default() });
            }
            return;
        }
        let args = words.iter().map(|word| self.place.arg(word)).collect();
        self.run(args, doubts, fed, beside);
    }

    /// A program with its arguments, however it came to be run.
    fn run(&mut self, args: Vec<Arg>, mut doubts: Vec<Doubt>, fed: Fed, beside: bool) {
        let Some(first) = args.first() else { return };
        let Some(program) = first.known() else {
            doubts.push(Doubt::Program);
            return self.plain("", args, doubts, &fed);
        };
        let name = bare(program).to_owned();
        if beside && self.inside.contains(&name) {
            // It starts itself, and does not wait for it.
            let words = vec![Arg::Known(FORK_BOMB.into())];
            self.parts.push(Part { words, ..Part::default() });
        }
        if let Some(unwrapped) = wrap::unwrapped(&name, &args) {
            return self.wrapper(&name, args, unwrapped, doubts, fed);
        }
        if matches!(name.as_str(), "cd" | "pushd" | "popd") {
            self.change(&name, &args);
        }
        if matches!(name.as_str(), "export" | "declare" | "typeset" | "local" | "readonly") {
            for arg in &args[1..] {
                match arg.known() {
                    Some(text) if text.starts_with('-') => {
                        if text.contains('i') || text.contains('n') {
                            doubts.push(Doubt::Code);
                        }
                    }
                    _ => {
                        let text = arg.shown();
                        let set = text.split(['=', '+', '[']).next().unwrap_or(text);
                        if known::dangerous_variable(set) || !parse::is_name(set) {
                            doubts.push(Doubt::Variable(set.to_owned()));
                        }
                    }
                }
            }
        }
        let given = matches!(fed, Fed::Stream | Fed::Text(_));
        if wrap::runs_code(&name, &args[1..], given)
            || matches!(name.as_str(), "." | "source" | "alias" | "enable")
        {
            doubts.push(Doubt::Code);
        }
        self.plain(&name, args, doubts, &fed);
    }

    fn change(&mut self, name: &str, args: &[Arg]) {
        let operand =
            args[1..].iter().find(|arg| arg.known().is_none_or(|text| !text.starts_with('-') || text == "-"));
        let to = match (name, operand) {
            ("cd", None) => Some(self.place.home.clone()),
            ("cd" | "pushd", Some(arg)) => arg.known().filter(|text| *text != "-").map(str::to_owned),
            _ => None,
        };
        let Some(to) = to else { return self.dirs.clear() };
        if to.starts_with('/') {
            self.dirs = self.place.absolute(None, &to).into_iter().collect();
        } else {
            self.dirs = self.dirs.iter().filter_map(|dir| self.place.absolute(Some(dir), &to)).collect();
        }
    }

    fn wrapper(&mut self, name: &str, args: Vec<Arg>, unwrapped: Unwrapped, doubts: Vec<Doubt>, fed: Fed) {
        let Unwrapped { inner, acts, sets } = unwrapped;
        let mut doubts = doubts;
        doubts.extend(sets.into_iter().filter(|name| !known::harmless_variable(name)).map(Doubt::Variable));
        let mut own = Vec::new();
        let (mut lines, mut programs) = (Vec::new(), Vec::new());
        for it in inner {
            match it {
                Inner::Words(words) => programs.push(words),
                Inner::Line(text) => lines.push(text),
                Inner::Input => match &fed {
                    Fed::Text(text) => lines.push(text.clone()),
                    _ => own.push(Doubt::Input),
                },
                Inner::Unknown(doubt) => own.push(doubt),
            }
        }
        if self.depth >= DEPTH {
            own.push(Doubt::Unread(format!("programs run programs more than {DEPTH} deep")));
        }
        // Another shell reads the text in its own way.
        let strange = match name {
            "sh" | "dash" | "ash" => {
                let odd = ["$'", "[[", "=~", ":~", "&>", "|&", "<(", ">(", "<<<", "function "];
                lines.iter().any(|line| odd.iter().any(|odd| line.contains(odd)))
            }
            "zsh" | "fish" | "ksh" | "mksh" => !lines.is_empty(),
            _ => false,
        };
        if strange {
            own.push(Doubt::Code);
        }
        let wraps = !acts && own.is_empty() && doubts.is_empty();
        own.extend(doubts.iter().cloned());
        // What is inside names its files itself.
        let front = match &programs[..] {
            [words] if wraps && name != "xargs" => args.len().saturating_sub(words.len()).max(1),
            _ if wraps => 1,
            _ => args.len(),
        };
        self.named(name, args, own, &fed, front);
        if let Some(part) = self.parts.last_mut() {
            part.wraps = wraps;
        }
        if self.depth >= DEPTH {
            return;
        }
        self.depth += 1;
        for text in lines {
            let dirs = self.dirs.clone();
            let parsed = parse::nested(&text, self.depth);
            self.parsed(&parsed);
            if !matches!(name, "eval" | "trap") {
                self.dirs = dirs;
            }
        }
        for words in programs {
            self.run(words, doubts.clone(), fed.clone(), false);
        }
        self.depth -= 1;
    }

    /// A part of its own, with what its arguments name.
    fn plain(&mut self, name: &str, args: Vec<Arg>, doubts: Vec<Doubt>, fed: &Fed) {
        let all = args.len();
        self.named(name, args, doubts, fed, all);
    }

    /// The same, of which only the words in front can be files.
    fn named(&mut self, name: &str, mut args: Vec<Arg>, doubts: Vec<Doubt>, fed: &Fed, front: usize) {
        let mut part = Part { doubts, ..Part::default() };
        if args.len() > MOST {
            args.truncate(MOST);
            part.doubts.push(Doubt::Unread(format!("it has more than {MOST} words")));
        }
        self.paths(name, &args[1..front.min(args.len())], &mut part.touches);
        crate::host::hosts(name, &args[1..], &mut part);
        part.words = crate::git::words(name, args, &mut part, self);
        if matches!(fed, Fed::Text(_) | Fed::Stream) && matches!(name, "at" | "batch" | "crontab") {
            part.doubts.push(Doubt::Code);
        }
        self.parts.push(part);
    }

    fn paths(&self, name: &str, args: &[Arg], touches: &mut Vec<Touch>) {
        if matches!(name, "echo" | "printf" | ":" | "true" | "false") {
            return;
        }
        let uses = known::operands(name);
        let mut operands: Vec<&Arg> = Vec::new();
        let (mut only_operands, mut patterned) = (false, false);
        let mut words = args.iter();
        while let Some(arg) = words.next() {
            let Some(text) = arg.known() else {
                operands.push(arg);
                continue;
            };
            if only_operands || !text.starts_with('-') || text == "-" {
                operands.push(arg);
                continue;
            }
            only_operands = text == "--";
            patterned |= name == "rg" && text == "--files";
            if let Some((file, value)) = known::pattern(name, text) {
                // With a pattern in an option, all operands are files.
                patterned = true;
                let value =
                    if value.is_empty() { words.next().cloned() } else { Some(Arg::Known(value.to_owned())) };
                if let Some(value) = value.filter(|_| file) {
                    self.touch(&value, How::Read, touches);
                }
                continue;
            }
            match known::output(name, text) {
                Some("") => words.next().into_iter().for_each(|value| self.touch(value, How::Write, touches)),
                Some(value) => self.touch(&Arg::Known(value.into()), How::Write, touches),
                None => self.value(text, uses.is_some() || name == "git", touches),
            }
        }
        if name == "sed" && operands.first().and_then(|arg| arg.known()) == Some("") {
            // The suffix that some kinds of sed want behind `-i`.
            operands.remove(0);
        }
        let last = operands.len().saturating_sub(1);
        let changes = (name == "sed" && args.iter().any(|arg| known::odd_for_sed(arg.shown())))
            || (name == "find" && args.iter().any(|arg| arg.known() == Some("-delete")));
        for (at, arg) in operands.into_iter().enumerate() {
            let how = match uses {
                Some(Operands::Behind(_)) if at == 0 && !patterned => continue,
                Some(Operands::All(How::Read) | Operands::Behind(How::Read)) if changes => How::Write,
                Some(Operands::All(how) | Operands::Behind(how)) => how,
                Some(Operands::Into) if at == last && (last > 0 || !matches!(name, "uniq" | "xxd")) => {
                    How::Write
                }
                Some(Operands::Into) => How::Read,
                None => {
                    self.unlisted(name, arg, touches);
                    continue;
                }
            };
            self.touch(arg, how, touches);
        }
    }

    /// What stands behind the `=` of an option. `reads`: of a program that reads what it is given.
    fn value(&self, option: &str, reads: bool, touches: &mut Vec<Touch>) {
        let value = option.split_once('=').map_or("", |(_, value)| value);
        let how = match looks_like_path(value) {
            true => How::Any,
            false if reads && !value.is_empty() => How::Read,
            false => return,
        };
        self.touch(&Arg::Known(value.to_owned()), how, touches);
    }

    /// An operand of a program that is in no list.
    fn unlisted(&self, name: &str, arg: &Arg, touches: &mut Vec<Touch>) {
        let Some(text) = arg.known() else { return };
        if let Some(file) = text.strip_prefix("of=").filter(|_| name == "dd") {
            self.touch(&Arg::Known(file.to_owned()), How::Write, touches);
        } else if looks_like_path(text) {
            self.touch(arg, How::Any, touches);
        } else if name == "git" && !text.contains("://") {
            // A file, or one in a commit: `HEAD:a/b`.
            let path = text.split_once(':').map_or(text, |(_, path)| path);
            self.touch(&Arg::Known(path.to_owned()), How::Read, touches);
        }
    }

    /// A directory as an option gives it, for what follows.
    pub(crate) fn seen_from(&self, arg: &Arg, touches: &mut Vec<Touch>) {
        self.touch(arg, How::Any, touches);
    }

    /// A file of git's own that is written.
    pub(crate) fn writes(&self, path: &str, touches: &mut Vec<Touch>) {
        let path =
            path.strip_prefix('~').map_or(path.to_owned(), |rest| format!("{}{rest}", self.place.home));
        self.touch(&Arg::Known(path), How::Write, touches);
    }
}

/// Stands as the program of a part that no rule of a person names: a function that starts itself again and again.
pub const FORK_BOMB: &str = "(fork bomb)";

/// The program's own name, where it comes from a place that programs come from.
fn bare(program: &str) -> &str {
    const DIRS: [&str; 6] =
        ["/bin/", "/usr/bin/", "/usr/local/bin/", "/sbin/", "/usr/sbin/", "/opt/homebrew/bin/"];
    DIRS.iter()
        .find_map(|dir| program.strip_prefix(dir).filter(|rest| !rest.contains('/')))
        .unwrap_or(program)
}

pub(crate) type Unfolding<'a, 'b> = &'a Unfold<'b>;
