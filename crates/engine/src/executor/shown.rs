//! What a model is shown, as hashes: so that it can be told later which message made a provider's cache useless.
//!
//! Knows the request, no provider. Start at [`shown`].

use contract::model::{Message, Request, Shown};
use contract::{Digest, limits};

/// Hex digits of a hash that only has to tell neighbours apart.
const DIGITS: usize = 8;

/// The request by its hashes.
pub fn shown(request: &Request) -> Shown {
    let messages = request.messages.len() as u64;
    let mut stride = 1;
    while messages / stride > limits::SHOWN_CHAIN {
        stride *= 2;
    }
    let mut bytes = Vec::new();
    request.tools.iter().for_each(|tool| tool.canonical(&mut bytes));
    let tools = Digest::of(&bytes);
    let (mut chain, mut link) = (Vec::new(), Digest::default());
    for (number, message) in (1..).zip(&request.messages) {
        bytes.clear();
        message.canonical(&mut bytes);
        link = Digest::chain(&link, &bytes);
        if number % stride == 0 {
            chain.push(format!("{}{}", speaker(message), short(&link)));
        }
    }
    Shown {
        system: short(&Digest::of(request.system.as_bytes())),
        tools: short(&tools),
        messages,
        stride,
        chain,
    }
}

fn short(digest: &Digest) -> String {
    let mut text = digest.short();
    text.truncate(DIGITS);
    text
}

fn speaker(message: &Message) -> char {
    match message {
        Message::User { .. } => 'u',
        Message::Assistant { .. } => 'a',
        Message::Tool { ok: true, .. } => 't',
        Message::Tool { ok: false, .. } => 'e',
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(texts: &[String]) -> Request {
        Request {
            model: "a/b".into(),
            system: "be good".into(),
            messages: texts.iter().map(|text| Message::User { text: text.clone() }).collect(),
            tools: Vec::new(),
            max_tokens: 1,
            ordinal: 0,
            key: String::new(),
        }
    }

    #[test]
    fn a_beginning_has_the_same_hashes_and_the_first_change_shows() {
        let mut texts: Vec<String> = (0..20).map(|n| format!("message {n}")).collect();
        let (all, first) = (shown(&request(&texts)), shown(&request(&texts[..12])));
        assert_eq!(all.chain[..12], first.chain[..]);
        texts[7].push('!');
        let changed = shown(&request(&texts));
        assert_eq!(all.chain[..7], changed.chain[..7]);
        assert!(all.chain[7..].iter().zip(&changed.chain[7..]).all(|(a, b)| a != b));
    }

    #[test]
    fn however_long_it_is_the_record_is_bounded_and_strides_agree() {
        let texts: Vec<String> = (0..400).map(|n| format!("message {n}")).collect();
        let (long, short) = (shown(&request(&texts)), shown(&request(&texts[..40])));
        assert!(long.chain.len() as u64 <= limits::SHOWN_CHAIN && long.stride > short.stride);
        let at = |shown: &Shown, messages: u64| shown.chain[(messages / shown.stride - 1) as usize].clone();
        assert_eq!(at(&long, 32), at(&short, 32));
    }
}
