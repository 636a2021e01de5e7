//! The table of routes: one row says where a route is, what it takes, what it answers and who answers it. The router
//! and the OpenAPI document are both made of it, so that neither can know what the other does not.
//!
//! In debug builds every answer is held against its row: one that the document does not tell of is an error, in whatever
//! test it turns up. Knows no route. Start at [`Route`].

use crate::Api;
use crate::page::{Param, Query};
use crate::problem::status;
use axum::Router;
use axum::extract::{Request, State};
use axum::handler::Handler;
use axum::http::Method;
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodFilter, MethodRouter, on};
use contract::{Fault, Kind};
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::sync::Arc;

/// What any route can be refused with, whoever refuses.
pub(crate) const COMMON: &[&str] = &[
    "bad-request",
    "unauthorised",
    "forbidden",
    "slow-body",
    "too-large",
    "bad-field",
    "rate-limited",
    "broken",
    "closing",
];
pub(crate) const JSON: &str = "application/json";

/// A type as JSON has it.
#[derive(Clone, Copy)]
pub(crate) struct Shape {
    /// For the document.
    pub(crate) schema: fn(&mut SchemaGenerator) -> Schema,
    /// What is wrong with a value that should be one.
    #[cfg_attr(
        not(debug_assertions),
        expect(dead_code, reason = "answers are held against it in debug builds")
    )]
    check: fn(&Value) -> Result<(), String>,
}

/// One answer of a route.
#[derive(Clone, Copy)]
pub(crate) struct Told {
    pub(crate) status: u16,
    pub(crate) what: &'static str,
    /// The type of what is sent; empty: nothing is.
    pub(crate) media: &'static str,
    pub(crate) shape: Option<Shape>,
    /// Headers that are always there.
    pub(crate) headers: &'static [(&'static str, &'static str)],
}

/// One row of the table.
pub(crate) struct Route {
    pub(crate) method: Method,
    pub(crate) path: &'static str,
    /// In one sentence.
    pub(crate) what: &'static str,
    pub(crate) params: &'static [Param],
    pub(crate) body: Option<fn(&mut SchemaGenerator) -> Schema>,
    /// Types of a body that is no JSON of ours.
    pub(crate) bodies: &'static [&'static str],
    pub(crate) answers: Vec<Told>,
    /// Codes of refusals besides [`COMMON`].
    pub(crate) refuses: &'static [&'static str],
    /// Takes an `Idempotency-Key`.
    pub(crate) repeats: bool,
    /// Answered to who has no credential.
    pub(crate) open: bool,
    /// What a client can count on where this route is.
    pub(crate) gives: Option<&'static str>,
    handler: MethodRouter<Arc<Api>>,
}

impl Route {
    fn new<H, T>(
        method: Method,
        filter: MethodFilter,
        path: &'static str,
        what: &'static str,
        handler: H,
    ) -> Self
    where
        H: Handler<T, Arc<Api>>,
        T: 'static,
    {
        Self {
            method,
            path,
            what,
            params: &[],
            body: None,
            bodies: &[],
            answers: Vec::new(),
            refuses: &[],
            repeats: false,
            open: false,
            gives: None,
            handler: on(filter, handler),
        }
    }

    pub(crate) fn get<H: Handler<T, Arc<Api>>, T: 'static>(
        path: &'static str,
        what: &'static str,
        handler: H,
    ) -> Self {
        Self::new(Method::GET, MethodFilter::GET, path, what, handler)
    }

    pub(crate) fn post<H: Handler<T, Arc<Api>>, T: 'static>(
        path: &'static str,
        what: &'static str,
        handler: H,
    ) -> Self {
        Self::new(Method::POST, MethodFilter::POST, path, what, handler)
    }

    pub(crate) fn delete<H: Handler<T, Arc<Api>>, T: 'static>(
        path: &'static str,
        what: &'static str,
        handler: H,
    ) -> Self {
        Self::new(Method::DELETE, MethodFilter::DELETE, path, what, handler)
    }

    pub(crate) fn takes(self, params: &'static [Param]) -> Self {
        Self { params, ..self }
    }

    /// A body of this type.
    pub(crate) fn reads<T: JsonSchema>(self) -> Self {
        Self { body: Some(SchemaGenerator::subschema_for::<T>), ..self }
    }

    /// A body that is none of ours.
    pub(crate) fn reads_any(self, bodies: &'static [&'static str]) -> Self {
        Self { bodies, ..self }
    }

    /// JSON of this type.
    pub(crate) fn answers<T: JsonSchema + Serialize + DeserializeOwned>(
        self,
        status: u16,
        what: &'static str,
    ) -> Self {
        let shape = Shape { schema: SchemaGenerator::subschema_for::<T>, check: checked::<T> };
        self.told(Told { status, what, media: JSON, shape: Some(shape), headers: &[] })
    }

    /// Bytes of another type, or none at all.
    pub(crate) fn sends(self, status: u16, what: &'static str, media: &'static str) -> Self {
        self.told(Told { status, what, media, shape: None, headers: &[] })
    }

    /// The newest answer comes with these headers.
    pub(crate) fn with(mut self, headers: &'static [(&'static str, &'static str)]) -> Self {
        if let Some(told) = self.answers.last_mut() {
            told.headers = headers;
        }
        self
    }

    fn told(mut self, told: Told) -> Self {
        self.answers.push(told);
        self
    }

    pub(crate) fn refuses(self, refuses: &'static [&'static str]) -> Self {
        Self { refuses, ..self }
    }

    pub(crate) fn repeats(self) -> Self {
        Self { repeats: true, ..self }
    }

    pub(crate) fn open(self) -> Self {
        Self { open: true, ..self }
    }

    pub(crate) fn gives(self, what: &'static str) -> Self {
        Self { gives: Some(what), ..self }
    }

    /// Every code it can be refused with, and the status that comes with it.
    pub(crate) fn codes(&self) -> Vec<(u16, &'static str)> {
        let body: &[&str] = if self.body.is_some() { &["media-type"] } else { &[] };
        let codes = [COMMON, self.refuses, body].concat();
        codes.into_iter().map(|code| (status_of(code), code)).collect()
    }
}

/// The status of a code.
pub(crate) fn status_of(code: &str) -> u16 {
    let kind = match code {
        "broken" | "store" => Kind::Permanent,
        "provider" => Kind::Degraded,
        _ => Kind::UserFixable,
    };
    status(&Fault::new(kind, code, "")).as_u16()
}

/// Is it one of these, to the last field? What is null may be absent.
fn checked<T: Serialize + DeserializeOwned>(value: &Value) -> Result<(), String> {
    let read: T = serde_json::from_value(value.clone()).map_err(|error| error.to_string())?;
    let again = serde_json::to_value(&read).map_err(|error| error.to_string())?;
    differs(value, &again, &mut String::new()).map_or(Ok(()), Err)
}

/// The first place where they differ.
fn differs(is: &Value, read: &Value, at: &mut String) -> Option<String> {
    let long = at.len();
    let mut inside = |name: &str, is: &Value, read: &Value| {
        at.push('/');
        at.push_str(name);
        let found = differs(is, read, at);
        at.truncate(long);
        found
    };
    match (is, read) {
        (Value::Object(is), Value::Object(read)) => {
            let names = is.keys().chain(read.keys());
            let null = Value::Null;
            let of = |map: &'_ serde_json::Map<String, Value>, name: &str| map.get(name).cloned();
            for name in names {
                let (is, read) = (of(is, name), of(read, name));
                if let Some(found) =
                    inside(name, is.as_ref().unwrap_or(&null), read.as_ref().unwrap_or(&null))
                {
                    return Some(found);
                }
            }
            None
        }
        (Value::Array(is), Value::Array(read)) if is.len() == read.len() => {
            is.iter().zip(read).enumerate().find_map(|(n, (is, read))| inside(&n.to_string(), is, read))
        }
        _ if is == read => None,
        _ => Some(format!("{at} is {is}, and its type has {read} there")),
    }
}

/// What stands around a handler.
struct Around {
    params: &'static [Param],
    #[cfg(debug_assertions)]
    proof: proof::Row,
}

/// The router that these rows are.
pub(crate) fn router(api: &Arc<Api>, table: Vec<Route>) -> Router {
    let rows = table.into_iter().fold(Router::new(), |router, route| {
        let around = Around {
            params: route.params,
            #[cfg(debug_assertions)]
            proof: proof::Row::of(&route),
        };
        router.route(route.path, route.handler.route_layer(from_fn_with_state(Arc::new(around), pass)))
    });
    rows.with_state(Arc::clone(api))
}

/// One request, with the parameters that its row knows.
async fn pass(State(around): State<Arc<Around>>, mut request: Request, next: Next) -> Response {
    let query = match Query::read(request.uri().query(), around.params) {
        Ok(query) => query,
        Err(refused) => return refused.into_response(),
    };
    request.extensions_mut().insert(query);
    let response = next.run(request).await;
    #[cfg(debug_assertions)]
    let response = around.proof.hold(response).await;
    response
}

/// Answers against their rows, while Kapell is being built.
#[cfg(debug_assertions)]
mod proof {
    use super::{JSON, Route, Told};
    use crate::problem::Refused;
    use axum::body::{Body, HttpBody, to_bytes};
    use axum::http::header;
    use axum::response::{IntoResponse, Response};
    use contract::{Fault, Kind};

    /// Longer ones pass unread.
    const READ: u64 = 1 << 20;

    pub(super) struct Row {
        name: String,
        answers: Vec<Told>,
        refusals: Vec<u16>,
    }

    impl Row {
        pub(super) fn of(route: &Route) -> Self {
            Self {
                name: format!("{} {}", route.method, route.path),
                answers: route.answers.clone(),
                refusals: route.codes().into_iter().map(|(status, _)| status).collect(),
            }
        }

        pub(super) async fn hold(&self, response: Response) -> Response {
            let status = response.status().as_u16();
            if response.extensions().get::<Refused>().is_some() {
                return match self.refusals.contains(&status) {
                    true => response,
                    false => self.wrong(&format!("a refusal with status {status} is not in its row")),
                };
            }
            let kind = response.headers().get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
            let kind = kind.unwrap_or_default().to_owned();
            let told = self.answers.iter().find(|told| told.status == status && kind.starts_with(told.media));
            match told {
                None => self.wrong(&format!("status {status} with `{kind}` is not in its row")),
                Some(told) if told.media == JSON => self.read(told, response).await,
                Some(_) => response,
            }
        }

        async fn read(&self, told: &Told, response: Response) -> Response {
            let Some(shape) = told.shape else { return response };
            if response.body().size_hint().exact().is_none_or(|bytes| bytes == 0 || bytes > READ) {
                return response;
            }
            let (parts, body) = response.into_parts();
            let Ok(bytes) = to_bytes(body, usize::MAX).await else { return self.wrong("its body is cut") };
            let checked = serde_json::from_slice(&bytes).map_err(|error| error.to_string());
            match checked.and_then(|value| (shape.check)(&value)) {
                Ok(()) => Response::from_parts(parts, Body::from(bytes)),
                Err(why) => self.wrong(&why),
            }
        }

        fn wrong(&self, why: &str) -> Response {
            let what = format!("{} answers what the document does not tell of: {why}", self.name);
            tracing::error!(%what);
            let fault = Fault::new(Kind::Permanent, "undocumented", what);
            Refused::from(fault.hint("crates/api: complete the row, or the type in `shape`")).into_response()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[derive(Serialize, serde::Deserialize)]
    struct One {
        name: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        more: Option<Vec<u64>>,
    }

    #[test]
    fn a_value_is_its_type_to_the_last_field() {
        for good in
            [json!({"name": "a"}), json!({"name": "a", "more": null}), json!({"name": "a", "more": [1]})]
        {
            assert_eq!(checked::<One>(&good), Ok(()), "{good}");
        }
        for bad in
            [json!({}), json!({"name": 1}), json!({"name": "a", "most": 1}), json!({"name": "a", "more": 2})]
        {
            assert!(checked::<One>(&bad).is_err(), "{bad}");
        }
        let deep = json!([{"name": "a", "x": {"y": 1}}]);
        assert_eq!(checked::<Vec<One>>(&deep).unwrap_err(), "/0/x is {\"y\":1}, and its type has null there");
    }
}
