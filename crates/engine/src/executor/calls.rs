//! Turns what a model wants called into calls on record: judged, hashed, or refused with advice.
//!
//! Runs nothing and allows nothing: whether a call may run is the kernel's to decide over the
//! record made here. Start at [`Toolbox::record`].
//!
//! Call ids are Kapell's own: `c<step>-<index>`. A model's ids are unique inside one message only,
//! may be empty or repeat, and providers disagree on which characters they take; ours are unique in
//! the whole session and made of letters, digits and `-`. The conversation is always rebuilt from
//! the record, so a model sees the same id on the call and on its result.

use super::ruler::Ruler;
use super::text::{head, suggestion};
use super::{Job, Kept, control, find, hide};
use contract::action::{Call, Control, EffectClass};
use contract::hooks::{Asked, HookEvent, Hooks};
use contract::model::{ToolSpec, ToolUse};
use contract::policy::Ruling;
use contract::session::{Rights, SessionSpec};
use contract::tool::{Judged, Scope, Tool};
use contract::{CallId, Digest, limits, text};
use serde_json::Value;
use std::sync::Arc;

/// What a session may call.
pub(super) struct Toolbox {
    tools: Vec<Allowed>,
    decisions: Vec<ToolSpec>,
    hooks: Arc<dyn Hooks>,
    spec: Arc<SessionSpec>,
    /// What was found of the hidden ones, in that order.
    found: Vec<String>,
    scope: Scope,
    rules: Ruler,
}

/// A tool that the session may call.
struct Allowed {
    spec: ToolSpec,
    tool: Arc<dyn Tool>,
    /// It is not shown from the start.
    hidden: bool,
}

impl Toolbox {
    /// The tools that the session's rights allow, and the decisions.
    pub(super) fn new(job: &Job) -> Self {
        let rights: &Rights = &job.run.context.spec.rights;
        let may = |name: &str| rights.allows(name) && !control::is_control(name);
        let mut tools: Vec<Allowed> = (job.ports.tools.iter())
            .map(|tool| Allowed { spec: tool.spec(), tool: Arc::clone(tool), hidden: false })
            .filter(|allowed| may(&allowed.spec.name))
            .collect();
        let core: Vec<(&ToolSpec, bool)> = tools.iter().map(|it| (&it.spec, it.tool.is_core())).collect();
        let hidden = find::hidden(&core);
        for (allowed, hidden) in tools.iter_mut().zip(hidden) {
            allowed.hidden = hidden;
        }
        let mut decisions = control::specs(rights);
        let hidden: Vec<&ToolSpec> = tools.iter().filter(|it| it.hidden).map(|it| &it.spec).collect();
        decisions.extend((!hidden.is_empty()).then(|| find::spec(&hidden)));
        let found = job.run.context.found.clone();
        let (hooks, spec) = (Arc::clone(&job.ports.hooks), Arc::clone(&job.run.context.spec));
        Self { tools, decisions, hooks, spec, found, scope: job.scope(), rules: Ruler::new(job) }
    }

    fn hidden(&self) -> Vec<&ToolSpec> {
        self.tools.iter().filter(|it| it.hidden).map(|it| &it.spec).collect()
    }

    /// How the model sees them.
    pub(super) fn specs(&self) -> Vec<ToolSpec> {
        let shown = self.tools.iter().filter(|it| !it.hidden).map(|it| &it.spec);
        let hidden = self.hidden();
        let found =
            self.found.iter().filter_map(|name| hidden.iter().find(|spec| spec.name == *name).copied());
        shown.chain(&self.decisions).chain(found).cloned().collect()
    }

    /// Puts the calls of one message on record.
    pub(super) fn record(&self, job: &Job, wanted: Vec<ToolUse>, kept: &mut Kept) -> Vec<Call> {
        if wanted.len() > limits::CALLS_RECORDED {
            let dropped = wanted.len() - limits::CALLS_RECORDED;
            if let Some(sent) = &mut kept.sent {
                sent.repairs.push(format!("{dropped} calls of one message beyond the limit were dropped"));
            }
        }
        let step = job.run.action.step;
        let numbered = wanted.into_iter().take(limits::CALLS_RECORDED).enumerate();
        let mut room = DECISION_BYTES;
        numbered
            .map(|(index, wanted)| {
                let fits = index < limits::CALLS_PER_MESSAGE;
                self.call(format!("c{step}-{index}"), wanted, fits.then_some(&mut room), kept)
            })
            .collect()
    }

    /// `room`: bytes that this message's decisions may still take; none when the call itself is one too many.
    fn call(&self, id: CallId, wanted: ToolUse, room: Option<&mut usize>, kept: &mut Kept) -> Call {
        // On record as the model wrote it, but for what acts on a terminal and what no name needs.
        let tool: String = text::clean(&wanted.tool).chars().take(NAME_CHARS).collect();
        // Keys of a serde_json map are sorted, so the same arguments are the same bytes.
        let bytes = wanted.args.to_string();
        let hash = Digest::chain(&Digest::of(tool.as_bytes()), bytes.as_bytes());
        let hooks = self.hooks(&tool, &wanted.args);
        let args = kept.put(bytes);
        let judged = match room {
            Some(room) => self.judge(&tool, wanted.args, kept).and_then(|meaning| recordable(meaning, room)),
            None => Err(format!(
                "not run: a message makes at most {} calls; make this one again in the next",
                limits::CALLS_PER_MESSAGE
            )),
        };
        let call = Call {
            id,
            tool,
            args,
            class: EffectClass::Pure,
            why: String::new(),
            hash,
            deadline_ms: None,
            control: None,
            error: None,
            ruled: None,
            together: None,
            hooks,
            held: None,
        };
        match judged {
            Ok(Meaning::Effect(Judged { class, why, hash, deadline_ms, held }, ruled, together)) => {
                Call { class, why, hash, deadline_ms, held, ruled, together, ..call }
            }
            Ok(Meaning::Decision(decision)) => {
                Call { why: "answered by Kapell itself".to_owned(), control: Some(decision), ..call }
            }
            Err(advice) => {
                Call { why: "nothing to run".to_owned(), error: Some(kept.put(head(advice, MOST))), ..call }
            }
        }
    }

    /// The same call with other arguments.
    pub(super) fn anew(&self, call: &Call, args: Value, kept: &mut Kept) -> Call {
        let wanted = ToolUse { id: call.id.clone(), tool: call.tool.clone(), args };
        self.call(call.id.clone(), wanted, Some(&mut DECISION_BYTES.clone()), kept)
    }

    /// Events of which hooks want to hear when they are about such a call.
    fn hooks(&self, tool: &str, args: &Value) -> Vec<HookEvent> {
        let fits = |event: HookEvent| {
            let mut of = self.spec.hooks.iter().filter(|hook| hook.event == event);
            of.any(|hook| self.hooks.fits(hook, &Asked::of(event, ""), tool, Some(args)))
        };
        let about = [
            HookEvent::PreToolUse,
            HookEvent::PermissionRequest,
            HookEvent::PostToolUse,
            HookEvent::PostToolUseFailure,
        ];
        // What ends the turn has events of its own.
        let ends = matches!(tool, "finish" | find::NAME);
        if self.spec.hooks.is_empty() || ends {
            Vec::new()
        } else {
            about.into_iter().filter(|event| fits(*event)).collect()
        }
    }

    fn judge(&self, name: &str, args: Value, kept: &mut Kept) -> Result<Meaning, String> {
        let decision = self.decisions.iter().any(|spec| spec.name == name);
        let tool = self.tools.iter().find(|it| it.spec.name == name);
        if !decision && tool.is_none() {
            return Err(self.unknown(name));
        }
        let args = object(name, args)?;
        match tool {
            Some(it) => {
                let judged = it.tool.judge(&args, &self.scope).map_err(|fault| {
                    // Who has not been shown it cannot know.
                    let unseen = it.hidden && !self.found.contains(&it.spec.name);
                    let schema =
                        if unseen { format!("\nWhat it takes: {}", it.spec.schema) } else { String::new() };
                    format!("{fault}{schema}")
                })?;
                if judged.class != EffectClass::Pure
                    && let Some(why) = hide::written_back(&args)
                {
                    return Err(why);
                }
                let ruled =
                    self.rules.ruled(&*it.tool, &args, &self.scope, judged.class, judged.held.as_ref())?;
                let together = it.tool.together(&args, &self.scope);
                Ok(Meaning::Effect(judged, ruled, together))
            }
            None if name == find::NAME => {
                let names = find::fitting(&find::query(args)?, &self.hidden());
                Ok(Meaning::Decision(Control::FindTools { names }))
            }
            None => control::parse(name, args, &self.tool_names(), kept).map(Meaning::Decision),
        }
    }

    fn unknown(&self, name: &str) -> String {
        let mut names = self.tool_names();
        names.extend(self.decisions.iter().map(|spec| spec.name.as_str()));
        let near = suggestion(name, names.iter().copied());
        format!("there is no tool `{name}` here{near}\nYou can call: {}", names.join(", "))
    }

    fn tool_names(&self) -> Vec<&str> {
        self.tools.iter().map(|it| it.spec.name.as_str()).collect()
    }
}

/// Bytes that the decisions of one message may take: they stand in its record, which has a limit.
const DECISION_BYTES: usize = limits::RECORD_BYTES / 4;

/// A decision stands in the event itself; one that is too large for it could never be recorded.
fn recordable(meaning: Meaning, room: &mut usize) -> Result<Meaning, String> {
    if let Meaning::Decision(decision) = &meaning {
        let bytes = serde_json::to_vec(decision).map_or(usize::MAX, |json| json.len());
        *room = room.checked_sub(bytes).ok_or("not done: too much for one message; make it smaller")?;
    }
    Ok(meaning)
}

/// Bytes of a refusal; reservations count on it.
const MOST: usize = limits::REFUSAL_BYTES as usize;

/// Characters of a tool's name that are recorded; a longer one is no tool's.
const NAME_CHARS: usize = 64;

enum Meaning {
    Effect(Judged, Option<Ruling>, Option<Digest>),
    Decision(Control),
}

/// The arguments as an object. A model that sends none means an empty one.
fn object(name: &str, args: Value) -> Result<Value, String> {
    match args {
        Value::Object(_) => Ok(args),
        Value::Null => Ok(Value::Object(serde_json::Map::new())),
        Value::String(text) => {
            let why = match serde_json::from_str::<Value>(&text) {
                Ok(_) => "a string".to_owned(),
                Err(error) => format!("not valid JSON ({error})"),
            };
            Err(format!("the arguments of `{name}` must be a JSON object; they are {why}"))
        }
        _ => Err(format!("the arguments of `{name}` must be a JSON object")),
    }
}
