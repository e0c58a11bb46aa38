//! Where may be called: public addresses, and the private networks that the node's operator names.
//!
//! A name is resolved once, each address is judged, and the connection goes to an address that passed: a name that
//! resolves to something else a moment later changes nothing (THREATS 97).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

/// Cloud metadata services: an allowed network must name these alone, or they stay closed.
const METADATA: [IpAddr; 3] = [
    IpAddr::V4(Ipv4Addr::new(169, 254, 169, 254)),
    IpAddr::V4(Ipv4Addr::new(169, 254, 170, 2)),
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254)),
];

/// `10.0.0.0/8`, `fd00::/8`, or one address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    bits: u8,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no network like 10.0.0.0/8 or fd00::/8")]
pub struct InvalidNetwork(String);

impl FromStr for Network {
    type Err = InvalidNetwork;

    fn from_str(text: &str) -> Result<Network, InvalidNetwork> {
        let parse = || {
            let (address, bits) = text.split_once('/').map_or((text, None), |(address, bits)| (address, Some(bits)));
            let address: IpAddr = address.parse().ok()?;
            let most = if address.is_ipv4() { 32 } else { 128 };
            let bits = bits.map_or(Some(most), |bits| bits.parse().ok().filter(|bits| *bits <= most))?;
            Some(Network { address, bits })
        };
        parse().ok_or_else(|| InvalidNetwork(text.to_owned()))
    }
}

impl Network {
    fn contains(&self, address: IpAddr) -> bool {
        let same = |a: u128, b: u128, width: u8| {
            let shift = u32::from(width - self.bits);
            a.checked_shr(shift).unwrap_or(0) == b.checked_shr(shift).unwrap_or(0)
        };
        match (self.address, address) {
            (IpAddr::V4(a), IpAddr::V4(b)) => same(u32::from(a).into(), u32::from(b).into(), 32),
            (IpAddr::V6(a), IpAddr::V6(b)) => same(a.into(), b.into(), 128),
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
        }
    }

    fn is_one_address(&self) -> bool {
        self.bits == if self.address.is_ipv4() { 32 } else { 128 }
    }
}

/// The private networks that the operator opened.
#[derive(Debug, Clone, Default)]
pub struct Allowed(pub Vec<Network>);

impl Allowed {
    /// Named by the operator. An address that stands for another (mapped, translated) counts as that one.
    pub(crate) fn names(&self, address: IpAddr) -> bool {
        let address = meant(address);
        self.0.iter().any(|network| network.contains(address) && (network.is_one_address() || !METADATA.contains(&address)))
    }

    /// May it be called?
    pub fn permits(&self, address: IpAddr) -> bool {
        is_public(meant(address)) || self.names(address)
    }
}

/// The address that is reached: an IPv6 address may carry an IPv4 one (mapped, compatible, NAT64, 6to4).
fn meant(address: IpAddr) -> IpAddr {
    let IpAddr::V6(v6) = address else { return address };
    let [a, b, c, d, e, f, g, h] = v6.segments();
    let v4 = |high: u16, low: u16| IpAddr::V4(Ipv4Addr::from((u32::from(high) << 16) | u32::from(low)));
    match (a, b, c, d, e, f) {
        (0, 0, 0, 0, 0, 0xffff) | (0x64, 0xff9b, 0, 0, 0, 0) => v4(g, h),
        (0, 0, 0, 0, 0, 0) if (g, h) != (0, 0) && (g, h) != (0, 1) => v4(g, h),
        (0x2002, high, low, ..) => v4(high, low),
        _ => address,
    }
}

/// Assigned to the public internet. Whatever has a special purpose has not, known or not.
fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => {
            let [a, b, c, _] = v4.octets();
            let special = v4.is_private()
                || v4.is_loopback()
                || v4.is_link_local()
                || v4.is_documentation()
                || a == 0
                || a >= 224
                || (a == 100 && (64..128).contains(&b))
                || (a == 192 && b == 0 && c == 0)
                || (a == 192 && b == 88 && c == 99)
                || (a == 198 && (b == 18 || b == 19));
            !special
        }
        IpAddr::V6(v6) => {
            let [a, b, ..] = v6.segments();
            // Global unicast is 2000::/3; of it not: IETF protocols with Teredo, documentation.
            let special = (a == 0x2001 && (b < 0x200 || b == 0xdb8)) || (a == 0x3fff && b < 0x1000);
            (a & 0xe000) == 0x2000 && !special
        }
    }
}

/// Why nothing is called.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NoAddress {
    #[error("{host}: {why}")]
    Unresolved { host: String, why: String },
    #[error("{host} is {address}: not a public address, and in none of outbound.allow of this node's configuration")]
    Refused { host: String, address: IpAddr },
}

/// The first address of `host` that may be called.
pub(crate) async fn resolve(host: &str, port: u16, allowed: &Allowed) -> Result<SocketAddr, NoAddress> {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let unresolved = |why: String| NoAddress::Unresolved { host: host.to_owned(), why };
    let found: Vec<SocketAddr> = tokio::net::lookup_host((bare, port)).await.map_err(|error| unresolved(error.to_string()))?.collect();
    match (found.iter().find(|found| allowed.permits(found.ip())), found.first()) {
        (Some(address), _) => Ok(*address),
        (None, Some(first)) => Err(NoAddress::Refused { host: host.to_owned(), address: first.ip() }),
        (None, None) => Err(unresolved("has no address".into())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed(networks: &[&str]) -> Allowed {
        Allowed(networks.iter().map(|network| network.parse().expect("a network")).collect())
    }

    fn check(address: &str, networks: &[&str], expect: bool) {
        assert_eq!(allowed(networks).permits(address.parse().expect("an address")), expect, "{address} with {networks:?}");
    }

    #[test]
    fn only_public_addresses_are_called() {
        for public in ["1.1.1.1", "93.184.216.34", "192.0.1.1", "100.128.0.1", "2606:4700::1111", "2a00:1450::1"] {
            check(public, &[], true);
        }
        let special = [
            "0.0.0.0",
            "0.1.2.3",
            "10.1.2.3",
            "127.0.0.1",
            "127.9.9.9",
            "100.64.0.1",
            "169.254.169.254",
            "172.16.0.1",
            "192.0.0.8",
            "192.0.2.1",
            "192.168.1.1",
            "192.88.99.1",
            "198.18.0.1",
            "198.51.100.1",
            "203.0.113.1",
            "224.0.0.1",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "fc00::1",
            "fd00:ec2::254",
            "fe80::1",
            "fec0::1",
            "ff02::1",
            "2001:db8::1",
            "2001::1",
            "100::1",
            "64:ff9b:1::1",
            "5f00::1",
        ];
        for special in special {
            check(special, &[], false);
        }
    }

    #[test]
    fn an_address_in_disguise_is_judged_as_what_it_reaches() {
        for disguised in ["::ffff:127.0.0.1", "::ffff:10.0.0.1", "::127.0.0.1", "64:ff9b::a00:1", "2002:7f00:1::", "2002:a9fe:a9fe::1"] {
            check(disguised, &[], false);
        }
        check("::ffff:1.1.1.1", &[], true);
        check("::ffff:10.0.0.1", &["10.0.0.0/8"], true);
    }

    #[test]
    fn named_networks_are_opened_and_metadata_only_by_itself() {
        check("10.1.2.3", &["10.0.0.0/8"], true);
        check("11.1.2.3", &["10.0.0.0/8"], true);
        check("172.16.0.1", &["10.0.0.0/8"], false);
        check("127.0.0.1", &["127.0.0.1"], true);
        check("127.0.0.2", &["127.0.0.1"], false);
        check("fd12::1", &["fd00::/8"], true);
        check("169.254.169.254", &["169.254.0.0/16", "0.0.0.0/0"], false);
        check("169.254.169.254", &["169.254.169.254"], true);
        check("::ffff:169.254.169.254", &["169.254.0.0/16"], false);
        check("fd00:ec2::254", &["fd00::/8", "::/0"], false);
    }

    #[test]
    fn networks_are_read_strictly() {
        for bad in ["", "10.0.0.0/33", "10.0.0/8", "::/129", "localhost", "10.0.0.0/-1", "10.0.0.0/8/8"] {
            assert!(bad.parse::<Network>().is_err(), "{bad}");
        }
        assert!(allowed(&["0.0.0.0/0"]).names("10.0.0.1".parse().expect("an address")));
    }
}
