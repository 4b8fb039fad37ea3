//! The bytes of an answer: a status, a type and a length always, a body unless it was HEAD.
//!
//! **Invariant:** every answer has a Content-Length; firmware asks for it by HEAD before it fetches (C25).

use super::{
    assets::{AssetError, Assets},
    body::Payload,
    connections::Busy,
    machine::machine_script,
    route::{Route, decode, route},
    script::boot_script,
    select::{Facts, Selection, media_type, select},
    sendfile::Sendfile,
};
use crate::{
    names::BootNonce,
    serve::{Agent, Boots, Happening, Recorder, Served, shown},
    transcript::EventKind,
};
use hyper::{
    Method, Request, Response, StatusCode,
    body::Bytes,
    header::{
        ACCEPT_RANGES, ALLOW, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, HeaderValue, LAST_MODIFIED,
        RETRY_AFTER,
    },
};
use std::{net::IpAddr, sync::Arc};

/// Where answers come from.
#[derive(Debug, Clone, Copy)]
pub struct Source<'a> {
    /// What is served.
    pub served: &'a Served,
    /// The asset store.
    pub assets: &'a Arc<Assets>,
    /// Where answers to machines are written down.
    pub recorder: &'a Recorder,
    /// The boots that were begun.
    pub boots: &'a Boots,
    /// Who assigns disks.
    pub agent: &'a Agent,
    /// Who asks.
    pub peer: IpAddr,
    /// The mark of a connection that is being answered.
    pub busy: Busy<'a>,
    /// The way of files past us on this connection.
    pub sendfile: &'a Sendfile,
}

/// Answers one request.
pub async fn answer<B>(request: &Request<B>, source: Source<'_>) -> Response<Payload> {
    let method = request.method().clone();
    let Source { served, recorder, peer, .. } = source;
    let table = &served.table;
    match route(&method, request.uri().path()) {
        Route::BootScript => {
            if method == Method::HEAD {
                // As long as any, and no boot begins.
                return text(&method, StatusCode::OK, boot_script(&table.http_base(), BootNonce::from_octets([0; 8])));
            }
            match source.boots.begin(peer) {
                Ok(boot) => {
                    recorder.record_address(peer, happening(EventKind::FirstScript, "fetched boot.ipxe"));
                    text(&method, StatusCode::OK, boot_script(&table.http_base(), boot))
                }
                Err(error) => {
                    tracing::error!(%error, "the kernel gives no random numbers");
                    text(&method, StatusCode::SERVICE_UNAVAILABLE, "try again\n".to_owned())
                }
            }
        }
        Route::MachineScript(mac) => machine_script(request, mac, source).await,
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
            None if served.loaders.is_left_out(&name) => {
                recorder.record_address(peer, Happening::loader_too_large("http", &name));
                let why = "too large: loaders are kept in memory; put it among the assets\n";
                text(&method, StatusCode::NOT_FOUND, why.to_owned())
            }
            None => {
                recorder.record_address(peer, Happening::loader_missing("http", &name));
                text(&method, StatusCode::NOT_FOUND, "no such loader\n".to_owned())
            }
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

pub(super) fn happening(kind: EventKind, what: impl Into<String>) -> Happening {
    Happening { service: "http", kind, what: what.into() }
}

/// Takes note of an asset: once for a file, not for every part of it that firmware fetches by itself.
fn record_asset(status: StatusCode, path: &str, source: Source<'_>) {
    let shown = shown(path.trim_start_matches('/'), 120);
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

/// Said to this one machine, at this moment: a script may hold its secret, and no proxy is to keep it for another.
pub(super) fn text(method: &Method, status: StatusCode, text: String) -> Response<Payload> {
    let mut response = whole(method, status, "text/plain; charset=utf-8", text.into());
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

fn whole(method: &Method, status: StatusCode, kind: &'static str, body: Bytes) -> Response<Payload> {
    let length = body.len();
    let body = if method == Method::HEAD { Bytes::new() } else { body };
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response.headers_mut().insert(CONTENT_LENGTH, length.into());
    response
}

async fn asset<B>(request: &Request<B>, path: &str, source: Source<'_>) -> Response<Payload> {
    let method = request.method();
    let found = match decode(path) {
        Some(path) => source.assets.find(&path).await,
        None => Err(AssetError::Absent),
    };
    let asset = match found {
        Ok(asset) => asset,
        Err(AssetError::Absent) => {
            if method == Method::GET {
                record_asset(StatusCode::NOT_FOUND, path, source);
            }
            return text(method, StatusCode::NOT_FOUND, "no such asset\n".to_owned());
        }
        Err(AssetError::Exhausted) => {
            tracing::warn!(peer = %source.peer, path, "no descriptor is left for an asset");
            let mut response = text(method, StatusCode::SERVICE_UNAVAILABLE, "try again\n".to_owned());
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
            return response;
        }
        Err(AssetError::Unreadable(error)) => {
            tracing::warn!(path, %error, "an asset cannot be read");
            return text(method, StatusCode::INTERNAL_SERVER_ERROR, "the asset cannot be read\n".to_owned());
        }
    };
    let facts = asset.facts.clone();
    let Facts { size, modified, ref tag } = *facts;
    let selection = select(method, request.headers(), &facts);
    let (status, from, length) = match selection {
        Selection::Whole => (StatusCode::OK, 0, size),
        Selection::Part { from, length } => (StatusCode::PARTIAL_CONTENT, from, length),
        Selection::NotModified => (StatusCode::NOT_MODIFIED, 0, 0),
        Selection::PreconditionFailed => (StatusCode::PRECONDITION_FAILED, 0, 0),
        Selection::Unsatisfiable => (StatusCode::RANGE_NOT_SATISFIABLE, 0, 0),
    };
    let payload =
        if method == Method::HEAD || length == 0 { Bytes::new().into() } else { asset.payload(from, length, source.sendfile) };
    if method == Method::GET {
        record_asset(status, path, source);
    }
    let mut response = Response::new(payload);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    let value = |text: String| HeaderValue::try_from(text).expect("digits, hexadecimal and dates are legal");
    headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    headers.insert(ETAG, value(tag.clone()));
    headers.insert(LAST_MODIFIED, value(httpdate::fmt_http_date(modified)));
    match selection {
        Selection::Part { .. } => {
            drop(headers.insert(CONTENT_RANGE, value(format!("bytes {from}-{}/{size}", from + length - 1))))
        }
        Selection::Unsatisfiable => drop(headers.insert(CONTENT_RANGE, value(format!("bytes */{size}")))),
        // Neither body nor length: it would be taken for the file's.
        Selection::NotModified => return response,
        Selection::Whole | Selection::PreconditionFailed => {}
    }
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(media_type(path)));
    headers.insert(CONTENT_LENGTH, length.into());
    response
}
