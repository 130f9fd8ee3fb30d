//! What is served beside the APIs: metrics and health, and the way from http to https.

use std::rc::Rc;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};

use crate::{
    metrics,
    path::{encode_query, split_target},
    reply::{Reply, ReplyBody},
    request::Head,
    route,
    worker::Worker,
};

/// `/metrics`, `/livez`, `/readyz`, and `/jwks.json` where upstreams get internal tokens.
pub(super) fn answer(worker: &Rc<Worker>, head: &Head) -> Reply {
    let plain = "text/plain; charset=utf-8";
    if head.method != Method::GET && head.method != Method::HEAD {
        let mut reply = text(
            StatusCode::METHOD_NOT_ALLOWED,
            plain,
            "only GET and HEAD\n".into(),
        );
        reply
            .headers
            .insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
        return reply;
    }
    let mut reply = match split_target(&head.target).0 {
        "/metrics" => text(
            StatusCode::OK,
            metrics::CONTENT_TYPE,
            worker.shared.metrics.encode(),
        ),
        "/livez" => text(StatusCode::OK, plain, "ok\n".into()),
        "/readyz" if worker.is_stopping() => {
            text(StatusCode::SERVICE_UNAVAILABLE, plain, "stopping\n".into())
        }
        "/jwks.json" => match &worker.gateway().voices.speaker {
            Some(speaker) => key_set(speaker.key_set()),
            None => text(
                StatusCode::NOT_FOUND,
                plain,
                "no upstream gets internal tokens\n".into(),
            ),
        },
        "/readyz" => text(StatusCode::OK, plain, readiness(worker).into()),
        _ => text(
            StatusCode::NOT_FOUND,
            plain,
            "there are /metrics, /livez, /readyz and /jwks.json\n".into(),
        ),
    };
    if head.method == Method::HEAD
        && let ReplyBody::Full(bytes) = &reply.body
    {
        reply.body = ReplyBody::Empty {
            announced: u64::try_from(bytes.len()).ok(),
        };
    }
    reply
}

/// Ready, and what is away meanwhile. That shared counts are away is no reason to be taken out of service:
/// all instances have the same Redis, and limits say themselves what holds without it.
fn readiness(worker: &Worker) -> &'static str {
    if worker.shared.metrics.shared_counts_are_away() {
        "ok\nRedis is away: `on_fault` of limits holds\n"
    } else {
        "ok\n"
    }
}

/// Sends a client to the same URL over https. 308 keeps method and body (RFC 9110, section 15.4.9),
/// though by then a body has gone over the wire in the clear once.
pub(super) fn redirect(head: &Head, port: u16) -> Reply {
    let name = route::host_name(&head.host);
    let port = if port == 443 {
        String::new()
    } else {
        format!(":{port}")
    };
    let target = if head.target.starts_with('/') {
        // `Location` holds a URI; of the path nothing changes.
        encode_query(head.target.clone())
    } else {
        "/".into()
    };
    let mut reply = text(
        StatusCode::PERMANENT_REDIRECT,
        "text/plain; charset=utf-8",
        "use https\n".into(),
    );
    match HeaderValue::from_str(&format!("https://{name}{port}{target}")) {
        Ok(location) => {
            reply.headers.insert(header::LOCATION, location);
            reply
        }
        Err(_) => text(
            StatusCode::BAD_REQUEST,
            "text/plain; charset=utf-8",
            "no such host\n".into(),
        ),
    }
}

/// Upstreams may keep it for a while: a key is published long before it signs.
fn key_set(keys: String) -> Reply {
    let mut reply = text(StatusCode::OK, "application/jwk-set+json", keys);
    let kept = HeaderValue::from_static("public, max-age=300");
    reply.headers.insert(header::CACHE_CONTROL, kept);
    reply
}

fn text(status: StatusCode, content_type: &'static str, body: String) -> Reply {
    let mut headers = HeaderMap::new();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    );
    Reply {
        status,
        headers,
        body: ReplyBody::Full(Bytes::from(body)),
    }
}
