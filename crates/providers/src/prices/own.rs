//! The person's `prices.toml`: its keys, and what is said about a mistake in them.
//!
//! Knows the file's text only. Start at [`parse`].
//!
//! ```toml
//! date = "2026-11-20"                  # when these were looked up
//!
//! ["anthropic/claude-sonnet-5"]        # provider/model, every key optional
//! price = { input = 2.0, output = 10.0, cache_read = 0.2, cache_write = 2.5 }   # dollars per million tokens
//! above = { tokens = 200_000, input = 4.0, output = 15.0 }                      # prices of longer calls
//! context = 1_000_000
//! output = 64_000
//! date = "2026-11-18"
//! ```

use super::{Known, nanos};
use contract::model::{Price, Tier};
use contract::text::nearest;
use contract::{Fault, Kind};
use serde::Deserialize;
use std::collections::BTreeMap;

#[derive(Deserialize)]
struct File {
    #[serde(default)]
    date: String,
    #[serde(flatten)]
    models: BTreeMap<String, toml::Value>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Model {
    price: Option<Prices>,
    above: Option<Above>,
    context: Option<u64>,
    output: Option<u64>,
    date: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Prices {
    input: f64,
    output: f64,
    cache_read: Option<f64>,
    cache_write: Option<f64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Above {
    tokens: u64,
    input: f64,
    output: f64,
    cache_read: Option<f64>,
    cache_write: Option<f64>,
}

/// Reads a file; a mistake names file, model and, for a key, its nearest match.
pub(super) fn parse(text: &str, name: &str) -> Result<BTreeMap<String, Known>, Fault> {
    let at = |at: usize| 1 + text.bytes().take(at).filter(|&byte| byte == b'\n').count();
    let File { date, models } = toml::from_str(text).map_err(|error| {
        let line = at(error.span().map_or(0, |span| span.start));
        mistake(format!("{name}:{line}: {}", error.message()))
    })?;
    let one = |(id, table): (String, toml::Value)| {
        let line = at(text.find(&format!("\"{id}\"")).unwrap_or(0));
        let known =
            known(table, name, &date).map_err(|why| mistake(format!("{name}:{line}: {id}: {why}")))?;
        Ok((id, known))
    };
    models.into_iter().map(one).collect()
}

fn known(table: toml::Value, name: &str, date: &str) -> Result<Known, String> {
    let model: Model = table.try_into().map_err(|error: toml::de::Error| explained(error.message()))?;
    let tier = model.above.map(tier).transpose()?;
    let price = model.price.map(|prices| price(&prices, tier)).transpose()?;
    if price.is_none() && tier.is_some() {
        return Err("`above` stands beside a `price`".into());
    }
    if model.context == Some(0) || model.output == Some(0) {
        return Err("a model holds and says at least one token".into());
    }
    Ok(Known {
        context_tokens: model.context,
        output_tokens: model.output,
        price,
        by: name.to_owned(),
        date: model.date.unwrap_or_else(|| date.to_owned()),
    })
}

fn price(prices: &Prices, tier: Option<Tier>) -> Result<Price, String> {
    Ok(Price {
        input: usd(prices.input)?,
        output: usd(prices.output)?,
        cache_read: prices.cache_read.map(usd).transpose()?,
        cache_write: prices.cache_write.map(usd).transpose()?,
        tier,
    })
}

fn tier(above: Above) -> Result<Tier, String> {
    Ok(Tier {
        above: above.tokens,
        input: usd(above.input)?,
        output: usd(above.output)?,
        cache_read: above.cache_read.map(usd).transpose()?,
        cache_write: above.cache_write.map(usd).transpose()?,
    })
}

fn usd(usd: f64) -> Result<u64, String> {
    nanos(usd).ok_or_else(|| format!("{usd} is not a price: a number of US dollars from 0 upwards"))
}

fn mistake(what: String) -> Fault {
    Fault::new(Kind::UserFixable, "prices-invalid", what)
        .hint("its keys are listed in contract/FORMATS.md section 4")
}

/// The reader lists what it would have taken as "unknown field `x`, expected one of `a`, `b`".
fn explained(message: &str) -> String {
    let quoted: Vec<&str> = message.split('`').skip(1).step_by(2).collect();
    match quoted.split_first() {
        Some((typed, known)) if message.starts_with("unknown ") => {
            let near = nearest(typed, known.iter().copied());
            let near = near.map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
            format!("there is no key `{typed}`{near}")
        }
        _ => message.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_is_read() {
        let text = r#"
            date = "2026-11-20"
            ["a/b:c"]
            price = { input = 2, output = 10.5, cache_read = 0.2, cache_write = 2.5 }
            above = { tokens = 200_000, input = 4, output = 15, cache_read = 0.4 }
            context = 1_000_000
            output = 64_000
            date = "2026-11-18"
            ["a/free"]
            context = 8_192
        "#;
        let known = parse(text, "p.toml").unwrap();
        let one = &known["a/b:c"];
        let tier = Tier {
            above: 200_000,
            input: 4_000_000_000,
            output: 15_000_000_000,
            cache_read: Some(400_000_000),
            cache_write: None,
        };
        let price = Price {
            input: 2_000_000_000,
            output: 10_500_000_000,
            cache_read: Some(200_000_000),
            cache_write: Some(2_500_000_000),
            tier: Some(tier),
        };
        assert_eq!((one.price, one.date.as_str()), (Some(price), "2026-11-18"));
        assert_eq!((one.context_tokens, one.output_tokens), (Some(1_000_000), Some(64_000)));
        assert_eq!((known["a/free"].price, known["a/free"].date.as_str()), (None, "2026-11-20"));
        assert_eq!((known["a/free"].context_tokens, known["a/free"].output_tokens), (Some(8_192), None));
    }

    #[test]
    fn the_page_shows_what_is_read() {
        let page = include_str!("../../../contract/FORMATS.md");
        let block = page.split_once("```toml prices\n").unwrap().1.split_once("```").unwrap().0;
        let known = parse(block, "p.toml").unwrap();
        assert_eq!(known["anthropic/claude-sonnet-5"].price.unwrap().tier.unwrap().above, 200_000);
        assert_eq!((known["local/llama"].date.as_str(), known["local/llama"].price), ("2026-11-18", None));
    }

    #[test]
    fn a_mistake_names_the_place_and_the_nearest() {
        for (text, words) in [
            ("[\"a/b\"]\nprice = { input = 1 }\n", "p.toml:1: a/b: missing field `output`"),
            ("\n[\"a/b\"]\ncontex = 1\n", "p.toml:2: a/b: there is no key `contex`; did you mean `context`?"),
            ("[\"a/b\"]\nprice = { input = -1, output = 1 }\n", "is not a price"),
            ("[\"a/b\"]\nabove = { tokens = 1, input = 1, output = 1 }\n", "beside a `price`"),
            ("[\"a/b\"]\ncontext = 0\n", "at least one token"),
            ("[\"a/b\"\n", "p.toml:1: "),
        ] {
            let fault = parse(text, "p.toml").unwrap_err();
            assert!(fault.what.contains(words), "{text}: {}", fault.what);
            assert_eq!(fault.code, "prices-invalid");
        }
    }
}
