//! The cookie that tells a load balancer which server has a session.

use std::{
    fmt::{self, Write},
    time::{Duration, SystemTime},
};

use actix_web::http::header::HttpDate;

/// A cookie whose value is the session's id, set by the first answer of a session that is opened
/// over polling. The server never reads it: it is for load balancers.
///
/// ```
/// use greenroom::engine::{Cookie, SameSite};
///
/// let cookie = Cookie::named("sticky").secure(true).same_site(SameSite::None);
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct Cookie {
    name: String,
    max_age: Option<u64>,
    domain: Option<String>,
    path: Option<String>,
    expires: Option<SystemTime>,
    http_only: bool,
    secure: bool,
    partitioned: bool,
    priority: Option<CookiePriority>,
    same_site: Option<SameSite>,
}

/// When a browser sends a cookie along with requests of pages of other sites.
///
/// [`Cookie`] shows one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SameSite {
    /// Never.
    Strict,
    /// When the user follows a link.
    Lax,
    /// Always; browsers then ask for [`Cookie::secure`].
    None,
}

/// Which cookies a browser with too many of them drops first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CookiePriority {
    /// First.
    Low,
    /// As others.
    Medium,
    /// Last.
    High,
}

impl Default for Cookie {
    /// `io=<session id>; Path=/; HttpOnly; SameSite=Lax`.
    fn default() -> Self {
        Self {
            name: "io".into(),
            max_age: None,
            domain: None,
            path: Some("/".into()),
            expires: None,
            http_only: true,
            secure: false,
            partitioned: false,
            priority: None,
            same_site: Some(SameSite::Lax),
        }
    }
}

impl Cookie {
    /// A cookie of that name, with the default attributes.
    ///
    /// # Panics
    /// If it is no name of a cookie (RFC 6265, 4.1.1).
    #[track_caller]
    pub fn named(name: impl Into<String>) -> Self {
        let name = name.into();
        let token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
        assert!(!name.is_empty() && name.bytes().all(token), "{name:?} is no name of a cookie");
        Self { name, ..Self::default() }
    }

    /// How long, in whole seconds, a browser keeps it. Default: until the browser is closed.
    pub fn max_age(mut self, age: Duration) -> Self {
        self.max_age = Some(age.as_secs());
        self
    }

    /// Until when a browser keeps it. Default: until the browser is closed.
    pub fn expires(mut self, at: SystemTime) -> Self {
        self.expires = Some(at);
        self
    }

    /// The domain whose hosts get it. Default: only the host that sets it.
    ///
    /// # Panics
    /// If it is no name of a domain.
    #[track_caller]
    pub fn domain(mut self, domain: impl Into<String>) -> Self {
        let domain = domain.into();
        assert!(is_domain(&domain), "{domain:?} is no name of a domain");
        self.domain = Some(domain);
        self
    }

    /// The path below which it is sent; `None` for that of the server. Default `/`.
    ///
    /// # Panics
    /// If it has a semicolon or characters that no header may have.
    #[track_caller]
    pub fn path<'a>(mut self, path: impl Into<Option<&'a str>>) -> Self {
        let path = path.into();
        let fits = |b: u8| matches!(b, 0x20..=0x7e) && b != b';';
        assert!(path.is_none_or(|path| path.bytes().all(fits)), "{path:?} is no path of a cookie");
        self.path = path.filter(|path| !path.is_empty()).map(str::to_owned);
        self
    }

    /// Whether it is hidden from scripts. Default `true`.
    pub fn http_only(mut self, hidden: bool) -> Self {
        self.http_only = hidden;
        self
    }

    /// Whether it is sent over TLS only. Default `false`.
    pub fn secure(mut self, secure: bool) -> Self {
        self.secure = secure;
        self
    }

    /// Whether a browser keeps it apart for each top-level site. Default `false`.
    pub fn partitioned(mut self, partitioned: bool) -> Self {
        self.partitioned = partitioned;
        self
    }

    /// What a browser with too many cookies thinks of it. Default: not said.
    pub fn priority(mut self, priority: CookiePriority) -> Self {
        self.priority = Some(priority);
        self
    }

    /// When pages of other sites send it; `None` leaves it to the browser. Default
    /// [`SameSite::Lax`].
    pub fn same_site(mut self, same_site: impl Into<Option<SameSite>>) -> Self {
        self.same_site = same_site.into();
        self
    }

    /// Whether it asks for what browsers do not take without [`Cookie::secure`].
    pub(crate) fn contradicts_itself(&self) -> bool {
        !self.secure && (self.partitioned || self.same_site == Some(SameSite::None))
    }

    /// The value of `Set-Cookie`, with the attributes in the order of the npm package `cookie`.
    pub(crate) fn header(&self, sid: &str) -> String {
        let mut text = format!("{}={}", self.name, Encoded(sid));
        let mut add = |name: &str, value: &dyn fmt::Display| {
            // A text takes everything.
            let _ = write!(text, "; {name}={value}");
        };
        if let Some(age) = &self.max_age {
            add("Max-Age", age);
        }
        if let Some(domain) = &self.domain {
            add("Domain", domain);
        }
        if let Some(path) = &self.path {
            add("Path", path);
        }
        if let Some(at) = self.expires {
            add("Expires", &HttpDate::from(at));
        }
        let flags = [
            (self.http_only, "; HttpOnly"),
            (self.secure, "; Secure"),
            (self.partitioned, "; Partitioned"),
        ];
        text.extend(flags.into_iter().filter(|(set, _)| *set).map(|(_, flag)| flag));
        text.push_str(match self.priority {
            Some(CookiePriority::Low) => "; Priority=Low",
            Some(CookiePriority::Medium) => "; Priority=Medium",
            Some(CookiePriority::High) => "; Priority=High",
            None => "",
        });
        text.push_str(match self.same_site {
            Some(SameSite::Strict) => "; SameSite=Strict",
            Some(SameSite::Lax) => "; SameSite=Lax",
            Some(SameSite::None) => "; SameSite=None",
            None => "",
        });
        text
    }
}

/// Labels of letters, digits and inner hyphens, with dots between; a leading dot is ignored by
/// browsers.
fn is_domain(domain: &str) -> bool {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    domain.strip_prefix('.').unwrap_or(domain).split('.').all(label)
}

/// JavaScript's `encodeURIComponent`.
struct Encoded<'a>(&'a str);

impl fmt::Display for Encoded<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for byte in self.0.bytes() {
            if byte.is_ascii_alphanumeric() || b"-_.!~*'()".contains(&byte) {
                f.write_char(byte.into())?;
            } else {
                write!(f, "%{byte:02X}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cookie_has_the_default_attributes_of_the_reference() {
        assert_eq!(Cookie::default().header("AAx-_1"), "io=AAx-_1; Path=/; HttpOnly; SameSite=Lax");
        let named = Cookie::named("sticky").header("x");
        assert_eq!(named, "sticky=x; Path=/; HttpOnly; SameSite=Lax");
    }

    #[test]
    fn every_attribute_has_its_place() {
        let cookie = Cookie::named("ck")
            .max_age(Duration::from_millis(9_700))
            .domain("a.example")
            .path("/app")
            .expires(SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777))
            .secure(true)
            .partitioned(true)
            .priority(CookiePriority::High)
            .same_site(SameSite::None);
        let expected = "ck=x; Max-Age=9; Domain=a.example; Path=/app; \
                        Expires=Sun, 06 Nov 1994 08:49:37 GMT; HttpOnly; Secure; Partitioned; \
                        Priority=High; SameSite=None";
        assert_eq!(cookie.header("x"), expected);
        let bare = Cookie::default().path(None).http_only(false).same_site(None);
        assert_eq!(bare.header("x"), "io=x");
    }

    #[test]
    fn the_value_is_encoded_like_a_part_of_a_url() {
        let value = |sid: &str| Cookie::default().path(None).http_only(false).header(sid);
        assert!(value("a b/ü").starts_with("io=a%20b%2F%C3%BC;"));
        assert!(value("-_.!~*'();\r\n").starts_with("io=-_.!~*'()%3B%0D%0A;"));
    }

    #[test]
    fn what_would_break_the_header_is_refused_at_once() {
        let refused = |build: fn() -> Cookie| std::panic::catch_unwind(build).is_err();
        assert!(refused(|| Cookie::named("")));
        assert!(refused(|| Cookie::named("a=b")));
        assert!(refused(|| Cookie::named("a b")));
        assert!(refused(|| Cookie::default().path("/;x")));
        assert!(refused(|| Cookie::default().path("/\n")));
        for domain in ["", "a..b", "-a.b", "a b", "a;b", "ä.example"] {
            let refused = std::panic::catch_unwind(|| Cookie::default().domain(domain));
            assert!(refused.is_err(), "{domain}");
        }
        let _ = Cookie::default().domain(".a-1.example").domain("localhost");
    }
}
