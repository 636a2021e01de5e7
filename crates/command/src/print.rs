//! Commands back into text: one line, in one form, that reads as the same commands. Start at [`print`].

use crate::parse::RESERVED;
use crate::syntax::{
    Assign, Body, Command, Expansion, Item, Joint, Piece, Redirect, Script, Tested, Value, Way, Word,
};

/// The text of a script.
pub fn print(script: &Script) -> String {
    let mut out = String::new();
    items(script, &mut out);
    out
}

/// A word as a person would quote it.
pub(crate) fn shown(of: &Word) -> String {
    let mut out = String::new();
    word(of, &mut out);
    out
}

fn items(script: &Script, out: &mut String) {
    for (at, it) in script.items.iter().enumerate() {
        if at > 0 {
            out.push_str(if script.items[at - 1].background { " " } else { "; " });
        }
        item(it, out);
    }
}

fn item(item: &Item, out: &mut String) {
    pipeline(&item.first, out);
    for (joint, next) in &item.rest {
        out.push_str(if *joint == Joint::And { " && " } else { " || " });
        pipeline(next, out);
    }
    out.push_str(if item.background { " &" } else { "" });
}

fn pipeline(pipeline: &crate::syntax::Pipeline, out: &mut String) {
    out.push_str(if pipeline.timed { "time " } else { "" });
    out.push_str(if pipeline.negated { "! " } else { "" });
    for (at, it) in pipeline.commands.iter().enumerate() {
        out.push_str(if at > 0 { " | " } else { "" });
        command(it, out);
    }
}

fn command(command: &Command, out: &mut String) {
    if let Body::Simple(assigns, words) = &command.body {
        let reserved = |word: &str| RESERVED.contains(&word) || matches!(word, "time" | "!" | "[[");
        // Where a command begins, only quoted is it a word like any other.
        if assigns.is_empty()
            && let Some(name) = words.first().and_then(Word::plain)
            && reserved(name)
        {
            let mut words = words.clone();
            words[0].pieces = vec![Piece::Quoted(name.to_owned())];
            body(&Body::Simple(Vec::new(), words), out);
            return redirects(&command.redirects, out);
        }
    }
    body(&command.body, out);
    redirects(&command.redirects, out);
}

fn redirects(all: &[Redirect], out: &mut String) {
    for it in all {
        if !out.is_empty() && !out.ends_with([' ', '(']) {
            out.push(' ');
        }
        redirect(it, out);
    }
}

/// A script inside of words that end it.
fn inside(script: &Script, before: &str, after: &str, out: &mut String) {
    out.push_str(before);
    items(script, out);
    let ended = script.items.last().is_none_or(|item| item.background);
    out.push_str(if ended { " " } else { "; " });
    out.push_str(after);
}

fn body(body: &Body, out: &mut String) {
    match body {
        Body::Simple(assigns, words) => {
            for (at, it) in assigns.iter().enumerate() {
                out.push_str(if at > 0 { " " } else { "" });
                assign(it, out);
            }
            out.push_str(if assigns.is_empty() || words.is_empty() { "" } else { " " });
            list(words, out);
        }
        Body::Group(script) => inside(script, "{ ", "}", out),
        Body::Subshell(script) => {
            out.push_str("( ");
            items(script, out);
            out.push_str(" )");
        }
        Body::If(branches, otherwise) => {
            for (at, (test, then)) in branches.iter().enumerate() {
                inside(test, if at == 0 { "if " } else { "elif " }, "then ", out);
                inside(then, "", "", out);
            }
            if let Some(script) = otherwise {
                inside(script, "else ", "", out);
            }
            out.push_str("fi");
        }
        Body::Loop(until, test, doing) => {
            inside(test, if *until { "until " } else { "while " }, "do ", out);
            inside(doing, "", "done", out);
        }
        Body::For(select, name, words, doing) => {
            out.push_str(if *select { "select " } else { "for " });
            out.push_str(name);
            if let Some(words) = words {
                out.push_str(" in ");
                list(words, out);
            }
            inside(doing, "; do ", "done", out);
        }
        Body::Count(raw, doing) => {
            out.push_str(&format!("for (({})); do ", raw.text));
            inside(doing, "", "done", out);
        }
        Body::Case(of, arms) => {
            out.push_str("case ");
            word(of, out);
            out.push_str(" in ");
            for (patterns, script, end) in arms {
                for (at, pattern) in patterns.iter().enumerate() {
                    out.push_str(if at == 0 { "(" } else { "|" });
                    word(pattern, out);
                }
                out.push_str(") ");
                items(script, out);
                out.push_str(&format!(" {end} "));
            }
            out.push_str("esac");
        }
        Body::Function(name, body) => {
            out.push_str(&format!("{name}() "));
            command(body, out);
        }
        Body::Arithmetic(raw) => out.push_str(&format!("(({}))", raw.text)),
        Body::Test(tested) => test(tested, out),
    }
}

fn test(tested: &[Tested], out: &mut String) {
    out.push_str("[[");
    for it in tested {
        out.push(' ');
        match it {
            Tested::Operator(sign) => out.push_str(sign),
            Tested::Word(it) | Tested::Regex(it) => word(it, out),
        }
    }
    out.push_str(" ]]");
}

fn list(words: &[Word], out: &mut String) {
    for (at, it) in words.iter().enumerate() {
        out.push_str(if at > 0 { " " } else { "" });
        word(it, out);
    }
}

fn assign(assign: &Assign, out: &mut String) {
    out.push_str(&assign.name);
    if let Some(index) = &assign.index {
        out.push('[');
        word(index, out);
        out.push(']');
    }
    out.push_str(if assign.append { "+=" } else { "=" });
    match &assign.value {
        Value::Word(it) => word(it, out),
        Value::Array(words) => {
            out.push('(');
            list(words, out);
            out.push(')');
        }
    }
}

fn redirect(redirect: &Redirect, out: &mut String) {
    out.push_str(&redirect.stream);
    out.push_str(match redirect.way {
        Way::Read => "<",
        Way::Write => ">",
        Way::Append => ">>",
        Way::Clobber => ">|",
        Way::Both => "&>",
        Way::BothAppend => "&>>",
        Way::Open => "<>",
        Way::CopyIn => "<&",
        Way::CopyOut => ">&",
        Way::Here => "<<<",
    });
    match redirect.target.word() {
        Some(it) if it.pieces.is_empty() => out.push_str("''"),
        Some(it) => {
            // A process right behind a sign would be another sign.
            let process = matches!(it.pieces.first(), Some(Piece::Expand(Expansion::Process(..), _)));
            out.push_str(if process { " " } else { "" });
            word(it, out);
        }
        None => out.push_str("''"),
    }
}

fn word(of: &Word, out: &mut String) {
    for piece in &of.pieces {
        match piece {
            Piece::Plain(text) => out.push_str(text),
            Piece::Quoted(text) => {
                out.push('\'');
                out.push_str(&text.replace('\'', "'\\''"));
                out.push('\'');
            }
            Piece::Expand(what, quoted) => {
                out.push_str(if *quoted { "\"" } else { "" });
                expansion(what, out);
                out.push_str(if *quoted { "\"" } else { "" });
            }
        }
    }
}

fn expansion(expansion: &Expansion, out: &mut String) {
    match expansion {
        Expansion::Parameter(raw) => out.push_str(&format!("${{{}}}", raw.text)),
        Expansion::Arithmetic(raw) => out.push_str(&format!("$(({}))", raw.text)),
        Expansion::Command(script) | Expansion::Process(_, script) => {
            out.push_str(match expansion {
                Expansion::Process(false, _) => "<(",
                Expansion::Process(true, _) => ">(",
                _ => "$( ",
            });
            items(script, out);
            out.push_str(" )");
        }
    }
}
