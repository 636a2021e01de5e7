//! The parts of speech of a shell: what [`crate::parse`] makes of a text. Plain data, free of quotes.
//! Start at [`Script`].

use std::sync::{Arc, OnceLock};

/// Lists, one after the other.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Script {
    /// In order.
    pub items: Vec<Item>,
}

/// Pipelines joined by `&&` and `||`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// Runs in any case.
    pub first: Pipeline,
    /// Run or not, depending on what went before.
    pub rest: Vec<(Joint, Pipeline)>,
    /// Ended by `&`.
    pub background: bool,
}

/// What stands between two pipelines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Joint {
    /// `&&`
    And,
    /// `||`
    Or,
}

/// Commands whose streams are joined.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pipeline {
    /// `!` before it.
    pub negated: bool,
    /// `time` before it.
    pub timed: bool,
    /// At least one.
    pub commands: Vec<Command>,
}

/// A command and where its streams go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Command {
    /// What it is.
    pub body: Body,
    /// In order.
    pub redirects: Vec<Redirect>,
}

/// Kinds of commands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Body {
    /// Assignments, then a program and its arguments; either may be missing.
    Simple(Vec<Assign>, Vec<Word>),
    /// `{ ...; }`
    Group(Script),
    /// `( ... )`
    Subshell(Script),
    /// Tests with what follows them, and `else`.
    If(Vec<(Script, Script)>, Option<Script>),
    /// `while`, or `until` when true.
    Loop(bool, Script, Script),
    /// `for`, or `select` when true; without a list it goes over the arguments.
    For(bool, String, Option<Vec<Word>>, Script),
    /// `for ((...))`
    Count(Raw, Script),
    /// A word, and patterns with what each leads to and how it ends.
    Case(Word, Vec<(Vec<Word>, Script, &'static str)>),
    /// A name, and what it stands for from here on.
    Function(String, Box<Command>),
    /// `(( ... ))`
    Arithmetic(Raw),
    /// `[[ ... ]]`
    Test(Vec<Tested>),
}

/// What `[[ ... ]]` is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Tested {
    /// An operator of one of few kinds, such as `&&`.
    Operator(&'static str),
    /// Anything else.
    Word(Word),
    /// A regular expression, right of `=~`.
    Regex(Word),
}

/// `name=value`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assign {
    /// The variable.
    pub name: String,
    /// Between brackets.
    pub index: Option<Word>,
    /// `+=`
    pub append: bool,
    /// One word, or the elements of an array.
    pub value: Value,
}

/// What is assigned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// One word, maybe empty.
    Word(Word),
    /// `(a b c)`
    Array(Vec<Word>),
}

/// Where a stream goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Redirect {
    /// A number, or `{name}`; empty when left out.
    pub stream: String,
    /// Which way.
    pub way: Way,
    /// A file, a number, or the text of a here-document.
    pub target: Target,
}

/// Ways of redirecting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// `<`
    Read,
    /// `>`
    Write,
    /// `>>`
    Append,
    /// `>|`
    Clobber,
    /// `&>`
    Both,
    /// `&>>`
    BothAppend,
    /// `<>`
    Open,
    /// `<&`
    CopyIn,
    /// `>&`
    CopyOut,
    /// `<<` and `<<<`: the text itself.
    Here,
}

/// What is behind a redirection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// As written.
    Word(Word),
    /// The text of a here-document, which stands lines below; set once it was read.
    Below(Arc<OnceLock<Word>>),
}

impl Target {
    /// The word, wherever it stood.
    pub fn word(&self) -> Option<&Word> {
        match self {
            Self::Word(word) => Some(word),
            Self::Below(word) => word.get(),
        }
    }
}

/// Text and expansions without a gap.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Word {
    /// In order; neighbours of one kind are merged.
    pub pieces: Vec<Piece>,
}

/// A piece of a word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    /// Outside quotes: `*`, `?`, `[`, `{` and a leading `~` mean something in it.
    Plain(String),
    /// As it is.
    Quoted(String),
    /// What only the shell knows. True: between double quotes, so that it stays one word.
    Expand(Expansion, bool),
}

/// What is put in when the command runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expansion {
    /// What stands between `${` and `}`.
    Parameter(Raw),
    /// `$((...))`
    Arithmetic(Raw),
    /// `$(...)`, and backticks.
    Command(Script),
    /// `<(...)`, or `>(...)` when true.
    Process(bool, Script),
}

/// Text with rules of its own, kept as written, and what is put in within it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Raw {
    /// As written.
    pub text: String,
    /// Every expansion in it.
    pub inner: Vec<Expansion>,
}

impl Word {
    /// A word of quoted text.
    pub fn quoted(text: impl Into<String>) -> Self {
        Self { pieces: vec![Piece::Quoted(text.into())] }
    }

    /// The text, when nothing in it is expanded by the shell.
    pub fn fixed(&self) -> Option<String> {
        let (mut out, mut plain) = (String::new(), String::new());
        for piece in &self.pieces {
            match piece {
                Piece::Quoted(text) => out.push_str(text),
                Piece::Plain(text) => {
                    out.push_str(text);
                    plain.push_str(text);
                }
                Piece::Expand(..) => return None,
            }
        }
        let homes =
            |piece: &Piece| matches!(piece, Piece::Plain(text) if text.contains("=~") || text.contains(":~"));
        (!self.home() && !self.pieces.iter().any(homes) && !expands(&plain)).then_some(out)
    }

    /// Begins with a `~` outside quotes.
    pub fn home(&self) -> bool {
        matches!(self.pieces.first(), Some(Piece::Plain(text)) if text.starts_with('~'))
    }

    /// The only piece, when it is plain: the form of reserved words.
    pub fn plain(&self) -> Option<&str> {
        match &self.pieces[..] {
            [Piece::Plain(text)] => Some(text),
            _ => None,
        }
    }
}

/// A pattern of file names, or braces: the shell puts something else in.
fn expands(plain: &str) -> bool {
    let both = |open, close| plain.contains(open) && plain.contains(close);
    plain.contains(['*', '?'])
        || both('[', ']')
        || (both('{', '}') && (plain.contains([',']) || plain.contains("..")))
}
