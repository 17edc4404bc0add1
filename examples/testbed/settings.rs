//! The configuration: environment variables, as SPEC.md lists them.

use std::{env, fmt::Display, net::SocketAddr, str::FromStr, sync::Arc, time::Duration};

use greenroom::{
    Recovery, SocketIo, SocketIoBuilder, WhenFull,
    engine::{Config, Cookie, Cors, PerMessageDeflate, Refusal, Request, Transport},
    packet::MsgpackParser,
};

pub(crate) struct Settings {
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) workers: usize,
    /// Without what actix-http keeps for each WebSocket.
    pub(crate) lean: bool,
    connect_timeout: Duration,
    cleanup: bool,
    msgpack: bool,
    recovery: Option<Recovery>,
    #[cfg(feature = "redis")]
    redis: Option<Redis>,
    /// The name of this server in its cluster; none if it is alone.
    pub(crate) node: Option<String>,
    /// `WHEN_FULL`, which SPEC.md has not: what becomes of the events of `/bench` for clients that do
    /// not keep up.
    pub(crate) when_full: WhenFull,
    engine: Config,
}

/// Whether a value asks for something.
type Asks = fn(&str) -> bool;

/// The variables that can ask for what is not built.
const NOT_BUILT: [(&str, Asks); 2] = [
    ("PARSER", |value| !["default", "msgpack"].contains(&value)),
    ("ADAPTER", |value| {
        value != "memory"
            && !(cfg!(feature = "redis")
                && ["redis", "redis-sharded", "redis-streams"].contains(&value))
    }),
];

/// An empty variable counts as unset.
fn text(name: &str) -> Option<String> {
    env::var(name).ok().filter(|value| !value.is_empty())
}

fn parsed<T: FromStr<Err: Display>>(name: &str, fallback: T) -> Result<T, String> {
    let Some(value) = text(name) else { return Ok(fallback) };
    value.parse().map_err(|error| format!("{name}={value}: {error}"))
}

fn millis(name: &str, fallback: Duration) -> Result<Duration, String> {
    Ok(parsed(name, Millis(fallback))?.0)
}

struct Millis(Duration);

impl FromStr for Millis {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(Self(Duration::from_millis(text.parse()?)))
    }
}

fn transports(fallback: Vec<Transport>) -> Result<Vec<Transport>, String> {
    let Some(list) = text("TRANSPORTS") else { return Ok(fallback) };
    let transport = |name: &str| name.trim().parse().map_err(|error| format!("{name}: {error}"));
    list.split(',').map(transport).collect()
}

fn cors(origins: &str) -> Cors {
    let list: Vec<_> = origins.split(',').collect();
    match list[..] {
        ["*"] => Cors::any(),
        [one] => Cors::origin(one).credentials(true),
        _ => Cors::origins(list).credentials(true).methods(["GET", "POST"]),
    }
}

fn when_full() -> Result<WhenFull, String> {
    match text("WHEN_FULL").as_deref() {
        None | Some("close") => Ok(WhenFull::Close),
        Some("drop-oldest") => Ok(WhenFull::DropOldest),
        Some("drop-newest") => Ok(WhenFull::DropNewest),
        Some("keep-latest") => Ok(WhenFull::KeepLatest),
        Some(other) => Err(format!("WHEN_FULL={other}: unknown")),
    }
}

fn recovery() -> Result<Option<Recovery>, String> {
    let duration = millis("RECOVERY_MS", Duration::ZERO)?;
    let skip = text("RECOVERY_SKIP_MIDDLEWARES").is_none_or(|value| value != "0");
    let recovery = Recovery::new().max_disconnection_duration(duration).skip_middlewares(skip);
    Ok((!duration.is_zero()).then_some(recovery))
}

#[cfg(feature = "redis")]
enum Redis {
    Classic(greenroom::RedisAdapter),
    Sharded(greenroom::ShardedRedisAdapter),
    Streams(greenroom::RedisStreamsAdapter),
}

/// Several addresses, with commas, are those of a Redis Cluster.
#[cfg(feature = "redis")]
fn redis() -> Result<Option<Redis>, String> {
    use greenroom::{RedisAdapter, RedisError, RedisStreamsAdapter, ShardedRedisAdapter};
    let url = text("REDIS_URL").unwrap_or_else(|| "redis://127.0.0.1:6379".into());
    let (urls, cluster) = (url.split(','), url.contains(','));
    let failed = |error: RedisError| format!("REDIS_URL: {error}");
    Ok(match text("ADAPTER").as_deref() {
        Some("redis") => {
            let adapter =
                if cluster { RedisAdapter::cluster(urls) } else { RedisAdapter::new(&url) };
            let adapter = adapter.map_err(failed)?;
            Some(Redis::Classic(match text("CHANNEL_PREFIX") {
                Some(key) => adapter.key(&key),
                None => adapter,
            }))
        }
        Some("redis-sharded") => {
            let adapter = if cluster {
                ShardedRedisAdapter::cluster(urls)
            } else {
                ShardedRedisAdapter::new(&url)
            };
            let adapter = adapter.map_err(failed)?.subscription_mode(subscription_mode()?);
            Some(Redis::Sharded(match text("CHANNEL_PREFIX") {
                Some(prefix) => adapter.channel_prefix(&prefix),
                None => adapter,
            }))
        }
        Some("redis-streams") => {
            let adapter = if cluster {
                RedisStreamsAdapter::cluster(urls)
            } else {
                RedisStreamsAdapter::new(&url)
            };
            Some(Redis::Streams(adapter.map_err(failed)?))
        }
        _ => None,
    })
}

/// `SUBSCRIPTION_MODE`, which SPEC.md has not; nor has it `CHANNEL_PREFIX`.
#[cfg(feature = "redis")]
fn subscription_mode() -> Result<greenroom::SubscriptionMode, String> {
    use greenroom::SubscriptionMode::{Dynamic, DynamicPrivate, Static};
    match text("SUBSCRIPTION_MODE").as_deref() {
        Some("static") => Ok(Static),
        None | Some("dynamic") => Ok(Dynamic),
        Some("dynamic-private") => Ok(DynamicPrivate),
        Some(other) => Err(format!("SUBSCRIPTION_MODE={other}: unknown")),
    }
}

impl Settings {
    pub(crate) fn from_env() -> Result<Self, String> {
        for (name, asks) in NOT_BUILT {
            if let Some(value) = text(name).filter(|value| asks(value)) {
                return Err(format!("{name}={value} asks for what is not built yet"));
            }
        }
        let mut engine = Config::default();
        engine.path = text("PATH_PREFIX").unwrap_or(engine.path);
        engine.transports = transports(engine.transports)?;
        engine.allow_eio3 = text("ALLOW_EIO3").is_some_and(|value| value == "1");
        engine.ping_interval = millis("PING_INTERVAL", engine.ping_interval)?;
        engine.ping_timeout = millis("PING_TIMEOUT", engine.ping_timeout)?;
        engine.upgrade_timeout = millis("UPGRADE_TIMEOUT", engine.upgrade_timeout)?;
        // Of this server alone.
        engine.max_outbox_bytes = parsed("MAX_OUTBOX_BYTES", engine.max_outbox_bytes)?;
        engine.max_http_buffer_size = parsed("MAX_HTTP_BUFFER_SIZE", engine.max_http_buffer_size)?;
        engine.cors = text("CORS_ORIGIN").map(|origins| cors(&origins));
        engine.cookie = text("COOKIE").map(Cookie::named);
        if text("HTTP_COMPRESSION").is_some_and(|value| value != "1") {
            engine.http_compression = None;
        }
        engine.per_message_deflate =
            text("PER_MESSAGE_DEFLATE").filter(|on| on == "1").map(|_| PerMessageDeflate::new());
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Ok(Self {
            host: text("HOST").unwrap_or_else(|| "127.0.0.1".into()),
            port: parsed("PORT", 3000)?,
            workers: parsed("WORKERS", cores)?.max(1),
            lean: text("LEAN_HTTP").as_deref() == Some("1"),
            connect_timeout: millis("CONNECT_TIMEOUT", Duration::from_millis(45_000))?,
            cleanup: text("CLEANUP_EMPTY_CHILD_NAMESPACES").as_deref() == Some("1"),
            msgpack: text("PARSER").as_deref() == Some("msgpack"),
            recovery: recovery()?,
            #[cfg(feature = "redis")]
            redis: redis()?,
            node: text("ADAPTER")
                .filter(|adapter| adapter != "memory")
                .map(|_| text("NODE_NAME").unwrap_or_else(|| "node".into())),
            when_full: when_full()?,
            engine,
        })
    }

    /// The Socket.IO server.
    pub(crate) fn socket_io(&self) -> SocketIoBuilder {
        let Config { ref path, ref transports, ping_interval, ping_timeout, .. } = self.engine;
        let mut builder = SocketIo::builder().serve_client(false);
        if self.msgpack {
            builder = builder.parser(MsgpackParser);
        }
        if let Some(cors) = &self.engine.cors {
            builder = builder.cors(cors.clone());
        }
        if let Some(cookie) = &self.engine.cookie {
            builder = builder.cookie(cookie.clone());
        }
        if let Some(options) = &self.engine.per_message_deflate {
            builder = builder.per_message_deflate(options.clone());
        }
        if let Some(recovery) = &self.recovery {
            builder = builder.connection_state_recovery(recovery.clone());
        }
        #[cfg(feature = "redis")]
        match &self.redis {
            None => {}
            Some(Redis::Classic(adapter)) => builder = builder.adapter(adapter.clone()),
            Some(Redis::Sharded(adapter)) => builder = builder.adapter(adapter.clone()),
            Some(Redis::Streams(adapter)) => builder = builder.adapter(adapter.clone()),
        }
        builder
            .http_compression(self.engine.http_compression)
            .path(path)
            .transports(transports.clone())
            .allow_eio3(self.engine.allow_eio3)
            .ping_interval(ping_interval)
            .ping_timeout(ping_timeout)
            .upgrade_timeout(self.engine.upgrade_timeout)
            .max_http_buffer_size(self.engine.max_http_buffer_size)
            .max_outbox_bytes(self.engine.max_outbox_bytes)
            .connect_timeout(self.connect_timeout)
            .cleanup_empty_child_namespaces(self.cleanup)
            .allow_request(allow_request)
    }

    /// The same options for the endpoint of Engine.IO alone.
    pub(crate) fn engine_io(&self) -> Config {
        let mut config = self.engine.clone();
        config.path = "/engine.io".into();
        config
    }

    /// Those of the endpoint without any protocol.
    pub(crate) fn bare(&self) -> Config {
        let mut config = self.engine.clone();
        config.max_http_buffer_size = 16 << 20;
        config
    }

    /// The line that says that the server is ready.
    pub(crate) fn announce(&self, addresses: &[SocketAddr]) -> String {
        let port = addresses.first().map_or(self.port, SocketAddr::port);
        format!("listening on {}:{port}", self.host)
    }
}

/// A handshake with the parameter `forbid` is refused, with a message unless it is empty.
pub(crate) async fn allow_request(request: Arc<Request>) -> Result<(), Refusal> {
    match request.query("forbid") {
        None => Ok(()),
        Some("") => Err(Refusal::new()),
        Some(_) => Err(Refusal::message("forbidden by testbed")),
    }
}
