//! What happened, for who has to account for it: acts read off the journal, and a signed log of the journal's heads that
//! shows when the journal was changed afterwards.
//!
//! Pure but for making a key: knows no file and no store. Start at [`entry::entries`] (what), [`log`] (the signed chain)
//! and [`export::verify`] (a copy, checked without a store).

pub mod entry;
pub mod export;
pub mod log;
