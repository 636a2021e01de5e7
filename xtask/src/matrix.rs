//! `cargo xtask matrix`: the real binary on a store that is damaged, full or read-only.
//!
//! Each row does something bad to the files of a finished or half-finished session and says what must come of it:
//! a named finding and a clear error, never a guess, never a lost event. Start at [`run`]. Rows that need a file system
//! of their own are SKIPPED, with the reason, where none can be mounted.

use anyhow::{Context, Result, ensure};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

/// Room that is enough to begin and too little to end.
const SMALL: &str = "size=6m";
/// Room enough.
const LARGE: &str = "size=200m";
/// Times that a mount which is busy is tried again.
const REMOUNTS: u32 = 50;

pub(crate) fn run(_: &[String]) -> Result<()> {
    let binary = crate::programs::build("kapell", false)?;
    let rows: [(&str, Row); 7] = [
        ("bit flips in the log", flips_in_log),
        ("bit flips in a large blob", flips_in_blob),
        ("truncated write-ahead log", truncated_wal),
        ("torn last page", torn_page),
        ("full disk", full_disk),
        ("disk that fills up and is emptied", filling_disk),
        ("read-only store", read_only),
    ];
    let (mut passed, mut failed, mut skipped) = (0, 0, 0);
    for (name, row) in rows {
        let place = Place::new(&binary, name)?;
        match row(&place) {
            Ok(Outcome::Held(what)) => {
                passed += 1;
                println!("{name}: {what}");
            }
            Ok(Outcome::Skipped(why)) => {
                skipped += 1;
                println!("{name}: SKIPPED: {why}");
            }
            Err(error) => {
                failed += 1;
                println!("{name}: FAILED: {error:#}");
            }
        }
    }
    println!("{passed} passed, {failed} failed, {skipped} skipped");
    ensure!(failed == 0, "{failed} row(s) of the matrix do not hold");
    Ok(())
}

/// Does something bad and says what came of it.
type Row = fn(&Place) -> Result<Outcome>;

enum Outcome {
    Held(String),
    Skipped(String),
}

/// A repository, a script and a home of its own.
struct Place {
    binary: PathBuf,
    dir: PathBuf,
}

impl Place {
    fn new(binary: &Path, name: &str) -> Result<Self> {
        let dir = std::env::temp_dir().join(format!(
            "kapell-matrix-{}-{}",
            std::process::id(),
            name.replace(' ', "-")
        ));
        std::fs::create_dir(&dir).with_context(|| format!("make {}", dir.display()))?;
        let repo = dir.join("repo");
        std::fs::create_dir_all(repo.join(".kapell"))?;
        std::fs::write(repo.join("file.txt"), "base\n")?;
        std::fs::write(repo.join(".kapell/config.toml"), "[checks.there]\nrun = \"test -f file.txt\"\n")?;
        for args in [
            &["init", "-q", "-b", "main"][..],
            &["add", "-A"],
            &["-c", "user.name=m", "-c", "user.email=m@m", "commit", "-qm", "base"],
        ] {
            let status = Command::new("git").args(args).current_dir(&repo).status()?;
            ensure!(status.success(), "git {args:?} failed");
        }
        Ok(Self { binary: binary.to_owned(), dir })
    }

    fn home(&self) -> PathBuf {
        self.dir.join("home")
    }

    fn store(&self) -> PathBuf {
        self.home().join("data/kapell.db")
    }

    fn kapell(&self, args: &[&str]) -> Result<Output> {
        let mut command = Command::new(&self.binary);
        command
            .args(args)
            .current_dir(self.dir.join("repo"))
            .env("KAPELL_TRUST", "all")
            .env("KAPELL_HOME", self.home())
            .stdin(Stdio::null());
        command.output().context("start kapell")
    }

    /// A whole session whose tools print this many bytes each.
    fn session(&self, turns: usize, bytes: usize) -> Result<Output> {
        let path = self.script(turns, bytes)?;
        self.kapell(&[
            "run",
            "--ask",
            "never",
            "--model",
            &format!("builtin/script:{}", path.display()),
            "print",
        ])
    }

    fn script(&self, turns: usize, bytes: usize) -> Result<PathBuf> {
        let mut script = String::from(
            "[model]\ncontext_tokens = 1000000\noutput_tokens = 1000\nprice_input_usd_per_mtok = 0.0\nprice_output_usd_per_mtok = 0.0\n",
        );
        for n in 0..turns {
            let command = format!("head -c {bytes} /dev/urandom | od -An -tx1; sleep 0.03");
            script.push_str(&format!("\n[[turn]]\ntext = \"turn {n}\"\n[[turn.call]]\ntool = \"shell\"\nargs = {{ command = \"{command}\" }}\n"));
        }
        script.push_str("\n[[turn]]\ntext = \"done\"\n");
        let path = self.dir.join("script.toml");
        std::fs::write(&path, script)?;
        Ok(path)
    }

    /// The same, killed in the middle: its last commits stand in the write-ahead log only.
    fn killed(&self, turns: usize, bytes: usize, after: Duration) -> Result<()> {
        let path = self.script(turns, bytes)?;
        let model = format!("builtin/script:{}", path.display());
        let mut child = Command::new(&self.binary)
            .args(["run", "--ask", "never", "--model", &model, "print"])
            .current_dir(self.dir.join("repo"))
            .env("KAPELL_TRUST", "all")
            .env("KAPELL_HOME", self.home())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        std::thread::sleep(after);
        child.kill()?;
        child.wait()?;
        Ok(())
    }

    fn text(out: &Output) -> String {
        format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr))
    }

    /// What is damaged is found and named, and nothing is continued across it.
    fn found(&self) -> Result<String> {
        let verify = self.kapell(&["verify"])?;
        let text = Self::text(&verify);
        ensure!(verify.status.code() == Some(1), "verify ended with {}: {text}", verify.status);
        ensure!(!text.contains("panicked"), "it panicked: {text}");
        let line = text.lines().find(|line| line.contains("DAMAGED") || line.contains("damaged"));
        Ok(line.with_context(|| format!("the damage has no name: {text}"))?.trim().to_owned())
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // tidy: allow(recursive-delete): made by `Place::new` with create_dir, so it is ours alone
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

fn finished(place: &Place, bytes: usize) -> Result<()> {
    let out = place.session(6, bytes)?;
    ensure!(out.status.success(), "the session itself failed: {}", Place::text(&out));
    // Brings everything into the main file.
    let out = place.kapell(&["gc"])?;
    ensure!(out.status.success(), "gc: {}", Place::text(&out));
    Ok(())
}

/// Some forty bytes over the whole file, one at a time.
fn flips_in_log(place: &Place) -> Result<Outcome> {
    finished(place, 100)?;
    let sound = std::fs::read(place.store())?;
    let events = place.kapell(&["events", "last"])?.stdout;
    let (mut found, mut harmless) = (0, 0);
    for at in (4096..sound.len()).step_by(sound.len() / 40) {
        let mut bytes = sound.clone();
        bytes[at] ^= 0x10;
        std::fs::write(place.store(), &bytes)?;
        for side in ["-wal", "-shm"] {
            let _ = std::fs::remove_file(place.dir.join(format!("home/data/kapell.db{side}")));
        }
        let verify = place.kapell(&["verify"])?;
        let text = Place::text(&verify);
        ensure!(!text.contains("panicked"), "byte {at}: it panicked: {text}");
        match verify.status.code() {
            Some(0) => {
                // Free space of a page: then every event must still be there, byte for byte.
                ensure!(
                    place.kapell(&["events", "last"])?.stdout == events,
                    "byte {at}: changed, and not found"
                );
                harmless += 1;
            }
            Some(1) => {
                ensure!(text.to_lowercase().contains("damaged"), "byte {at}: it has no name: {text}");
                found += 1;
            }
            other => anyhow::bail!("byte {at}: verify ended with {other:?}: {text}"),
        }
    }
    std::fs::write(place.store(), &sound)?;
    ensure!(place.kapell(&["verify"])?.status.success(), "the sound store is not sound");
    ensure!(found > 0, "no flip was found");
    Ok(Outcome::Held(format!("{found} found and named, {harmless} in unused bytes")))
}

fn flips_in_blob(place: &Place) -> Result<Outcome> {
    finished(place, 60_000)?;
    let dir = place.home().join("data/blobs");
    let file = first_file(&dir)?.context("no blob became a file")?;
    let mut bytes = std::fs::read(&file)?;
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&file, bytes)?;
    Ok(Outcome::Held(place.found()?))
}

fn first_file(dir: &Path) -> Result<Option<PathBuf>> {
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        if entry.file_type()?.is_file() {
            return Ok(Some(entry.path()));
        }
        if let Some(found) = first_file(&entry.path())? {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

/// A crash leaves a write-ahead log that ends anywhere: what was merged is there, the chain holds, work goes on.
fn truncated_wal(place: &Place) -> Result<Outcome> {
    place.killed(40, 100, Duration::from_millis(700))?;
    // As the crash left it: whoever opens the store merges the log and removes it.
    let wal = place.home().join("data/kapell.db-wal");
    let (db, whole) = (std::fs::read(place.store())?, std::fs::read(&wal).unwrap_or_default());
    ensure!(!whole.is_empty(), "the kill left no write-ahead log");
    let events = Place::text(&place.kapell(&["events", "last"])?).lines().count();
    let mut kept = Vec::new();
    for cut in 0..20 {
        std::fs::write(place.store(), &db)?;
        std::fs::write(&wal, &whole[..whole.len() * cut / 20])?;
        let _ = std::fs::remove_file(place.home().join("data/kapell.db-shm"));
        let verify = place.kapell(&["verify"])?;
        let text = Place::text(&verify);
        // Cut before its first commit, it is the file of a store that nobody has written to yet.
        ensure!(verify.status.success() || text.contains("schema 0"), "cut at {cut}/20: {text}");
        let out = place.kapell(&["events", "last"])?;
        kept.push(if out.status.success() { Place::text(&out).lines().count() } else { 0 });
    }
    ensure!(kept.is_sorted(), "a longer log has fewer events: {kept:?}");
    Ok(Outcome::Held(format!(
        "20 cuts, chain sound each time, {} to {} of {events} events",
        kept[0], kept[19]
    )))
}

fn torn_page(place: &Place) -> Result<Outcome> {
    finished(place, 100)?;
    let bytes = std::fs::read(place.store())?;
    std::fs::write(place.store(), &bytes[..bytes.len() - 1024])?;
    Ok(Outcome::Held(place.found()?))
}

/// A file system of its own under the home directory; the closure sees it mounted.
fn mounted(place: &Place, options: &str, work: impl FnOnce() -> Result<Outcome>) -> Result<Outcome> {
    std::fs::create_dir_all(place.home())?;
    let home = place.home().display().to_string();
    let mount = Command::new("mount").args(["-t", "tmpfs", "-o", options, "kapell", &home]).output();
    match mount {
        Ok(out) if out.status.success() => {}
        Ok(out) => return Ok(Outcome::Skipped(Place::text(&out).trim().to_owned())),
        Err(error) => return Ok(Outcome::Skipped(error.to_string())),
    }
    let result = work();
    let status = Command::new("umount").arg(&home).status()?;
    ensure!(status.success(), "umount {home}: {status}");
    result
}

/// Whoever watched over the commands of a run ends a moment after it, and has its record open until then.
fn remount(place: &Place, options: &str) -> Result<()> {
    let home = place.home().display().to_string();
    let mount = || Command::new("mount").args(["-o", &format!("remount,{options}"), &home]).output();
    let mut out = mount()?;
    for _ in 0..REMOUNTS {
        if out.status.success() {
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(100));
        out = mount()?;
    }
    ensure!(out.status.success(), "remount {options}: {}", Place::text(&out));
    Ok(())
}

fn full_disk(place: &Place) -> Result<Outcome> {
    mounted(place, SMALL, || {
        let out = place.session(40, 200_000)?;
        let text = Place::text(&out);
        ensure!(!out.status.success() && !text.contains("panicked"), "it did not notice: {text}");
        ensure!(text.contains("full"), "it does not say that the disk is full: {text}");
        remount(place, LARGE)?;
        ensure!(place.kapell(&["verify"])?.status.success(), "verify after the disk was full");
        for _ in 0..12 {
            let out = place.kapell(&["resume", "last"])?;
            match out.status.code() {
                Some(0) => {
                    return Ok(Outcome::Held(
                        "said so, lost nothing, went on to its end with more room".into(),
                    ));
                }
                // An outcome nobody knows: a person says no, and the session goes on.
                Some(8) => ensure!(place.kapell(&["deny", "last"])?.status.success(), "deny"),
                _ => anyhow::bail!("resume: {}", Place::text(&out)),
            }
        }
        anyhow::bail!("the session does not come to an end")
    })
}

/// Somebody else fills the disk while a session works: it pauses before a write fails, and goes on where it was.
fn filling_disk(place: &Place) -> Result<Outcome> {
    const ROOM: &str = "size=60m";
    mounted(place, ROOM, || {
        let ballast = place.home().join("ballast");
        // The command that fills the disk writes outside of its workspace.
        std::fs::create_dir_all(place.home().join("config"))?;
        std::fs::write(place.home().join("config/config.toml"), "[sandbox]\nprofile = \"full\"\n")?;
        let home = place.home().display().to_string();
        // Four hundred kilobytes stay: too little to begin anything, enough to put an end on record.
        let fill =
            format!("fallocate -l $(( $(df --output=avail -B1 {home} | tail -1) - 400000 )) {home}/ballast");
        let mut script =
            String::from("[model]\nprice_input_usd_per_mtok = 0.0\nprice_output_usd_per_mtok = 0.0\n");
        let call = |command: &str| {
            format!("[[turn.call]]\ntool = \"shell\"\nargs = {{ command = \"{command}\" }}\n")
        };
        script.push_str(&format!("[[turn]]\n{}", call(&fill)));
        script.push_str(&format!("[[turn]]\ndelay_ms = 3000\n{}", call("echo after the pause")));
        script.push_str("[[turn]]\ntext = \"done\"\n");
        let path = place.dir.join("filling.toml");
        std::fs::write(&path, script)?;
        let model = format!("builtin/script:{}", path.display());
        let out = place.kapell(&["run", "--ask", "never", "--model", &model, "print"])?;
        let text = Place::text(&out);
        ensure!(out.status.code() == Some(75), "it ended with {}: {text}", out.status);
        ensure!(text.contains("paused, nothing new begins: the disk is nearly full"), "{text}");
        ensure!(!text.contains("panicked"), "{text}");
        std::fs::remove_file(&ballast)?;
        let verify = place.kapell(&["verify"])?;
        ensure!(verify.status.success(), "verify: {}", Place::text(&verify));
        let out = place.kapell(&["resume", "last"])?;
        ensure!(out.status.success(), "resume: {}", Place::text(&out));
        let told = Place::text(&place.kapell(&["sessions", "transcript", "last"])?);
        ensure!(told.matches("     after the pause").count() == 1, "{told}");
        Ok(Outcome::Held(
            "paused before a write failed, left with 75, lost nothing, went on with more room".into(),
        ))
    })
}

fn read_only(place: &Place) -> Result<Outcome> {
    mounted(place, LARGE, || {
        let out = place.session(3, 100)?;
        ensure!(out.status.success(), "{}", Place::text(&out));
        remount(place, "ro")?;
        let out = place.session(3, 100)?;
        let text = Place::text(&out);
        ensure!(!out.status.success() && !text.contains("panicked"), "it did not notice: {text}");
        let events = place.kapell(&["events", "last"])?;
        ensure!(
            events.status.success(),
            "events cannot be read from a read-only store: {}",
            Place::text(&events)
        );
        let said = text
            .lines()
            .find(|line| line.contains("read") || line.contains("writ"))
            .unwrap_or_default()
            .to_owned();
        Ok(Outcome::Held(format!("`{said}`; events are still readable")))
    })
}
