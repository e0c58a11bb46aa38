//! Against a real PostgreSQL, and against servers that mean no good.

pub(crate) mod server;

use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use tokio::net::TcpListener;

use self::server::{Authority, Server};
use super::*;
use crate::codec::{Backend, Frontend, TransactionStatus, frame, write};

fn address(address: &str, tls: UpstreamTls) -> Address {
    Address { address: address.to_owned(), tls, direct_tls: false, user_timeout: Duration::from_millis(1500) }
}

fn verify(roots_pem: &str, server_name: Option<&str>) -> UpstreamTls {
    UpstreamTls::VerifyFull { roots_pem: roots_pem.to_owned(), server_name: server_name.map(str::to_owned) }
}

async fn log_in(address: &Address, user: &str, secret: &str) -> Result<Connected, UpstreamError> {
    log_in_with(address, user, secret, &BTreeMap::new(), false).await
}

async fn log_in_with(
    address: &Address,
    user: &str,
    secret: &str,
    settings: &BTreeMap<String, String>,
    read_only: bool,
) -> Result<Connected, UpstreamError> {
    let password = Secret::from(secret);
    let login = Login {
        username: user,
        password: &password,
        database: "postgres",
        application: "loop",
        settings,
        read_only,
        version: ProtocolVersion::V3_0,
    };
    tokio::time::timeout(Duration::from_secs(20), establish(address, &login)).await.expect("in time")
}

/// Runs one statement and gives the messages up to ReadyForQuery.
async fn run(connected: &mut Connected, text: &str) -> Vec<frame::Frame> {
    let mut out = BytesMut::new();
    Frontend::Query { text }.write(&mut out).expect("short");
    connected.stream.write_all(&out).await.expect("sent");
    let mut frames = Vec::new();
    loop {
        while let Some(frame) = frame::next(&mut connected.buffer, 1 << 20).expect("valid") {
            let ready = frame.tag == b'Z';
            frames.push(frame);
            if ready {
                return frames;
            }
        }
        assert!(connected.stream.read_buf(&mut connected.buffer).await.expect("read") > 0);
    }
}

#[tokio::test]
async fn a_real_server_lets_us_in_by_every_method_it_has() {
    let authority = Authority::new();
    let server = Server::start(&authority);
    let off = address(&server.address, UpstreamTls::Off);
    let full = address(&server.address, verify(&authority.pem, Some("localhost")));

    for (user, at) in
        [("by_scram", &off), ("by_md5", &off), ("by_trust", &off), ("by_scram", &full), ("by_md5", &full), ("by_password", &full)]
    {
        let connected = log_in(at, user, "right").await.unwrap_or_else(|error| panic!("{user}: {error}"));
        assert_eq!(connected.parameters.get("client_encoding").map(String::as_str), Some("UTF8"));
        assert_eq!(connected.parameters.get("session_authorization").map(String::as_str), Some(user));
        assert!(connected.key.is_some_and(|key| key.secret.len() == 4));
        assert_eq!(connected.stream.is_tls(), !matches!(at.tls, UpstreamTls::Off));
    }
    for user in ["by_scram", "by_md5"] {
        let error = log_in(&off, user, "wrong").await.expect_err("refused");
        assert!(matches!(&error, UpstreamError::Refused { sqlstate, .. } if sqlstate == "28P01"), "{error}");
        assert_eq!(error.said(), "it did not accept the stored credential");
    }
    let clear = log_in(&off, "by_password", "right").await.expect_err("never in the clear");
    assert!(matches!(clear, UpstreamError::Authentication(_)), "{clear}");

    // Who the server is.
    assert!(log_in(&address(&server.address, UpstreamTls::RequireUnverified), "by_scram", "right").await.is_ok());
    let stranger = address(&server.address, verify(&Authority::new().pem, Some("localhost")));
    assert!(matches!(log_in(&stranger, "by_scram", "right").await, Err(UpstreamError::Tls(_))));
    let renamed = address(&server.address, verify(&authority.pem, Some("other.example")));
    assert!(matches!(log_in(&renamed, "by_scram", "right").await, Err(UpstreamError::Tls(_))));
    let by_address = address(&server.address, verify(&authority.pem, None));
    assert!(log_in(&by_address, "by_scram", "right").await.is_ok(), "the certificate names 127.0.0.1 too");
    let system = address(&server.address, verify("", Some("localhost")));
    assert!(matches!(log_in(&system, "by_scram", "right").await, Err(UpstreamError::Tls(_))));

    // What the session starts with.
    let wishes =
        BTreeMap::from([("timezone".to_owned(), "Asia/Tokyo".to_owned()), ("default_transaction_read_only".to_owned(), "off".to_owned())]);
    let mut session = log_in_with(&off, "by_scram", "right", &wishes, true).await.expect("in");
    assert_eq!(session.parameters.get("TimeZone").map(String::as_str), Some("Asia/Tokyo"));
    assert_eq!(session.parameters.get("application_name").map(String::as_str), Some("loop"));
    let refused = run(&mut session, "create table t ()").await;
    let Ok(Backend::ErrorResponse(fields)) = Backend::parse(&refused[0]) else { panic!("{refused:?}") };
    assert_eq!(fields.sqlstate(), Some("25006"));
    let shown = run(&mut session, "show backslash_quote").await;
    assert!(matches!(Backend::parse(&shown[1]), Ok(Backend::DataRow(row)) if row.iter().eq([Some(&b"safe_encoding"[..])])));

    // Cancelling, in the clear and over TLS.
    for at in [&off, &full] {
        let mut sleeper = log_in(at, "by_scram", "right").await.expect("in");
        let key = sleeper.key.clone().expect("a key");
        let sleeping = tokio::spawn(async move { run(&mut sleeper, "select pg_sleep(60)").await });
        let mut watcher = log_in(&off, "by_trust", "").await.expect("in");
        loop {
            let seen = run(&mut watcher, &format!("select 1 from pg_stat_get_activity({}) where wait_event = 'PgSleep'", key.pid)).await;
            if seen.iter().any(|frame| frame.tag == b'D') {
                break;
            }
        }
        cancel(at, &key).await.expect("sent");
        let ended = sleeping.await.expect("ended");
        let error = ended.iter().find(|frame| frame.tag == b'E').expect("an error");
        assert!(matches!(Backend::parse(error), Ok(Backend::ErrorResponse(fields)) if fields.sqlstate() == Some("57014")));
    }

    let password = Secret::from("right");
    let login = Login {
        username: "by_scram",
        password: &password,
        database: "nowhere",
        application: "",
        settings: &BTreeMap::new(),
        read_only: false,
        version: ProtocolVersion::V3_2,
    };
    let missing = establish(&full, &login).await.expect_err("no such database");
    assert_eq!(missing.said(), "it has no such database");
    let parameters = establish(&full, &Login { database: "postgres", ..login }).await.expect("in").parameters;
    assert!(parameters.contains_key("server_version"));
}

/// A server that sends `script` once it was spoken to, and keeps the connection open.
async fn rogue(script: Vec<u8>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("bound").to_string();
    let script: Arc<[u8]> = script.into();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let script = script.clone();
            tokio::spawn(async move {
                let mut heard = [0; 4096];
                let _ = stream.read(&mut heard).await;
                let _ = stream.write_all(&script).await;
                while matches!(stream.read(&mut heard).await, Ok(1..)) {}
            });
        }
    });
    address
}

fn said(messages: &[(u8, &[u8])]) -> Vec<u8> {
    let mut out = BytesMut::new();
    for (tag, body) in messages {
        write::message(&mut out, *tag, |out| out.extend_from_slice(body));
    }
    out.to_vec()
}

async fn meets(script: Vec<u8>) -> UpstreamError {
    let at = address(&rogue(script).await, UpstreamTls::Off);
    log_in(&at, "agent", "secret").await.expect_err("not let in")
}

const OK: (u8, &[u8]) = (b'R', &[0; 4]);

#[tokio::test]
async fn a_server_that_breaks_the_rules_of_login_is_left() {
    let sasl: (u8, &[u8]) = (b'R', b"\0\0\0\x0aSCRAM-SHA-256\0\0");
    let ready: (u8, &[u8]) = (b'Z', &[TransactionStatus::Idle.letter()]);
    assert!(matches!(meets(b"R\0\0\0\x03".to_vec()).await, UpstreamError::Protocol(_)), "length 3");
    assert!(matches!(meets(b"R\xff\xff\xff\xff".to_vec()).await, UpstreamError::Protocol(_)), "length -1");
    assert!(matches!(meets(b"N\x7f\xff\xff\xff".to_vec()).await, UpstreamError::Protocol(_)), "2 GiB notice");
    assert!(matches!(meets(said(&[ready])).await, UpstreamError::Rules(_)), "ready without authentication");
    assert!(matches!(meets(said(&[OK, OK])).await, UpstreamError::Rules(_)), "authentication twice");
    assert!(matches!(meets(said(&[sasl, OK])).await, UpstreamError::Authentication(_)), "no proof of its own");
    let notices = vec![(b'N', &b"\0"[..]); 300];
    assert!(matches!(meets(said(&notices)).await, UpstreamError::Rules(_)), "endless notices");
    let costly: (u8, &[u8]) = (b'R', b"\0\0\0\x0br=x,s=QUJD,i=2147483647");
    assert!(matches!(meets(said(&[sasl, costly])).await, UpstreamError::Authentication(_)), "2^31 iterations");
    let kerberos: (u8, &[u8]) = (b'R', b"\0\0\0\x07");
    assert!(matches!(meets(said(&[kerberos])).await, UpstreamError::Authentication(_)));
    let newer: (u8, &[u8]) = (b'v', b"\0\x03\0\x09\0\0\0\0");
    assert!(matches!(meets(said(&[newer])).await, UpstreamError::Rules(_)), "a version nobody asked for");
    let lexing: (u8, &[u8]) = (b'S', b"standard_conforming_strings\0off\0");
    assert!(matches!(meets(said(&[OK, lexing, ready])).await, UpstreamError::NotPinned { .. }));
}

#[tokio::test]
async fn bytes_before_encryption_and_no_encryption_are_refused() {
    for (script, problem) in [
        (&b"S\x16"[..], "the target sent bytes before TLS was on"),
        (b"N", "the target does not speak TLS"),
        (b"E", "the target does not know the request for TLS"),
    ] {
        let at = address(&rogue(script.to_vec()).await, UpstreamTls::RequireUnverified);
        let error = log_in(&at, "agent", "secret").await.expect_err("not let in");
        assert!(matches!(&error, UpstreamError::Tls(text) if text == problem), "{error}");
    }
}

#[tokio::test]
async fn a_trusting_server_without_a_cancel_key_will_do() {
    let ready: (u8, &[u8]) = (b'Z', b"I");
    let at = address(&rogue(said(&[OK, ready])).await, UpstreamTls::Off);
    let connected = log_in(&at, "agent", "secret").await.expect("in");
    assert_eq!((connected.key, connected.parameters.len()), (None, 0));
}

#[test]
fn what_the_agent_is_told_names_nothing() {
    let error = UpstreamError::Refused { sqlstate: "XX\u{1b}00\n0".into(), message: "role \"root\" at 10.0.0.1".into() };
    assert_eq!(error.said(), "it refused the login with SQLSTATE XX000");
}
