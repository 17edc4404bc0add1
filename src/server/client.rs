//! The browser bundles of the official client, served beside the server as the reference does.
//!
//! They are in the binary, compressed; `assets/client/update.mjs` brings another version.

use std::{io::Read, sync::Arc};

use actix_web::{
    HttpRequest, HttpResponse,
    dev::{AppService, ResourceDef, ServiceRequest, ServiceResponse, fn_service},
    http::header::{
        ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE, ETAG, HeaderName,
        HeaderValue, IF_NONE_MATCH, VARY,
    },
};
use flate2::read::GzDecoder;

use crate::engine::{Config, compression, routes::CorsHeaders};

/// The version of npm's `socket.io` that the files were taken from.
pub(super) const VERSION: &str = include_str!("../../assets/client/VERSION");

/// One bundle.
struct File {
    name: &'static str,
    brotli: &'static [u8],
    gzip: &'static [u8],
}

macro_rules! files {
    ($($name:literal),* $(,)?) => {
        [$(File {
            name: $name,
            brotli: include_bytes!(concat!("../../assets/client/", $name, ".br")),
            gzip: include_bytes!(concat!("../../assets/client/", $name, ".gz")),
        }),*]
    };
}

static FILES: [File; 8] = files![
    "socket.io.esm.min.js",
    "socket.io.esm.min.js.map",
    "socket.io.js",
    "socket.io.js.map",
    "socket.io.min.js",
    "socket.io.min.js.map",
    "socket.io.msgpack.min.js",
    "socket.io.msgpack.min.js.map",
];

/// How a file is sent.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Coding {
    Brotli,
    Gzip,
    Identity,
}

impl Coding {
    /// What the client likes best; of those that it likes the same, the smallest.
    fn choose(accept: &str) -> Self {
        let brotli = compression::liking(accept, "br");
        let gzip = compression::liking(accept, "gzip");
        match (brotli, gzip) {
            (Some(brotli), Some(gzip)) if gzip > brotli => Self::Gzip,
            (Some(_), _) => Self::Brotli,
            (None, Some(_)) => Self::Gzip,
            (None, None) => Self::Identity,
        }
    }
}

/// Registers the files under the path of the server.
pub(super) fn register(config: &Arc<Config>, app: &mut AppService) {
    let path = config.mount_path();
    let path = path.trim_end_matches('/');
    for file in &FILES {
        let config = Arc::clone(config);
        let service = fn_service(move |req: ServiceRequest| {
            let (req, _) = req.into_parts();
            let response = respond(file, &req, &config);
            async { Ok(ServiceResponse::new(req, response)) }
        });
        let resource = ResourceDef::new(format!("{path}/{}", file.name));
        app.register_service(resource, None, service, None);
    }
}

/// Any method will do, as in the reference.
fn respond(file: &File, req: &HttpRequest, config: &Config) -> HttpResponse {
    let mut cors = CorsHeaders::of(config, req);
    if let Some(cors) = cors.take_if(|cors| cors.is_preflight()) {
        return cors.answer(false);
    }
    let mut response = answer(file, req);
    if let Some(cors) = cors {
        cors.add_to(&mut response);
    }
    // Caches must not give to one client what another has asked for.
    response.headers_mut().append(VARY, HeaderValue::from_static("Accept-Encoding"));
    response
}

fn answer(file: &File, req: &HttpRequest) -> HttpResponse {
    let header = |name: HeaderName| req.headers().get(name).and_then(|value| value.to_str().ok());
    let tag = format!("\"{VERSION}\"");
    let known = header(IF_NONE_MATCH).unwrap_or_default();
    if known.split(',').any(|known| known.trim().trim_start_matches("W/") == tag) {
        return HttpResponse::NotModified().insert_header((ETAG, tag)).finish();
    }
    let kind = if file.name.ends_with(".map") { "json" } else { "javascript" };
    let mut response = HttpResponse::Ok();
    response
        .insert_header((CACHE_CONTROL, "public, max-age=0"))
        .insert_header((CONTENT_TYPE, format!("application/{kind}; charset=utf-8")))
        .insert_header((ETAG, tag));
    match Coding::choose(header(ACCEPT_ENCODING).unwrap_or_default()) {
        Coding::Brotli => response.insert_header((CONTENT_ENCODING, "br")).body(file.brotli),
        Coding::Gzip => response.insert_header((CONTENT_ENCODING, "gzip")).body(file.gzip),
        Coding::Identity => match plain(file) {
            Ok(plain) => response.body(plain),
            Err(_) => HttpResponse::InternalServerError().finish(),
        },
    }
}

/// Few ask for it: nearly every client takes one of the two codings.
fn plain(file: &File) -> std::io::Result<Vec<u8>> {
    let mut plain = Vec::new();
    GzDecoder::new(file.gzip).read_to_end(&mut plain)?;
    Ok(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_smallest_coding_that_the_client_takes_is_sent() {
        for (accept, coding) in [
            ("gzip, deflate, br", Coding::Brotli),
            ("gzip, deflate", Coding::Gzip),
            ("gzip;q=1, br;q=0.5", Coding::Gzip),
            ("*", Coding::Brotli),
            ("br;q=0, *", Coding::Gzip),
            ("identity", Coding::Identity),
            ("", Coding::Identity),
        ] {
            assert_eq!(Coding::choose(accept), coding, "{accept:?}");
        }
    }

    #[test]
    fn every_file_names_the_version() {
        for file in FILES.iter().filter(|file| file.name.ends_with(".js")) {
            let text = String::from_utf8(plain(file).unwrap()).unwrap();
            assert!(text.contains(&format!("Socket.IO v{VERSION}\n")), "{}", file.name);
        }
    }
}
