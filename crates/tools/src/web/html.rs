//! A page of HTML as text that reads well: headings, lists, links, and nothing that is not shown.
//!
//! Knows nothing of where it came from. Start at [`text`]. Each byte is looked at a bounded number of times, whatever
//! the page is.

use contract::limits::WEB_BYTES;
use contract::text;

/// Bytes of an address that a link is given with; a longer one is left out.
const LINK_BYTES: usize = 500;
/// Links within links whose addresses are kept.
const LINKS: usize = 16;
/// Bytes after which no more is taken of a page.
const MOST: usize = 2 * WEB_BYTES;

/// What is inside is not text for a reader.
const SKIPPED: [&str; 12] = [
    "script", "style", "noscript", "template", "svg", "math", "iframe", "object", "canvas", "head", "title",
    "select",
];
/// What begins a line of its own.
const BLOCKS: [&str; 29] = [
    "p",
    "div",
    "section",
    "article",
    "header",
    "footer",
    "main",
    "nav",
    "aside",
    "ul",
    "ol",
    "li",
    "dl",
    "dt",
    "dd",
    "table",
    "tr",
    "pre",
    "blockquote",
    "form",
    "figure",
    "figcaption",
    "hr",
    "address",
    "details",
    "summary",
    "body",
    "fieldset",
    "caption",
];

/// The text of a page. Links are given as `link` makes them of what stands in `href`.
pub(crate) fn text(html: &str, link: &dyn Fn(&str) -> Option<String>) -> String {
    let mut page = Page { out: String::new(), pre: 0, links: Vec::new(), link };
    if let Some(title) = title(html) {
        page.words(&title);
        page.line(2);
    }
    let mut rest = html;
    while let Some(at) = rest.find('<') {
        if page.out.len() > MOST {
            page.line(1);
            page.words("[the rest of it is left out]");
            return page.done();
        }
        page.words(&rest[..at]);
        rest = &rest[at..];
        if let Some(comment) = rest.strip_prefix("<!--") {
            rest = comment.find("-->").map_or("", |end| &comment[end + 3..]);
            continue;
        }
        let named = rest[1..].starts_with(|c: char| c.is_ascii_alphabetic() || matches!(c, '/' | '!' | '?'));
        if !named {
            page.words("<");
            rest = &rest[1..];
            continue;
        }
        // One without an end is none, and nothing after it is text.
        let Some(end) = tag_end(rest) else { return page.done() };
        let tag = &rest[1..end];
        rest = &rest[end + 1..];
        rest = page.tag(tag, rest);
    }
    page.words(rest);
    page.done()
}

fn title(html: &str) -> Option<String> {
    let at = find_ignoring_case(html, "<title")?;
    let inner = &html[at..];
    let inner = &inner[tag_end(inner)? + 1..];
    Some(inner[..find_ignoring_case(inner, "</title")?].to_owned())
}

/// Where the tag that begins here ends; a `>` in quotes is none.
fn tag_end(tag: &str) -> Option<usize> {
    let mut quote = None;
    let mut before = b' ';
    for (at, byte) in tag.bytes().enumerate() {
        match (quote, byte) {
            (Some(open), _) if byte == open => quote = None,
            (Some(_), _) => {}
            // Only behind an equals sign do quotes quote.
            (None, b'"' | b'\'') if before == b'=' => quote = Some(byte),
            (None, b'>') => return Some(at),
            (None, _) => {}
        }
        if !byte.is_ascii_whitespace() {
            before = byte;
        }
    }
    None
}

fn find_ignoring_case(text: &str, what: &str) -> Option<usize> {
    let (text, what) = (text.as_bytes(), what.as_bytes());
    let first = what.first()?;
    memchr::memchr_iter(*first, text)
        .find(|at| text.get(*at..at + what.len()).is_some_and(|part| part.eq_ignore_ascii_case(what)))
}

struct Page<'a> {
    out: String,
    /// Levels of `pre`.
    pre: usize,
    /// Where the open links lead.
    links: Vec<Option<String>>,
    link: &'a dyn Fn(&str) -> Option<String>,
}

impl Page<'_> {
    /// A tag; what follows it, without what is skipped.
    fn tag<'h>(&mut self, tag: &str, rest: &'h str) -> &'h str {
        let (closes, tag) = tag.strip_prefix('/').map_or((false, tag), |tag| (true, tag));
        let name: String = tag
            .chars()
            .take_while(char::is_ascii_alphanumeric)
            .take(16)
            .collect::<String>()
            .to_ascii_lowercase();
        if SKIPPED.contains(&&*name) && !closes && !tag.ends_with('/') {
            return find_ignoring_case(rest, &format!("</{name}")).map_or("", |end| &rest[end..]);
        }
        match (&*name, closes) {
            ("br", _) => self.line(1),
            ("pre", closes) => {
                self.line(2);
                self.pre = if closes { self.pre.saturating_sub(1) } else { self.pre + 1 };
            }
            ("li", false) => {
                self.line(1);
                self.out.push_str("- ");
            }
            ("td" | "th", false) if !self.out.ends_with('\n') => self.out.push_str(" | "),
            ("h1" | "h2" | "h3" | "h4" | "h5" | "h6", closes) => {
                self.line(2);
                if !closes {
                    let level = usize::from(name.as_bytes()[1] - b'0');
                    self.out.extend(std::iter::repeat_n('#', level));
                    self.out.push(' ');
                }
            }
            ("a", false) => {
                let to = attribute(tag, "href").and_then(|href| (self.link)(href.trim()));
                self.links.push(to.filter(|to| to.len() <= LINK_BYTES && self.links.len() < LINKS));
            }
            ("a", true) => {
                if let Some(Some(to)) = self.links.pop() {
                    self.out.push_str(" (");
                    self.out.push_str(&to);
                    self.out.push(')');
                }
            }
            ("img", _) => {
                if let Some(alt) = attribute(tag, "alt").filter(|alt| !alt.trim().is_empty()) {
                    self.words(&format!("[image: {}]", alt.trim()));
                }
            }
            ("p" | "table" | "ul" | "ol" | "blockquote" | "dl", _) => self.line(2),
            (name, _) if BLOCKS.contains(&name) => self.line(1),
            _ => {}
        }
        rest
    }

    /// Text between tags.
    fn words(&mut self, text: &str) {
        let text = entities(text);
        if self.pre > 0 {
            self.out.push_str(&text);
            return;
        }
        for (n, word) in text.split(|c: char| c.is_ascii_whitespace()).enumerate() {
            let apart = n > 0 && !self.out.is_empty() && !self.out.ends_with([' ', '\n']);
            if apart {
                self.out.push(' ');
            }
            self.out.push_str(word);
        }
    }

    /// Ends the line; with two, leaves one empty.
    fn line(&mut self, ends: usize) {
        let kept = self.out.trim_end_matches(' ').len();
        self.out.truncate(kept);
        let there = self.out.bytes().rev().take(ends).take_while(|byte| *byte == b'\n').count();
        if !self.out.is_empty() {
            self.out.extend(std::iter::repeat_n('\n', ends.saturating_sub(there)));
        }
    }

    fn done(self) -> String {
        let mut out = text::clean(&self.out);
        out.truncate(out.trim_end().len());
        out.push('\n');
        out
    }
}

/// The value of an attribute, as far as pages write them.
fn attribute(tag: &str, name: &str) -> Option<String> {
    let mut rest = tag;
    loop {
        let at = find_ignoring_case(rest, name)?;
        let apart = rest[..at].ends_with(|c: char| c.is_ascii_whitespace() || matches!(c, '"' | '\''));
        rest = &rest[at + name.len()..];
        let Some(value) = rest.trim_start().strip_prefix('=').filter(|_| apart) else { continue };
        let value = value.trim_start();
        let value = match value.chars().next() {
            Some(quote @ ('"' | '\'')) => value[1..].split(quote).next().unwrap_or_default(),
            _ => value.split(|c: char| c.is_ascii_whitespace()).next().unwrap_or_default(),
        };
        return Some(entities(value));
    }
}

/// Names of characters that pages use; others stay as they are.
const NAMES: [(&str, &str); 38] = [
    ("amp", "&"),
    ("lt", "<"),
    ("gt", ">"),
    ("quot", "\""),
    ("apos", "'"),
    ("nbsp", " "),
    ("copy", "©"),
    ("reg", "®"),
    ("trade", "™"),
    ("hellip", "…"),
    ("mdash", "—"),
    ("ndash", "–"),
    ("lsquo", "‘"),
    ("rsquo", "’"),
    ("ldquo", "“"),
    ("rdquo", "”"),
    ("bull", "•"),
    ("middot", "·"),
    ("laquo", "«"),
    ("raquo", "»"),
    ("times", "×"),
    ("deg", "°"),
    ("para", "¶"),
    ("sect", "§"),
    ("larr", "←"),
    ("rarr", "→"),
    ("uarr", "↑"),
    ("darr", "↓"),
    ("le", "≤"),
    ("ge", "≥"),
    ("ne", "≠"),
    ("euro", "€"),
    ("pound", "£"),
    ("yen", "¥"),
    ("shy", ""),
    ("zwnj", ""),
    ("zwj", ""),
    ("ensp", " "),
];
/// Characters of the longest name or number of one.
const NAME_CHARS: usize = 10;

fn entities(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('&') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        let end = rest.bytes().take(NAME_CHARS).position(|byte| byte == b';');
        match end.and_then(|end| Some((end, character(&rest[..end])?))) {
            Some((end, character)) => {
                out.push_str(&character);
                rest = &rest[end + 1..];
            }
            None => out.push('&'),
        }
    }
    out.push_str(rest);
    out
}

fn character(name: &str) -> Option<String> {
    if let Some(number) = name.strip_prefix('#') {
        let code = match number.strip_prefix(['x', 'X']) {
            Some(hex) => u32::from_str_radix(hex, 16).ok()?,
            None => number.parse().ok()?,
        };
        return char::from_u32(code).map(String::from);
    }
    NAMES.iter().find(|(known, _)| *known == name).map(|(_, character)| (*character).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(html: &str) -> String {
        text(html, &|href| href.starts_with("http").then(|| href.to_owned()))
    }

    #[test]
    fn a_page_reads_well() {
        let page = "<!DOCTYPE html><html><head><title>The &amp; Title</title><style>p{}</style></head><body>\
            <script>var a = '</p>';</script><h1>Head\n line</h1><p>One <b>two</b>&nbsp;three.<br>Next <!-- not > this --> line\
            <ul><li>first<li>second <a title=\"a>b\" href='http://x.y/z?a=1&amp;b=2'>link</a></ul>\
            <pre>  fn x() {\n    1 &lt; 2\n  }</pre><table><tr><th>A<td>B</tr></table><img alt=\"a picture\" src=x>5 < 6";
        assert_eq!(
            plain(page),
            "The & Title\n\n# Head line\n\nOne two three.\nNext line\n\n- first\n- second link (http://x.y/z?a=1&b=2)\n\n\
             \u{20} fn x() {\n    1 < 2\n  }\n\nA | B\n\n[image: a picture]5 < 6\n"
        );
    }

    #[test]
    fn a_page_of_links_or_line_ends_comes_to_no_more_than_it_may() {
        let links = "<a href=x>y</a> ".repeat(WEB_BYTES / 16);
        let text_of = |page: &str, bytes: usize| text(page, &|_| Some("z".repeat(bytes)));
        let most = text_of(&links, LINK_BYTES);
        assert!(most.len() < MOST + 2 * LINK_BYTES && most.ends_with("\n[the rest of it is left out]\n"));
        assert!(!text_of("<a href=x>y</a>", LINK_BYTES + 1).contains('z'));
        assert_eq!(text_of(&"<a href=x>".repeat(99), 9).len(), 1);
        assert_eq!(
            text_of(&("<a href=x>".repeat(99) + &"y</a>".repeat(99)), 9).matches("(zzz").count(),
            LINKS
        );
        // Takes minutes where each line end looks at all those before it.
        let ends = format!("<pre>{}{}z", "\n".repeat(WEB_BYTES / 2), "<br>".repeat(WEB_BYTES / 8));
        assert_eq!(plain(&ends).trim(), "z");
    }

    #[test]
    fn what_is_broken_ends_somewhere() {
        for (page, text) in [
            ("", "\n"),
            ("plain", "plain\n"),
            ("<p", "\n"),
            ("a <b title=\"never closed>c</b> d", "a\n"),
            ("a <script>b", "a\n"),
            ("a <!-- b", "a\n"),
            ("&#x41;&#66;&#99999999;&nope;&", "AB&#99999999;&nope;&\n"),
            ("a</script>b<//>c", "abc\n"),
            ("x&#27;[31m&#0;&#x202e;y", "xy\n"),
        ] {
            assert_eq!(plain(page), text, "{page}");
        }
    }
}
