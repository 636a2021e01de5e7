//! Arguments as a model sends them, into a tool's own type; unknown and missing ones are named. And the
//! way from there to an output.
//! Knows nothing of what they mean. Start at [`parse`].

use contract::tool::Output;
use contract::{Fault, Kind};
use serde::de::DeserializeOwned;
use serde_json::Value;

/// The arguments of this tool. The type refuses unknown fields.
pub(crate) fn parse<T: DeserializeOwned>(tool: &str, args: &Value) -> Result<T, Fault> {
    if !args.is_object() {
        return Err(refuse(format!("`{tool}` takes a JSON object as its arguments")));
    }
    T::deserialize(args).map_err(|error| refuse(format!("`{tool}` does not take these arguments: {error}")))
}

/// Runs what touches files on a thread that may block; a fault becomes an output the model can react to.
pub(crate) async fn blocking(work: impl FnOnce() -> Result<Output, Fault> + Send + 'static) -> Output {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result.unwrap_or_else(|fault| Output::error(fault.to_string())),
        Err(error) => Output::error(format!("the tool itself broke: {error}")),
    }
}

/// Arguments that cannot be meant.
pub(crate) fn refuse(what: impl Into<String>) -> Fault {
    Fault::new(Kind::Permanent, "bad-arguments", what)
}
