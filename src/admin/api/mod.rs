//! The JSON API: what the Admin UI can do, for programs.
//!
//! Reading answers one page at a time. Writing needs the content type of JSON, and nobody is known by
//! a cookie: a page of another origin can do neither without being asked first, and is never allowed.

mod caller;
mod error;
mod reading;
mod writing;

use actix_web::{HttpResponse, Scope, web};

use self::error::ApiError;
use super::{AdminInterface, desk::Desk};

/// How a handler ends.
type Answer = Result<HttpResponse, ApiError>;

impl AdminInterface {
    /// The JSON API as a scope of actix-web below `path`, for the factory closure of `HttpServer`:
    ///
    /// ```no_run
    /// use actix_web::{App, HttpServer};
    /// use greenroom::{SocketIo, admin::Admin};
    ///
    /// #[actix_web::main]
    /// async fn main() -> Result<(), Box<dyn std::error::Error>> {
    ///     let io = SocketIo::builder().start();
    ///     let hash = std::env::var("ADMIN_HASH")?;
    ///     let admin = io.admin(Admin::new().basic_auth("admin", hash))?;
    ///     HttpServer::new(move || App::new().service(io.clone()).service(admin.routes("/admin/api")))
    ///         .bind(("127.0.0.1", 3000))?
    ///         .run()
    ///         .await?;
    ///     Ok(())
    /// }
    /// ```
    ///
    /// Whoever calls it says `Authorization: Basic ..`, or `Bearer ..` with the id of a session, which
    /// `POST session` gives for a name and a password. `docs/admin.md` in the repository lists what
    /// there is.
    pub fn routes(&self, path: &str) -> Scope {
        web::scope(path)
            .app_data(web::Data::from(std::sync::Arc::clone(&self.desk)))
            .route("/session", web::post().to(caller::log_in))
            .route("/server", web::get().to(reading::state))
            .route("/namespaces", web::get().to(reading::namespaces))
            .route("/rooms", web::get().to(reading::rooms))
            .route("/sockets", web::get().to(reading::sockets))
            .route("/socket", web::get().to(reading::socket))
            .route("/emit", web::post().to(writing::emit))
            .route("/join", web::post().to(writing::join))
            .route("/leave", web::post().to(writing::leave))
            .route("/disconnect", web::post().to(writing::disconnect))
            .default_service(web::to(nothing))
    }
}

async fn nothing() -> Answer {
    Err(ApiError::NotFound("there is no such resource"))
}

/// JSON that nobody keeps.
fn json(body: &serde_json::Value) -> HttpResponse {
    error::prepared(HttpResponse::Ok()).json(body)
}

/// The server; while it is being dropped there is none.
fn server(desk: &Desk) -> Result<crate::server::SocketIo, ApiError> {
    desk.io().ok_or(ApiError::Gone)
}
