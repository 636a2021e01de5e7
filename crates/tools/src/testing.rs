//! What the tests of every tool need: a workspace, a scope, blobs, and data nobody here wrote.
//! Knows nothing of single tools. Start at [`Bench`].

use contract::port::{Blobs, Delta, Sink};
use contract::tool::{Judged, Output, Scope, Tool};
use contract::{BoxFuture, Cancel, Digest, Fault, Kind, SessionId};
use serde_json::Value;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

/// A workspace `top/ws` with something outside it that must never be seen or changed.
pub(crate) struct Bench {
    dir: tempfile::TempDir,
    pub(crate) scope: Scope,
    pub(crate) lines: Arc<Lines>,
}

pub(crate) const OUTSIDE: &str = "secret-that-lies-outside";

#[derive(Default)]
pub(crate) struct Lines(pub(crate) Mutex<Vec<Delta>>);

impl Sink for Lines {
    fn delta(&self, delta: Delta) {
        self.0.lock().unwrap().push(delta);
    }
}

#[derive(Default)]
struct Store(Mutex<HashMap<Digest, Vec<u8>>>);

impl Blobs for Store {
    fn blob(&self, digest: Digest) -> BoxFuture<'_, Result<Vec<u8>, Fault>> {
        let found = self.0.lock().unwrap().get(&digest).cloned();
        let missing = || Fault::new(Kind::Permanent, "no-blob", "there is no such blob");
        Box::pin(async move { found.ok_or_else(missing) })
    }
}

impl Bench {
    pub(crate) fn new() -> Self {
        Self::with_blobs(&[])
    }

    pub(crate) fn with_blobs(blobs: &[&[u8]]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let top = dir.path().canonicalize().unwrap();
        std::fs::create_dir(top.join("ws")).unwrap();
        std::fs::write(top.join("outside.txt"), OUTSIDE).unwrap();
        let store = Store::default();
        store.0.lock().unwrap().extend(blobs.iter().map(|bytes| (Digest::of(bytes), bytes.to_vec())));
        let scope = Scope {
            session: SessionId::v7(1, 1),
            key: "s/1.1".into(),
            root: top.join("ws"),
            env: Vec::new(),
            declared: vec!["cargo test".into()],
            reads: false,
            confinement: None,
            together: 1,
            blobs: Arc::new(store),
            masks: None,
        };
        Self { dir, scope, lines: Arc::default() }
    }

    pub(crate) fn root(&self) -> &Path {
        &self.scope.root
    }

    pub(crate) fn top(&self) -> PathBuf {
        self.dir.path().canonicalize().unwrap()
    }

    pub(crate) fn file(&self, name: impl AsRef<Path>, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.root().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, bytes).unwrap();
        path
    }

    pub(crate) fn text(&self, name: &str) -> String {
        std::fs::read_to_string(self.root().join(name)).unwrap()
    }

    pub(crate) fn judge(&self, tool: &dyn Tool, args: Value) -> Result<Judged, Fault> {
        tool.judge(&args, &self.scope)
    }

    pub(crate) fn run(&self, tool: &dyn Tool, args: Value) -> Output {
        self.run_with(tool, args, Cancel::new())
    }

    pub(crate) fn run_with(&self, tool: &dyn Tool, args: Value, cancel: Cancel) -> Output {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(tool.run(args, self.scope.clone(), cancel, self.lines.as_ref()))
    }

    /// Nothing outside the workspace has changed.
    pub(crate) fn outside_is_untouched(&self) {
        let mut names: Vec<_> =
            std::fs::read_dir(self.top()).unwrap().map(|e| e.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, ["outside.txt", "ws"]);
        assert_eq!(std::fs::read_to_string(self.top().join("outside.txt")).unwrap(), OUTSIDE);
    }
}

/// A file of the data outside the project, if it is here; otherwise says what is skipped.
pub(crate) fn data(file: &str, count: usize) -> Option<Vec<u8>> {
    let default = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data");
    let dir = std::env::var_os("KAPELL_DATA").map_or(default, PathBuf::from);
    let bytes = std::fs::read(dir.join(file)).ok();
    if bytes.is_none() {
        eprintln!("SKIPPED {count} cases: {file} is not in KAPELL_DATA");
    }
    bytes
}
