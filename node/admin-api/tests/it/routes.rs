//! The policy table is the router, and every route is behind the guard.

use std::collections::BTreeSet;

use admin_api::policy::{Needs, POLICY};
use bytes::{Buf, BufMut};
use prost::Message;
use prost_types::FileDescriptorSet;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::codegen::http::uri::PathAndQuery;
use tonic::{Code, Request, Status};

use crate::world::{As, World, told};

/// Every method of every service the router serves, from their descriptors.
fn served() -> BTreeSet<String> {
    let reflection = tonic_reflection::pb::v1::FILE_DESCRIPTOR_SET;
    let sets = [proto::FILE_DESCRIPTOR_SET, tonic_health::pb::FILE_DESCRIPTOR_SET, reflection];
    let mut paths = BTreeSet::new();
    for set in sets {
        for file in FileDescriptorSet::decode(set).expect("a descriptor set").file {
            for service in &file.service {
                paths.extend(service.method.iter().map(|method| format!("/{}.{}/{}", file.package(), service.name(), method.name())));
            }
        }
    }
    paths
}

#[test]
fn the_policy_table_lists_exactly_what_is_served() {
    let listed: BTreeSet<String> = POLICY.iter().map(|row| row.path.to_owned()).collect();
    assert_eq!(listed.len(), POLICY.len(), "a method is listed twice");
    assert_eq!(listed, served());
}

/// Messages as they stand on the wire.
#[derive(Default)]
struct Raw;

impl Codec for Raw {
    type Encode = Vec<u8>;
    type Decode = Vec<u8>;
    type Encoder = Raw;
    type Decoder = Raw;

    fn encoder(&mut self) -> Raw {
        Raw
    }

    fn decoder(&mut self) -> Raw {
        Raw
    }
}

impl Encoder for Raw {
    type Item = Vec<u8>;
    type Error = Status;

    fn encode(&mut self, item: Vec<u8>, out: &mut EncodeBuf<'_>) -> Result<(), Status> {
        out.put_slice(&item);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = Vec<u8>;
    type Error = Status;

    fn decode(&mut self, bytes: &mut DecodeBuf<'_>) -> Result<Option<Vec<u8>>, Status> {
        let mut out = vec![0; bytes.remaining()];
        bytes.copy_to_slice(&mut out);
        Ok(Some(out))
    }
}

/// Calls any method with an empty message; streams end at their first item.
async fn call(channel: As, path: &str) -> Result<(), Status> {
    let mut grpc = tonic::client::Grpc::new(channel);
    grpc.ready().await.map_err(|e| Status::unknown(e.to_string()))?;
    let path: PathAndQuery = path.parse().expect("a path");
    let mut stream = grpc.server_streaming(Request::new(Vec::new()), path, Raw).await?.into_inner();
    stream.message().await.map(drop)
}

#[tokio::test]
async fn nobody_unknown_reaches_any_method_but_health() {
    let world = World::new().await;
    for row in POLICY {
        let answer = call(world.anonymous(), row.path).await;
        match row.needs {
            Needs::Public => assert_eq!(answer.map_err(|s| s.code()), Ok(()), "{}", row.path),
            _ => assert_eq!(answer.expect_err(row.path).code(), Code::Unauthenticated, "{}", row.path),
        }
    }
}

#[tokio::test]
async fn whoever_has_no_grant_is_refused_by_every_method_that_needs_one() {
    let world = World::new().await;
    let nobody = world.person("nobody", &[]).await;
    for row in POLICY.iter().filter(|row| !matches!(row.needs, Needs::Public | Needs::Identity)) {
        match (row.needs, call(nobody.clone(), row.path).await) {
            // One's own things are one's own: an empty message names nobody's, and shows nothing.
            (Needs::OwnOrRight(..), answer) => {
                let lists = ["ListRequests", "ListReviews", "ListBreakGlass"];
                assert!(answer.is_err() || lists.iter().any(|list| row.path.ends_with(list)), "{}", row.path)
            }
            (_, answer) => assert_eq!(answer.expect_err(row.path).code(), Code::PermissionDenied, "{}", row.path),
        }
    }
}

#[tokio::test]
async fn what_has_no_row_does_not_exist() {
    let world = World::new().await;
    for path in
        ["/assize.admin.v1.Targets/Nothing", "/assize.admin.v1.targets/GetTarget", "//assize.admin.v1.Targets/GetTarget", "/metrics", "/"]
    {
        let status = call(world.admin(), path).await.expect_err(path);
        assert_eq!(status.code(), Code::Unimplemented, "{path}");
    }
}

#[tokio::test]
async fn without_a_lease_only_status_health_and_reflection_answer() {
    let world = World::new().await;
    let admin = world.admin();
    world.cluster().set_serving(false);
    for row in POLICY.iter().filter(|row| row.needs != Needs::Public && row.needs != Needs::Identity) {
        let answer = call(admin.clone(), row.path).await;
        if row.without_lease {
            assert_eq!(answer.map_err(|s| s.code()), Ok(()), "{}", row.path);
        } else {
            assert_eq!(told(&answer.expect_err(row.path)).1, "NO_LEASE", "{}", row.path);
        }
    }
}

#[tokio::test]
async fn reflection_lists_every_service() {
    use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
    use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
    use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;
    let world = World::new().await;
    let mut client = ServerReflectionClient::new(world.admin());
    let request = tonic_reflection::pb::v1::ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::ListServices(String::new())),
    };
    let mut answers = client.server_reflection_info(tokio_stream::once(request)).await.expect("reflection").into_inner();
    let answer = answers.message().await.expect("an answer").expect("an answer");
    let Some(MessageResponse::ListServicesResponse(list)) = answer.message_response else { panic!("{answer:?}") };
    let listed: BTreeSet<String> = list.service.into_iter().map(|s| s.name).collect();
    let served: BTreeSet<String> = served().into_iter().filter_map(|p| Some(p.strip_prefix('/')?.split_once('/')?.0.to_owned())).collect();
    assert_eq!(listed, served);
}
