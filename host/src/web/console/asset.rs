//! Style sheet, scripts and pictures, built into the program. Every file of `assets` that a page names stands here.

use axum::Router;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use crate::web::Web;

const CSS: &str = "text/css; charset=utf-8";
const JS: &str = "text/javascript; charset=utf-8";
const SVG: &str = "image/svg+xml";

macro_rules! assets {
    ($($name:literal $kind:ident)*) => {
        &[$((concat!("/assets/", $name), $kind, include_bytes!(concat!("../../../assets/", $name)))),*]
    };
}

/// Address, type and content.
const ASSETS: &[(&str, &str, &[u8])] = assets! {
    "style.css" CSS
    "mapping.css" CSS
    "htmx.min.js" JS
    "console.js" JS
    "mapping.js" JS
    "mapping-custom.js" JS
    "mapping-element.js" JS
    "mapping-options.js" JS
    "mapping-rows.js" JS
    "icon.svg" SVG
};

pub(in crate::web) fn router() -> Router<Web> {
    ASSETS
        .iter()
        .fold(Router::new(), |router, &(path, kind, bytes)| {
            router.route(path, get(async move || answer(kind, bytes)))
        })
}

fn answer(kind: &'static str, bytes: &'static [u8]) -> Response {
    (
        [
            (header::CONTENT_TYPE, kind),
            (header::CACHE_CONTROL, "max-age=600"),
        ],
        bytes,
    )
        .into_response()
}
