//! Against a real PostgreSQL: who is ended, and above all who is not.

use std::collections::BTreeMap;

use domain::target::UpstreamTls;
use identity::Secret;

use super::*;
use crate::codec::ProtocolVersion;
use crate::upstream::tests::server::{Authority, Server};

struct World {
    _server: Server,
    address: Address,
    password: Secret,
    settings: BTreeMap<String, String>,
}

impl World {
    fn start() -> World {
        let server = Server::start(&Authority::new());
        let user_timeout = Duration::from_millis(1500);
        let address = Address { address: server.address.clone(), tls: UpstreamTls::Off, direct_tls: false, user_timeout };
        World { _server: server, address, password: Secret::from("right"), settings: BTreeMap::new() }
    }

    fn login<'a>(&'a self, user: &'a str) -> Login<'a> {
        let (password, settings, version) = (&self.password, &self.settings, ProtocolVersion::V3_0);
        Login { username: user, password, database: "postgres", application: "loop", settings, read_only: true, version }
    }

    async fn connected(&self, user: &str) -> Connected {
        establish(&self.address, &self.login(user)).await.expect("in")
    }

    async fn session(&self, user: &str) -> (Connected, record::Backend) {
        let mut connected = self.connected(user).await;
        let backend = identify(&mut connected).await.expect("goes on").expect("says who it is");
        (connected, backend)
    }

    async fn terminate(&self, user: &str, backends: &[record::Backend], which: Which) -> Vec<Fate> {
        terminate(&self.address, &self.login(user), backends, which).await.expect("the target answers")
    }
}

async fn lives(connected: &mut Connected) -> bool {
    ask(connected, "SELECT 1", 1).await.is_ok_and(|answer| answer.rows == [vec![Some("1".to_owned())]])
}

#[tokio::test]
async fn only_the_very_process_of_the_very_role_is_ended() {
    let world = World::start();
    let (mut meant, backend) = world.session("by_scram").await;
    let (mut beside, other) = world.session("by_scram").await;
    let (mut stranger, foreign) = world.session("by_md5").await;
    assert_eq!(Some(backend.process), meant.key.as_ref().map(|key| key.pid));
    assert_ne!(backend, other);

    // The number was given again: another one began at that time, or this one at another.
    let later = record::Backend { started_us: backend.started_us + 1, ..backend };
    let mixed = record::Backend { process: backend.process, started_us: other.started_us };
    assert_eq!(world.terminate("by_scram", &[later, mixed], Which::All).await, [Fate::NotFound; 2]);
    // A role that may end everybody's, for it is a superuser, ends its own.
    assert_eq!(world.terminate("by_scram", &[foreign], Which::All).await, [Fate::NotFound]);
    assert!(lives(&mut meant).await && lives(&mut beside).await && lives(&mut stranger).await);

    let fates = world.terminate("by_scram", &[later, backend, foreign], Which::All).await;
    assert_eq!(fates, [Fate::NotFound, Fate::Ended { was_idle: true }, Fate::NotFound]);
    assert!(!lives(&mut meant).await);
    assert!(lives(&mut beside).await && lives(&mut stranger).await);
    assert_eq!(world.terminate("by_scram", &[backend], Which::All).await, [Fate::NotFound], "it has gone");
    // A role that is no superuser may end its own.
    assert_eq!(world.terminate("by_md5", &[other, foreign], Which::All).await, [Fate::NotFound, Fate::Ended { was_idle: true }]);
    assert!(!lives(&mut stranger).await);
    assert!(lives(&mut beside).await);
}

#[tokio::test]
async fn who_is_at_rest_can_be_spared() {
    let world = World::start();
    let (mut idle, at_rest) = world.session("by_md5").await;
    let (mut open, in_transaction) = world.session("by_md5").await;
    let (mut failed, in_failed) = world.session("by_md5").await;
    let (mut busy, at_work) = world.session("by_md5").await;
    ask(&mut open, "BEGIN", 1).await.expect("a transaction");
    ask(&mut failed, "BEGIN", 1).await.expect("a transaction");
    assert!(ask(&mut failed, "SELECT 1/0", 1).await.is_err());
    let sleeps = tokio::spawn(async move { ask(&mut busy, "SELECT pg_sleep(60)", 1).await.map(|answer| answer.rows) });
    let (mut watching, _) = world.session("by_md5").await;
    let active = format!("SELECT 1 FROM pg_stat_activity WHERE pid = {} AND state = 'active'", at_work.process);
    let begun = Instant::now();
    while ask(&mut watching, &active, 1).await.expect("an answer").rows.is_empty() {
        assert!(begun.elapsed() < Duration::from_secs(20), "the statement has not begun");
    }

    let ended = Fate::Ended { was_idle: false };
    let fates = world.terminate("by_md5", &[at_rest, in_transaction, in_failed, at_work], Which::Busy).await;
    assert_eq!(fates, [Fate::NotFound, ended, ended, ended]);
    assert!(lives(&mut idle).await);
    assert!(!lives(&mut open).await && !lives(&mut failed).await);
    assert!(sleeps.await.expect("runs").is_err());
}

/// A pooler gives numbers of its own.
#[tokio::test]
async fn a_process_with_another_number_than_was_given_at_login_is_none_to_be_ended() {
    let world = World::start();
    let mut connected = world.connected("by_scram").await;
    connected.key.as_mut().expect("a key").pid += 1;
    assert_eq!(identify(&mut connected).await.expect("goes on"), None);
    assert!(lives(&mut connected).await);
    connected.key = None;
    assert_eq!(identify(&mut connected).await.expect("goes on"), None);
}

#[tokio::test]
async fn a_server_that_does_not_say_keeps_its_session() {
    let world = World::start();
    let (mut owner, _) = world.session("by_trust").await;
    ask(&mut owner, "SET default_transaction_read_only = off", 1).await.expect("a setting");
    let revoke = "REVOKE EXECUTE ON FUNCTION pg_catalog.pg_stat_get_activity(integer) FROM PUBLIC";
    ask(&mut owner, revoke, 1).await.expect("revoked");
    let mut connected = world.connected("by_md5").await;
    assert_eq!(identify(&mut connected).await.expect("goes on"), None);
    assert!(lives(&mut connected).await);
}
