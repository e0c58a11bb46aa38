//! The admin API as it stands on the wire: messages, clients and servers generated from `assize/admin/v1`, with
//! proto3 JSON (`serde`).
//!
//! What this crate must **not** know: anything of Assize beyond its `.proto` files.

/// `assize.admin.v1`.
pub mod admin {
    #![allow(unreachable_pub, clippy::all, clippy::pedantic)] // generated code
    tonic::include_proto!("assize.admin.v1");
    include!(concat!(env!("OUT_DIR"), "/assize.admin.v1.serde.rs"));
}

/// `google.rpc`: the error details of the API, with Google's own field numbers.
pub mod rpc {
    #![allow(unreachable_pub, clippy::all, clippy::pedantic)] // generated code
    tonic::include_proto!("google.rpc");
}

pub mod error;

/// Well-known types with proto3 JSON.
pub use pbjson_types as types;

/// The compiled `FileDescriptorSet` of this API and all it imports: for reflection, and for the test that compares
/// the router with the policy table.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));

#[cfg(test)]
mod tests {
    use prost::Message;

    #[test]
    fn the_descriptor_set_lists_every_service() {
        let set = prost_types::FileDescriptorSet::decode(super::FILE_DESCRIPTOR_SET).expect("own descriptors");
        let mut services: Vec<&str> = set.file.iter().flat_map(|f| &f.service).map(|s| s.name()).collect();
        services.sort_unstable();
        let expect = [
            "Audit",
            "BreakGlass",
            "Cluster",
            "Credentials",
            "Explain",
            "Grants",
            "Jobs",
            "Locks",
            "Policies",
            "Principals",
            "Requests",
            "Retention",
            "Reviews",
            "Roles",
            "Runs",
            "Sessions",
            "Sinks",
            "Targets",
            "Tokens",
            "Witnesses",
        ];
        assert_eq!(services, expect);
    }

    #[test]
    fn json_is_proto3_json() {
        let lock = super::admin::Lock {
            id: "lock-7".into(),
            on: Some(super::admin::lock::On::Principal("bot".into())),
            reason: "stop".into(),
            expires: Some(super::types::Timestamp { seconds: 0, nanos: 0 }),
            live: true,
            ..Default::default()
        };
        let json = serde_json::to_string(&lock).expect("serializable");
        assert_eq!(json, r#"{"id":"lock-7","reason":"stop","expires":"1970-01-01T00:00:00+00:00","live":true,"principal":"bot"}"#);
        assert_eq!(serde_json::from_str::<super::admin::Lock>(&json).expect("round trip"), lock);
    }
}
