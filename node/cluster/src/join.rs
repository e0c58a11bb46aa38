//! Founding a cluster, and joining one with a single-use token.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use bytes::Bytes;
use data_encoding::BASE32_NOPAD;
use domain::audit::checkpoint::{Origin, VerifierKey};
use domain::command::{Actor, Command, Rejection, Reply, feature_level_max};
use domain::id::{Digest, Name, NodeId, ProposalId};
use domain::member::{MemberRole, Serving};
use planted::{Point, reach};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use crate::home::{self, Founding, Home, HomeError, NewHome};
use crate::node::Node;
use crate::peer_transport::memory::MemoryNetwork;
use crate::peer_transport::{Channel, PeerError, quic};
use crate::pki::{self, Authority, Identity, Issued, PkiError, Subject};
use crate::propose::ProposeError;
use crate::secrets::{self, KeyEncryptionKey, RecoveryKey, SecretError};
use crate::wire::{self, ClusterSecrets, JoinRequest, JoinResponse, Kind, Open};

/// Ids tried for a joining node when others join at the same moment.
const NODE_ID_ATTEMPTS: usize = 8;

#[derive(Debug, thiserror::Error)]
pub enum JoinError {
    #[error(transparent)]
    Home(#[from] HomeError),
    #[error(transparent)]
    Pki(#[from] PkiError),
    #[error(transparent)]
    Secret(#[from] SecretError),
    #[error("not a join token: expected `assize-join.….….HOST:PORT`")]
    Token,
    #[error("the cluster refused: {0}")]
    Refused(String),
    #[error("no node could be asked: {0}")]
    Unreachable(#[from] PeerError),
}

/// What `assize cluster init` leaves behind, besides the data folder.
pub struct Founded {
    pub cluster: String,
    /// Shown once, kept by nobody.
    pub recovery_key: RecoveryKey,
    /// The first administrator's certificate for the admin API.
    pub admin: Issued,
    /// What that administrator's client trusts: the authority of the nodes.
    pub admin_trust_pem: String,
    /// What auditors pin: the key of the cluster's first checkpoints, as a C2SP verifier key.
    pub genesis: String,
}

/// Makes the data folder of a cluster's first node. Nothing runs yet: starting the node founds the cluster.
/// `hosts` are the DNS names and addresses the node's certificate shall carry for the admin API.
pub fn init_cluster(dir: &Path, first_admin: &Name, hosts: &[String]) -> Result<Founded, JoinError> {
    home::ensure_free(dir)?;
    let cluster = format!("c{}", data_encoding::HEXLOWER.encode(&secrets::random::<8>()?));
    let incarnation = 1;
    let recovery_key = RecoveryKey::generate()?;
    let founding = Founding { recovery_public: recovery_key.public()?, first_admin: first_admin.clone() };
    let admin = write_founder(dir, &cluster, incarnation, &founding, hosts)?;
    let origin = Origin { cluster: cluster.clone(), incarnation, log: String::new() };
    let genesis = VerifierKey { name: origin.signer(NodeId(1)), key: Home::open(dir)?.checkpoint_public() }.to_string();
    Ok(Founded { cluster, recovery_key, admin: admin.0, admin_trust_pem: admin.1, genesis })
}

/// The folder of the node that starts an incarnation: fresh authorities, a fresh node 1. The key-encryption key is
/// made new, and wrapped to the recovery key.
fn write_founder(
    dir: &Path,
    cluster: &str,
    incarnation: u64,
    founding: &Founding,
    hosts: &[String],
) -> Result<(Issued, String), JoinError> {
    let kek = KeyEncryptionKey::generate()?;
    let peers = Authority::generate(cluster, incarnation, "nodes")?;
    let people = Authority::generate(cluster, incarnation, "people")?;
    let node = NodeId(1);
    let identity = |subject| Identity { cluster: cluster.to_owned(), incarnation, subject };
    let issued = peers.issue_node(&identity(Subject::Node(node)), hosts)?;
    let admin = people.issue_person(&identity(Subject::Person(founding.first_admin.clone())))?;
    let sealing = RecoveryKey::generate()?;
    home::write(
        dir,
        &NewHome {
            cluster,
            incarnation,
            node,
            founder: Some(founding),
            peers: &peers,
            people: &people,
            cert_pem: &issued.cert_pem,
            key_pem: &issued.key_pem,
            kek: &kek,
            kek_recovery: &secrets::wrap_to(&founding.recovery_public, kek.bytes())?,
            checkpoint_seed: &secrets::random()?,
            sealing_private: sealing.private_bytes(),
        },
    )?;
    Ok((admin, peers.cert_pem))
}

/// Lets one node join, once. Printed as `assize-join.FINGERPRINT.SECRET.ADDRESS[,ADDRESS…]`.
pub struct JoinToken {
    /// SHA-256 of the authority of the nodes: the joining machine trusts nobody else.
    authority: [u8; 32],
    secret: Zeroizing<[u8; 32]>,
    addresses: Vec<String>,
}

impl JoinToken {
    fn lookup(&self) -> Digest {
        Digest(Sha256::digest(&self.secret[..]).into())
    }

    pub fn printed(&self) -> Zeroizing<String> {
        let (authority, secret) = (BASE32_NOPAD.encode(&self.authority), Zeroizing::new(BASE32_NOPAD.encode(&self.secret[..])));
        Zeroizing::new(format!("assize-join.{authority}.{}.{}", secret.as_str(), self.addresses.join(",")))
    }

    pub fn parse(text: &str) -> Result<JoinToken, JoinError> {
        let parse = || {
            let mut parts = text.trim().strip_prefix("assize-join.")?.splitn(3, '.');
            let mut key = || BASE32_NOPAD.decode(parts.next()?.as_bytes()).ok()?.try_into().ok();
            let (authority, secret): ([u8; 32], [u8; 32]) = (key()?, key()?);
            let addresses: Vec<String> = parts.next()?.split(',').filter(|a| a.contains(':')).map(str::to_owned).collect();
            (!addresses.is_empty()).then_some(JoinToken { authority, secret: Zeroizing::new(secret), addresses })
        };
        parse().ok_or(JoinError::Token)
    }
}

/// What the joining machine says about itself.
#[derive(Debug, Clone)]
pub struct JoinAs {
    /// Where other nodes reach it, `host:port` (UDP).
    pub address: String,
    pub admin_address: String,
    pub voter: bool,
    /// DNS names and addresses for its admin API.
    pub hosts: Vec<String>,
}

/// Makes the data folder of a node that joins: asks a running node for an identity, a certificate and the cluster's
/// secrets. Starting the node then lets the cluster bring it up to date. Repeating a join whose answer was lost needs
/// a new token.
pub async fn join_cluster(dir: &Path, token: &JoinToken, about: &JoinAs) -> Result<NodeId, JoinError> {
    join_by(dir, token, about, async |request| ask_any(token, &request).await).await
}

/// The same in a simulation: asks node `member`.
pub async fn join_in_memory(
    dir: &Path,
    token: &JoinToken,
    about: &JoinAs,
    network: &MemoryNetwork,
    member: NodeId,
) -> Result<NodeId, JoinError> {
    join_by(dir, token, about, async |request| Ok(wire::decode(network.ask_as_stranger(member, asking(&request)).await?)?)).await
}

async fn join_by(
    dir: &Path,
    token: &JoinToken,
    about: &JoinAs,
    ask: impl AsyncFnOnce(JoinRequest) -> Result<JoinResponse, JoinError>,
) -> Result<NodeId, JoinError> {
    home::ensure_free(dir)?;
    let (key_pem, csr) = pki::node_request()?;
    let checkpoint_seed = Zeroizing::new(secrets::random::<32>()?);
    let checkpoint_key = Ed25519KeyPair::from_seed_unchecked(&checkpoint_seed[..]).map_err(|_| SecretError::Random)?;
    let sealing = RecoveryKey::generate()?;
    let request = JoinRequest {
        secret: Bytes::copy_from_slice(&token.secret[..]),
        csr: csr.into(),
        address: about.address.clone(),
        admin_address: about.admin_address.clone(),
        checkpoint_key: Bytes::copy_from_slice(checkpoint_key.public_key().as_ref()),
        sealing_key: Bytes::copy_from_slice(&sealing.public()?),
        voter: about.voter,
        feature_level_max: feature_level_max(),
        hosts: about.hosts.clone(),
    };
    let response = ask(request).await?;
    reach(Point::JoinAnswered);
    let secrets = match (response.refused, response.secrets) {
        (Some(why), _) => return Err(JoinError::Refused(why)),
        (None, Some(secrets)) => secrets,
        (None, None) => return Err(JoinError::Refused("an empty answer".into())),
    };
    let kek: [u8; 32] = secrets.kek[..].try_into().map_err(|_| JoinError::Refused("a malformed key".into()))?;
    home::write(
        dir,
        &NewHome {
            cluster: &response.cluster,
            incarnation: response.incarnation,
            node: NodeId(response.node),
            founder: None,
            peers: &Authority::load(&secrets.peer_ca_pem, &secrets.peer_ca_key)?,
            people: &Authority::load(&secrets.admin_ca_pem, &secrets.admin_ca_key)?,
            cert_pem: &response.cert_pem,
            key_pem: &key_pem,
            kek: &KeyEncryptionKey::from_bytes(kek),
            kek_recovery: &secrets.kek_recovery,
            checkpoint_seed: &checkpoint_seed,
            sealing_private: sealing.private_bytes(),
        },
    )?;
    Ok(NodeId(response.node))
}

fn asking(request: &JoinRequest) -> [Bytes; 2] {
    [wire::encode(&Open { kind: Kind::Join.into(), group: 0 }), wire::encode(request)]
}

async fn ask_any(token: &JoinToken, request: &JoinRequest) -> Result<JoinResponse, JoinError> {
    let mut last = PeerError::Timeout;
    for address in &token.addresses {
        match quic::ask_as_stranger(address, token.authority, asking(request)).await.and_then(wire::decode) {
            Ok(response) => return Ok(response),
            Err(e) => last = e,
        }
    }
    Err(last.into())
}

impl Node {
    /// A token with which one machine may join within `valid`; it must hold `actor`'s approval, which is the caller's
    /// to check.
    pub(crate) async fn make_join_token(&self, id: ProposalId, actor: Actor, valid: Duration) -> Result<JoinToken, ProposeError> {
        let not = |why: String| ProposeError::NotCommitted(why);
        let authority = CertificateDer::from_pem_slice(self.home.peers.cert_pem.as_bytes()).map_err(|e| not(e.to_string()))?;
        let state = self.publisher.state();
        let serving = state.members.values().filter(|m| m.role != MemberRole::Removed && matches!(m.serving, Serving::Yes { .. }));
        let mut addresses: Vec<String> = serving.map(|m| m.address.clone()).collect();
        if addresses.is_empty() {
            addresses.extend(state.members.get(&self.home.node).map(|m| m.address.clone()));
        }
        let token = JoinToken {
            authority: pki::fingerprint(&authority),
            secret: Zeroizing::new(secrets::random().map_err(|e| not(e.to_string()))?),
            addresses,
        };
        let done = self.propose(id, actor, Command::MakeJoinToken { lookup: token.lookup(), valid }).await?;
        match done.reply {
            Reply::Rejected(why) => Err(not(why.to_string())),
            _ => Ok(token),
        }
    }

    /// Serves a machine that wants to join.
    pub(crate) async fn serve_join(self: &Arc<Self>, mut channel: Channel) -> Result<(), PeerError> {
        let request: JoinRequest = wire::decode(channel.rx.expect().await?)?;
        let response = match self.admit_member(&request).await {
            Ok(response) => response,
            Err(why) => {
                tracing::warn!(why, "a machine that wanted to join was refused");
                JoinResponse { refused: Some(why), ..Default::default() }
            }
        };
        channel.tx.send(wire::encode(&response)).await?;
        channel.tx.finish();
        Ok(())
    }

    async fn admit_member(self: &Arc<Self>, request: &JoinRequest) -> Result<JoinResponse, String> {
        let lookup = Digest(Sha256::digest(&request.secret).into());
        let now = self.publisher.clock().now();
        // The same words whether it never was, was used, or is over: nobody learns anything by trying.
        let refused = || "the join token is not valid".to_owned();
        let state = self.publisher.state();
        let token = state.join_tokens.get(&lookup).ok_or_else(refused)?;
        if token.spent_by.is_some() || token.expires <= now {
            return Err(refused());
        }
        reach(Point::JoinBeforeRegistered);
        let node = self.register(request, lookup).await?;
        reach(Point::JoinRegistered);
        let identity = self.home.identity(Subject::Node(node));
        let cert_pem = self.home.peers.sign_node(&request.csr, &identity, &request.hosts).map_err(|e| e.to_string())?;
        Ok(JoinResponse {
            refused: None,
            node: node.0,
            cluster: self.home.cluster.clone(),
            incarnation: self.home.incarnation,
            cert_pem,
            secrets: Some(self.shared_secrets()),
        })
    }

    /// Registers the machine under the next free id; the log decides who gets it when two join at once.
    async fn register(self: &Arc<Self>, request: &JoinRequest, lookup: Digest) -> Result<NodeId, String> {
        let key = |bytes: &Bytes| <[u8; 32]>::try_from(&bytes[..]).map_err(|_| "a key must have 32 bytes".to_owned());
        for _ in 0..NODE_ID_ATTEMPTS {
            let next = self.publisher.state().members.keys().map(|n| n.0).max().unwrap_or(0) + 1;
            let command = Command::RegisterNode {
                node: NodeId(next),
                address: request.address.clone(),
                admin_address: request.admin_address.clone(),
                checkpoint_key: key(&request.checkpoint_key)?,
                sealing_key: key(&request.sealing_key)?,
                role: if request.voter { MemberRole::Voter } else { MemberRole::Learner },
                feature_level_max: request.feature_level_max,
                join_token: Some(lookup),
            };
            let done = self.propose(self.own_proposal_id("join"), Actor::Node(self.home.node), command).await.map_err(|e| e.to_string())?;
            match done.reply {
                Reply::Rejected(Rejection::Exists { .. }) => continue,
                Reply::Rejected(why) => return Err(why.to_string()),
                _ => return Ok(NodeId(next)),
            }
        }
        Err("too many nodes join at once; try again".into())
    }

    fn shared_secrets(&self) -> ClusterSecrets {
        let home = &self.home;
        ClusterSecrets {
            peer_ca_pem: home.peers.cert_pem.clone(),
            peer_ca_key: home.peers.key_pem().to_string(),
            admin_ca_pem: home.people.cert_pem.clone(),
            admin_ca_key: home.people.key_pem().to_string(),
            kek: Bytes::copy_from_slice(home.kek.bytes()),
            kek_recovery: Bytes::copy_from_slice(&home.kek_recovery),
        }
    }

    /// First entries of a cluster's log, by its founder. Safe to repeat: the ids are always the same.
    pub(crate) async fn found(self: &Arc<Self>, founding: &Founding, address: &str, admin_address: &str) -> Result<(), ProposeError> {
        let incarnation = self.home.incarnation;
        let id = |what: &str| -> ProposalId { format!("{what}-{incarnation}").parse().expect("short printable ASCII") };
        let cluster = Command::FoundCluster {
            id: self.home.cluster.clone(),
            incarnation,
            recovery_key: founding.recovery_public,
            first_admin: founding.first_admin.clone(),
            feature_level: feature_level_max(),
        };
        let register = Command::RegisterNode {
            node: self.home.node,
            address: address.to_owned(),
            admin_address: admin_address.to_owned(),
            checkpoint_key: self.home.checkpoint_public(),
            sealing_key: self.home.sealing_public,
            role: MemberRole::Voter,
            feature_level_max: feature_level_max(),
            join_token: None,
        };
        for (id, command) in [(id("found-cluster"), cluster), (id("register-founder"), register)] {
            let done = self.propose_within(id, Actor::Operator, command, crate::limits::PROPOSE_DEADLINE * 4).await?;
            if let Reply::Rejected(why) = done.reply {
                return Err(ProposeError::NotCommitted(why.to_string()));
            }
            reach(Point::FoundingCommitted);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_printed_join_token_parses_back() {
        let token = JoinToken {
            authority: [7; 32],
            secret: Zeroizing::new([9; 32]),
            addresses: vec!["n1.example:7400".into(), "[::1]:7400".into()],
        };
        let again = JoinToken::parse(&token.printed()).expect("parses");
        assert_eq!((again.authority, &again.secret, &again.addresses), (token.authority, &token.secret, &token.addresses));
        for bad in ["", "assize-join.AA.BB.host:1", "assize-join.", &token.printed()[..80]] {
            assert!(matches!(JoinToken::parse(bad), Err(JoinError::Token)), "{bad}");
        }
    }

    #[test]
    fn a_folder_is_founded_once_and_reads_back() {
        let dir = tempfile::tempdir().expect("folder");
        let admin: Name = "ann".parse().expect("name");
        let founded = init_cluster(dir.path(), &admin, &["localhost".into()]).expect("founds");
        assert!(matches!(init_cluster(dir.path(), &admin, &[]), Err(JoinError::Home(HomeError::Taken(_)))));
        let home = crate::home::Home::open(dir.path()).expect("opens");
        assert_eq!((home.cluster.as_str(), home.incarnation, home.node), (founded.cluster.as_str(), 1, NodeId(1)));
        let opened = founded.recovery_key.unwrap(&home.kek_recovery).expect("the recovery key opens the wrapped key");
        assert_eq!(&opened[..], home.kek.bytes());
        std::fs::write(dir.path().join("node"), "format 99\n").expect("writes");
        assert!(matches!(crate::home::Home::open(dir.path()), Err(HomeError::Malformed { .. })));
    }
}
