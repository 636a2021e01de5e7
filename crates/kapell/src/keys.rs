//! Keys that a command of the person's prints (`key_command`), such as a password manager or a cloud's own tool.
//!
//! Only the person's own configuration can name one: a project's file cannot declare providers. What it prints is kept
//! in memory, goes into headers and is shown nowhere, not even where it is wrong. Start at [`printed`].

use crate::secrets::Keeper;
use contract::{Cancel, Fault, Kind};
use providers::settings::{Key, KeyCommand};
use sandbox::{Command, Ended};
use std::sync::Arc;
use std::time::Duration;

/// How long it may take: somebody may have to touch a token or type a passphrase elsewhere.
const PATIENCE: Duration = Duration::from_secs(30);
/// Longest key, bytes.
const KEY_BYTES: usize = 16 * 1024;

/// Runs the command; the key it prints.
pub(crate) async fn printed(command: KeyCommand, keeper: Arc<Keeper>) -> Result<Key, Fault> {
    let printed = asked(&command, "key_command").await?;
    keeper.learn("key", &printed);
    Ok(Key::new(printed))
}

/// What such a command prints; `named` is how it is called in the configuration.
pub(crate) async fn asked(command: &KeyCommand, named: &str) -> Result<String, Fault> {
    let limit_ms = u64::try_from(PATIENCE.as_millis()).unwrap_or(u64::MAX);
    // It is the person's own: password managers and clouds' tools are told by variables whom to ask, and with what.
    let run = Command::argv(&command.argv, &command.dir);
    let run = std::env::vars_os().fold(run, |run, (name, value)| run.given(name, value));
    let run = run.timeout_ms(limit_ms).keep(KEY_BYTES).apart();
    let ended = sandbox::run(run, Cancel::new(), &mut |_| {}).await?;
    key(&ended).map_err(|why| {
        let program = command.program();
        let what = format!("`{program}` ({named} in config.toml) gave no key: {why}");
        Fault::new(Kind::UserFixable, "key-missing", what).hint(format!(
            "run `{program}` yourself with the same arguments: it must print the key and nothing else"
        ))
    })
}

fn key(ended: &Ended) -> Result<String, String> {
    if ended.stopped.is_some() {
        return Err(format!("it did not end within {} s", PATIENCE.as_secs()));
    }
    if !ended.ok() {
        let how = ended.exit.map_or_else(|| "a signal".to_owned(), |code| format!("exit code {code}"));
        return Err(format!("it ended with {how}"));
    }
    let text =
        String::from_utf8(ended.output.clone().into_bytes()).map_err(|_| "it printed no text".to_owned())?;
    let text = text.trim();
    match text {
        "" => Err("it printed nothing".to_owned()),
        _ if text.len() >= KEY_BYTES => Err("it printed far more than a key".to_owned()),
        _ if text.chars().any(|c| c.is_control() || c.is_whitespace()) => {
            Err("it printed more than one word".to_owned())
        }
        key => Ok(key.to_owned()),
    }
}
