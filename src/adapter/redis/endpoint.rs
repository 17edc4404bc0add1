//! The address of Redis, as an application gives it.

use redis::{Client, ConnectionInfo, ErrorKind, IntoConnectionInfo, ProtocolVersion};

use super::{
    RedisError,
    server::{Server, Servers},
};

/// See the module's description. What it says is possible.
#[derive(Clone)]
pub(super) struct Endpoint {
    #[cfg_attr(not(feature = "redis-tls"), allow(dead_code, reason = "certificates are for them"))]
    nodes: Vec<ConnectionInfo>,
    server: Server,
}

impl Endpoint {
    pub(super) fn single(url: &str) -> Result<Self, RedisError> {
        let info = url.into_connection_info().map_err(RedisError::address)?;
        // Messages of subscriptions come beside the answers to commands.
        let settings = info.redis_settings().clone().set_protocol(ProtocolVersion::RESP3);
        let info = info.set_redis_settings(settings);
        prepare(&info);
        let server = Client::open(info.clone()).map(Server::Single);
        let server = server.map_err(RedisError::address)?;
        Ok(Self { nodes: vec![info], server })
    }

    pub(super) fn cluster<'a>(urls: impl IntoIterator<Item = &'a str>) -> Result<Self, RedisError> {
        let nodes: Result<Vec<_>, _> =
            urls.into_iter().map(IntoConnectionInfo::into_connection_info).collect();
        let nodes = nodes.map_err(RedisError::address)?;
        if nodes.is_empty() {
            return Err(RedisError::address((ErrorKind::Client, "there is none").into()));
        }
        nodes.iter().for_each(prepare);
        let servers = Servers::new(nodes.clone());
        // Whether it can be used is found out now.
        servers.builder().build().map_err(RedisError::address)?;
        Ok(Self { nodes, server: Server::Cluster(servers) })
    }

    /// With `rediss://`, trusts this certificate.
    #[cfg(feature = "redis-tls")]
    pub(super) fn trust(&mut self, pem: Vec<u8>) -> Result<(), RedisError> {
        use rustls::pki_types::{CertificateDer, pem::PemObject};
        if !matches!(CertificateDer::pem_slice_iter(&pem).next(), Some(Ok(_))) {
            return Err(RedisError::certificate((ErrorKind::Client, "there is none").into()));
        }
        let certificates = redis::TlsCertificates { client_tls: None, root_cert: Some(pem) };
        match &mut self.server {
            Server::Single(client) => {
                if let Some(info) = self.nodes.first().filter(|info| is_tls(info)) {
                    let trusting = Client::build_with_tls(info.clone(), certificates);
                    *client = trusting.map_err(RedisError::certificate)?;
                }
            }
            Server::Cluster(servers) => {
                servers.certificates = Some(certificates);
                servers.builder().build().map_err(RedisError::certificate)?;
            }
        }
        Ok(())
    }

    pub(super) fn server(&self) -> Server {
        self.server.clone()
    }
}

#[cfg(feature = "redis-tls")]
fn is_tls(info: &ConnectionInfo) -> bool {
    matches!(info.addr(), redis::ConnectionAddr::TcpTls { .. })
}

/// What connections over TLS need of the process: somebody who knows about cryptography. The
/// application may have chosen one.
fn prepare(info: &ConnectionInfo) {
    #[cfg(feature = "redis-tls")]
    if is_tls(info) && rustls::crypto::CryptoProvider::get_default().is_none() {
        // Another thread may be first.
        let _ = rustls::crypto::ring::default_provider().install_default();
    }
    #[cfg(not(feature = "redis-tls"))]
    let _ = info;
}
