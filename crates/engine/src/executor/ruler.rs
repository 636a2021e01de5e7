//! Asks the rules about a call: when it is put on record, and again before it runs.
//!
//! Decides nothing: `kernel::policy` does. Start at [`Ruler::ruled`].

use super::Job;
use super::writes::Writes;
use contract::Fault;
use contract::action::EffectClass;
use contract::confine::{InForce, Network};
use contract::policy::{Decision, Ruling};
use contract::session::Ask;
use contract::tool::{Scope, Tool};
use kernel::policy::{Policy, Setting, only_reads};
use serde_json::Value;
use std::sync::Arc;

/// The rules for one session, as they were when it was made.
pub(super) struct Ruler {
    policy: Result<Arc<Policy>, Fault>,
    ask: Ask,
    reads: bool,
    writes: Writes,
}

impl Ruler {
    pub(super) fn new(job: &Job) -> Self {
        let spec = &job.run.context.spec;
        let policy = job.ports.rules.of(&spec.repo, spec.root(job.run.session));
        let writes = Writes::of(&spec.rights.writes);
        Self { policy, ask: spec.rights.ask, reads: only_reads(&spec.mode), writes }
    }

    /// What the rules say: nothing, a word for the record, or why it is refused.
    pub(super) fn ruled(
        &self,
        tool: &dyn Tool,
        args: &Value,
        scope: &Scope,
        class: EffectClass,
        held: Option<&InForce>,
    ) -> Result<Option<Ruling>, String> {
        let parts = tool.parts(args, scope, class);
        if let Some(why) = self.writes.refuse(&parts, class) {
            return Err(format!("not run: denied: {why} (mode)"));
        }
        if parts.is_empty() {
            let changes = self.reads && class > EffectClass::Pure;
            return if changes {
                Err("not run: denied: this mode only reads (mode)".into())
            } else {
                Ok(None)
            };
        }
        let policy =
            self.policy.as_ref().map_err(|fault| format!("not run: the rules cannot be read: {fault}"))?;
        // What is not external is kept to the workspace by the tool itself, or declared by the project.
        let confined = class != EffectClass::External;
        let whole = held.filter(|held| confined && held.holds() && held.namespaces);
        let caged = whole.map(|held| held.network).filter(|network| *network != Network::On);
        let ruling = policy.rule(Setting { ask: self.ask, confined, caged, reads: self.reads }, &parts);
        match ruling.verdict {
            Decision::Deny => Err(format!("not run: denied: {}", ruling.why)),
            Decision::Allow if confined => Ok(None),
            _ => Ok(Some(ruling)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::fake::World;
    use super::*;
    use contract::action::{Done, End, Work};
    use contract::tool::Output;
    use serde_json::json;

    #[tokio::test(start_paused = true)]
    async fn where_only_reading_is_expected_a_tool_that_names_nothing_changes_nothing() {
        use EffectClass::{External, Keyed, Pure, Staged};
        for (mode, class, runs) in [
            ("plan", Pure, true),
            ("plan", Keyed, false),
            ("plan", Staged, false),
            ("review", External, false),
            ("code", Staged, true),
        ] {
            let world = World::default();
            world.tool("odd", class, |_, _| Box::pin(async { Output::ok("ran") }));
            let calls = vec![world.call("c", "odd", class, &json!({}))];
            let mut run = world.run_of(Work::Tools { calls });
            Arc::make_mut(&mut run.context.spec).mode = mode.into();
            let end = world.end(run).await;
            let End::Done(Done::Ran { results, .. }) = &end else { panic!("{end:?}") };
            let text = world.get(results[0].text);
            assert_eq!((results[0].ok, text == "ran"), (runs, runs), "{mode} {class:?}: {text}");
            assert!(runs || text.contains("this mode only reads"), "{text}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn where_a_mode_writes_some_files_only_a_tool_that_names_none_changes_nothing() {
        for (writes, ran) in [(Vec::new(), true), (vec![r"\.md$".to_owned()], false)] {
            let world = World::default();
            world.tool("odd", EffectClass::Staged, |_, _| Box::pin(async { Output::ok("ran") }));
            let calls = vec![world.call("c", "odd", EffectClass::Staged, &json!({}))];
            let mut run = world.run_of(Work::Tools { calls });
            Arc::make_mut(&mut run.context.spec).rights.writes = writes;
            let (ok, text) = world.results(&world.end(run).await).remove(0);
            assert_eq!((ok, text.contains("this mode writes only")), (ran, !ran), "{text}");
        }
    }
}
