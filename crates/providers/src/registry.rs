//! Finds a model by its id. Knows which models exist, not what they do.
//!
//! Start at [`open`]: a new provider is one more row of [`BUILT_IN`] or a prefix beside it.

use crate::{Fixer, Script};
use contract::model::{Model, ModelRef, Models};
use contract::text::suggestion;
use contract::{Fault, Kind};
use std::path::Path;
use std::sync::Arc;

/// Every id there is, as shown to a person; `<path>` stands for a file.
const BUILT_IN: [&str; 2] = ["builtin/fixer", "builtin/script:<path>"];
const FIXER: &str = "builtin/fixer";
const SCRIPT: &str = "builtin/script";

/// The registry as the port the binary wires in.
#[derive(Debug, Clone, Copy, Default)]
pub struct Registry;

impl Models for Registry {
    fn open(&self, id: &str, project: &Path) -> Result<(ModelRef, Arc<dyn Model>), Fault> {
        open(id, project)
    }
}

/// The model of this id. A script's path is relative to `project`. Unknown ids are the person's to mend.
pub fn open(id: &str, project: &Path) -> Result<(ModelRef, Arc<dyn Model>), Fault> {
    let model: Arc<dyn Model> = match id.split_once(':') {
        None if id == FIXER => Arc::new(Fixer),
        Some((SCRIPT, path)) if !path.is_empty() => Arc::new(Script::load(&project.join(path))?),
        _ => return Err(unknown(id)),
    };
    Ok((ModelRef { id: id.into(), card: model.card(), quota: None }, model))
}

fn unknown(id: &str) -> Fault {
    let name = id.split_once(':').map_or(id, |(name, _)| name);
    let fault = |what: String, hint: String| Fault::new(Kind::UserFixable, "model-unknown", what).hint(hint);
    if name == SCRIPT {
        let what = format!("`{id}` names no script file");
        return fault(what, format!("add its path: `{SCRIPT}:path/to/script.toml`"));
    }
    let guess = suggestion(name, [FIXER, SCRIPT]);
    fault(format!("there is no model `{id}`"), format!("{guess}models: {}", BUILT_IN.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(id: &str) -> Fault {
        open(id, Path::new(".")).err().expect("refused")
    }

    #[test]
    fn the_fixer_is_free_and_says_so() {
        let (reference, model) = open("builtin/fixer", Path::new(".")).unwrap();
        assert_eq!(reference.id, "builtin/fixer");
        let price = model.card().price.expect("known");
        assert_eq!((price.input, price.output), (0, 0));
    }

    #[test]
    fn a_script_is_found_relative_to_the_project() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("play.toml"), "[[turn]]\ntext = \"hello\"\n").unwrap();
        let (reference, _) = open("builtin/script:play.toml", dir.path()).unwrap();
        assert_eq!(reference.id, "builtin/script:play.toml");
    }

    #[test]
    fn unknown_ids_are_the_persons_to_mend() {
        let typo = refused("builtin/fixr");
        assert_eq!((typo.kind, typo.code.as_str()), (Kind::UserFixable, "model-unknown"));
        assert_eq!(
            typo.to_string(),
            "there is no model `builtin/fixr`\n  hint: did you mean `builtin/fixer`? models: builtin/fixer, builtin/script:<path>"
        );
        assert!(refused("somebody/else").hint.starts_with("models: "));
        assert!(refused("builtin/script").hint.contains("add its path"));
        assert_eq!(refused("builtin/script:/no/such/file.toml").code, "script-unreadable");
    }
}
