//! Keys in the system's own keyring (its Secret Service), by `secret-tool`, the program that comes with libsecret.
//!
//! Here is only which keys are there: a list of profiles and providers, no value. Where the program or the service is
//! missing that is said, and nothing is kept elsewhere instead. Start at [`Keyring`].

use crate::exit::Failure;
use crate::home::create_private;
use contract::Cancel;
use providers::settings::KeyCommand;
use sandbox::Command;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// The program.
const PROGRAM: &str = "secret-tool";
/// How long it may take: a keyring that is locked asks its owner.
const PATIENCE_MS: u64 = 60_000;

/// Which keys are in the keyring.
#[derive(Debug, Clone)]
pub(crate) struct Keyring {
    list: PathBuf,
}

impl Keyring {
    /// The list is in this directory.
    pub(crate) fn new(data: &Path) -> Self {
        Self { list: data.join("keyring") }
    }

    /// Profiles and providers whose keys are there.
    pub(crate) fn all(&self) -> BTreeSet<(String, String)> {
        let text = std::fs::read_to_string(&self.list).unwrap_or_default();
        let pair = |line: &str| line.split_once('\t').map(|(one, other)| (one.to_owned(), other.to_owned()));
        text.lines().filter_map(pair).collect()
    }

    /// The command that prints a key.
    pub(crate) fn lookup(profile: &str, provider: &str) -> KeyCommand {
        let argv = [PROGRAM, "lookup"].into_iter().chain(about(profile, provider)).map(str::to_owned);
        KeyCommand { argv: argv.collect(), dir: PathBuf::from("/") }
    }

    /// Puts a key there, in place of the one that was.
    pub(crate) async fn put(&self, profile: &str, provider: &str, key: &str) -> Result<(), Failure> {
        let label = format!("--label=Kapell: {provider} ({profile})");
        let args = ["store", label.as_str()].into_iter().chain(about(profile, provider));
        call(args, key).await?;
        let mut all = self.all();
        all.insert((profile.to_owned(), provider.to_owned()));
        self.write(&all)
    }

    /// Takes a key out.
    pub(crate) async fn remove(&self, profile: &str, provider: &str) -> Result<(), Failure> {
        call(["clear"].into_iter().chain(about(profile, provider)), "").await?;
        let mut all = self.all();
        all.remove(&(profile.to_owned(), provider.to_owned()));
        self.write(&all)
    }

    fn write(&self, all: &BTreeSet<(String, String)>) -> Result<(), Failure> {
        let text: String = all.iter().map(|(profile, provider)| format!("{profile}\t{provider}\n")).collect();
        let beside = self.list.with_extension(format!("new.{}", std::process::id()));
        create_private(self.list.parent().unwrap_or(Path::new("/"))).map_err(Failure::from)?;
        let written = std::fs::write(&beside, text).and_then(|()| std::fs::rename(&beside, &self.list));
        written.map_err(|error| {
            let what = format!("{} cannot be written: {error}", self.list.display());
            Failure::failed("keyring", what, "make the data directory writable")
        })
    }
}

/// What a key is found by.
fn about<'a>(profile: &'a str, provider: &'a str) -> [&'a str; 6] {
    ["application", "kapell", "profile", profile, "provider", provider]
}

async fn call<'a>(args: impl Iterator<Item = &'a str>, input: &str) -> Result<(), Failure> {
    let argv = [PROGRAM].into_iter().chain(args);
    // The keyring is found by what the person's session says.
    let command = Command::argv(argv, "/").envs(std::env::vars_os()).stdin(input).timeout_ms(PATIENCE_MS);
    let hint = "without --keyring the key is kept in an encrypted file";
    let ended = sandbox::run(command, Cancel::new(), &mut |_| ()).await.map_err(|error| {
        let what = format!("the system's keyring cannot be reached: {error}");
        Failure::failed("no-keyring", what, format!("install {PROGRAM} (Debian: libsecret-tools); {hint}"))
    })?;
    if ended.ok() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&ended.output.into_bytes()).trim().to_owned();
    let what = format!("the system's keyring did not take it: {}", crate::show::clean::line(&said));
    Err(Failure::failed("no-keyring", what, hint))
}
