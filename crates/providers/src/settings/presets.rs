//! Providers that are known without configuration: where they are, and where their keys are looked for.
//!
//! Names public addresses of vendors and the usual ports of local servers; nothing is called from here. Start at
//! [`PRESETS`].

use super::Dialect;
use crate::dialect::Server;

/// A provider that is known without configuration.
#[derive(Debug, Clone, Copy)]
pub(super) struct Preset {
    pub(super) name: &'static str,
    pub(super) dialect: Dialect,
    pub(super) server: Server,
    pub(super) base_url: &'static str,
    /// Variable that puts another base URL in its place.
    pub(super) base_env: &'static str,
    /// Variables its key is looked for in; the first is the one that is named to people.
    pub(super) key_env: &'static [&'static str],
    pub(super) wants_key: bool,
}

const VENDOR: Preset = Preset {
    name: "anthropic",
    dialect: Dialect::Anthropic,
    server: Server::Vendor,
    base_url: "https://api.anthropic.com",
    base_env: "ANTHROPIC_BASE_URL",
    key_env: &["ANTHROPIC_API_KEY"],
    wants_key: true,
};

/// A server on the person's own machine, which wants a key only where somebody set one.
const LOCAL: Preset = Preset {
    name: "ollama",
    dialect: Dialect::Chat,
    server: Server::Ollama,
    base_url: "http://127.0.0.1:11434/v1",
    base_env: "OLLAMA_BASE_URL",
    key_env: &["OLLAMA_API_KEY"],
    wants_key: false,
};

pub(super) const PRESETS: [Preset; 9] = [
    VENDOR,
    Preset {
        name: "openai",
        dialect: Dialect::Responses,
        base_url: "https://api.openai.com/v1",
        base_env: "OPENAI_BASE_URL",
        key_env: &["OPENAI_API_KEY"],
        ..VENDOR
    },
    Preset {
        name: "google",
        dialect: Dialect::Gemini,
        base_url: "https://generativelanguage.googleapis.com",
        base_env: "GEMINI_BASE_URL",
        key_env: &["GEMINI_API_KEY", "GOOGLE_API_KEY"],
        ..VENDOR
    },
    Preset {
        name: "openrouter",
        dialect: Dialect::Chat,
        server: Server::OpenRouter,
        base_url: "https://openrouter.ai/api/v1",
        base_env: "OPENROUTER_BASE_URL",
        key_env: &["OPENROUTER_API_KEY"],
        ..VENDOR
    },
    Preset {
        name: "deepseek",
        dialect: Dialect::Chat,
        server: Server::DeepSeek,
        base_url: "https://api.deepseek.com/v1",
        base_env: "DEEPSEEK_BASE_URL",
        key_env: &["DEEPSEEK_API_KEY"],
        ..VENDOR
    },
    LOCAL,
    Preset {
        name: "llamacpp",
        server: Server::LlamaCpp,
        base_url: "http://127.0.0.1:8080/v1",
        base_env: "LLAMACPP_BASE_URL",
        key_env: &["LLAMACPP_API_KEY"],
        ..LOCAL
    },
    Preset {
        name: "vllm",
        server: Server::Vllm,
        base_url: "http://127.0.0.1:8000/v1",
        base_env: "VLLM_BASE_URL",
        key_env: &["VLLM_API_KEY"],
        ..LOCAL
    },
    Preset {
        name: "lmstudio",
        server: Server::LmStudio,
        base_url: "http://127.0.0.1:1234/v1",
        base_env: "LMSTUDIO_BASE_URL",
        key_env: &["LMSTUDIO_API_KEY"],
        ..LOCAL
    },
];
