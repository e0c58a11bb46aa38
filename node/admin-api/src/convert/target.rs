use std::time::Duration;

use domain::command::{Command, Expect};
use domain::operation::Protocol;
use domain::target::{Target, UpstreamTls};
use proto::admin as pb;

use super::fields::Fields;
use super::{etag, span, text};

/// How long a held operation keeps its client waiting, unless the target says otherwise (DESIGN §5).
const HOLD_DEFAULT: Duration = Duration::from_secs(20);
/// Long enough for a person in another time zone.
const REQUEST_EXPIRY_DEFAULT: Duration = Duration::from_secs(24 * 3600);

pub(crate) fn to_wire(target: &Target) -> pb::Target {
    pb::Target {
        name: target.name.to_string(),
        protocol: match target.protocol {
            Protocol::Postgres => pb::Protocol::Postgres.into(),
            Protocol::Assize => pb::Protocol::Unspecified.into(),
        },
        address: target.address.clone(),
        tls: Some(tls_to_wire(&target.tls)),
        credential: target.credential.to_string(),
        default_database: target.default_database.clone(),
        hold: Some(span(target.hold)),
        request_expiry: Some(span(target.request_expiry)),
        approvals_needed: target.approvals_needed,
        owner: text(target.owner.as_ref()),
        labels: target.labels.clone(),
        weak_cancel: target.weak_cancel,
        etag: etag(target.version),
        narrowed: target.narrowed.0,
    }
}

fn tls_to_wire(tls: &UpstreamTls) -> pb::UpstreamTls {
    use pb::upstream_tls::{Mode, Off, RequireUnverified, VerifyFull};
    let mode = match tls {
        UpstreamTls::VerifyFull { roots_pem, server_name } => {
            Mode::VerifyFull(VerifyFull { roots_pem: roots_pem.clone(), server_name: server_name.clone().unwrap_or_default() })
        }
        UpstreamTls::RequireUnverified => Mode::RequireUnverified(RequireUnverified {}),
        UpstreamTls::Off => Mode::Off(Off {}),
    };
    pb::UpstreamTls { mode: Some(mode) }
}

pub(crate) fn put(f: &mut Fields, target: pb::Target, expect: Option<Expect>) -> Option<Command> {
    let name = f.parse("target.name", &target.name);
    let protocol = match pb::Protocol::try_from(target.protocol) {
        Ok(pb::Protocol::Postgres) => Some(Protocol::Postgres),
        Ok(pb::Protocol::Unspecified) | Err(_) => f.fault("target.protocol", "must be PROTOCOL_POSTGRES"),
    };
    let address = f.filled("target.address", &target.address).and_then(|text| address(f, text));
    let credential = f.parse("target.credential", &target.credential);
    let default_database = f.filled("target.default_database", &target.default_database).map(str::to_owned);
    let hold = f.span("target.hold", target.hold.as_ref());
    let request_expiry = f.span("target.request_expiry", target.request_expiry.as_ref());
    let owner = f.parse_optional("target.owner", &target.owner);
    Some(Command::PutTarget {
        name: name?,
        protocol: protocol?,
        address: address?,
        tls: tls(target.tls),
        credential: credential?,
        default_database: default_database?,
        hold: hold?.unwrap_or(HOLD_DEFAULT),
        request_expiry: request_expiry?.unwrap_or(REQUEST_EXPIRY_DEFAULT),
        approvals_needed: target.approvals_needed.max(1),
        owner: owner?,
        labels: target.labels,
        weak_cancel: target.weak_cancel,
        expect: expect?,
    })
}

/// `host:port`, the host possibly an IPv6 address in brackets.
fn address(f: &mut Fields, text: &str) -> Option<String> {
    let split = text
        .rsplit_once(':')
        .filter(|(host, _)| !host.is_empty() && (!host.contains(':') || (host.starts_with('[') && host.ends_with(']'))));
    match split.map(|(_, port)| port.parse::<u16>()) {
        Some(Ok(port)) if port != 0 => Some(text.to_owned()),
        Some(_) | None => f.fault("target.address", "must be host:port"),
    }
}

fn tls(tls: Option<pb::UpstreamTls>) -> UpstreamTls {
    use pb::upstream_tls::Mode;
    match tls.and_then(|t| t.mode) {
        None => UpstreamTls::VerifyFull { roots_pem: String::new(), server_name: None },
        Some(Mode::VerifyFull(full)) => {
            UpstreamTls::VerifyFull { roots_pem: full.roots_pem, server_name: Some(full.server_name).filter(|n| !n.is_empty()) }
        }
        Some(Mode::RequireUnverified(_)) => UpstreamTls::RequireUnverified,
        Some(Mode::Off(_)) => UpstreamTls::Off,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::convert::fields::collect;

    fn check(text: &str, good: bool) {
        assert_eq!(collect(|f| address(f, text)).is_ok(), good, "{text}");
    }

    #[test]
    fn addresses_are_host_and_port() {
        for good in ["db:5432", "10.0.0.1:1", "[::1]:5432", "db.example.com:65535"] {
            check(good, true);
        }
        for bad in ["db", ":5432", "db:", "db:0", "db:65536", "::1:5432", "db:5432x"] {
            check(bad, false);
        }
    }
}
