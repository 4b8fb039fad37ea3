//! The bytes of an answer: a status, a type and a length always, a body unless it was HEAD.
//!
//! **Invariant:** every answer has a Content-Length; firmware asks for it by HEAD before it fetches (C25).

use super::{
    route::{Route, route},
    script::boot_script,
};
use crate::boot::{
    chap,
    serve::{Happening, Recorder, Served},
    transcript::EventKind,
};
use http_body_util::{BodyExt, Full, combinators::UnsyncBoxBody};
use hyper::{
    Method, Request, Response, StatusCode,
    body::Bytes,
    header::{ALLOW, CONTENT_LENGTH, CONTENT_TYPE, ETAG, HeaderValue, IF_RANGE, LAST_MODIFIED, RANGE},
};
use std::{io, net::IpAddr, path::Path};
use tower_http::services::ServeDir;

/// The body of an answer.
pub type Body = UnsyncBoxBody<Bytes, io::Error>;

/// One read of an asset; 64 KiB, the default, costs half as much CPU again.
const CHUNK: usize = 1 << 20;

/// Where answers come from.
#[derive(Debug, Clone, Copy)]
pub struct Source<'a> {
    /// What is served.
    pub served: &'a Served,
    /// The directory of the assets.
    pub assets: &'a Path,
    /// Where answers to machines are written down.
    pub recorder: &'a Recorder,
    /// Who asks.
    pub peer: IpAddr,
}

/// Answers one request.
pub async fn answer<B: Send + 'static>(request: Request<B>, source: Source<'_>) -> Response<Body> {
    let method = request.method().clone();
    let Source { served, recorder, peer, .. } = source;
    let table = &served.table;
    match route(&method, request.uri().path()) {
        Route::BootScript => {
            if method == Method::GET {
                recorder.record_address(peer, happening(EventKind::FirstScript, "fetched boot.ipxe"));
            }
            text(&method, StatusCode::OK, boot_script(&table.http_base()))
        }
        Route::MachineScript(mac) => {
            let (kind, what, script) = match table.machine(mac) {
                Some((name, machine)) => (
                    EventKind::Script { machine: Some(name.clone()), default: Some(machine.default.clone()) },
                    format!("gave the script of {name}, default {}", machine.default),
                    chap::script_for(name, machine, &served.secrets, peer),
                ),
                None => {
                    let kind = EventKind::Script { machine: None, default: None };
                    (kind, "gave the script for unknown machines".to_owned(), table.unknown_script.clone())
                }
            };
            if method == Method::GET {
                recorder.record_script(mac, peer, happening(kind, what));
            }
            text(&method, StatusCode::OK, script)
        }
        Route::Loader(name) => match served.loaders.find(&name) {
            Some((name, file)) => {
                if method == Method::GET {
                    let kind = EventKind::HttpLoader { file: name.to_owned() };
                    recorder.record_address(peer, happening(kind, format!("asked for {name}")));
                }
                let kind = match name.to_ascii_lowercase().ends_with(".efi") {
                    true => "application/efi",
                    false => "application/octet-stream",
                };
                whole(&method, StatusCode::OK, kind, file.clone())
            }
            None => text(&method, StatusCode::NOT_FOUND, "no such loader\n".to_owned()),
        },
        Route::Asset(path) => asset(request, &path, source).await,
        Route::Health => text(&method, StatusCode::OK, "ok\n".to_owned()),
        Route::NoSuchMac(mac) => text(&method, StatusCode::NOT_FOUND, format!("{mac} is no Ethernet address\n")),
        Route::NotFound => text(&method, StatusCode::NOT_FOUND, "nothing is here\n".to_owned()),
        Route::MethodNotAllowed => {
            let mut response = text(&method, StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD\n".to_owned());
            response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
            response
        }
    }
}

fn happening(kind: EventKind, what: impl Into<String>) -> Happening {
    Happening { service: "http", kind, what: what.into() }
}

/// Takes note of an asset: once for a file, not for every part of it that firmware fetches by itself.
fn record_asset(status: StatusCode, path: &str, source: Source<'_>) {
    let shown: String = path.trim_start_matches('/').chars().filter(|c| !c.is_control()).take(120).collect();
    let told = match status {
        StatusCode::OK => happening(EventKind::AssetSent { path: shown.clone() }, format!("fetches {shown}")),
        StatusCode::NOT_FOUND => happening(
            EventKind::AssetMissing { path: shown.clone() },
            format!("asked for {shown}, which is not among the assets"),
        ),
        _ => return,
    };
    source.recorder.record_address(source.peer, told);
}

fn text(method: &Method, status: StatusCode, text: String) -> Response<Body> {
    whole(method, status, "text/plain; charset=utf-8", text.into())
}

fn whole(method: &Method, status: StatusCode, kind: &'static str, body: Bytes) -> Response<Body> {
    let length = body.len();
    let body = if method == Method::HEAD { Bytes::new() } else { body };
    let mut response = Response::new(Full::new(body).map_err(|never| match never {}).boxed_unsync());
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response.headers_mut().insert(CONTENT_LENGTH, length.into());
    response
}

async fn asset<B: Send + 'static>(request: Request<B>, path: &str, source: Source<'_>) -> Response<Body> {
    let method = request.method().clone();
    let missing = || text(&method, StatusCode::NOT_FOUND, "no such asset\n".to_owned());
    let Ok(mut inner) = Request::builder().method(method.clone()).uri(path).body(()) else { return missing() };
    *inner.headers_mut() = request.headers().clone();
    if let Some(condition) = inner.headers_mut().remove(IF_RANGE)
        && !still_holds(&condition, path, source.assets).await
    {
        // The part was of an older file: the whole new one goes out (RFC 9110 §13.1.5). The file service ignores this.
        inner.headers_mut().remove(RANGE);
    }
    let mut response = match files(source.assets).try_call(inner).await {
        Ok(response) => response.map(|body| body.boxed_unsync()),
        Err(error) if is_absence(error.kind()) => return missing(),
        Err(error) => {
            tracing::warn!(path, %error, "an asset cannot be read");
            return text(&method, StatusCode::INTERNAL_SERVER_ERROR, "the asset cannot be read\n".to_owned());
        }
    };
    if method == Method::GET {
        record_asset(response.status(), path, source);
    }
    if response.status() == StatusCode::NOT_FOUND {
        return missing();
    }
    if path.to_ascii_lowercase().ends_with(".efi") {
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/efi"));
    }
    response
}

/// Whether a path names nothing that can be sent; the file service reports some of these as failures.
fn is_absence(kind: io::ErrorKind) -> bool {
    use io::ErrorKind::{InvalidFilename, InvalidInput, IsADirectory, NotADirectory, NotFound};
    matches!(kind, NotFound | IsADirectory | NotADirectory | InvalidFilename | InvalidInput)
}

fn files(assets: &Path) -> ServeDir {
    ServeDir::new(assets).append_index_html_on_directories(false).with_buf_chunk_size(CHUNK)
}

/// Whether a file is still the one a client has a part of.
async fn still_holds(condition: &HeaderValue, path: &str, assets: &Path) -> bool {
    let Ok(head) = Request::builder().method(Method::HEAD).uri(path).body(()) else { return false };
    let Ok(response) = files(assets).try_call(head).await else { return false };
    [ETAG, LAST_MODIFIED].into_iter().any(|name| response.headers().get(name) == Some(condition))
}
