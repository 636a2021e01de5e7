//! `paths`: names of files as text, brought to the form the other tools take; what would surprise is said. Pure.
//! Asks no file system: a link is not followed, and what does not exist has a plain form, too. Start at [`plain`].

use crate::args::{parse, refuse};
use crate::judge::{Content, judged};
use contract::action::EffectClass;
use contract::model::ToolSpec;
use contract::port::Sink;
use contract::tool::{Judged, Output, Scope, Tool};
use contract::{BoxFuture, Cancel, Fault};
use serde::Deserialize;
use serde_json::{Value, json};

/// Names in one call.
const PATHS: usize = 200;
/// Bytes of one.
const PATH_BYTES: usize = 4 * 1024;
/// Names that Windows keeps for devices, with any ending.
const DEVICES: [&str; 22] = [
    "con", "prn", "aux", "nul", "com1", "com2", "com3", "com4", "com5", "com6", "com7", "com8", "com9",
    "lpt1", "lpt2", "lpt3", "lpt4", "lpt5", "lpt6", "lpt7", "lpt8", "lpt9",
];

/// The tool.
#[derive(Debug)]
pub(crate) struct Paths;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Args {
    paths: Vec<String>,
    join: Option<String>,
    relative_to: Option<String>,
}

impl Tool for Paths {
    fn spec(&self) -> ToolSpec {
        ToolSpec {
            name: "paths".into(),
            description: "Brings names of files to their plain form: `.` and `..` taken out, `\\` of Windows turned to `/`, \
                          joined to a directory or made relative to one. Says what would surprise: a drive, a name that \
                          leads out, a trailing dot, a device's name, combining characters. Looks at no file."
                .into(),
            schema: json!({
                "type": "object",
                "properties": {
                    "paths": {"type": "array", "items": {"type": "string"}, "minItems": 1, "maxItems": PATHS,
                        "description": "The names."},
                    "join": {"type": "string", "description": "Directory that relative ones are in."},
                    "relative_to": {"type": "string", "description": "Directory to tell the way from."}
                },
                "required": ["paths"],
                "additionalProperties": false
            }),
        }
    }

    fn is_core(&self) -> bool {
        false
    }

    fn judge(&self, args: &Value, scope: &Scope) -> Result<Judged, Fault> {
        Args::parse(args)?;
        Ok(judged("paths", args, scope, EffectClass::Pure, "only text", Content::default()))
    }

    fn run<'a>(&'a self, args: Value, _: Scope, _: Cancel, _: &'a dyn Sink) -> BoxFuture<'a, Output> {
        let output = match Args::parse(&args) {
            Ok(args) => Output::ok(args.paths.iter().map(|path| args.line(path)).collect::<String>()),
            Err(fault) => Output::error(fault.to_string()),
        };
        Box::pin(std::future::ready(output))
    }
}

impl Args {
    fn parse(args: &Value) -> Result<Self, Fault> {
        let parsed: Self = parse("paths", args)?;
        let texts = parsed.paths.iter().chain(&parsed.join).chain(&parsed.relative_to);
        if parsed.paths.is_empty() || parsed.paths.len() > PATHS {
            return Err(refuse(format!("`paths` takes between 1 and {PATHS} names")));
        }
        for text in texts {
            if text.is_empty() || text.len() > PATH_BYTES || text.contains('\0') {
                return Err(refuse(format!(
                    "`paths`: a name is not empty, holds no zero byte and has at most {PATH_BYTES} bytes"
                )));
            }
        }
        Ok(parsed)
    }

    fn line(&self, path: &str) -> String {
        let mut found = plain(path);
        let notes = surprises(path, &found);
        if let Some(join) = &self.join
            && found.root.is_empty()
        {
            let base = plain(join);
            found = Plain { root: base.root, names: clean(base.names.into_iter().chain(found.names)) };
        }
        let mut out = found.show();
        if let Some(from) = &self.relative_to {
            match found.from(&plain(from)) {
                Some(way) => out = way,
                None => out.push_str(" (no way to it from there: another root, or one of them leads out)"),
            }
        }
        let notes = if notes.is_empty() { String::new() } else { format!("  [{}]", notes.join("; ")) };
        format!("{}{notes}\n", crate::view::visible(out.as_bytes()))
    }
}

/// A name in parts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Plain {
    /// Nothing for a relative one; else `/`, `C:/`, `C:` (relative to that drive) or `//server/share/`.
    root: String,
    /// `..` stands only in front, and never below a root.
    names: Vec<String>,
}

impl Plain {
    pub(crate) fn show(&self) -> String {
        match (self.root.as_str(), self.names.is_empty()) {
            ("", true) => ".".to_owned(),
            (root, _) => format!("{root}{}", self.names.join("/")),
        }
    }

    /// The way from a directory.
    fn from(&self, base: &Self) -> Option<String> {
        let goes_up = |plain: &Self| plain.names.first().is_some_and(|name| name == "..");
        if !self.root.eq_ignore_ascii_case(&base.root) || goes_up(base) {
            return None;
        }
        let common = self.names.iter().zip(&base.names).take_while(|(a, b)| a == b).count();
        let up = vec!["..".to_owned(); base.names.len() - common];
        let names: Vec<String> = up.into_iter().chain(self.names[common..].iter().cloned()).collect();
        Some(Self { root: String::new(), names }.show())
    }
}

/// The plain form of a name. A backslash separates where the name is one of Windows: a drive, a share, or no slash.
pub(crate) fn plain(path: &str) -> Plain {
    let windows =
        drive(path).is_some() || path.starts_with("\\\\") || !path.contains('/') && path.contains('\\');
    let text = if windows { path.replace('\\', "/") } else { path.to_owned() };
    // `\\?\` only says that what follows is to be taken as it is.
    let text = text.strip_prefix("//?/").filter(|_| windows).unwrap_or(&text);
    let (root, rest) = match drive(text) {
        Some(letter) => match text[2..].strip_prefix('/') {
            Some(rest) => (format!("{letter}:/"), rest),
            None => (format!("{letter}:"), &text[2..]),
        },
        None if windows && text.starts_with("//") => share(text),
        None => match text.strip_prefix('/') {
            Some(rest) => ("/".to_owned(), rest),
            None => (String::new(), text),
        },
    };
    let names = clean(rest.split('/').map(str::to_owned));
    let rooted = root.ends_with('/');
    Plain { names: names.into_iter().skip_while(|name| rooted && name == "..").collect(), root }
}

fn drive(path: &str) -> Option<char> {
    let mut chars = path.chars();
    let letter = chars.next().filter(char::is_ascii_alphabetic)?;
    (chars.next() == Some(':')).then(|| letter.to_ascii_uppercase())
}

fn share(text: &str) -> (String, &str) {
    let rest = text.trim_start_matches('/');
    let mut parts = rest.splitn(3, '/');
    let (server, share) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    (format!("//{server}/{share}/"), parts.next().unwrap_or_default())
}

fn clean(names: impl Iterator<Item = String>) -> Vec<String> {
    let mut out: Vec<String> = Vec::new();
    for name in names {
        match name.as_str() {
            "" | "." => {}
            ".." if out.last().is_some_and(|last| last != "..") => drop(out.pop()),
            _ => out.push(name),
        }
    }
    out
}

/// What a reader would not expect of this name, here or elsewhere.
fn surprises(path: &str, plain: &Plain) -> Vec<&'static str> {
    let device = |name: &String| {
        let stem = name.split('.').next().unwrap_or_default().trim_end();
        DEVICES.iter().any(|device| stem.eq_ignore_ascii_case(device))
    };
    let combining =
        |c: char| matches!(c, '\u{300}'..='\u{36f}' | '\u{1ab0}'..='\u{1aff}' | '\u{20d0}'..='\u{20ff}');
    let names = &plain.names;
    let all = [
        (drive(&plain.root).is_some() && !plain.root.ends_with('/'), "relative to where that drive is"),
        (drive(&plain.root).is_some() && plain.root.ends_with('/'), "on a drive of Windows: not here"),
        (plain.root.starts_with("//"), "on another machine"),
        (names.first().is_some_and(|name| name == ".."), "leads out of where it starts"),
        (
            path.contains('/') && path.contains('\\') && drive(path).is_none(),
            "its `\\` is part of a name here",
        ),
        (
            names.iter().any(|name| name != ".." && name.ends_with(['.', ' '])),
            "Windows drops dots and blanks at the end of a name",
        ),
        (names.iter().any(device), "a device's name on Windows"),
        (path.chars().any(combining), "combining characters: another spelling may look the same"),
        (path.chars().any(crate::view::is_hidden), "characters that do not show"),
    ];
    all.into_iter().filter(|(odd, _)| *odd).map(|(_, note)| note).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Bench;

    #[test]
    fn names_come_to_their_plain_form() {
        for (path, shown) in [
            ("a/./b//c/../d", "a/b/d"),
            ("./", "."),
            ("../x/..", ".."),
            ("/../etc", "/etc"),
            ("/", "/"),
            ("src\\main.rs", "src/main.rs"),
            ("c:\\Users\\a\\..\\b", "C:/Users/b"),
            ("C:..\\x", "C:../x"),
            ("C:/a/b", "C:/a/b"),
            ("\\\\server\\share\\a\\..\\b", "//server/share/b"),
            ("\\\\?\\C:\\a", "C:/a"),
            ("a/b\\c", "a/b\\c"),
            ("naïve/ü", "naïve/ü"),
        ] {
            assert_eq!(plain(path).show(), shown, "{path}");
            // A share's plain form would be a name of this machine.
            let again = plain(path).show();
            assert!(plain(&again).show() == again || again.starts_with("//"), "{path}: plain is plain");
        }
    }

    #[test]
    fn they_are_joined_and_told_from_elsewhere() {
        let bench = Bench::new();
        let run = |args| bench.run(&Paths, args).text;
        let joined = run(json!({"paths": ["../b", "/c", "d\\e"], "join": "x/a"}));
        assert_eq!(joined, "x/b  [leads out of where it starts]\n/c\nx/a/d/e\n");
        let way = run(json!({"paths": ["/a/b/c", "/x", "/a/b"], "relative_to": "/a/b"}));
        assert_eq!(way, "c\n../../x\n.\n");
        let none = run(json!({"paths": ["a"], "relative_to": "/a"}));
        assert!(none.starts_with("a (no way to it"), "{none}");
    }

    #[test]
    fn what_would_surprise_is_said() {
        for (path, said) in [
            ("D:\\x", "on a drive of Windows"),
            ("D:x", "relative to where that drive is"),
            ("\\\\host\\c$\\x", "on another machine"),
            ("../up", "leads out"),
            ("a/report. ", "drops dots and blanks"),
            ("src/aux.rs", "a device's name"),
            ("e\u{301}.txt", "combining characters"),
            ("a\u{202e}txt.exe", "do not show"),
            ("a/b\\c", "part of a name here"),
        ] {
            assert!(surprises(path, &plain(path)).iter().any(|note| note.contains(said)), "{path}");
        }
        for path in ["src/main.rs", "a b/c", "/etc/hosts", "src\\x.rs"] {
            assert_eq!(surprises(path, &plain(path)), [""; 0], "{path}");
        }
    }

    #[test]
    fn arguments_are_bounded() {
        let bench = Bench::new();
        for bad in [json!({}), json!({"paths": []}), json!({"paths": ["a\0b"]}), json!({"paths": [""]})] {
            assert!(bench.judge(&Paths, bad.clone()).is_err(), "{bad}");
        }
        assert_eq!(bench.judge(&Paths, json!({"paths": ["a"]})).unwrap().class, EffectClass::Pure);
    }
}
