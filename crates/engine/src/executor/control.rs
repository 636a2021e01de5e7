//! The calls that are decisions, not effects: `finish`, `ask`, `plan`, `todo`, `delegate`.
//!
//! Knows no session state: whether a decision is allowed is the kernel's to say. Here is only what
//! a model may write and what it means. Start at [`specs`] and [`parse`].

use super::text::suggestion;
use super::{Kept, find};
use contract::action::{Control, Task, Todo};
use contract::event::TaskState;
use contract::model::ToolSpec;
use contract::money::NANOS_PER_USD;
use contract::session::Rights;
use contract::{Amount, limits};
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// Names of all of them.
const NAMES: [&str; 5] = ["finish", "ask", "plan", "todo", "delegate"];

/// Is this the name of a decision?
pub(super) fn is_control(name: &str) -> bool {
    NAMES.contains(&name) || name == find::NAME
}

/// How a model with these rights sees them.
pub(super) fn specs(rights: &Rights) -> Vec<ToolSpec> {
    let mut specs = vec![finish(), ask(), plan(), todo()];
    if rights.delegate {
        specs.push(delegate());
    }
    specs
}

/// Reads a decision. `tools` are the names of the tools this session may use. An error is worded for the model.
pub(super) fn parse(name: &str, args: Value, tools: &[&str], kept: &mut Kept) -> Result<Control, String> {
    let wrong = |error: serde_json::Error| format!("the arguments of `{name}` do not fit: {error}");
    match name {
        "finish" => read_finish(serde_json::from_value(args).map_err(wrong)?, kept),
        "ask" => {
            let Ask { question } = serde_json::from_value(args).map_err(wrong)?;
            Ok(Control::Ask { question: kept.put(said("question", question)?) })
        }
        "plan" => read_plan(serde_json::from_value(args).map_err(wrong)?, kept),
        "todo" => read_todo(serde_json::from_value(args).map_err(wrong)?, kept),
        "delegate" => read_delegate(serde_json::from_value(args).map_err(wrong)?, tools, kept),
        _ => Err(format!("`{name}` is not a decision")),
    }
}

fn spec(name: &str, description: &str, properties: Value, required: &[&str]) -> ToolSpec {
    let schema = json!({
        "type": "object", "properties": properties, "required": required, "additionalProperties": false,
    });
    ToolSpec { name: name.into(), description: description.into(), schema }
}

fn said(field: &str, text: String) -> Result<String, String> {
    let text = text.trim();
    if text.is_empty() { Err(format!("`{field}` is empty")) } else { Ok(text.to_owned()) }
}

/// Characters of a name that a model makes up.
const NAME_CHARS: usize = 64;

/// Names stand in events; texts do not.
fn is_name(text: &str) -> bool {
    let fits = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_' | '.' | '/');
    !text.is_empty() && text.chars().count() <= NAME_CHARS && text.chars().all(fits)
}

fn named(field: &str, name: &str) -> Result<(), String> {
    if is_name(name) {
        return Ok(());
    }
    let shown = clip(name);
    Err(format!("`{field}` is a short name of letters, digits and `-`, not `{shown}`"))
}

// finish

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Finish {
    status: Status,
    #[serde(default)]
    needs: Option<String>,
    summary: String,
}

#[derive(Deserialize, PartialEq)]
#[serde(rename_all = "lowercase")]
enum Status {
    Done,
    Blocked,
}

/// What is missing when a blocked agent does not say.
const NEEDS_PERSON: &str = "person";

fn finish() -> ToolSpec {
    spec(
        "finish",
        "End your turn. Call it alone, when the work is done or when you cannot go on.",
        json!({
            "status": {"type": "string", "enum": ["done", "blocked"], "description":
                "`done`: the goal is reached as far as you can see; Kapell's checks decide. `blocked`: you cannot go on."},
            "needs": {"type": "string", "description":
                "When blocked: what is missing, in one word, such as `person` or `language-model`."},
            "summary": {"type": "string", "description":
                "What you changed and why, or what stands in the way. A few sentences."},
        }),
        &["status", "summary"],
    )
}

fn read_finish(args: Finish, kept: &mut Kept) -> Result<Control, String> {
    let done = args.status == Status::Done;
    let needs = match args.needs.as_deref().map(str::trim) {
        _ if done => String::new(),
        // More than a name is what the summary is for: it goes on record as a text, not as part of an event.
        Some(needs) if is_name(needs) => needs.to_owned(),
        None | Some(_) => NEEDS_PERSON.to_owned(),
    };
    Ok(Control::Finish { done, needs, summary: kept.put(args.summary.trim()) })
}

// ask

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Ask {
    question: String,
}

fn ask() -> ToolSpec {
    spec(
        "ask",
        "Ask the person who gave the goal, and wait for the answer. Only for what you cannot find out yourself.",
        json!({"question": {"type": "string", "description": "One question, with the choices you see."}}),
        &["question"],
    )
}

// plan

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Plan {
    tasks: Vec<PlanTask>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PlanTask {
    id: String,
    goal: String,
    #[serde(default)]
    after: Vec<String>,
}

fn plan() -> ToolSpec {
    spec(
        "plan",
        "Set the plan for a goal that needs several separately checkable tasks. Replaces the plan there was. \
         Kapell gives you the tasks one by one.",
        json!({"tasks": {"type": "array", "minItems": 1, "maxItems": limits::PLAN_TASKS, "items": {
            "type": "object",
            "properties": {
                "id": {"type": "string", "description": "Short and unique in the plan."},
                "goal": {"type": "string", "description": "What is to be true afterwards."},
                "after": {"type": "array", "items": {"type": "string"}, "description":
                    "Ids of the tasks that must be done before."},
            },
            "required": ["id", "goal"],
            "additionalProperties": false,
        }}}),
        &["tasks"],
    )
}

fn read_plan(args: Plan, kept: &mut Kept) -> Result<Control, String> {
    let tasks = args.tasks;
    if tasks.is_empty() {
        return Err("`tasks` is empty; a plan has at least one task".to_owned());
    }
    if tasks.len() > limits::PLAN_TASKS {
        return Err(format!("{} tasks are too many; a plan has at most {}", tasks.len(), limits::PLAN_TASKS));
    }
    let mut ids = BTreeSet::new();
    for task in &tasks {
        named("id", &task.id)?;
        said("goal", task.goal.clone())?;
        if !ids.insert(task.id.as_str()) {
            return Err(format!("two tasks have the id `{}`", task.id));
        }
    }
    let unknown = |task: &PlanTask| task.after.iter().find(|id| !ids.contains(id.as_str())).cloned();
    if let Some((task, id)) = tasks.iter().find_map(|task| Some((&task.id, unknown(task)?))) {
        let near = suggestion(&id, ids.iter().copied());
        return Err(format!("task `{task}` comes after `{id}`, which is not in the plan{near}"));
    }
    let tasks = in_order(tasks)?;
    let stored = |task: PlanTask| Task { id: task.id, goal: kept.put(task.goal.trim()), after: task.after };
    Ok(Control::Plan { tasks: tasks.into_iter().map(stored).collect() })
}

/// Each task after those it waits for, else in the order they were written.
fn in_order(mut waiting: Vec<PlanTask>) -> Result<Vec<PlanTask>, String> {
    let mut placed: Vec<PlanTask> = Vec::with_capacity(waiting.len());
    while !waiting.is_empty() {
        let is_placed = |id: &String| placed.iter().any(|task| task.id == *id);
        match waiting.iter().position(|task| task.after.iter().all(is_placed)) {
            Some(next) => placed.push(waiting.remove(next)),
            None => {
                let ids: Vec<&str> = waiting.iter().map(|task| task.id.as_str()).collect();
                return Err(format!("these tasks wait for each other in a circle: {}", ids.join(", ")));
            }
        }
    }
    Ok(placed)
}

// todo

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TodoList {
    todos: Vec<TodoEntry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TodoEntry {
    content: String,
    #[serde(default)]
    status: TodoStatus,
}

#[derive(Deserialize, Default, Clone, Copy)]
#[serde(rename_all = "snake_case")]
enum TodoStatus {
    #[default]
    Pending,
    InProgress,
    Completed,
    Cancelled,
}

fn todo() -> ToolSpec {
    spec(
        "todo",
        "Write down what you still have to do and what is done: your own notes for work of several steps, shown to the \
         person and kept when the conversation is cut. Replaces the list there was.",
        json!({"todos": {"type": "array", "maxItems": limits::TODO_ITEMS, "items": {
            "type": "object",
            "properties": {
                "content": {"type": "string", "description": "One line."},
                "status": {"type": "string", "enum": ["pending", "in_progress", "completed", "cancelled"]},
            },
            "required": ["content", "status"],
            "additionalProperties": false,
        }}}),
        &["todos"],
    )
}

fn read_todo(args: TodoList, kept: &mut Kept) -> Result<Control, String> {
    if args.todos.len() > limits::TODO_ITEMS {
        return Err(format!(
            "{} entries are too many; the list has at most {}",
            args.todos.len(),
            limits::TODO_ITEMS
        ));
    }
    let entry = |entry: TodoEntry| {
        let state = match entry.status {
            TodoStatus::Pending => TaskState::Pending,
            TodoStatus::InProgress => TaskState::Active,
            TodoStatus::Completed => TaskState::Done,
            TodoStatus::Cancelled => TaskState::Skipped,
        };
        Ok(Todo { text: kept.put(said("content", entry.content)?), state })
    };
    Ok(Control::Todo { items: args.todos.into_iter().map(entry).collect::<Result<_, String>>()? })
}

// delegate

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Delegate {
    goal: String,
    #[serde(default)]
    mode: Option<String>,
    #[serde(default)]
    tools: Option<Vec<String>>,
    #[serde(default)]
    max_usd: Option<Value>,
    #[serde(default)]
    max_tokens: Option<u64>,
    #[serde(default)]
    max_steps: Option<u64>,
}

fn delegate() -> ToolSpec {
    spec(
        "delegate",
        "Give a part of the work to a child session with a clone of its own, starting from your work as it stands. \
         Its result is checked by Kapell and then put into your workspace.",
        json!({
            "goal": {"type": "string", "description":
                "What is to be true afterwards. The child sees nothing of this conversation: say all it needs."},
            "mode": {"type": "string", "description": "The child's mode; yours when left out."},
            "tools": {"type": "array", "items": {"type": "string"}, "description":
                "Tools it may use, out of yours; all of yours when left out."},
            "max_usd": {"type": ["string", "number"], "description":
                "Most money it may spend, in US dollars, such as `0.50`."},
            "max_tokens": {"type": "integer", "minimum": 0},
            "max_steps": {"type": "integer", "minimum": 0},
        }),
        &["goal"],
    )
}

fn read_delegate(args: Delegate, allowed: &[&str], kept: &mut Kept) -> Result<Control, String> {
    let goal = said("goal", args.goal)?;
    args.mode.iter().filter(|mode| !mode.is_empty()).try_for_each(|mode| named("mode", mode))?;
    if let Some(unknown) = args.tools.iter().flatten().find(|name| !allowed.contains(&name.as_str())) {
        let near = suggestion(unknown, allowed.iter().copied());
        return Err(format!(
            "`tools` names `{unknown}`, which you do not have{near}\nYou have: {}",
            allowed.join(", ")
        ));
    }
    let nanos = match args.max_usd {
        None | Some(Value::Null) => u64::MAX,
        Some(Value::String(text)) => nanos(&text)?,
        Some(Value::Number(number)) => nanos(&number.to_string())?,
        Some(other) => return Err(format!("`max_usd` is an amount such as \"0.50\", not {other}")),
    };
    let budget = Amount {
        nanos,
        tokens: args.max_tokens.unwrap_or(u64::MAX),
        steps: args.max_steps.unwrap_or(u64::MAX),
        ..Amount::UNLIMITED
    };
    let mode = args.mode.unwrap_or_default().trim().to_owned();
    Ok(Control::Delegate { bytes: goal.len() as u64, goal: kept.put(goal), mode, budget, tools: args.tools })
}

/// Dollars in decimal digits (`1`, `$0.50`, `2.5e-3`) as nano-dollars, rounded down; no floats on the way.
fn nanos(text: &str) -> Result<u64, String> {
    let wrong = || format!("`max_usd` is an amount of dollars such as \"0.50\", not \"{}\"", clip(text));
    let plain = text.trim().trim_start_matches('$').to_ascii_lowercase();
    let (mantissa, exponent) = match plain.split_once('e') {
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i32>().map_err(|_| wrong())?),
        None => (plain.as_str(), 0),
    };
    let (whole, part) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits: String = [whole, part].concat();
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(wrong());
    }
    let value: u128 = digits.parse().map_err(|_| wrong())?;
    // value * 10^shift nano-dollars, because NANOS_PER_USD is 10^9.
    let nine = i64::from(NANOS_PER_USD.ilog10());
    let shift = i64::from(exponent) + nine - i64::try_from(part.len()).map_err(|_| wrong())?;
    let power = u32::try_from(shift.unsigned_abs()).ok().and_then(|exponent| 10u128.checked_pow(exponent));
    let nanos = match power {
        Some(power) if shift < 0 => value / power,
        Some(power) => value.saturating_mul(power),
        None if shift < 0 || value == 0 => 0,
        None => u128::MAX,
    };
    Ok(u64::try_from(nanos).unwrap_or(u64::MAX))
}

/// Characters of a wrong value that an error repeats.
const CLIP_CHARS: usize = 40;

fn clip(text: &str) -> String {
    text.chars().take(CLIP_CHARS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use contract::Digest;
    use contract::session::Ask as AskRight;

    fn read(name: &str, args: Value) -> Result<Control, String> {
        parse(name, args, &["read", "edit"], &mut Kept::default())
    }

    fn digest(text: &str) -> Digest {
        Digest::of(text.as_bytes())
    }

    #[test]
    fn finish_says_how_it_stands() {
        let control = |done, needs: &str| Control::Finish { done, needs: needs.into(), summary: digest("x") };
        for (args, expected) in [
            (json!({"status": "done", "summary": " x "}), control(true, "")),
            (json!({"status": "done", "needs": "more", "summary": "x"}), control(true, "")),
            (json!({"status": "blocked", "summary": "x"}), control(false, "person")),
            (
                json!({"status": "blocked", "needs": "the key sk-1 does not work", "summary": "x"}),
                control(false, "person"),
            ),
            (json!({"status": "blocked", "needs": "x".repeat(65), "summary": "x"}), control(false, "person")),
            (
                json!({"status": "blocked", "needs": "language-model", "summary": "x"}),
                control(false, "language-model"),
            ),
        ] {
            assert_eq!(read("finish", args), Ok(expected));
        }
        let error = read("finish", json!({"status": "confirmed", "summary": "x"})).unwrap_err();
        assert!(error.contains("expected `done` or `blocked`"), "{error}");
    }

    #[test]
    fn a_plan_is_stored_in_topological_order() {
        let args = json!({"tasks": [
            {"id": "c", "goal": "3", "after": ["a", "b"]},
            {"id": "b", "goal": "2", "after": ["a"]},
            {"id": "a", "goal": "1"},
        ]});
        let Ok(Control::Plan { tasks }) = read("plan", args) else { panic!("not a plan") };
        assert_eq!(tasks.iter().map(|task| task.id.as_str()).collect::<Vec<_>>(), ["a", "b", "c"]);
        assert_eq!(tasks[2].goal, digest("3"));
    }

    #[test]
    fn a_plan_that_is_no_dag_is_explained() {
        for (tasks, says) in [
            (json!([]), "is empty"),
            (json!([{"id": "a", "goal": "1"}, {"id": "a", "goal": "2"}]), "two tasks have the id `a`"),
            (
                json!([{"id": "parse", "goal": "1"}, {"id": "b", "goal": "2", "after": ["prase"]}]),
                "did you mean `parse`?",
            ),
            (
                json!([{"id": "a", "goal": "1", "after": ["b"]}, {"id": "b", "goal": "2", "after": ["a"]}]),
                "in a circle: a, b",
            ),
            (json!([{"id": "a", "goal": " "}]), "`goal` is empty"),
            (json!([{"id": "the whole text of it", "goal": "1"}]), "`id` is a short name"),
            (json!([{"id": "a", "goal": "1", "before": []}]), "unknown field `before`"),
        ] {
            let error = read("plan", json!({ "tasks": tasks })).unwrap_err();
            assert!(error.contains(says), "{error}");
        }
    }

    #[test]
    fn a_to_do_list_is_taken_as_it_is_written() {
        let args = json!({"todos": [
            {"content": " read ", "status": "completed"},
            {"content": "write", "status": "in_progress"},
            {"content": "test", "status": "pending"},
            {"content": "dance", "status": "cancelled"},
        ]});
        let items = [
            ("read", TaskState::Done),
            ("write", TaskState::Active),
            ("test", TaskState::Pending),
            ("dance", TaskState::Skipped),
        ]
        .map(|(text, state)| Todo { text: digest(text), state });
        assert_eq!(read("todo", args), Ok(Control::Todo { items: items.into() }));
        assert_eq!(read("todo", json!({"todos": []})), Ok(Control::Todo { items: Vec::new() }));
        for (todos, says) in [
            (json!([{"content": "", "status": "pending"}]), "`content` is empty"),
            (json!([{"content": "x", "status": "done"}]), "expected one of `pending`"),
            (json!(vec![json!({"content": "x"}); limits::TODO_ITEMS + 1]), "too many"),
        ] {
            let error = read("todo", json!({ "todos": todos })).unwrap_err();
            assert!(error.contains(says), "{error}");
        }
    }

    #[test]
    fn delegate_is_bounded_by_what_is_asked() {
        let args = json!({"goal": "g", "tools": ["read"], "max_usd": 0.25, "max_steps": 7});
        let budget = Amount { nanos: 250_000_000, steps: 7, ..Amount::UNLIMITED };
        let tools = Some(vec!["read".to_owned()]);
        let expected = Control::Delegate { goal: digest("g"), bytes: 1, mode: String::new(), budget, tools };
        assert_eq!(read("delegate", args), Ok(expected));

        let error = read("delegate", json!({"goal": "g", "tools": ["reed"]})).unwrap_err();
        assert!(error.contains("did you mean `read`?"), "{error}");
    }

    #[test]
    fn money_is_read_without_floats_and_rounded_down() {
        for (text, expected) in [
            ("1", 1_000_000_000),
            ("$0.50", 500_000_000),
            (".1", 100_000_000),
            ("0.0000000019", 1),
            ("2.5e-3", 2_500_000),
            ("1e30", u64::MAX),
            ("0e999999", 0),
            ("1e-999999", 0),
            ("99999999999999", u64::MAX),
        ] {
            assert_eq!(nanos(text), Ok(expected), "{text}");
        }
        for wrong in ["", ".", "-1", "1,5", "one", "1e", "0x10", "NaN"] {
            assert!(nanos(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn every_decision_has_a_spec_and_the_right_to_delegate_is_asked() {
        let mut rights = Rights::all(AskRight::Never);
        let names = |rights: &Rights| specs(rights).into_iter().map(|spec| spec.name).collect::<Vec<_>>();
        assert_eq!(names(&rights), NAMES);
        rights.delegate = false;
        assert!(!names(&rights).contains(&"delegate".to_owned()));
        assert!(read("ask", json!({"question": "  "})).unwrap_err().contains("empty"));
    }
}
