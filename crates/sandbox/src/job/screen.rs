//! What a terminal shows, kept while nobody looks at it.
//! Knows nothing of jobs. Start at [`Screen::feed`]; the state of the terminal itself is `avt`'s.

use crate::pty::Size;
use avt::Terminal;

/// A terminal's screen.
pub struct Screen {
    terminal: Terminal,
    /// The beginning of a character whose end has not come yet.
    open: Vec<u8>,
}

impl std::fmt::Debug for Screen {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Screen").field("size", &self.terminal.size()).finish_non_exhaustive()
    }
}

impl Screen {
    /// An empty one.
    pub fn new(size: Size) -> Self {
        let (columns, rows) = (usize::from(size.columns.max(1)), usize::from(size.rows.max(1)));
        // At least one of each cannot be refused; were it, the smallest terminal is still one.
        let terminal = Terminal::new(columns, rows).or_else(|_| Terminal::new(1, 1));
        // tidy: allow(unwrap): one column and one row are always accepted
        Self { terminal: terminal.expect("a terminal of one cell"), open: Vec::new() }
    }

    /// Takes in output. Bytes that are not UTF-8 are shown as U+FFFD.
    pub fn feed(&mut self, bytes: &[u8]) {
        self.open.extend_from_slice(bytes);
        let open = std::mem::take(&mut self.open);
        let mut rest = open.as_slice();
        loop {
            match std::str::from_utf8(rest) {
                Ok(text) => return self.terminal.feed(text),
                Err(error) => {
                    let (good, bad) = rest.split_at(error.valid_up_to());
                    self.terminal.feed(String::from_utf8_lossy(good).as_ref());
                    match error.error_len() {
                        Some(len) => {
                            self.terminal.feed("\u{fffd}");
                            rest = &bad[len..];
                        }
                        // The rest of it comes with the next bytes.
                        None => {
                            self.open = bad.to_vec();
                            return;
                        }
                    }
                }
            }
        }
    }

    /// Another size; what fits stays.
    pub fn resize(&mut self, size: Size) {
        self.terminal.resize(usize::from(size.columns), usize::from(size.rows));
    }

    /// Columns and rows.
    pub fn size(&self) -> Size {
        let (columns, rows) = self.terminal.size();
        let number = |n: usize| u16::try_from(n).unwrap_or(u16::MAX);
        Size { columns: number(columns), rows: number(rows) }
    }

    /// Its rows as text, without what is blank at their ends.
    pub fn rows(&self) -> Vec<String> {
        self.terminal.screen().visible_lines().map(|line| line.text().trim_end().to_owned()).collect()
    }

    /// Row and column of the cursor, from 1 on.
    pub fn cursor(&self) -> (usize, usize) {
        let cursor = self.terminal.cursor();
        (cursor.row + 1, cursor.col + 1)
    }

    /// What makes any terminal of this size show the same.
    pub fn dump(&self) -> String {
        self.terminal.dump()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: Size = Size { columns: 20, rows: 4 };

    #[test]
    fn it_shows_what_was_written_however_the_pieces_fall() {
        let text = "one\r\n\u{1b}[31mzwei ü ☃\u{1b}[0m\r\n\u{1b}[4;5Hend".as_bytes();
        for step in 1..text.len() {
            let mut screen = Screen::new(SIZE);
            text.chunks(step).for_each(|chunk| screen.feed(chunk));
            assert_eq!(screen.rows(), ["one", "zwei ü ☃", "", "    end"], "{step}");
            assert_eq!(screen.cursor(), (4, 8));
            let mut other = Screen::new(SIZE);
            other.feed(screen.dump().as_bytes());
            assert_eq!((other.rows(), other.cursor()), (screen.rows(), screen.cursor()));
        }
        let mut screen = Screen::new(SIZE);
        screen.feed(b"a\xffb\xc3");
        assert_eq!(screen.rows()[0], "a\u{fffd}b");
        screen.feed(b"\xbc");
        assert_eq!(screen.rows()[0], "a\u{fffd}bü");
        screen.resize(Size { columns: 10, rows: 2 });
        assert_eq!(screen.size(), Size { columns: 10, rows: 2 });
    }
}
