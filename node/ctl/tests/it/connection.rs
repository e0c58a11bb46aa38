//! Which node is called, and as whom.

use std::net::TcpListener;

use crate::world::{World, typed};

#[tokio::test]
async fn the_next_address_is_tried_when_one_cannot_be_reached() {
    let world = World::new().await;
    let closed = TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a port nobody listens on");
    let both = format!("{closed},{}", world.addr);
    let ca = world.path("ca.pem").display().to_string();
    typed(&["--addr", &both, "--token", &world.token, "--ca", &ca, "role", "list"]).await.ok();
    let (code, said) = typed(&["--addr", &closed.to_string(), "--token", &world.token, "--ca", &ca, "role", "list"]).await.failed();
    assert_eq!((code, said.starts_with("no node could be reached")), (1, true), "{said}");
}

#[tokio::test]
async fn a_node_without_a_lease_sends_on_to_the_next() {
    let (one, two) = (World::new().await, World::new().await);
    one.running.cluster.set_serving(false);
    let said = one.line("role list").await.failed();
    assert!(said.1.contains("no serving lease"), "{said:?}");
    // Two clusters of their own: a list of both authorities stands for one cluster's.
    let cas = one.file("both.pem", &format!("{}{}", one.running.certificates.ca_pem, two.running.certificates.ca_pem));
    let both = format!("{},{}", one.addr, two.addr);
    let (code, said) = typed(&["--addr", &both, "--token", &one.token, "--ca", &cas, "role", "list"]).await.failed();
    assert_eq!((code, said.contains("admin token")), (1, true), "asked the second, which does not know the token: {said}");
}

#[tokio::test]
async fn a_client_certificate_is_enough() {
    let world = World::new().await;
    let (cert, key) = world.running.certificates.client("assize://test/1/person/admin");
    let (cert, key, ca) = (world.file("cert.pem", &cert), world.file("key.pem", &key), world.path("ca.pem").display().to_string());
    typed(&["--addr", &world.addr, "--cert", &cert, "--key", &key, "--ca", &ca, "role", "list"]).await.ok();
    assert_eq!(typed(&["--addr", &world.addr, "--cert", &cert, "--ca", &ca, "role", "list"]).await.failed().0, 2);
}

#[tokio::test]
async fn a_node_of_another_authority_is_not_spoken_to() {
    let (world, other) = (World::new().await, World::new().await);
    let ca = other.path("ca.pem").display().to_string();
    let (code, said) = typed(&["--addr", &world.addr, "--token", &world.token, "--ca", &ca, "role", "list"]).await.failed();
    assert_eq!((code, said.contains("no node could be reached")), (1, true), "{said}");
}
