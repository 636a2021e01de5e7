//! Parsers beside the built-in ones: what a person wrote in the configuration, and what agents have taught Kapell.
//!
//! What was learned lies as one JSON file each in a directory, with the example it was accepted for, and is checked against
//! that again whenever it is read. One that reads nothing any more of what its program prints is laid aside ([`Parsers::met`]).
//! Knows no tool's format. Start at [`Parsers::load`].

use contract::{Fault, Kind};
use output::{Custom, PATTERNS, Written};
use serde::{Deserialize, Serialize};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

/// Bytes of a file that may be one.
const FILE_BYTES: u64 = 256 * 1024;
/// Failures of its program in a row that a learned parser may read nothing of.
const MISSES: u32 = 3;
/// End of the name of a file that is not in use any more.
const ASIDE: &str = "aside";

/// The parsers in force, shared by all tools of a process.
#[derive(Debug, Default)]
pub struct Parsers {
    own: Vec<Written>,
    dir: Option<PathBuf>,
    current: RwLock<Arc<Custom>>,
}

/// A learned one, as it is stored.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    name: String,
    command: Vec<String>,
    patterns: Vec<String>,
    example: String,
    /// Failures of its program since it read anything.
    #[serde(default, skip_serializing_if = "is_zero")]
    misses: u32,
}

fn is_zero(misses: &u32) -> bool {
    *misses == 0
}

impl Stored {
    fn written(&self) -> Written {
        Written { name: self.name.clone(), command: self.command.clone(), patterns: self.patterns.clone() }
    }
}

impl Parsers {
    /// A person's own, and those learned in this directory; says what cannot be used and why.
    pub fn load(own: Vec<Written>, dir: Option<PathBuf>) -> (Self, Vec<String>) {
        let (custom, mut bad) = Custom::new(own);
        let parsers = Self { own: custom.written().to_vec(), dir, current: RwLock::default() };
        bad.extend(parsers.renew());
        (parsers, bad)
    }

    /// Those in force now.
    pub fn current(&self) -> Arc<Custom> {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Takes a parser into use that reads both its example and a real output; otherwise says why not.
    pub(crate) fn learn(&self, written: Written, example: &str, real: &[u8]) -> Result<String, Fault> {
        let refused = |why: String| Fault::new(Kind::Permanent, "parser-refused", why);
        let found = output::accept(&written, example, real).map_err(refused)?;
        let Some(dir) = &self.dir else {
            return Err(refused("nothing can be learned here: there is no directory for it".to_owned()));
        };
        if self.own.iter().any(|own| own.name == written.name) {
            return Err(refused(format!("`{}` is a parser of the person's own", written.name)));
        }
        let stored = Stored {
            name: written.name.clone(),
            command: written.command,
            patterns: written.patterns,
            example: example.to_owned(),
            misses: 0,
        };
        // The one not touched for longest makes room.
        let most = PATTERNS.saturating_sub(self.own.len());
        if most == 0 {
            return Err(refused(format!(
                "the person's own parsers are {PATTERNS} already, which is the most"
            )));
        }
        let place = dir.join(format!("{}.json", stored.name));
        let before = fs::read(&place).ok();
        let kept = keep(dir, &place, &stored, most);
        kept.map_err(|error| {
            let what = format!("the parser could not be kept in {}: {error}", dir.display());
            Fault::new(Kind::Transient, "parser-not-kept", what)
        })?;
        let bad = self.renew();
        let own = stored.written();
        if self.current().written().contains(&own) {
            return Ok(found);
        }
        // As it was: the others go on.
        let _stays_unused =
            before.map_or_else(|| fs::remove_file(&place), |before| fs::write(&place, before));
        self.renew();
        Err(refused(format!("with the others it cannot be used: {}", bad.join("; "))))
    }

    /// Programs ended for which these are the parsers, each with whether it `read` anything. Says which of the learned ones are
    /// laid aside for it: the program prints something else by now, and somebody has to look at it anew.
    pub(crate) fn met(&self, own: &[(String, bool)], failed: bool) -> Vec<String> {
        let Some(dir) = &self.dir else { return Vec::new() };
        let mut aside = Vec::new();
        for (name, read) in own {
            // What a person wrote is a person's to change; one that says nothing of a success says what there is.
            if self.own.iter().any(|own| own.name == *name) || !(*read || failed) {
                continue;
            }
            let place = dir.join(format!("{name}.json"));
            let Some(mut stored) = one(&place) else { continue };
            stored.misses = if *read { 0 } else { stored.misses.saturating_add(1) };
            // Written again where nothing changed, too: the file's age says when it was last of use.
            let kept = write(dir, &place, &stored);
            if kept.is_ok()
                && stored.misses >= MISSES
                && fs::rename(&place, place.with_extension(ASIDE)).is_ok()
            {
                aside.push(name.clone());
            }
        }
        if !aside.is_empty() {
            self.renew();
        }
        aside
    }

    /// Reads what is there.
    fn renew(&self) -> Vec<String> {
        let mut bad = Vec::new();
        let mut all = self.own.clone();
        for stored in self.dir.as_deref().map(stored).unwrap_or_default() {
            let written = stored.written();
            match output::accept(&written, &stored.example, stored.example.as_bytes()) {
                Ok(_) => all.push(written),
                Err(why) => bad.push(format!("learned parser `{}` is left out: {why}", stored.name)),
            }
        }
        let (custom, more) = Custom::new(all);
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(custom);
        bad.extend(more);
        bad
    }
}

/// A name that is a file's as well.
pub(crate) fn is_name(name: &str) -> bool {
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '_';
    !name.is_empty() && name.len() <= 40 && name.chars().all(fits)
}

fn files(dir: &Path) -> Vec<(std::time::SystemTime, PathBuf)> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    let mut files: Vec<_> = entries
        .filter(|entry| entry.path().extension().is_some_and(|end| end == "json"))
        .filter_map(|entry| {
            let data = entry.metadata().ok().filter(|data| data.is_file() && data.len() <= FILE_BYTES)?;
            Some((data.modified().ok()?, entry.path()))
        })
        .collect();
    files.sort();
    files
}

fn stored(dir: &Path) -> Vec<Stored> {
    let mut all: Vec<Stored> = files(dir).iter().filter_map(|(_, path)| one(path)).collect();
    all.retain(|stored| is_name(&stored.name));
    all.sort_by(|a, b| a.name.cmp(&b.name));
    all
}

fn one(path: &Path) -> Option<Stored> {
    serde_json::from_slice(&fs::read(path).ok()?).ok()
}

/// Written beside its place and moved there, so that nobody reads half of it.
fn write(dir: &Path, place: &Path, stored: &Stored) -> io::Result<()> {
    let beside = dir.join(format!("{}.json.{}", stored.name, std::process::id()));
    fs::write(&beside, serde_json::to_vec_pretty(stored)?)?;
    fs::rename(&beside, place)
}

fn keep(dir: &Path, place: &Path, stored: &Stored, most: usize) -> io::Result<()> {
    fs::create_dir_all(dir)?;
    write(dir, place, stored)?;
    let mut files = files(dir);
    files.retain(|(_, path)| path != place);
    for (_, path) in files.iter().take((files.len() + 1).saturating_sub(most)) {
        fs::remove_file(path)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(name: &str, pattern: &str) -> Written {
        Written { name: name.into(), command: vec!["lintx".into()], patterns: vec![pattern.into()] }
    }

    const GOOD: &str = r"^BAD (?<file>\S+) at (?<line>\d+): (?<message>.+)$";
    const OUTPUT: &str = "linting\nBAD a.x at 3: no\nBAD b.x at 9: nor this\nlinted two files\n";

    #[test]
    fn what_is_learned_is_used_and_stays() {
        let dir = tempfile::tempdir().unwrap();
        let (parsers, bad) = Parsers::load(Vec::new(), Some(dir.path().join("parsers")));
        assert_eq!((bad.len(), parsers.current().written().len()), (0, 0));
        let found = parsers.learn(written("lintx", GOOD), "BAD a.x at 3: no", OUTPUT.as_bytes()).unwrap();
        assert!(found.contains("2 errors"), "{found}");
        assert_eq!(parsers.current().written()[0].name, "lintx");
        let (again, bad) = Parsers::load(Vec::new(), Some(dir.path().join("parsers")));
        assert_eq!((bad.len(), again.current().written().len()), (0, 1));
    }

    #[test]
    fn what_reads_nothing_any_more_is_laid_aside() {
        let dir = tempfile::tempdir().unwrap();
        let (parsers, _) = Parsers::load(vec![written("mine", GOOD)], Some(dir.path().to_owned()));
        parsers.learn(written("lintx", GOOD), "BAD a.x at 3: no", OUTPUT.as_bytes()).unwrap();
        let both = |read| [("mine".to_owned(), read), ("lintx".to_owned(), read)];
        let ends = [(false, true), (false, true), (false, false), (true, true), (false, true), (false, true)];
        for (read, failed) in ends {
            assert_eq!(parsers.met(&both(read), failed), Vec::<String>::new());
        }
        let (again, _) = Parsers::load(Vec::new(), Some(dir.path().to_owned()));
        assert_eq!(again.current().written().len(), 1, "two failures of another process are not lost");
        assert_eq!(again.met(&both(false), true), ["lintx"]);
        assert_eq!(again.current().written().len(), 0);
        assert_eq!(parsers.met(&both(false), true), Vec::<String>::new(), "told once");
        parsers.learn(written("lintx", GOOD), "BAD a.x at 3: no", OUTPUT.as_bytes()).unwrap();
        assert_eq!(parsers.met(&both(false), true), Vec::<String>::new(), "counted from nought");
    }

    #[test]
    fn what_was_of_use_last_stays_longest() {
        let dir = tempfile::tempdir().unwrap();
        let (parsers, _) = Parsers::load(Vec::new(), Some(dir.path().to_owned()));
        let learn = |name: &str| {
            parsers.learn(written(name, GOOD), "BAD a.x at 3: no", OUTPUT.as_bytes()).unwrap();
        };
        (0..PATTERNS).for_each(|n| learn(&format!("p{n}")));
        for (n, (_, path)) in files(dir.path()).iter().enumerate() {
            let then = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(n as u64);
            fs::File::options().write(true).open(path).unwrap().set_modified(then).unwrap();
        }
        let (first, second) = {
            let all = files(dir.path());
            let name = |at: usize| all[at].1.file_stem().unwrap().to_str().unwrap().to_owned();
            (name(0), name(1))
        };
        parsers.met(&[(first.clone(), true)], false);
        learn("newest");
        let has = |name: &str| parsers.current().written().iter().any(|one| one.name == name);
        assert_eq!((has(&first), has(&second), has("newest")), (true, false, true));
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let (parsers, _) = Parsers::load(vec![written("mine", GOOD)], Some(dir.path().to_owned()));
        for (name, pattern, example) in [
            ("lintx", r"^WORSE (?<message>.+)$", "BAD a.x at 3: no"),
            ("lintx", r"^WORSE (?<message>.+)$", "WORSE it is"),
            ("lintx", r"^(?<message>.*", "BAD"),
            ("lintx", r"^(?<what>.+)$", "BAD"),
            ("mine", GOOD, "BAD a.x at 3: no"),
        ] {
            let refused = parsers.learn(written(name, pattern), example, OUTPUT.as_bytes());
            assert_eq!(refused.unwrap_err().code, "parser-refused", "{pattern}");
        }
        assert_eq!(parsers.current().written().len(), 1);
    }

    #[test]
    fn a_damaged_file_is_left_out_and_named() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("a.json"), "{").unwrap();
        let stored = r#"{"name":"b","command":["b"],"patterns":["^x(?<message>y)$"],"example":"no"}"#;
        fs::write(dir.path().join("b.json"), stored).unwrap();
        let (parsers, bad) = Parsers::load(Vec::new(), Some(dir.path().to_owned()));
        assert!(bad.len() == 1 && bad[0].contains("`b`"), "{bad:?}");
        assert_eq!(parsers.current().written().len(), 0);
    }

    #[test]
    fn the_oldest_go_when_there_are_too_many_and_the_newest_is_in_force() {
        let dir = tempfile::tempdir().unwrap();
        let own = vec![written("mine", GOOD)];
        let (parsers, _) = Parsers::load(own.clone(), Some(dir.path().to_owned()));
        for n in 0..PATTERNS + 3 {
            let name = format!("p{n}");
            parsers.learn(written(&name, GOOD), "BAD a at 1: x", OUTPUT.as_bytes()).unwrap();
            assert!(parsers.current().written().iter().any(|one| one.name == name), "{name}");
        }
        assert_eq!(files(dir.path()).len(), PATTERNS - own.len());
        let all = (0..PATTERNS).map(|n| written(&format!("own{n}"), GOOD)).collect();
        let (full, _) = Parsers::load(all, Some(dir.path().to_owned()));
        let refused = full.learn(written("more", GOOD), "BAD a at 1: x", OUTPUT.as_bytes()).unwrap_err();
        assert!(refused.what.contains("which is the most"), "{refused}");
    }

    #[test]
    fn one_that_would_put_all_others_out_of_force_is_not_kept() {
        let dir = tempfile::tempdir().unwrap();
        let (parsers, _) = Parsers::load(Vec::new(), Some(dir.path().to_owned()));
        parsers.learn(written("good", GOOD), "BAD a at 1: x", OUTPUT.as_bytes()).unwrap();
        // Each pattern is small enough alone; all of them together are not.
        let wide = |n: usize| format!(r"^(?<message>BAD .+)$|^x{n}a{{3000}}$");
        let patterns = (0..PATTERNS).map(wide).collect::<Vec<_>>();
        let learn = |name: &str| {
            let many = Written { patterns: patterns.clone(), ..written(name, GOOD) };
            parsers.learn(many, "BAD a at 1: x", OUTPUT.as_bytes())
        };
        let refused = (0..PATTERNS - 1).find_map(|n| learn(&format!("wide{n}")).err()).unwrap();
        assert!(refused.what.contains("take more than"), "{refused}");
        assert!(parsers.current().written().iter().any(|one| one.name == "good"));
    }
}
