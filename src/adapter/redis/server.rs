//! Where Redis is: one server, or a Redis Cluster. A connection to either does the same.

use std::{
    hash::{Hash, Hasher},
    rc::Rc,
    time::Duration,
};

use futures_util::future::{join_all, try_join, try_join_all};
use indexmap::IndexMap;
use redis::{
    AsyncConnectionConfig, Client, Cmd, ConnectionInfo, ErrorKind, Pipeline, ProtocolVersion,
    PushInfo, RedisResult, Value,
    aio::{ConnectionLike, MultiplexedConnection, SendError},
    cluster::{ClusterClient, ClusterClientBuilder},
    cluster_async::ClusterConnection,
    cluster_routing::{
        MultipleNodeRoutingInfo, Route, RoutingInfo, SingleNodeRoutingInfo, SlotAddr,
    },
};

use super::{
    PATIENCE,
    publisher::Publish,
    queue::{Kind, Publication},
    wants::{Step, Subscription},
};

/// See the module's description.
#[derive(Clone)]
pub(super) enum Server {
    Single(Client),
    Cluster(Servers),
}

/// Some of the servers of a cluster; they know the others.
#[derive(Clone)]
pub(super) struct Servers {
    nodes: Vec<ConnectionInfo>,
    #[cfg(feature = "redis-tls")]
    pub(super) certificates: Option<redis::TlsCertificates>,
}

#[derive(Clone)]
pub(super) enum Connection {
    Single(MultiplexedConnection),
    Cluster(ClusterConnection),
}

impl Server {
    /// Connects; `ears` get what comes unasked, and that a connection broke.
    pub(super) async fn connect(
        &self,
        ears: impl Fn(PushInfo) -> Result<(), SendError> + Send + Sync + 'static,
    ) -> RedisResult<Connection> {
        self.connect_patiently(PATIENCE, ears).await
    }

    /// The same for commands whose answers may take so long.
    pub(super) async fn connect_patiently(
        &self,
        patience: Duration,
        ears: impl Fn(PushInfo) -> Result<(), SendError> + Send + Sync + 'static,
    ) -> RedisResult<Connection> {
        match self {
            Self::Single(client) => {
                let config = AsyncConnectionConfig::new()
                    .set_connection_timeout(Some(PATIENCE))
                    .set_response_timeout(Some(patience))
                    .set_push_sender(ears);
                let connection = client.get_multiplexed_async_connection_with_config(&config);
                connection.await.map(Connection::Single)
            }
            Self::Cluster(servers) => {
                let builder = servers.builder().response_timeout(patience);
                let client = builder.push_sender(ears).build()?;
                client.get_async_connection().await.map(Connection::Cluster)
            }
        }
    }
}

impl Servers {
    pub(super) fn new(nodes: Vec<ConnectionInfo>) -> Self {
        Self {
            nodes,
            #[cfg(feature = "redis-tls")]
            certificates: None,
        }
    }

    /// How to connect to them.
    pub(super) fn builder(&self) -> ClusterClientBuilder {
        let builder = ClusterClient::builder(self.nodes.iter().cloned())
            // Messages of subscriptions come beside the answers to commands.
            .use_protocol(ProtocolVersion::RESP3)
            .connection_timeout(PATIENCE)
            .response_timeout(PATIENCE);
        #[cfg(feature = "redis-tls")]
        if let Some(certificates) = &self.certificates {
            return builder.certs(certificates.clone());
        }
        builder
    }
}

impl Connection {
    /// Changes subscriptions; done when all changes are confirmed.
    pub(super) async fn tell(&mut self, steps: &[Step]) -> RedisResult<()> {
        match self {
            Self::Single(connection) => {
                let mut pipeline = redis::pipe();
                for Step { subscription, add } in steps {
                    // One name for each command, which therefore has one answer.
                    pipeline.cmd(command(subscription, *add)).arg(&**subscription.name());
                }
                let answers = connection.send_packed_commands(&pipeline, 0, steps.len()).await?;
                answers.into_iter().try_for_each(|answer| answer.extract_error().map(drop))
            }
            Self::Cluster(connection) => {
                let tell = |step: &Step| {
                    let (mut connection, Step { subscription, add }) =
                        (connection.clone(), step.clone());
                    async move {
                        let name = &**subscription.name();
                        match (&subscription, add) {
                            (Subscription::Pattern(_), true) => connection.psubscribe(name).await,
                            (Subscription::Pattern(_), false) => {
                                connection.punsubscribe(name).await
                            }
                            (Subscription::Channel(_), true) => connection.subscribe(name).await,
                            (Subscription::Channel(_), false) => connection.unsubscribe(name).await,
                            (Subscription::Shard(_), true) => connection.ssubscribe(name).await,
                            (Subscription::Shard(_), false) => connection.sunsubscribe(name).await,
                        }
                    }
                };
                try_join_all(steps.iter().map(tell)).await.map(drop)
            }
        }
    }

    /// Publishes messages; what Redis answers to each, nil if it does not, and why not. All keep their
    /// order with one server, or by ordinary pub/sub, otherwise those to one place of the cluster, see
    /// [`place`]. Their commands are used up, but for what was refused by one server, and for entries
    /// that were not answered.
    pub(super) async fn publish(
        &mut self,
        how: Publish,
        publications: &mut [Publication],
    ) -> (Vec<Value>, RedisResult<()>) {
        let count = publications.len();
        match self {
            Self::Single(connection) => {
                let pipeline = pipeline(publications.iter_mut());
                let answers = connection.send_packed_commands(&pipeline, 0, count).await;
                restore(&pipeline, &answers, publications.iter_mut());
                match answers {
                    Ok(answers) => (answers, Ok(())),
                    Err(error) => (vec![Value::Nil; count], Err(error)),
                }
            }
            Self::Cluster(connection) => {
                type Part<'a> = (Vec<usize>, Vec<&'a mut Publication>);
                let mut places = IndexMap::<_, Part<'_>>::new();
                for (n, publication) in publications.iter_mut().enumerate() {
                    let place = places.entry(place_of(how, publication)).or_default();
                    place.0.push(n);
                    place.1.push(publication);
                }
                let mut parts = Vec::with_capacity(places.len());
                for (place, (numbers, mut publications)) in places {
                    let mut connection = connection.clone();
                    let pipeline = pipeline(publications.iter_mut().map(|each| &mut **each));
                    parts.push(async move {
                        let count = pipeline.len();
                        let answers = match place {
                            // These are messages; of them nothing is restored.
                            Place::Any => {
                                connection.route_pipeline(pipeline, 0, count, one_place()).await
                            }
                            Place::Of(_) => {
                                let answers =
                                    connection.req_packed_commands(&pipeline, 0, count).await;
                                restore(&pipeline, &answers, publications.into_iter());
                                answers
                            }
                        };
                        (numbers, answers)
                    });
                }
                let (mut all, mut result) = (vec![Value::Nil; count], Ok(()));
                for (numbers, answers) in join_all(parts).await {
                    match answers {
                        Ok(answers) => {
                            numbers
                                .into_iter()
                                .zip(answers)
                                .for_each(|(n, answer)| all[n] = answer);
                        }
                        Err(error) => result = Err(error),
                    }
                }
                (all, result)
            }
        }
    }

    /// Carries out one command. A cluster's server for it is the one that has its key, or, if that
    /// does not matter and `in_one_place`, the same for all.
    pub(super) async fn carry_out(
        &mut self,
        command: Cmd,
        in_one_place: bool,
    ) -> RedisResult<Value> {
        match self {
            Self::Single(connection) => command.query_async(connection).await,
            Self::Cluster(connection) if in_one_place => {
                let route = RoutingInfo::SingleNode(one_place());
                connection.route_command(command, route).await?.extract_error()
            }
            Self::Cluster(connection) => command.query_async(connection).await,
        }
    }

    /// What each server says to a command: one, or all masters. An error if one of them is not reached.
    pub(super) async fn ask(&mut self, command: Cmd) -> RedisResult<Vec<Value>> {
        match self.ask_those_reached(command).await? {
            (answers, 0) => Ok(answers),
            _ => {
                let reason = "not all masters are reached";
                Err((ErrorKind::ClusterConnectionNotFound, reason).into())
            }
        }
    }

    /// Tries the connection. How many masters of a cluster are not reached.
    pub(super) async fn ping(&mut self) -> RedisResult<usize> {
        self.ask_those_reached(redis::cmd("PING")).await.map(|(_, missing)| missing)
    }

    /// Whether what is published on one server reaches those who listen on the others: after a cluster
    /// was away, its masters have to find each other first.
    pub(super) async fn is_well(&mut self) -> RedisResult<bool> {
        if let Self::Single(_) = self {
            return Ok(true);
        }
        let info = redis::cmd("CLUSTER").arg("INFO").take();
        let (infos, missing) = self.ask_those_reached(info).await?;
        let mut texts = infos.into_iter().map(redis::from_redis_value::<String>);
        let is_well = texts.all(|text| text.is_ok_and(|text| text.contains("cluster_state:ok")));
        Ok(is_well && missing == 0)
    }

    /// The answers, and how many masters have not been asked.
    async fn ask_those_reached(&mut self, command: Cmd) -> RedisResult<(Vec<Value>, usize)> {
        match self {
            Self::Single(connection) => {
                let answer = connection.send_packed_command(&command).await?;
                Ok((vec![answer.extract_error()?], 0))
            }
            Self::Cluster(connection) => {
                let masters = (MultipleNodeRoutingInfo::AllMasters, None);
                let mut asked = connection.clone();
                let answers = asked.route_command(command, RoutingInfo::MultiNode(masters));
                // Those to which there is no connection are passed over.
                let slots = redis::cmd("CLUSTER").arg("SLOTS").take();
                let anybody = RoutingInfo::SingleNode(SingleNodeRoutingInfo::Random);
                let (answers, slots) =
                    try_join(answers, connection.route_command(slots, anybody)).await?;
                let answers: Vec<_> = match answers.extract_error()? {
                    Value::Map(answers) => {
                        answers.into_iter().map(|(_, answer)| answer.extract_error()).collect()
                    }
                    answer => Ok(vec![answer]),
                }?;
                let missing = masters_of(&slots.extract_error()?).saturating_sub(answers.len());
                Ok((answers, missing))
            }
        }
    }
}

/// Where a cluster gets all ordinary messages: whichever it is, it tells the others, in their order.
fn one_place() -> SingleNodeRoutingInfo {
    SingleNodeRoutingInfo::SpecificNode(Route::new(0, SlotAddr::Master))
}

/// Where a cluster has something.
#[derive(PartialEq, Eq, Hash)]
enum Place {
    /// Each of its servers takes it.
    Any,
    Of(ByPlace),
}

fn place_of(how: Publish, publication: &Publication) -> Place {
    match (publication.kind, how) {
        (Kind::Message, Publish::Ordinary) => Place::Any,
        _ => Place::Of(ByPlace(Rc::clone(&publication.key))),
    }
}

/// A channel or a key; equal to those that are in the same place for certain.
struct ByPlace(Rc<str>);

impl PartialEq for ByPlace {
    fn eq(&self, other: &Self) -> bool {
        place(&self.0) == place(&other.0)
    }
}

impl Eq for ByPlace {}

impl Hash for ByPlace {
    fn hash<H: Hasher>(&self, state: &mut H) {
        place(&self.0).hash(state);
    }
}

/// What decides where a cluster has a channel: what is in its first braces, if there is anything.
fn place(channel: &str) -> &str {
    let braces = channel.split_once('{').and_then(|(_, rest)| rest.split_once('}'));
    braces.map(|(tag, _)| tag).filter(|tag| !tag.is_empty()).unwrap_or(channel)
}

/// How many masters have a part of a cluster, as `CLUSTER SLOTS` says. (The size that `CLUSTER INFO` says
/// is 1 for two seconds after a restart.)
fn masters_of(slots: &Value) -> usize {
    let parts = slots.as_sequence().unwrap_or_default();
    let master = |part: &Value| part.as_sequence()?.get(2).cloned();
    let mut masters: Vec<_> = Vec::new();
    for master in parts.iter().filter_map(master) {
        if !masters.contains(&master) {
            masters.push(master);
        }
    }
    masters.len()
}

/// Takes the commands of publications.
fn pipeline<'a>(publications: impl Iterator<Item = &'a mut Publication>) -> Pipeline {
    let mut pipeline = redis::pipe();
    for publication in publications {
        pipeline.add_command(std::mem::take(&mut publication.command));
    }
    pipeline
}

/// Gives entries their commands back, unless they are known to have been added.
fn restore<'a>(
    pipeline: &Pipeline,
    answers: &RedisResult<Vec<Value>>,
    publications: impl Iterator<Item = &'a mut Publication>,
) {
    let refused = |answer: &Value| matches!(answer, Value::ServerError(_));
    let all = match answers {
        Ok(answers) if !answers.iter().any(refused) => return,
        Ok(answers) => answers.as_slice(),
        Err(_) => &[],
    };
    for (n, (publication, command)) in publications.zip(pipeline.cmd_iter()).enumerate() {
        // Of a message that was not answered nobody knows whether it was sent.
        if all.get(n).map_or(publication.kind == Kind::Entry, refused) {
            publication.command = command.clone();
        }
    }
}

fn command(subscription: &Subscription, add: bool) -> &'static str {
    match (subscription, add) {
        (Subscription::Pattern(_), true) => "PSUBSCRIBE",
        (Subscription::Pattern(_), false) => "PUNSUBSCRIBE",
        (Subscription::Channel(_), true) => "SUBSCRIBE",
        (Subscription::Channel(_), false) => "UNSUBSCRIBE",
        (Subscription::Shard(_), true) => "SSUBSCRIBE",
        (Subscription::Shard(_), false) => "SUNSUBSCRIBE",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masters_are_counted_however_many_parts_they_have() {
        let node = |id: &str| {
            let host = Value::BulkString(b"127.0.0.1".to_vec());
            Value::Array(vec![host, Value::Int(6379), Value::BulkString(id.into())])
        };
        let part = |from, to, nodes: &[&str]| {
            let ends = [Value::Int(from), Value::Int(to)];
            Value::Array(ends.into_iter().chain(nodes.iter().map(|id| node(id))).collect())
        };
        let slots = [part(0, 9, &["a", "c"]), part(10, 19, &["b"]), part(20, 29, &["a", "c"])];
        assert_eq!(masters_of(&Value::Array(slots.to_vec())), 2);
        assert_eq!(masters_of(&Value::Nil), 0);
    }

    #[test]
    fn the_first_braces_decide_where_a_channel_is() {
        for (channel, expected) in [
            ("socket.io#/#", "socket.io#/#"),
            ("{app}#/#room {1}#", "app"),
            ("app#/#room {1}#", "1"),
            ("app#/#{}{1}#", "app#/#{}{1}#"),
            ("app#/#}{#", "app#/#}{#"),
        ] {
            assert_eq!(place(channel), expected);
        }
        assert!(ByPlace("{a}1".into()) == ByPlace("{a}2".into()));
    }
}
