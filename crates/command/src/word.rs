//! Words: quotes, escapes, expansions. Start at [`Reader::word`].

use crate::ansi;
use crate::parse::{self, Read, Reader};
use crate::syntax::{Expansion, Piece, Raw, Script, Word};

/// Ends a word.
const ENDS: &[u8] = b" \t\n;&|()<>";

impl Word {
    fn plain_text(&mut self, text: &str) {
        match self.pieces.last_mut() {
            Some(Piece::Plain(last)) => last.push_str(text),
            _ if text.is_empty() => {}
            _ => self.pieces.push(Piece::Plain(text.to_owned())),
        }
    }

    /// Also an empty one, which makes a word of its own.
    fn quoted_text(&mut self, text: &str) {
        match self.pieces.last_mut() {
            Some(Piece::Quoted(last)) => last.push_str(text),
            _ => self.pieces.push(Piece::Quoted(text.to_owned())),
        }
    }

    /// Empty quotes beside anything else say nothing, but that a tilde before them is just a sign.
    fn settle(mut self) -> Self {
        if self.pieces.len() > 1 {
            if let [Piece::Plain(first), Piece::Quoted(next), ..] = &mut self.pieces[..]
                && next.is_empty()
                && first.starts_with('~')
                && !first.contains('/')
            {
                self.pieces[0] = Piece::Quoted(std::mem::take(first));
            }
            self.pieces.retain(|piece| !matches!(piece, Piece::Quoted(text) if text.is_empty()));
        }
        let mut out = Self::default();
        for piece in self.pieces {
            match (out.pieces.last_mut(), piece) {
                (Some(Piece::Plain(last)), Piece::Plain(text)) => last.push_str(&text),
                (Some(Piece::Quoted(last)), Piece::Quoted(text)) => last.push_str(&text),
                (_, piece) => out.pieces.push(piece),
            }
        }
        out
    }
}

impl Reader<'_> {
    /// The next word; `None` where there is none.
    pub(crate) fn word(&mut self) -> Read<Option<Word>> {
        self.text_until(ENDS)
    }

    /// A regular expression of `[[ =~ ]]`: its parentheses and bars are its own.
    pub(crate) fn regex(&mut self) -> Read<Word> {
        let mut word = Word::default();
        let mut open = 0usize;
        loop {
            match self.text_until(b" \t\n;&|()<>")? {
                Some(more) => word.pieces.extend(more.pieces),
                None => match self.peek() {
                    Some(b'(') => open += 1,
                    Some(b')') if open > 0 => open -= 1,
                    Some(b'|') => {}
                    _ if open > 0 => return Err("a regular expression has no end".into()),
                    _ => return Ok(word.settle()),
                },
            }
            if let Some(sign @ (b'(' | b')' | b'|')) = self.peek() {
                if sign == b')' && open == 0 {
                    return Ok(word.settle());
                }
                word.plain_text(&char::from(sign).to_string());
                self.at += 1;
            }
        }
    }

    fn text_until(&mut self, ends: &[u8]) -> Read<Option<Word>> {
        let (from, mut word) = (self.at, Word::default());
        while let Some(byte) = self.peek() {
            self.step()?;
            match byte {
                b'<' | b'>' if self.sees("<(") || self.sees(">(") => self.process(&mut word, byte == b'>')?,
                byte if ends.contains(&byte) => break,
                b'\'' => {
                    let rest = &self.text[self.at + 1..];
                    let (text, _) = rest.split_once('\'').ok_or("a quote has no end")?;
                    word.quoted_text(text);
                    self.at += text.len() + 2;
                }
                b'"' => {
                    self.at += 1;
                    word.quoted_text("");
                    self.double(&mut word, Some(b'"'))?;
                }
                b'\\' => {
                    let Some(next) = self.text[self.at + 1..].chars().next() else {
                        return Err("it ends in a backslash".into());
                    };
                    self.at += 1 + next.len_utf8();
                    if next != '\n' {
                        word.quoted_text(next.encode_utf8(&mut [0; 4]));
                    }
                }
                b'$' => self.dollar(&mut word, false)?,
                b'`' => self.backticks(&mut word, false)?,
                _ => {
                    let rest = &self.text.as_bytes()[self.at..];
                    let stop = |byte: &u8| ends.contains(byte) || b"<>'\"\\$`".contains(byte);
                    let long = rest.iter().position(stop).unwrap_or(rest.len()).max(1);
                    let text = &self.text[self.at..self.at + long];
                    if text.contains('\0') {
                        return Err("it holds a zero byte".into());
                    }
                    word.plain_text(text);
                    self.at += long;
                }
            }
        }
        Ok(if self.at == from || word.pieces.is_empty() { None } else { Some(word.settle()) })
    }

    /// Between double quotes, or in a here-document (no closing quote).
    pub(crate) fn double(&mut self, word: &mut Word, close: Option<u8>) -> Read<()> {
        loop {
            self.step()?;
            let Some(byte) = self.peek() else {
                return if close.is_some() { Err("a quote has no end".into()) } else { Ok(()) };
            };
            match byte {
                byte if Some(byte) == close => {
                    self.at += 1;
                    return Ok(());
                }
                b'\\' => {
                    let next = self.text[self.at + 1..].chars().next();
                    match next {
                        Some(next @ ('$' | '`' | '\\')) => word.quoted_text(next.encode_utf8(&mut [0; 4])),
                        Some('"') if close.is_some() => word.quoted_text("\""),
                        Some('\n') => {}
                        _ => {
                            word.quoted_text("\\");
                            self.at += 1;
                            continue;
                        }
                    }
                    self.at += 2;
                }
                b'$' => self.dollar(word, true)?,
                b'`' => self.backticks(word, true)?,
                _ => {
                    let rest = &self.text.as_bytes()[self.at..];
                    let stop = |byte: &u8| Some(*byte) == close || b"\\$`".contains(byte);
                    let long = rest.iter().position(stop).unwrap_or(rest.len()).max(1);
                    let text = &self.text[self.at..self.at + long];
                    if text.contains('\0') {
                        return Err("it holds a zero byte".into());
                    }
                    word.quoted_text(text);
                    self.at += long;
                }
            }
        }
    }

    fn dollar(&mut self, word: &mut Word, quoted: bool) -> Read<()> {
        if self.takes("$((") {
            let before = self.at;
            if let Ok(raw) = self.attempt(|it| it.arithmetic()) {
                word.pieces.push(Piece::Expand(Expansion::Arithmetic(raw), quoted));
                return Ok(());
            }
            self.at = before - 3;
        }
        if self.takes("$(") {
            let script = self.substitution()?;
            word.pieces.push(Piece::Expand(Expansion::Command(script), quoted));
        } else if self.takes("${") {
            let raw = self.deeper(|it| it.raw(b'}', quoted))?;
            self.at += 1;
            word.pieces.push(Piece::Expand(Expansion::Parameter(raw), quoted));
        } else if self.sees("$[") {
            return Err("`$[` is an old form of arithmetic".into());
        } else if !quoted && self.sees("$'") {
            let (text, long) = ansi::decode(&self.text[self.at + 2..])
                .ok_or("a `$'` quote has no end, or holds what no text does")?;
            word.quoted_text(&text);
            self.at += 2 + long;
        } else if !quoted && self.takes("$\"") {
            word.quoted_text("");
            self.double(word, Some(b'"'))?;
        } else {
            self.at += 1;
            let rest = &self.text[self.at..];
            let named = rest.bytes().take_while(|byte| byte.is_ascii_alphanumeric() || *byte == b'_').count();
            let long = match rest.bytes().next() {
                Some(byte) if byte.is_ascii_digit() || b"@*#?-$!".contains(&byte) => 1,
                _ => named,
            };
            if long == 0 {
                word.quoted_text("$");
                return Ok(());
            }
            let raw = Raw { text: rest[..long].to_owned(), inner: Vec::new() };
            self.at += long;
            word.pieces.push(Piece::Expand(Expansion::Parameter(raw), quoted));
        }
        Ok(())
    }

    /// Behind `$(`, or another opening parenthesis.
    fn substitution(&mut self) -> Read<Script> {
        // The text of a here-document that began outside stands behind the line of the closing sign.
        let outside = self.set_aside(Vec::new());
        let mut script = Script::default();
        let read = self.deeper(|it| it.script(&mut script, &[")"])).and_then(|()| self.needs(")"));
        let inside = self.set_aside(outside);
        read?;
        if inside.is_empty() { Ok(script) } else { Err("a here-document begins in a substitution".into()) }
    }

    fn process(&mut self, word: &mut Word, out: bool) -> Read<()> {
        self.at += 2;
        let script = self.substitution()?;
        word.pieces.push(Piece::Expand(Expansion::Process(out, script), false));
        Ok(())
    }

    fn backticks(&mut self, word: &mut Word, quoted: bool) -> Read<()> {
        let script = self.deeper(|it| it.backticked(quoted))?;
        word.pieces.push(Piece::Expand(Expansion::Command(script), quoted));
        Ok(())
    }

    fn backticked(&mut self, quoted: bool) -> Read<Script> {
        self.at += 1;
        let mut inside = String::new();
        loop {
            self.step()?;
            let c = self.text[self.at..].chars().next().ok_or("a backtick has no end")?;
            self.at += c.len_utf8();
            match c {
                '`' => break,
                '\\' => match self.text[self.at..].chars().next() {
                    Some(next) if matches!(next, '`' | '\\' | '$') || (quoted && next == '"') => {
                        inside.push(next);
                        self.at += 1;
                    }
                    _ => inside.push('\\'),
                },
                c => inside.push(c),
            }
        }
        let parsed = parse::nested(&inside, self.depth);
        parsed.trouble.map_or(Ok(parsed.script), Err)
    }

    /// `((...))` at a place where a command may stand.
    pub(crate) fn arithmetic_command(&mut self) -> Read<Raw> {
        self.needs("((")?;
        self.arithmetic()
    }

    /// Behind `((`, up to and with `))`.
    fn arithmetic(&mut self) -> Read<Raw> {
        let raw = self.deeper(|it| it.raw(b')', true))?;
        self.needs("))")?;
        Ok(raw)
    }

    /// Text up to a closing sign that belongs to nothing in it. The sign is not taken.
    fn raw(&mut self, close: u8, quoted: bool) -> Read<Raw> {
        let (from, mut inner, mut open) = (self.at, Vec::new(), 0usize);
        loop {
            self.step()?;
            let byte = self.peek().ok_or("an expansion has no end")?;
            match byte {
                b'(' if close == b')' => {
                    open += 1;
                    self.at += 1;
                }
                byte if byte == close && open == 0 => break,
                b')' if close == b')' => {
                    open -= 1;
                    self.at += 1;
                }
                // Shells do not agree on what a quote is here.
                b'\'' if quoted => return Err("a quote stands in an expansion between double quotes".into()),
                b'\'' | b'"' | b'$' | b'`' | b'\\' | b'<' | b'>' => {
                    self.raw_piece(byte, quoted, &mut inner)?
                }
                b'\0' => return Err("it holds a zero byte".into()),
                _ => self.at += 1,
            }
        }
        Ok(Raw { text: self.text[from..self.at].to_owned(), inner })
    }

    fn raw_piece(&mut self, byte: u8, quoted: bool, inner: &mut Vec<Expansion>) -> Read<()> {
        let mut word = Word::default();
        match byte {
            b'\'' => {
                let (text, _) = self.text[self.at + 1..].split_once('\'').ok_or("a quote has no end")?;
                self.at += text.len() + 2;
            }
            b'"' => {
                self.at += 1;
                self.deeper(|it| it.double(&mut word, Some(b'"')))?;
            }
            b'\\' => {
                let next = self.text[self.at + 1..].chars().next().ok_or("it ends in a backslash")?;
                self.at += 1 + next.len_utf8();
            }
            b'$' => self.deeper(|it| it.dollar(&mut word, quoted))?,
            b'`' => self.backticks(&mut word, quoted)?,
            _ if self.sees("<(") || self.sees(">(") => self.process(&mut word, byte == b'>')?,
            _ => self.at += 1,
        }
        inner.extend(word.pieces.into_iter().filter_map(|piece| match piece {
            Piece::Expand(expansion, _) => Some(expansion),
            _ => None,
        }));
        Ok(())
    }
}
