//! The twenty tools: names, parameters, and which function each is. What a client is shown of them is made from this.
//!
//! Start at [`TOOLS`].

use crate::args::Args;
use crate::{
    Desk, Done, develop, files, orchestrate, schedule, search, status, structure, sync, times, validate,
};
use board::memory::SECTIONS;
use board::timing::PRIORITIES;
use serde_json::{Map, Value, json};

/// What the names of the old server end in.
pub const SUFFIX: &str = "_tool";

/// A tool.
#[derive(Debug)]
pub struct Spec {
    /// Without the suffix.
    pub name: &'static str,
    /// In one sentence.
    pub about: &'static str,
    /// Does it leave everything as it is?
    pub read_only: bool,
    /// The argument that a failed reply repeats.
    pub(crate) key: Option<&'static str>,
    pub(crate) params: &'static [Param],
    pub(crate) run: fn(&Desk, &Args) -> Done,
}

impl Spec {
    /// Does it answer the same, its time aside, until something below the directory changes?
    pub fn is_steady(&self) -> bool {
        matches!(
            self.name,
            "get_todo_status" | "list_project_structure" | "read_project_file" | "search_in_files"
        )
    }
}

/// A parameter.
#[derive(Debug)]
pub(crate) struct Param {
    pub(crate) name: &'static str,
    pub(crate) takes: Takes,
    pub(crate) required: bool,
    /// JSON; empty = none.
    default: &'static str,
}

/// What an argument can be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Takes {
    Text,
    Whole,
    Flag,
    Object,
    Texts,
    OneOf(&'static [&'static str]),
}

impl Param {
    pub(crate) fn default(&self) -> Option<Value> {
        serde_json::from_str(self.default).ok()
    }

    fn schema(&self) -> Value {
        let mut schema = match self.takes {
            Takes::Text => json!({"type": "string"}),
            Takes::Whole => json!({"type": "integer", "minimum": 0}),
            Takes::Flag => json!({"type": "boolean"}),
            Takes::Object => json!({"type": "object"}),
            Takes::Texts => json!({"type": "array", "items": {"type": "string"}}),
            Takes::OneOf(words) => json!({"type": "string", "enum": words}),
        };
        if let Some(default) = self.default() {
            schema["default"] = default;
        }
        schema
    }
}

impl Spec {
    /// The JSON Schema of the arguments.
    pub fn input(&self) -> Map<String, Value> {
        let properties: Map<String, Value> =
            self.params.iter().map(|param| (param.name.to_owned(), param.schema())).collect();
        let required: Vec<&str> = self.params.iter().filter(|param| param.required).map(|p| p.name).collect();
        let mut schema = Map::new();
        schema.insert("type".into(), "object".into());
        schema.insert("properties".into(), properties.into());
        if !required.is_empty() {
            schema.insert("required".into(), required.into());
        }
        schema
    }

    /// The JSON Schema of the structured reply.
    pub fn output() -> Map<String, Value> {
        let schema = json!({
            "type": "object", "properties": {"result": {"type": "object"}}, "required": ["result"],
        });
        schema.as_object().cloned().unwrap_or_default()
    }
}

/// The tool of this name, with or without the suffix.
pub fn find(name: &str) -> Option<&'static Spec> {
    let name = name.strip_suffix(SUFFIX).unwrap_or(name);
    TOOLS.iter().find(|spec| spec.name == name)
}

const fn must(name: &'static str, takes: Takes) -> Param {
    Param { name, takes, required: true, default: "" }
}

const fn may(name: &'static str, takes: Takes) -> Param {
    Param { name, takes, required: false, default: "" }
}

const fn or(name: &'static str, takes: Takes, default: &'static str) -> Param {
    Param { name, takes, required: false, default }
}

const SECTION: Takes = Takes::OneOf(&SECTIONS);
const PRIORITY: Takes = Takes::OneOf(&PRIORITIES);

use Takes::{Flag, Object, Text, Texts, Whole};

/// All of them.
pub const TOOLS: &[Spec] = &[
    Spec {
        name: "get_schedule_status",
        about: "Schedules of the project and when they run next.",
        read_only: true,
        key: Some("schedule_id"),
        params: &[
            may("schedule_id", Text),
            or("include_inactive", Flag, "false"),
            or("format_output", Flag, "true"),
        ],
        run: schedule::status,
    },
    Spec {
        name: "manage_schedules",
        about: "Create, update, activate, deactivate or delete a schedule.",
        read_only: false,
        key: Some("action"),
        params: &[
            must("action", Text),
            may("schedule_data", Object),
            may("schedule_id", Text),
            may("update_fields", Object),
        ],
        run: schedule::manage,
    },
    Spec {
        name: "track_task_time",
        about: "Start or stop the clock of a task.",
        read_only: false,
        key: Some("task_description"),
        params: &[
            must("task_description", Text),
            may("mode", Text),
            or("priority", PRIORITY, "\"normal\""),
            or("start_tracking", Flag, "true"),
            may("task_id", Text),
        ],
        run: times::track,
    },
    Spec {
        name: "get_time_tracking",
        about: "Tracked time, filtered, with sums by mode.",
        read_only: true,
        key: None,
        params: &[
            may("filter_mode", Text),
            may("filter_priority", PRIORITY),
            may("start_date", Text),
            may("end_date", Text),
            may("limit", Whole),
        ],
        run: times::report,
    },
    Spec {
        name: "get_persistent_memory",
        about: "What earlier tasks noted for later ones.",
        read_only: true,
        key: Some("section"),
        params: &[
            may("section", SECTION),
            or("include_metadata", Flag, "false"),
            may("search_pattern", Text),
        ],
        run: orchestrate::memory,
    },
    Spec {
        name: "update_persistent_memory",
        about: "Note something for later tasks.",
        read_only: false,
        key: Some("section"),
        params: &[
            must("section", SECTION),
            must("content", Text),
            may("category", Text),
            or("format_entry", Flag, "true"),
        ],
        run: orchestrate::note,
    },
    Spec {
        name: "get_todo_status",
        about: "Items of the to-do file with their sections.",
        read_only: true,
        key: None,
        params: &[or("include_completed", Flag, "false"), may("search_pattern", Text)],
        run: orchestrate::todo,
    },
    Spec {
        name: "delegate_task",
        about: "Put a task on record for a mode, chosen by its words when none is named.",
        read_only: false,
        key: Some("task_description"),
        params: &[
            must("task_description", Text),
            may("target_mode", Text),
            or("priority", PRIORITY, "\"normal\""),
            may("context", Object),
            may("requirements", Texts),
            may("deadline", Text),
        ],
        run: orchestrate::delegate,
    },
    Spec {
        name: "read_project_file",
        about: "Read a file of the workspace.",
        read_only: true,
        key: Some("file_path"),
        params: &[
            must("file_path", Text),
            or("encoding", Text, "\"utf-8\""),
            may("max_size_mb", Whole),
            or("include_metadata", Flag, "false"),
        ],
        run: files::read,
    },
    Spec {
        name: "write_project_file",
        about: "Write or append to a file of the workspace; the old content is copied first.",
        read_only: false,
        key: Some("file_path"),
        params: &[
            must("file_path", Text),
            must("content", Text),
            or("encoding", Text, "\"utf-8\""),
            or("create_backup", Flag, "true"),
            or("append", Flag, "false"),
            or("ensure_directory", Flag, "true"),
        ],
        run: files::write,
    },
    Spec {
        name: "list_project_structure",
        about: "Files and directories of the workspace as a tree.",
        read_only: true,
        key: Some("directory"),
        params: &[
            may("directory", Text),
            or("recursive", Flag, "true"),
            or("include_hidden", Flag, "false"),
            or("include_directories", Flag, "true"),
            or("include_files", Flag, "true"),
            may("file_pattern", Text),
            may("exclude_patterns", Texts),
            may("max_depth", Whole),
        ],
        run: structure::list,
    },
    Spec {
        name: "search_in_files",
        about: "Lines of files that match a regular expression.",
        read_only: true,
        key: Some("pattern"),
        params: &[
            must("pattern", Text),
            may("directory", Text),
            may("file_pattern", Text),
            or("case_sensitive", Flag, "false"),
            or("whole_word", Flag, "false"),
            may("max_matches", Whole),
            or("include_line_numbers", Flag, "true"),
            or("context_lines", Whole, "0"),
        ],
        run: search::search,
    },
    Spec {
        name: "backup_file",
        about: "Copy a file to the directory for copies.",
        read_only: false,
        key: Some("file_path"),
        params: &[
            must("file_path", Text),
            may("backup_name", Text),
            or("include_timestamp", Flag, "true"),
            may("backup_directory", Text),
        ],
        run: files::backup,
    },
    Spec {
        name: "restore_file",
        about: "Put a copy back in the place of a file; the newest when none is named.",
        read_only: false,
        key: Some("file_path"),
        params: &[
            must("file_path", Text),
            may("backup_path", Text),
            or("create_backup_before_restore", Flag, "true"),
        ],
        run: files::restore,
    },
    Spec {
        name: "get_system_status",
        about: "State of the server, its files and the machine.",
        read_only: true,
        key: None,
        params: &[
            or("include_performance", Flag, "true"),
            or("include_file_health", Flag, "true"),
            or("include_orchestrator_status", Flag, "true"),
            or("check_external_dependencies", Flag, "false"),
        ],
        run: status::status,
    },
    Spec {
        name: "get_mode_capabilities",
        about: "Modes of the project and what each may do.",
        read_only: true,
        key: None,
        params: &[may("filter_by_group", Text), or("include_instructions", Flag, "true")],
        run: develop::modes,
    },
    Spec {
        name: "switch_mode",
        about: "Enter a mode: its role is told, the switch is timed and noted.",
        read_only: false,
        key: Some("target_mode"),
        params: &[
            must("target_mode", Text),
            may("task_context", Text),
            or("priority", PRIORITY, "\"normal\""),
            or("track_time", Flag, "true"),
        ],
        run: develop::switch,
    },
    Spec {
        name: "run_validation",
        about: "Check the system, a file, the orchestrator's files, or the modes.",
        read_only: true,
        key: Some("validation_type"),
        params: &[
            must("validation_type", Text),
            may("target_path", Text),
            may("validation_options", Object),
            or("fail_fast", Flag, "false"),
        ],
        run: validate::run,
    },
    Spec {
        name: "error_recovery",
        about: "Say what to do about an error, count it, and escalate the third of its kind.",
        read_only: false,
        key: Some("operation"),
        params: &[
            must("operation", Text),
            must("error_context", Text),
            may("recovery_strategy", Takes::OneOf(&["retry", "rollback", "cleanup", "escalate"])),
            or("create_checkpoint", Flag, "true"),
        ],
        run: crate::escalate::recover,
    },
    Spec {
        name: "sync_environment",
        about: "Check that files, configuration and modes can be read, and list what changed since the last time.",
        read_only: true,
        key: Some("sync_type"),
        params: &[
            or("sync_type", Text, "\"full\""),
            may("target_components", Texts),
            or("verify_sync", Flag, "true"),
        ],
        run: sync::sync,
    },
];
