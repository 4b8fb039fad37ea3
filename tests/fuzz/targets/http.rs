//! Request paths at the port of HTTP.
#![no_main]

use barista::serve::http::route::{Route, boot_query, route};
use hyper::Method;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|path: &str| {
    let query = boot_query(path);
    if let Some(boot) = query.boot {
        assert!(path.contains(&boot.to_string()), "{path:?}");
    }
    match route(&Method::GET, path) {
        Route::Loader(name) => assert!(!name.is_empty(), "{path:?}"),
        Route::Asset(asset) => assert!(asset.starts_with('/') && !asset.starts_with("//"), "{path:?}"),
        _ => {}
    }
});
