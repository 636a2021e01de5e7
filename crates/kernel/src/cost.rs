//! What the next call of a session sends and costs, for who is about to go on with it.
//!
//! Knows counts and prices, not what is said. Start at [`Session::next_call`].

use crate::session::Session;
use contract::limits;

/// What the next call of a session sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NextCall {
    /// Tokens of the conversation, about.
    pub tokens: u64,
    /// What they cost at most when its provider has kept none of them, nano-dollars; `None` = the price is not known.
    pub nanos: Option<u64>,
}

impl Session {
    /// What its next call sends; `None` = nothing has been asked yet, or asking costs nothing.
    pub fn next_call(&self) -> Option<NextCall> {
        let model = self.model.as_ref().filter(|_| self.items.len() > 1)?;
        let counted = self.counted.as_ref().filter(|counted| counted.model == model.id);
        let (tokens, items) = counted.map_or((0, 0), |counted| (counted.tokens, counted.items));
        let since = self.items.iter().skip(items).map(|item| item.bytes).fold(0, u64::saturating_add);
        let tokens = tokens.saturating_add(since / limits::BYTES_PER_TOKEN);
        let nanos = model.card.price.map(|price| price.most(tokens, 0));
        (nanos != Some(0)).then_some(NextCall { tokens, nanos })
    }
}
