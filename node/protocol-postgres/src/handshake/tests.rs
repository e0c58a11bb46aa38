//! psql and raw bytes through the handshake, against a state with one agent.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::process::Output;

use domain::id::{Index, TokenId};
use domain::principal::{Principal, PrincipalKind, Token, TokenUse};
use identity::scram::verifier;
use identity::{Secret, token};
use postgres_protocol::authentication::sasl::{ChannelBinding, ScramSha256};
use tokio::net::TcpListener;
use tokio::process::Command;
use tokio::sync::mpsc;

use super::*;
use crate::codec::{Frontend, write};
use crate::upstream::tests::server::Authority;

struct Served {
    address: SocketAddr,
    /// One of the agent's two tokens.
    token: String,
    /// PEM file of the authority that psql is to trust.
    roots: tempfile::NamedTempFile,
    outcomes: mpsc::Receiver<&'static str>,
}

fn agent(secrets: &[&Secret]) -> State {
    let tokens = (1..).zip(secrets).map(|(id, secret)| {
        let scram = verifier::create_default(secret, [4; 16]);
        let lookup = token::lookup(secret);
        let issued_by: Name = "ann".parse().expect("a name");
        let token = Token {
            id: TokenId(id),
            usage: TokenUse::Gateway,
            lookup,
            scram,
            label: String::new(),
            expires: None,
            review_due: None,
            issued_by,
            issued: LogTime(0),
        };
        (token.id, token)
    });
    let agent = Principal {
        name: "billing-loop".parse().expect("a name"),
        kind: PrincipalKind::Agent { owner: "ann".parse().expect("a name"), backup_owner: None, job: None },
        active: true,
        tokens: tokens.collect(),
        labels: BTreeMap::new(),
        version: Index(1),
        narrowed: Index(0),
    };
    let mut state = State::default();
    state.principals.insert(agent.name.clone(), agent);
    state.rebuild_indexes();
    state
}

/// A gateway that admits everybody who is identified, but for the target `closed`, and answers every query alike.
async fn serve(auth: Auth, tls: bool) -> Served {
    let authority = Authority::new();
    let (certificate, key) = authority.leaf();
    let tls = tls.then(|| ListenerTls::from_pem(certificate.as_bytes(), key.as_bytes()).expect("a certificate"));
    let mock = MockKey::new([1; 32]);
    let listening = Arc::new(Listening { tls, tls_required: false, auth, target: None, replication: false, mock });
    let (first, second) = (token::generate(token::Purpose::Gateway), token::generate(token::Purpose::Gateway));
    let state = Arc::new(agent(&[&first, &second]));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("bound");
    let (told, outcomes) = mpsc::channel(64);
    tokio::spawn(async move {
        while let Ok((tcp, _)) = listener.accept().await {
            let (listening, state, told) = (listening.clone(), state.clone(), told.clone());
            tokio::spawn(async move {
                let look = || (state.clone(), LogTime(1));
                let outcome = match run(tcp, &listening, &look).await {
                    Outcome::Identified(identified) => {
                        told.send("identified").await.expect("heard");
                        return session(*identified).await;
                    }
                    Outcome::Cancel { key, .. } if key.secret.len() == 32 => "cancel 32",
                    Outcome::Cancel { .. } => "cancel",
                    Outcome::TurnedAway { refusal, .. } => refusal.code(),
                    Outcome::Gone => "gone",
                };
                told.send(outcome).await.expect("heard");
            });
        }
    });
    let roots = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(roots.path(), &authority.pem).expect("written");
    let token = second.expose_str().expect("ASCII").to_owned();
    Served { address, token, roots, outcomes }
}

async fn session(identified: Identified) {
    if identified.opening.target.as_ref().is_none_or(|target| target.as_str() == "closed") {
        return identified.refuse(&Refusal::NoGrant).await;
    }
    let length = identified.cancel_secret_length();
    let (mut stream, mut buffer, _, greeting) = identified.into_parts();
    let mut out = BytesMut::new();
    let key = CancelKey { pid: 77, secret: vec![5; length].into() };
    greeting.write(&mut out, [("server_version", "15.0"), ("client_encoding", "UTF8")], &key);
    stream.write_all(&out).await.expect("sent");
    loop {
        while let Some(frame) = frame::next(&mut buffer, 1 << 20).expect("valid") {
            out.clear();
            match Frontend::parse(&frame).expect("valid") {
                Frontend::Query { .. } => {
                    Backend::CommandComplete { tag: "GATEWAY" }.write(&mut out).expect("short");
                    Backend::ReadyForQuery(TransactionStatus::Idle).write(&mut out).expect("short");
                }
                _ => return,
            }
            stream.write_all(&out).await.expect("sent");
        }
        if stream.read_buf(&mut buffer).await.unwrap_or(0) == 0 {
            return;
        }
    }
}

async fn psql(served: &Served, user: &str, password: &str, rest: &str) -> Output {
    let conninfo = format!(
        "host=localhost hostaddr={} port={} user={user} connect_timeout=20 sslrootcert={} {rest}",
        served.address.ip(),
        served.address.port(),
        served.roots.path().display()
    );
    let mut command = Command::new("psql");
    command.args(["-X", "-c", "select 1", &conninfo]).env("PGPASSWORD", password);
    command.output().await.expect("this test needs psql: apt-get install postgresql-client")
}

async fn lets_in(served: &Served, rest: &str) {
    let output = psql(served, "billing-loop", &served.token, rest).await;
    assert_eq!(String::from_utf8_lossy(&output.stdout), "GATEWAY\n", "{rest}: {}", String::from_utf8_lossy(&output.stderr));
}

async fn turns_away(served: &Served, user: &str, password: &str, rest: &str) -> String {
    let output = psql(served, user, password, rest).await;
    assert!(!output.status.success(), "{rest}");
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[tokio::test]
async fn psql_by_scram() {
    let mut served = serve(Auth::Scram, true).await;
    lets_in(&served, "dbname=shop sslmode=disable").await;
    lets_in(&served, "dbname=shop/orders sslmode=verify-full channel_binding=require").await;
    lets_in(&served, "dbname=shop sslmode=require channel_binding=disable").await;
    lets_in(&served, "dbname=shop gssencmode=prefer options='-c statement_timeout=5s'").await;
    for _ in 0..4 {
        assert_eq!(served.outcomes.recv().await, Some("identified"));
    }
    let wrong = token::generate(token::Purpose::Gateway);
    let wrong = wrong.expose_str().expect("ASCII");
    let known = turns_away(&served, "billing-loop", wrong, "dbname=shop sslmode=disable").await;
    let unknown = turns_away(&served, "nobody", wrong, "dbname=shop sslmode=disable").await;
    assert!(known.contains("FATAL:  authentication failed"), "{known}");
    assert_eq!(known, unknown);
    assert_eq!(served.outcomes.recv().await, Some("wrong-secret"));
    assert_eq!(served.outcomes.recv().await, Some("unknown-principal"));
    let closed = turns_away(&served, "billing-loop", &served.token, "dbname=closed sslmode=disable").await;
    assert!(closed.contains("FATAL:  login refused: no such target, or no grant for it"), "{closed}");
    let pinned = turns_away(&served, "billing-loop", &served.token, "dbname=shop options='-c role=root'").await;
    assert!(pinned.contains("the gateway pins \"role\""), "{pinned}");
    let replication = turns_away(&served, "billing-loop", &served.token, "dbname=shop replication=database").await;
    assert!(replication.contains("replication start-ups are not taken"), "{replication}");
}

#[tokio::test]
async fn psql_by_password_over_tls_only() {
    let served = serve(Auth::PasswordOverTls, true).await;
    lets_in(&served, "dbname=shop sslmode=verify-full").await;
    let clear = turns_away(&served, "billing-loop", &served.token, "dbname=shop sslmode=disable").await;
    assert!(clear.contains("passwords over TLS only"), "{clear}");
    let cut = &served.token[..served.token.len() - 1];
    let short = turns_away(&served, "billing-loop", cut, "dbname=shop sslmode=require").await;
    assert!(short.contains("FATAL:  authentication failed"), "{short}");
    let other = turns_away(&served, "somebody-else", &served.token, "dbname=shop sslmode=require").await;
    assert_eq!(short, other);
}

#[tokio::test]
async fn psql_without_tls_here_is_told_so() {
    let served = serve(Auth::Scram, false).await;
    lets_in(&served, "dbname=shop sslmode=prefer").await;
    let refused = turns_away(&served, "billing-loop", &served.token, "dbname=shop sslmode=require").await;
    assert!(refused.contains("server does not support SSL"), "{refused}");
}

async fn send(served: &Served, bytes: &[u8]) -> TcpStream {
    let mut tcp = TcpStream::connect(served.address).await.expect("connects");
    tcp.write_all(bytes).await.expect("sent");
    tcp
}

async fn all_of(mut tcp: TcpStream) -> Vec<u8> {
    let mut heard = Vec::new();
    // A reset is an answer too.
    let _ = tcp.read_to_end(&mut heard).await;
    heard
}

fn packet(startup: &Startup) -> BytesMut {
    let mut out = BytesMut::new();
    startup.write(&mut out);
    out
}

fn opening(version: ProtocolVersion, parameters: &[(&str, &str)]) -> BytesMut {
    let fixed = [("user", "billing-loop"), ("database", "shop")];
    let all = fixed.iter().chain(parameters).map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
    packet(&Startup::Session { version, parameters: all })
}

#[tokio::test]
async fn bytes_pipelined_before_encryption_close_the_connection() {
    let mut served = serve(Auth::Scram, true).await;
    for request in [Startup::SslRequest, Startup::GssEncRequest] {
        let mut bytes = packet(&request);
        write::message(&mut bytes, b'Q', |out| out.extend_from_slice(b"select 1\0"));
        let heard = all_of(send(&served, &bytes).await).await;
        assert_eq!(heard, b"", "{request:?}");
        assert_eq!(served.outcomes.recv().await, Some("gone"));
    }
}

#[tokio::test]
async fn cancel_requests_come_out_with_their_key() {
    let mut served = serve(Auth::Scram, true).await;
    for (length, outcome) in [(4, "cancel"), (32, "cancel 32")] {
        let key = CancelKey { pid: 1, secret: vec![3; length].into() };
        let heard = all_of(send(&served, &packet(&Startup::Cancel(key))).await).await;
        assert_eq!((heard, served.outcomes.recv().await), (Vec::new(), Some(outcome)));
    }
}

#[tokio::test]
async fn nonsense_is_answered_with_an_error_or_not_at_all() {
    let mut served = serve(Auth::Scram, true).await;
    for bytes in [&b"\0\0\0\x03"[..], b"\xff\xff\xff\xff", b"GET / HTTP/1.1\r\n\r\n", b"\0\0\0\x08\0\x02\0\0"] {
        let heard = all_of(send(&served, bytes).await).await;
        assert_eq!(heard.first(), Some(&b'E'), "{bytes:?}");
        assert_eq!(served.outcomes.recv().await, Some("protocol"));
    }
    drop(send(&served, b"").await);
    assert_eq!(served.outcomes.recv().await, Some("gone"));
    drop(send(&served, b"\0\0").await);
    assert_eq!(served.outcomes.recv().await, Some("gone"));
    let query = [&opening(ProtocolVersion::V3_0, &[])[..], b"Q\0\0\0\x0dselect 1\0"].concat();
    let heard = all_of(send(&served, &query).await).await;
    assert!(heard.windows(5).any(|window| window == b"08P01"), "a statement instead of an answer");
    assert_eq!(served.outcomes.recv().await, Some("protocol"));
}

/// Logs in by SCRAM on an open stream; gives the messages from before and after it.
async fn scram(stream: &mut (impl tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin), token: &str) -> Vec<Frame> {
    let mut frames = Vec::new();
    let mut buffer = BytesMut::new();
    let mut scram = ScramSha256::new(token.as_bytes(), ChannelBinding::unsupported());
    loop {
        while let Some(frame) = frame::next(&mut buffer, 1 << 16).expect("valid") {
            let mut out = BytesMut::new();
            match Backend::parse(&frame).expect("valid") {
                Backend::Authentication(Authentication::Sasl { .. }) => write::message(&mut out, b'p', |out| {
                    write::cstr(out, "SCRAM-SHA-256");
                    write::value(out, Some(scram.message()));
                }),
                Backend::Authentication(Authentication::SaslContinue { data }) => {
                    scram.update(data).expect("a challenge");
                    write::message(&mut out, b'p', |out| out.extend_from_slice(scram.message()));
                }
                Backend::Authentication(Authentication::SaslFinal { data }) => scram.finish(data).expect("the server's proof"),
                Backend::ReadyForQuery(_) | Backend::ErrorResponse(_) => {
                    frames.push(frame);
                    return frames;
                }
                _ => {}
            }
            frames.push(frame);
            stream.write_all(&out).await.expect("sent");
        }
        assert!(stream.read_buf(&mut buffer).await.expect("read") > 0, "closed after {frames:?}");
    }
}

#[tokio::test]
async fn each_version_gets_a_key_of_its_length() {
    let served = serve(Auth::Scram, false).await;
    let grease = ProtocolVersion { major: 3, minor: 9999 };
    for (asked, extra, length, negotiated) in [
        (ProtocolVersion::V3_0, &[][..], 4, None),
        (ProtocolVersion::V3_2, &[], 32, None),
        (grease, &[("_pq_.future", "1")], 32, Some(&[("_pq_.future")][..])),
        (ProtocolVersion::V3_0, &[("_pq_.a", ""), ("_pq_.b", "")], 4, Some(&["_pq_.a", "_pq_.b"])),
    ] {
        let mut tcp = send(&served, &opening(asked, extra)).await;
        let frames = scram(&mut tcp, &served.token).await;
        let parsed: Vec<Backend<'_>> = frames.iter().map(|frame| Backend::parse(frame).expect("valid")).collect();
        let key = parsed.iter().find_map(|message| match message {
            Backend::BackendKeyData { pid: 77, secret } => Some(secret.len()),
            _ => None,
        });
        assert_eq!(key, Some(length), "{asked}");
        let said = parsed.iter().find_map(|message| match message {
            Backend::NegotiateProtocolVersion { newest, unrecognized } => Some((*newest, unrecognized.iter().collect::<Vec<_>>())),
            _ => None,
        });
        let newest = asked.min(ProtocolVersion::V3_2).code();
        assert_eq!(said, negotiated.map(|names| (newest, names.to_vec())), "{asked}");
        assert!(matches!(parsed.last(), Some(Backend::ReadyForQuery(TransactionStatus::Idle))));
    }
}

#[tokio::test]
async fn tls_from_the_first_byte_needs_the_protocol_name() {
    use rustls::pki_types::pem::PemObject;
    use rustls::pki_types::{CertificateDer, ServerName};
    let mut served = serve(Auth::Scram, true).await;
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(served.roots.path()).expect("PEM")).expect("a root");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    let connect = async |config: &rustls::ClientConfig| {
        let tcp = TcpStream::connect(served.address).await.expect("connects");
        let name = ServerName::try_from("localhost").expect("a name");
        tokio_rustls::TlsConnector::from(Arc::new(config.clone())).connect(name, tcp).await
    };
    let mut unnamed = connect(&config).await.expect("TLS itself works");
    let mut nothing = Vec::new();
    let _ = unnamed.read_to_end(&mut nothing).await;
    assert_eq!(nothing, b"");
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    assert!(connect(&config).await.is_err(), "another protocol");
    config.alpn_protocols = vec![b"postgresql".to_vec()];
    let mut stream = connect(&config).await.expect("direct TLS");
    stream.write_all(&opening(ProtocolVersion::V3_2, &[])).await.expect("sent");
    let frames = scram(&mut stream, &served.token).await;
    assert_eq!(frames.last().map(|frame| frame.tag), Some(b'Z'));
    for expected in ["gone", "gone", "identified"] {
        assert_eq!(served.outcomes.recv().await, Some(expected));
    }
}

/// Both our legs against each other: SCRAM bound to the certificate, 3.2, TLS asked for and from the first byte.
#[tokio::test]
async fn a_gateway_behind_a_gateway() {
    use crate::upstream::{Address, Login, UpstreamError, establish};
    use domain::target::UpstreamTls;
    let mut served = serve(Auth::Scram, true).await;
    let roots_pem = std::fs::read_to_string(served.roots.path()).expect("PEM");
    for (direct_tls, database, version) in [(true, "shop", ProtocolVersion::V3_2), (false, "shop/orders", ProtocolVersion::V3_0)] {
        let address = Address {
            address: served.address.to_string(),
            tls: UpstreamTls::VerifyFull { roots_pem: roots_pem.clone(), server_name: Some("localhost".into()) },
            direct_tls,
            user_timeout: std::time::Duration::from_millis(1500),
        };
        let (password, settings) = (Secret::from(served.token.as_str()), BTreeMap::new());
        let login = Login {
            username: "billing-loop",
            password: &password,
            database,
            application: "",
            settings: &settings,
            read_only: true,
            version,
        };
        let parameters = establish(&address, &login).await.expect("let in").parameters;
        assert_eq!(parameters.get("server_version").map(String::as_str), Some("15.0"));
        assert_eq!(served.outcomes.recv().await, Some("identified"));
        let wrong = Login { password: &Secret::from("guess"), ..login };
        let error = establish(&address, &wrong).await.expect_err("turned away");
        assert!(matches!(&error, UpstreamError::Refused { sqlstate, .. } if sqlstate == "28P01"), "{error}");
        assert_eq!(served.outcomes.recv().await, Some("wrong-secret"));
    }
}

#[tokio::test]
async fn idle_strangers_keep_nobody_out() {
    let served = serve(Auth::Scram, true).await;
    let mut strangers = Vec::new();
    for index in 0..200 {
        let words: BytesMut = match index % 4 {
            0 => BytesMut::new(),
            1 => BytesMut::from(&b"\0\0"[..]),
            2 => packet(&Startup::SslRequest),
            _ => opening(ProtocolVersion::V3_0, &[]),
        };
        strangers.push(send(&served, &words).await);
    }
    lets_in(&served, "dbname=shop sslmode=verify-full").await;
    assert_eq!(strangers.len(), 200);
}
