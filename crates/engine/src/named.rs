//! Tools with their names at hand: a spec is made anew each time it is asked for, schema and all.
//!
//! Knows the Tool port below it. Start at [`all`].

use contract::action::EffectClass;
use contract::model::ToolSpec;
use contract::policy::Part;
use contract::port::Sink;
use contract::tool::{Judged, Output, Scope, Tool};
use contract::{BoxFuture, Cancel, Digest, Fault};
use serde_json::Value;
use std::borrow::Cow;
use std::sync::Arc;

struct Named {
    name: String,
    tool: Arc<dyn Tool>,
}

/// The same tools, each asked for its name once.
pub(crate) fn all(tools: Vec<Arc<dyn Tool>>) -> Vec<Arc<dyn Tool>> {
    let named = |tool: Arc<dyn Tool>| -> Arc<dyn Tool> {
        let name = tool.name().into_owned();
        Arc::new(Named { name, tool })
    };
    tools.into_iter().map(named).collect()
}

impl Tool for Named {
    fn spec(&self) -> ToolSpec {
        self.tool.spec()
    }

    fn name(&self) -> Cow<'_, str> {
        Cow::Borrowed(&self.name)
    }

    fn is_core(&self) -> bool {
        self.tool.is_core()
    }

    fn judge(&self, args: &Value, scope: &Scope) -> Result<Judged, Fault> {
        self.tool.judge(args, scope)
    }

    fn parts(&self, args: &Value, scope: &Scope, class: EffectClass) -> Vec<Part> {
        self.tool.parts(args, scope, class)
    }

    fn together(&self, args: &Value, scope: &Scope) -> Option<Digest> {
        self.tool.together(args, scope)
    }

    fn run<'a>(
        &'a self,
        args: Value,
        scope: Scope,
        cancel: Cancel,
        sink: &'a dyn Sink,
    ) -> BoxFuture<'a, Output> {
        self.tool.run(args, scope, cancel, sink)
    }
}
