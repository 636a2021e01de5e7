//! The console: its files as they are committed in `console/dist`, in the binary, under a policy that lets nothing else in.
//!
//! Knows neither sessions nor who logged in: the files hold no data. Start at [`routes`]; the list is [`FILES`].

use crate::problem::Refused;
use crate::route::Route;
use axum::Router;
use axum::body::Bytes;
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use contract::Digest;
use flate2::Compression;
use flate2::write::GzEncoder;
use std::io::Write;
use std::sync::LazyLock;

const HTML: &str = "text/html; charset=utf-8";
const SCRIPT: &str = "text/javascript";
const STYLE: &str = "text/css";

macro_rules! dist {
    ($($path:literal: $kind:expr),* $(,)?) => {
        &[$(($path, $kind, include_bytes!(concat!("../../../console/dist", $path)).as_slice())),*]
    };
}

/// Every file by its path, with its type and its bytes. Names in `assets` hold a hash of what is in them, so this list
/// changes with each build of the console; `the_list_is_what_was_built` names what it lacks.
const FILES: &[(&str, &str, &[u8])] = dist![
    "/index.html": HTML,
    "/assets/index-18-qArEA.css": STYLE,
    "/assets/index-CxV6T7kK.js": SCRIPT,
    "/assets/xterm-CSNcjLAX.js": SCRIPT,
    "/assets/xterm-DkTCHfhq.css": STYLE,
    "/icon.svg": "image/svg+xml",
    "/manifest.webmanifest": "application/manifest+json",
];

/// What a page of ours may do: run its own scripts, and ask this server. Nothing inline, nothing from elsewhere, no text
/// that becomes more than text.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; \
    connect-src 'self'; manifest-src 'self'; worker-src 'self'; base-uri 'none'; form-action 'none'; \
    frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'; report-uri /v1/csp-reports";
/// With every file.
const HEADERS: [(&str, &str); 8] = [
    ("content-security-policy", POLICY),
    ("x-content-type-options", "nosniff"),
    ("x-frame-options", "DENY"),
    ("referrer-policy", "no-referrer"),
    ("cross-origin-opener-policy", "same-origin"),
    ("cross-origin-resource-policy", "same-origin"),
    ("cross-origin-embedder-policy", "require-corp"),
    ("permissions-policy", "camera=(), microphone=(), geolocation=(), usb=(), clipboard-read=()"),
];
/// Where browsers tell what the policy kept out.
const REPORTS: &str = "/v1/csp-reports";
/// Of a report that is logged.
const REPORT_CHARS: usize = 500;

/// A file as it is sent.
struct File {
    path: &'static str,
    kind: &'static str,
    plain: &'static [u8],
    packed: Bytes,
    tag: String,
}

static ALL: LazyLock<Vec<File>> = LazyLock::new(|| {
    let file = |&(path, kind, plain): &(&'static str, &'static str, &'static [u8])| File {
        path,
        kind,
        plain,
        packed: packed(plain),
        tag: format!("\"{}\"", &Digest::of(plain).to_string()[..32]),
    };
    FILES.iter().map(file).collect()
});

fn packed(plain: &[u8]) -> Bytes {
    let mut packer = GzEncoder::new(Vec::new(), Compression::best());
    // Into memory: nothing there fails. What did would go out as it is.
    let written = packer.write_all(plain).and_then(|()| packer.finish());
    written.unwrap_or_default().into()
}

fn file(path: &str) -> Option<&'static File> {
    let path = if path == "/" { "/index.html" } else { path };
    ALL.iter().find(|file| file.path == path)
}

/// Does this path lead to a file of the console?
pub(crate) fn is_page(path: &str) -> bool {
    path == "/" || FILES.iter().any(|(known, ..)| *known == path)
}

/// Those that anybody may name.
pub(crate) fn table() -> Vec<Route> {
    const REPORTED: &[&str] = &["application/csp-report", "application/reports+json"];
    vec![
        Route::get("/", "The console.", serve)
            .sends(200, "Its first file.", HTML)
            .sends(304, "It is the one that the client has.", "")
            .open(),
        Route::post(REPORTS, "What the policy of the console kept out, as browsers report it.", report)
            .reads_any(REPORTED)
            .sends(204, "It is logged.", "")
            .open(),
    ]
}

/// The files of the console by their paths.
pub(crate) fn routes() -> Router {
    FILES.iter().fold(Router::new(), |routes, (path, ..)| routes.route(path, get(serve)))
}

async fn serve(request: Request) -> Response {
    let Some(file) = file(request.uri().path()) else {
        return Refused::of_status(StatusCode::NOT_FOUND).into_response();
    };
    let asked = request.headers();
    let mut headers = HeaderMap::new();
    for (name, value) in HEADERS {
        headers.insert(name, HeaderValue::from_static(value));
    }
    let forever = file.path.starts_with("/assets/");
    let kept = if forever { "public, max-age=31536000, immutable" } else { "no-cache" };
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(kept));
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(file.kind));
    headers.insert(header::VARY, HeaderValue::from_static("accept-encoding"));
    if let Ok(tag) = HeaderValue::from_str(&file.tag) {
        headers.insert(header::ETAG, tag);
    }
    if asked.get(header::IF_NONE_MATCH).is_some_and(|known| known == file.tag.as_str()) {
        return (StatusCode::NOT_MODIFIED, headers).into_response();
    }
    if !file.packed.is_empty() && takes_gzip(asked) {
        headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        return (headers, file.packed.clone()).into_response();
    }
    (headers, file.plain).into_response()
}

fn takes_gzip(headers: &HeaderMap) -> bool {
    let named = headers.get_all(header::ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
    named.flat_map(|value| value.split(',')).any(|one| {
        let mut parts = one.split(';').map(str::trim);
        parts.next() == Some("gzip") && parts.all(|part| part != "q=0")
    })
}

/// A browser tells what the policy kept out of a page of ours. It is a stranger's word: short, and as one line.
async fn report(body: Bytes) -> StatusCode {
    let text = contract::text::clean(&String::from_utf8_lossy(&body));
    let told: String =
        text.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(REPORT_CHARS).collect();
    tracing::warn!(report = %told, "the policy of the console kept something out");
    StatusCode::NO_CONTENT
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;
    use std::io::Read;
    use std::path::Path;

    fn console() -> std::path::PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../console")
    }

    #[test]
    fn the_list_is_what_was_built() {
        let mut built = BTreeSet::new();
        for (dir, below) in [("dist", "/"), ("dist/assets", "/assets/")] {
            for entry in std::fs::read_dir(console().join(dir)).unwrap().flatten() {
                if entry.file_type().unwrap().is_file() {
                    built.insert(format!("{below}{}", entry.file_name().to_str().unwrap()));
                }
            }
        }
        // What it was made from is for who builds it.
        built.remove("/sources.txt");
        let listed: BTreeSet<String> = FILES.iter().map(|(path, ..)| (*path).to_owned()).collect();
        assert_eq!(listed, built, "list in FILES what is in console/dist");
    }

    #[test]
    fn what_was_built_was_built_from_these_sources() {
        let list = std::fs::read_to_string(console().join("dist/sources.txt")).unwrap();
        let mut seen = 0;
        for line in list.lines() {
            let (digest, name) = line.split_once("  ").unwrap();
            let bytes = std::fs::read(console().join(name)).unwrap();
            assert_eq!(
                Digest::of(&bytes).to_string(),
                digest,
                "{name} was changed: npm run build in console"
            );
            seen += 1;
        }
        assert!(seen > 30);
    }

    #[test]
    fn small_enough_and_whole() {
        let mut all = 0;
        for file in ALL.iter() {
            let mut plain = Vec::new();
            flate2::read::GzDecoder::new(&file.packed[..]).read_to_end(&mut plain).unwrap();
            assert_eq!(plain, file.plain, "{}", file.path);
            all += file.packed.len();
        }
        assert!(all < 500_000, "{all} bytes packed");
    }

    #[test]
    fn the_policy_is_the_one_the_console_is_tried_under() {
        let mock = std::fs::read_to_string(console().join("mock/policy.mjs")).unwrap();
        for rule in POLICY.split("; ") {
            assert!(mock.contains(&format!("\"{rule}\"")), "{rule}");
        }
        for (name, value) in &HEADERS[1..] {
            assert!(
                mock.to_lowercase().contains(&format!("\"{name}\": \"{}\"", value.to_lowercase())),
                "{name}"
            );
        }
    }

    #[test]
    fn only_its_own_paths_are_pages() {
        assert!(is_page("/") && is_page("/index.html") && is_page("/icon.svg"));
        for other in [
            "",
            "/index",
            "/assets/",
            "/sources.txt",
            "/../x",
            "//index.html",
            "/v1/sessions",
            "/assets/index-CxV6T7kK.js/",
        ] {
            assert!(!is_page(other), "{other}");
        }
        let with = |value: &str| [(header::ACCEPT_ENCODING, value.parse().unwrap())].into_iter().collect();
        assert!(
            takes_gzip(&with("br, gzip;q=0.5")) && !takes_gzip(&with("gzip;q=0")) && !takes_gzip(&with("br"))
        );
    }
}
