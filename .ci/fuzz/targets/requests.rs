//! Whole requests to the registry, over its real stores: paths, queries, headers, logins, tokens, forms, manifests.
//! Whatever is asked is answered, and it is never the server's fault.
//!
//! An input is written as HTTP/1.1 has it: a line with the method and the target, header lines, an empty line, the
//! body. `@` at the begin of the first line stands for the administrator's token.
#![no_main]

use std::sync::LazyLock;

use axum::Router;
use axum::body::Body;
use http::{HeaderName, HeaderValue, Request, StatusCode, header};
use http_body_util::BodyExt as _;
use libfuzzer_sys::fuzz_target;
use tokio::runtime::Runtime;
use tower::ServiceExt as _;

/// A registry whose folder goes with the process.
struct Registry {
    runtime: Runtime,
    router: Router,
    token: HeaderValue,
    _folder: tempfile::TempDir,
}

static REGISTRY: LazyLock<Registry> = LazyLock::new(|| {
    let folder = tempfile::tempdir().expect("a folder for the registry");
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let router = wharf_registry::http::router(runtime.block_on(fuzz::registry(folder.path())));
    let scope = "repository:admin/a:pull,push,delete registry:catalog:*";
    let form = format!(
        "grant_type=password&service=s&client_id=f&username={}&password={}&scope={scope}",
        fuzz::ADMIN.0,
        fuzz::ADMIN.1
    );
    let asked = Request::post("/token").body(Body::from(form)).expect("a request");
    let (status, body) = runtime.block_on(answer(&router, asked));
    assert_eq!(status, StatusCode::OK, "{}", String::from_utf8_lossy(&body));
    let document: serde_json::Value = serde_json::from_slice(&body).expect("a document");
    let token = document["access_token"].as_str().expect("a token");
    Registry {
        token: format!("Bearer {token}")
            .parse()
            .expect("a token is a header's value"),
        runtime,
        router,
        _folder: folder,
    }
});

async fn answer(router: &Router, request: Request<Body>) -> (StatusCode, Vec<u8>) {
    let answer = router.clone().oneshot(request).await;
    let (head, body) = answer.expect("the router always answers").into_parts();
    // A body that breaks off is as good as none here: the status is what is judged.
    let body = body.collect().await.map(|body| body.to_bytes().to_vec());
    (head.status, body.unwrap_or_default())
}

/// Reads an input; `None` for one that no HTTP server would hand on.
fn request(input: &[u8], token: &HeaderValue) -> Option<Request<Body>> {
    let (head, body) = match input.windows(2).position(|pair| pair == b"\n\n") {
        Some(end) => (input.get(..end)?, input.get(end + 2..)?),
        None => (input, &[][..]),
    };
    let mut lines = head.split(|byte| *byte == b'\n');
    let first = std::str::from_utf8(lines.next()?).ok()?;
    let (first, trusted) = match first.strip_prefix('@') {
        Some(first) => (first, true),
        None => (first, false),
    };
    let (method, target) = first.split_once(' ')?;
    let mut request = Request::builder().method(method).uri(target);
    for line in lines {
        let colon = line.iter().position(|byte| *byte == b':')?;
        let name = HeaderName::from_bytes(line.get(..colon)?).ok()?;
        let value = HeaderValue::from_bytes(line.get(colon + 1..)?.trim_ascii()).ok()?;
        request = request.header(name, value);
    }
    if trusted {
        request = request.header(header::AUTHORIZATION, token);
    }
    request.body(Body::from(body.to_vec())).ok()
}

fuzz_target!(|input: &[u8]| {
    let registry = &*REGISTRY;
    let Some(request) = request(input, &registry.token) else {
        return;
    };
    let (status, _) = registry.runtime.block_on(answer(&registry.router, request));
    assert!(!status.is_server_error(), "{status}");
});
