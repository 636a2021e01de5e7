//! A refusal as its reader gets it: RFC 9457, `application/problem+json`.
//!
//! Knows words and statuses, not when they are said. Start at [`Problem`].

use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;

/// Why a request was not answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// As HTTP has it.
    pub status: StatusCode,
    /// A stable short name.
    pub code: &'static str,
    /// What to do.
    pub detail: String,
    header: Option<(HeaderName, &'static str)>,
}

impl Problem {
    /// With this status, a stable short name, and a sentence that says what to do.
    pub fn new(status: StatusCode, code: &'static str, detail: impl Into<String>) -> Self {
        Self { status, code, detail: detail.into(), header: None }
    }

    /// And this header.
    #[must_use]
    pub fn with(mut self, name: HeaderName, value: &'static str) -> Self {
        self.header = Some((name, value));
        self
    }

    /// Too much is under way; later it may not be.
    pub fn busy(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "busy", detail).with(header::RETRY_AFTER, "1")
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let title = self.status.canonical_reason().unwrap_or_default();
        let body =
            json!({"title": title, "status": self.status.as_u16(), "code": self.code, "detail": self.detail});
        let kind = [(header::CONTENT_TYPE, "application/problem+json")];
        let mut response = (self.status, kind, format!("{body}\n")).into_response();
        if let Some((name, value)) = &self.header {
            response.headers_mut().insert(name.clone(), HeaderValue::from_static(value));
        }
        // For a surface that words its refusals itself.
        response.extensions_mut().insert(self);
        response
    }
}
