//! Words that a client can begin with: start a session, review one, hand one over.
//!
//! Start at [`list`] and [`text`].

use rmcp::model::{Prompt, PromptArgument};
use serde_json::{Map, Value};

/// A prompt: name, what it is for, its argument and whether that is needed, and the words around it.
struct Words {
    name: &'static str,
    about: &'static str,
    argument: (&'static str, bool),
    text: fn(&str) -> String,
}

const PROMPTS: [Words; 3] = [
    Words {
        name: "start",
        about: "Start a session and see it through",
        argument: ("goal", true),
        text: |goal| {
            format!(
                "Start a Kapell session with session_start for this goal, waiting up to 600 seconds:\n\n{goal}\n\n\
                 While it waits for something, show me what exactly and ask me; then use session_answer or session_approve \
                 with the approval and hash you showed. When it has ended, tell me the verdict (session_verdict), what it \
                 cost (session_cost), and where the result is."
            )
        },
    },
    Words {
        name: "review",
        about: "Review what a session did",
        argument: ("session", false),
        text: |session| {
            format!(
                "Review Kapell session `{session}`: read session_status, session_verdict and session_why. Say in a few \
                 sentences what it was to do, what it did, which checks speak for it and against it, which tests or checks it \
                 changed, and what you would look at by hand before relying on it."
            )
        },
    },
    Words {
        name: "hand_over",
        about: "Sum a session up for whoever goes on",
        argument: ("session", false),
        text: |session| {
            format!(
                "Prepare the handover of Kapell session `{session}`: read session_status, session_plan and the newest \
                 session_events. Write down the goal, what is done, what is open, what it waits for, and the next step; then \
                 offer to note what later sessions should know with update_persistent_memory."
            )
        },
    },
];

pub(crate) fn list() -> Vec<Prompt> {
    let prompt = |words: &Words| {
        let argument = PromptArgument::new(words.argument.0).with_required(words.argument.1);
        Prompt::new(words.name, Some(words.about), Some(vec![argument]))
    };
    PROMPTS.iter().map(prompt).collect()
}

/// The words; what is wrong with the name or the arguments otherwise.
pub(crate) fn text(name: &str, args: &Map<String, Value>) -> Result<String, String> {
    let words = PROMPTS.iter().find(|words| words.name == name).ok_or_else(|| {
        let known: Vec<&str> = PROMPTS.iter().map(|words| words.name).collect();
        format!("there is no such prompt; there are {}", known.join(", "))
    })?;
    let (argument, needed) = words.argument;
    match args.get(argument).and_then(Value::as_str).filter(|text| !text.trim().is_empty()) {
        Some(value) => Ok((words.text)(value)),
        None if needed => Err(format!("{name} needs `{argument}`")),
        None => Ok((words.text)("last")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prompts_take_their_argument() {
        let args = |json: Value| json.as_object().cloned().unwrap_or_default();
        assert!(text("start", &args(serde_json::json!({"goal": "fly"}))).unwrap().contains("fly"));
        assert!(text("start", &Map::new()).unwrap_err().contains("goal"));
        assert!(text("review", &Map::new()).unwrap().contains("`last`"));
        assert!(text("explode", &Map::new()).unwrap_err().contains("hand_over"));
        assert_eq!(list().len(), PROMPTS.len());
    }
}
