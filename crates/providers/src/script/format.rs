//! The TOML of a script: its keys, and what is said about a mistake in them.
//!
//! Knows the file, not the conversation. Start at [`parse`].
//!
//! ```toml
//! [model]                              # all keys optional
//! context_tokens = 200000
//! output_tokens = 8192
//! price_input_usd_per_mtok = 3.0       # both prices, or none: an unknown price
//! price_output_usd_per_mtok = 15.0
//! price_cache_read_usd_per_mtok = 0.3
//! price_cache_write_usd_per_mtok = 3.75
//!
//! [[turn]]
//! expect = "fix the test"              # the last message must contain this (`when` is the same)
//! text = "Looking."                    # {{last}} last message, {{step}} 1.., {{n}} repetition 1..
//! delay_ms = 20
//! repeat = 2
//! literal = true                       # texts and arguments are what they are: nothing in them is a template
//! usage = { input = 1200, output = 40, cache_read = 900, cache_write = 0 }
//! stop = "tool-use"                    # end-turn, tool-use, max-tokens, refusal
//! [[turn.call]]
//! tool = "shell"
//! id = "c1"
//! args = { command = "cargo test" }    # or json_args = '{"n": null}', or raw_args = "not { json"
//!
//! [[turn]]
//! error = { kind = "rate-limited", code = "slow-down", what = "too fast", retry_after_ms = 50 }
//! ```

use crate::prices;
use contract::model::{Card, Price, Stop, Usage};
use contract::text::nearest;
use contract::{Fault, Kind};
use serde::Deserialize;
use serde_json::Value;

/// A script model's context when the file says nothing, tokens.
const CONTEXT_TOKENS: u64 = 200_000;
/// A script model's longest reply when the file says nothing, tokens.
const OUTPUT_TOKENS: u64 = 8_192;

/// One reply, played `repeat` times.
#[derive(Debug, Clone)]
pub struct Turn {
    /// What the last message must contain.
    pub when: Option<String>,
    /// The text, with templates.
    pub text: String,
    /// The calls, with templates.
    pub calls: Vec<Call>,
    /// Wait this long first, milliseconds.
    pub delay_ms: u64,
    /// How often the turn is played; at least 1.
    pub repeat: u32,
    /// Nothing in it is a template.
    pub literal: bool,
    /// Ends in this fault instead of a reply.
    pub error: Option<Fault>,
    /// Tokens; estimated from the texts when not given.
    pub usage: Option<Usage>,
    /// Why it ended; follows from the calls when not given.
    pub stop: Option<Stop>,
}

/// A call of a turn.
#[derive(Debug, Clone)]
pub struct Call {
    /// Which tool.
    pub tool: String,
    /// Its name; made from the position when not given.
    pub id: Option<String>,
    /// Arguments; a string when they are meant to be malformed.
    pub args: Value,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    model: ModelTable,
    #[serde(default)]
    turn: Vec<toml::Spanned<TurnTable>>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct ModelTable {
    context_tokens: Option<u64>,
    output_tokens: Option<u64>,
    price_input_usd_per_mtok: Option<f64>,
    price_output_usd_per_mtok: Option<f64>,
    price_cache_read_usd_per_mtok: Option<f64>,
    price_cache_write_usd_per_mtok: Option<f64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TurnTable {
    #[serde(alias = "expect")]
    when: Option<String>,
    #[serde(default)]
    text: String,
    #[serde(default)]
    call: Vec<CallTable>,
    #[serde(default)]
    delay_ms: u64,
    repeat: Option<u32>,
    #[serde(default)]
    literal: bool,
    error: Option<ErrorTable>,
    usage: Option<UsageTable>,
    stop: Option<Stop>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CallTable {
    tool: String,
    id: Option<String>,
    args: Option<toml::Table>,
    json_args: Option<String>,
    raw_args: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ErrorTable {
    kind: Kind,
    code: Option<String>,
    what: Option<String>,
    retry_after_ms: Option<u64>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct UsageTable {
    input: u64,
    output: u64,
    cache_read: u64,
    cache_write: u64,
}

/// Reads a script; a mistake names file, line and, for a key, its nearest match.
pub fn parse(text: &str, name: &str) -> Result<(Card, Vec<Turn>), Fault> {
    let file: File = toml::from_str(text).map_err(|error| {
        let at = error.span().map_or(0, |span| span.start);
        let hint = hint(error.message());
        mistake(text, name, at, error.message()).hint(hint)
    })?;
    let at_model = text.find("[model]").unwrap_or(0);
    let card = card(&file.model).map_err(|why| mistake(text, name, at_model, why))?;
    let turns = (file.turn.into_iter())
        .map(|spanned| {
            let at = spanned.span().start;
            turn(spanned.into_inner()).map_err(|why| mistake(text, name, at, why))
        })
        .collect::<Result<_, _>>()?;
    Ok((card, turns))
}

fn card(table: &ModelTable) -> Result<Card, &'static str> {
    let price = match (table.price_input_usd_per_mtok, table.price_output_usd_per_mtok) {
        (Some(input), Some(output)) => Some(Price {
            input: nanos(input)?,
            output: nanos(output)?,
            cache_read: table.price_cache_read_usd_per_mtok.map(nanos).transpose()?,
            cache_write: table.price_cache_write_usd_per_mtok.map(nanos).transpose()?,
            tier: None,
        }),
        (None, None) => None,
        _ => return Err("a price needs both price_input_usd_per_mtok and price_output_usd_per_mtok"),
    };
    Ok(Card {
        context_tokens: table.context_tokens.unwrap_or(CONTEXT_TOKENS),
        output_tokens: table.output_tokens.unwrap_or(OUTPUT_TOKENS),
        price,
    })
}

fn nanos(usd: f64) -> Result<u64, &'static str> {
    prices::nanos(usd).ok_or("a price is a number of dollars from 0 upwards")
}

fn turn(table: TurnTable) -> Result<Turn, &'static str> {
    let repeat = table.repeat.unwrap_or(1);
    if repeat == 0 {
        return Err("`repeat` is how often the turn is played: 1 or more");
    }
    let calls = table.call.into_iter().map(call).collect::<Result<_, _>>()?;
    let error = table.error.map(|table| Fault {
        retry_after_ms: table.retry_after_ms,
        ..Fault::new(
            table.kind,
            table.code.as_deref().unwrap_or("scripted"),
            table.what.unwrap_or_else(|| "the script fails here on purpose".into()),
        )
    });
    let usage = table.usage.map(|UsageTable { input, output, cache_read, cache_write }| Usage {
        input,
        output,
        cache_read,
        cache_write,
        estimated: false,
    });
    let stop = table.stop;
    let (when, text, delay_ms, literal) = (table.when, table.text, table.delay_ms, table.literal);
    Ok(Turn { when, text, calls, delay_ms, repeat, literal, error, usage, stop })
}

fn call(table: CallTable) -> Result<Call, &'static str> {
    let args = match (table.args, table.json_args, table.raw_args) {
        (args, None, None) => json(toml::Value::Table(args.unwrap_or_default())),
        (None, Some(text), None) => serde_json::from_str(&text)
            .map_err(|_| "`json_args` must be JSON; `raw_args` takes what is not")?,
        (None, None, Some(raw)) => Value::String(raw),
        _ => return Err("a call has one of `args`, `json_args` and `raw_args`"),
    };
    Ok(Call { tool: table.tool, id: table.id, args })
}

/// A TOML value as JSON; dates become text, numbers JSON has no word for become null.
fn json(value: toml::Value) -> Value {
    match value {
        toml::Value::String(text) => Value::String(text),
        toml::Value::Integer(number) => number.into(),
        toml::Value::Float(number) => number.into(),
        toml::Value::Boolean(flag) => flag.into(),
        toml::Value::Datetime(date) => Value::String(date.to_string()),
        toml::Value::Array(items) => items.into_iter().map(json).collect(),
        toml::Value::Table(map) => {
            Value::Object(map.into_iter().map(|(key, value)| (key, json(value))).collect())
        }
    }
}

fn mistake(text: &str, name: &str, at: usize, why: &str) -> Fault {
    let line = 1 + text.bytes().take(at).filter(|&byte| byte == b'\n').count();
    Fault::new(Kind::UserFixable, "script-invalid", format!("{name}:{line}: {why}"))
        .hint("the keys of a script are listed in contract/FORMATS.md")
}

/// The TOML reader lists what it would have taken as "unknown field `x`, expected one of `a`, `b`".
fn hint(message: &str) -> String {
    let quoted: Vec<&str> = message.split('`').skip(1).step_by(2).collect();
    match quoted.split_first() {
        Some((typed, known)) if message.starts_with("unknown ") => {
            match nearest(typed, known.iter().copied()) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("known here: {}", known.join(", ")),
            }
        }
        _ => "the keys of a script are listed in contract/FORMATS.md".into(),
    }
}
