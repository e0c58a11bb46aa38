//! The audit log through the API: queries, heads, proofs, export; and what operators do to the cluster.

use domain::audit::checkpoint::{Checkpoint, Note};
use domain::audit::merkle;
use domain::audit::record::Event;
use domain::id::RevocationId;
use proto::admin as pb;
use proto::admin::export_item::Item;
use tonic::{Code, Streaming};

use crate::world::{World, check_told};

type Audit<T> = pb::audit_client::AuditClient<T>;
type Cluster<T> = pb::cluster_client::ClusterClient<T>;

async fn all<T>(mut stream: Streaming<T>) -> Vec<T> {
    let mut items = Vec::new();
    while let Some(item) = stream.message().await.expect("the stream is whole") {
        items.push(item);
    }
    items
}

fn fill(world: &World, count: u64) {
    for i in 0..count {
        let enforcement = domain::audit::record::Enforcement { revocation: RevocationId(i), enforced: domain::id::Index(i), ended: &[] };
        world.cluster().record(&Event::Enforcement(enforcement));
    }
}

#[tokio::test]
async fn records_come_in_order_up_to_the_limit() {
    let world = World::new().await;
    fill(&world, 600);
    let mut audit = Audit::new(world.admin());
    let query = |from: u64, limit: u32, kind: &str| pb::QueryRecordsRequest { from, limit, kind: kind.into(), ..Default::default() };
    let numbers = |records: Vec<pb::AuditRecord>| records.into_iter().map(|r| r.number).collect::<Vec<_>>();
    let some = all(audit.query_records(query(10, 3, "")).await.expect("a stream").into_inner()).await;
    assert_eq!(numbers(some), [10, 11, 12]);
    let every = all(audit.query_records(query(0, 0, "enforcement")).await.expect("a stream").into_inner()).await;
    assert_eq!(numbers(every), (0..600).collect::<Vec<_>>());
    assert!(all(audit.query_records(query(0, 0, "intent")).await.expect("a stream").into_inner()).await.is_empty());
    check_told(audit.query_records(query(0, 0, "intents")).await, Code::InvalidArgument, "INVALID", &["kind"]);
    let control = pb::QueryRecordsRequest { log: "control".into(), ..Default::default() };
    let commands = all(audit.query_records(control).await.expect("a stream").into_inner()).await;
    assert!(commands[0].summary.starts_with("found cluster test: "), "{commands:?}");
    // Words, not Rust.
    let debug =
        |r: &&pb::AuditRecord| ["{", "Some(", "::"].iter().any(|form| format!("{} {}", r.summary, r.fields["command"]).contains(form));
    assert_eq!(commands.iter().find(debug), None);
    let nowhere = pb::QueryRecordsRequest { log: "audit/9".into(), ..Default::default() };
    check_told(audit.query_records(nowhere).await, Code::NotFound, "NOT_FOUND", &[]);
}

#[tokio::test]
async fn a_following_query_sees_what_comes_later() {
    let world = World::new().await;
    let query = pb::QueryRecordsRequest { follow: true, ..Default::default() };
    let mut stream = Audit::new(world.admin()).query_records(query).await.expect("a stream").into_inner();
    fill(&world, 1);
    assert_eq!(stream.message().await.expect("open").expect("a record").number, 0);
    fill(&world, 1);
    assert_eq!(stream.message().await.expect("open").expect("a record").number, 1);
}

#[tokio::test]
async fn proofs_lead_to_the_signed_root() {
    let world = World::new().await;
    fill(&world, 7);
    world.cluster().checkpoint_now();
    fill(&world, 5);
    world.cluster().checkpoint_now();
    let mut audit = Audit::new(world.admin());
    let head = |size: u64| pb::GetCheckpointRequest { size, ..Default::default() };
    let old = audit.get_checkpoint(head(7)).await.expect("a head").into_inner();
    let new = audit.get_checkpoint(head(0)).await.expect("a head").into_inner();
    let note: Note = String::from_utf8(new.signed.clone()).expect("text").parse().expect("a note");
    let parsed = Checkpoint::parse(&note.text).expect("a checkpoint");
    assert_eq!((parsed.size, parsed.root.to_vec()), (12, new.root.clone()));
    let path = |path: Vec<Vec<u8>>| path.into_iter().map(|h| h.try_into().expect("32 bytes")).collect::<Vec<[u8; 32]>>();
    let root = |root: Vec<u8>| <[u8; 32]>::try_from(root).expect("32 bytes");
    let proof =
        audit.get_inclusion_proof(pb::GetInclusionProofRequest { number: 4, ..Default::default() }).await.expect("a proof").into_inner();
    assert!(merkle::verify_inclusion(4, 12, &merkle::leaf_hash(&proof.leaf), &path(proof.path), &root(new.root.clone())));
    let request = pb::GetConsistencyProofRequest { from_size: 7, to_size: 12, ..Default::default() };
    let proof = audit.get_consistency_proof(request).await.expect("a proof").into_inner();
    assert!(merkle::verify_consistency(7, 12, &root(old.root), &root(new.root), &path(proof.path)));
    let backwards = pb::GetConsistencyProofRequest { from_size: 12, to_size: 7, ..Default::default() };
    check_told(audit.get_consistency_proof(backwards).await, Code::InvalidArgument, "INVALID", &["from_size"]);
}

#[tokio::test]
async fn an_export_says_how_much_it_holds() {
    let world = World::new().await;
    fill(&world, 300);
    world.cluster().checkpoint_now();
    let items = all(Audit::new(world.admin()).export(pb::ExportRequest::default()).await.expect("a stream").into_inner()).await;
    let items: Vec<Item> = items.into_iter().filter_map(|i| i.item).collect();
    assert!(matches!(items.first(), Some(Item::Header(h)) if h.cluster == "test" && !h.genesis.is_empty()));
    let leaves = items.iter().filter(|i| matches!(i, Item::Leaf(_))).count() as u64;
    let checkpoints = items.iter().filter(|i| matches!(i, Item::Checkpoint(_))).count() as u64;
    assert!(matches!(items.last(), Some(Item::End(end)) if (end.leaves, end.checkpoints) == (leaves, checkpoints)));
    assert!(leaves > 300 && checkpoints == 2);
}

#[tokio::test]
async fn operators_of_the_cluster_need_operate() {
    let world = World::new().await;
    let mut reader = Cluster::new(world.person("ann", &["assize:read on */*"]).await);
    let status = reader.get_status(pb::GetStatusRequest {}).await.expect("a status").into_inner();
    assert_eq!((status.id.as_str(), status.nodes.len()), ("test", 1));
    check_told(reader.create_join_token(pb::CreateJoinTokenRequest::default()).await, Code::PermissionDenied, "FORBIDDEN", &[]);
    let mut admin = Cluster::new(world.admin());
    let made = admin.create_join_token(pb::CreateJoinTokenRequest::default()).await.expect("a token").into_inner();
    assert!(made.token.starts_with("assize_j"));
    let remove = pb::RemoveNodeRequest { node: 1, ..Default::default() };
    check_told(admin.remove_node(remove).await, Code::FailedPrecondition, "INVALID", &[]);
    check_told(admin.add_voter(pb::AddVoterRequest::default()).await, Code::InvalidArgument, "INVALID", &["node"]);
    let backup = all(admin.backup(pb::BackupRequest {}).await.expect("a stream").into_inner()).await;
    assert_eq!(backup.into_iter().flat_map(|c| c.bytes).collect::<Vec<u8>>(), b"sealed backup");
}
