//! The pages of the chat, in the binary.

use actix_web::{
    HttpResponse, Responder,
    http::header::{CACHE_CONTROL, CONTENT_TYPE},
    web,
};

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";

/// Path, content type and content of each file.
const FILES: [(&str, &str, &str); 9] = [
    ("/", HTML, include_str!("index.html")),
    ("/chat.css", CSS, include_str!("chat.css")),
    ("/chat.js", SCRIPT, include_str!("chat.js")),
    ("/view.js", SCRIPT, include_str!("view.js")),
    ("/dom.js", SCRIPT, include_str!("dom.js")),
    ("/admin", HTML, include_str!("admin.html")),
    ("/admin.html", HTML, include_str!("admin.html")),
    ("/admin.css", CSS, include_str!("admin.css")),
    ("/admin.js", SCRIPT, include_str!("admin.js")),
];

/// Adds the pages to an application.
pub(crate) fn serve(app: &mut web::ServiceConfig) {
    for (path, content_type, content) in FILES {
        app.route(path, web::get().to(move || file(content_type, content)));
    }
}

async fn file(content_type: &'static str, content: &'static str) -> impl Responder {
    HttpResponse::Ok()
        .insert_header((CONTENT_TYPE, content_type))
        .insert_header((CACHE_CONTROL, "no-cache"))
        .body(content)
}
