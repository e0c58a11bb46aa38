//! Properties of the codec, and its agreement with the `postgres-protocol` crate.

use bytes::{BufMut, BytesMut};
use proptest::collection::vec;
use proptest::prelude::*;

use super::fields::{Response, Severity};
use super::scan::{BACKEND_WHOLE_MAX, PIECES_ABOVE};
use super::*;

fn framed(tag: u8, body: &[u8]) -> BytesMut {
    let mut out = BytesMut::new();
    write::message(&mut out, tag, |out| out.put_slice(body));
    out
}

/// A string of the protocol: UTF-8 without NUL.
fn text() -> impl Strategy<Value = Vec<u8>> {
    "[^\0]{0,12}".prop_map(|text| [text.as_bytes(), &[0]].concat())
}

fn formats() -> impl Strategy<Value = Vec<u8>> {
    vec(0..2_u16, 0..2).prop_map(|codes| counted(codes.iter().map(|code| code.to_be_bytes().to_vec()).collect()))
}

fn counted(items: Vec<Vec<u8>>) -> Vec<u8> {
    let count = u16::try_from(items.len()).expect("few").to_be_bytes();
    [count.to_vec(), items.concat()].concat()
}

fn values() -> impl Strategy<Value = Vec<u8>> {
    vec(proptest::option::of(vec(any::<u8>(), 0..20)), 0..5).prop_map(|values| {
        counted(
            values
                .into_iter()
                .map(|value| {
                    let mut out = BytesMut::new();
                    write::value(&mut out, value.as_deref());
                    out.to_vec()
                })
                .collect(),
        )
    })
}

fn oids() -> impl Strategy<Value = Vec<u8>> {
    vec(any::<[u8; 4]>(), 0..4).prop_map(|oids| counted(oids.iter().map(|oid| oid.to_vec()).collect()))
}

fn blob() -> impl Strategy<Value = Vec<u8>> {
    vec(any::<u8>(), 0..40)
}

fn fixed(bytes: &'static [u8]) -> BoxedStrategy<Vec<u8>> {
    Just(bytes.to_vec()).boxed()
}

fn joined(parts: Vec<BoxedStrategy<Vec<u8>>>) -> impl Strategy<Value = Vec<u8>> {
    parts.prop_map(|parts| parts.concat())
}

fn of(tag: u8, parts: Vec<BoxedStrategy<Vec<u8>>>) -> BoxedStrategy<Vec<u8>> {
    joined(parts).prop_map(move |body| framed(tag, &body).to_vec()).boxed()
}

/// Any valid message of a client, as bytes.
fn frontend_bytes() -> impl Strategy<Value = Vec<u8>> {
    let subject = || prop_oneof![fixed(b"S"), fixed(b"P")].boxed();
    let rows = || (0..=i32::MAX).prop_map(|rows| rows.to_be_bytes().to_vec()).boxed();
    prop_oneof![
        of(b'Q', vec![text().boxed()]),
        of(b'P', vec![text().boxed(), text().boxed(), oids().boxed()]),
        of(b'B', vec![text().boxed(), text().boxed(), formats().boxed(), values().boxed(), formats().boxed()]),
        of(b'D', vec![subject(), text().boxed()]),
        of(b'C', vec![subject(), text().boxed()]),
        of(b'E', vec![text().boxed(), rows()]),
        of(b'd', vec![blob().boxed()]),
        of(b'f', vec![text().boxed()]),
        of(b'F', vec![fixed(b"\0\0\x03\xe8"), formats().boxed(), values().boxed(), fixed(b"\0\x01")]),
        of(b'p', vec![blob().boxed()]),
        prop_oneof![Just(b'S'), Just(b'H'), Just(b'c'), Just(b'X')].prop_map(|tag| framed(tag, b"").to_vec()),
    ]
}

/// Any valid message of a server, as bytes.
fn backend_bytes() -> impl Strategy<Value = Vec<u8>> {
    let fields = || {
        vec((1..=255_u8, text()), 0..4).prop_map(|fields| {
            let all: Vec<u8> = fields.into_iter().flat_map(|(letter, text)| [vec![letter], text].concat()).collect();
            [all, vec![0]].concat()
        })
    };
    let columns = || {
        vec((text(), any::<[u8; 18]>()), 0..4)
            .prop_map(|columns| counted(columns.into_iter().map(|(name, rest)| [name, rest.to_vec()].concat()).collect()))
    };
    prop_oneof![
        prop_oneof![fixed(&[0; 4]), fixed(b"\0\0\0\x03"), fixed(b"\0\0\0\x05salt"), fixed(b"\0\0\0\x0aSCRAM-SHA-256\0\0")]
            .prop_map(|body| framed(b'R', &body).to_vec()),
        of(b'R', vec![prop_oneof![fixed(b"\0\0\0\x0b"), fixed(b"\0\0\0\x0c"), fixed(b"\0\0\0\x07")].boxed(), blob().boxed()]),
        of(b'S', vec![text().boxed(), text().boxed()]),
        of(b'K', vec![vec(any::<u8>(), 8..260).boxed()]),
        of(b'v', vec![fixed(b"\0\x03\0\0\0\0\0\x02"), text().boxed(), text().boxed()]),
        of(b'Z', vec![prop_oneof![fixed(b"I"), fixed(b"T"), fixed(b"E")].boxed()]),
        of(b'T', vec![columns().boxed()]),
        of(b'D', vec![values().boxed()]),
        of(b'C', vec![text().boxed()]),
        of(b'E', vec![fields().boxed()]),
        of(b'N', vec![fields().boxed()]),
        of(b'A', vec![fixed(b"\0\0\0\x01"), text().boxed(), text().boxed()]),
        of(b't', vec![oids().boxed()]),
        of(b'G', vec![fixed(b"\x01"), formats().boxed()]),
        of(b'H', vec![fixed(b"\0"), formats().boxed()]),
        of(b'W', vec![fixed(b"\0"), formats().boxed()]),
        of(b'd', vec![blob().boxed()]),
        of(b'V', vec![fixed(b"\0\0\0\x02ab")]),
        prop_oneof![Just(b'1'), Just(b'2'), Just(b'3'), Just(b'n'), Just(b's'), Just(b'I'), Just(b'c')]
            .prop_map(|tag| framed(tag, b"").to_vec()),
    ]
}

/// Feeds `stream` cut at `cuts` and gives all pieces, runs put together again: (tag, bytes, messages started).
fn scanned(
    stream: &[u8],
    cuts: &[usize],
    mut next: impl FnMut(&mut BytesMut) -> Result<Option<Piece>, CodecError>,
) -> (Vec<u8>, Vec<u8>, usize) {
    let mut buffer = BytesMut::new();
    let (mut tags, mut bytes, mut messages) = (Vec::new(), Vec::new(), 0);
    let mut bounds: Vec<usize> = cuts.iter().map(|cut| cut % (stream.len() + 1)).chain([stream.len()]).collect();
    bounds.sort_unstable();
    let mut from = 0;
    for to in bounds {
        buffer.extend_from_slice(&stream[from..to]);
        from = to;
        while let Some(piece) = next(&mut buffer).expect("valid") {
            let started = match &piece {
                Piece::Frame(_) => 1,
                Piece::Run { started, .. } => *started,
            };
            tags.extend((0..started).map(|_| piece.tag()));
            messages += usize::try_from(started).expect("few");
            bytes.extend_from_slice(&piece.into_bytes());
        }
    }
    assert!(buffer.is_empty(), "all was taken");
    (tags, bytes, messages)
}

proptest! {
    #[test]
    fn writing_what_was_parsed_gives_the_same_bytes_frontend(message in frontend_bytes()) {
        let mut buffer = BytesMut::from(&message[..]);
        let frame = frame::next(&mut buffer, FRAME_SIZE_MAX).expect("valid").expect("whole");
        let mut out = BytesMut::new();
        Frontend::parse(&frame).expect("valid").write(&mut out).expect("short");
        prop_assert_eq!(&out[..], &message[..]);
    }

    #[test]
    fn writing_what_was_parsed_gives_the_same_bytes_backend(message in backend_bytes()) {
        let mut buffer = BytesMut::from(&message[..]);
        let frame = frame::next(&mut buffer, FRAME_SIZE_MAX).expect("valid").expect("whole");
        let mut out = BytesMut::new();
        Backend::parse(&frame).expect("valid").write(&mut out).expect("short");
        prop_assert_eq!(&out[..], &message[..]);
    }

    #[test]
    fn any_split_gives_the_same_messages(
        client in vec(frontend_bytes(), 0..12),
        server in vec(backend_bytes(), 0..12),
        cuts in vec(any::<usize>(), 0..20),
    ) {
        let expected: Vec<u8> = client.iter().map(|message| message[0]).collect();
        let mut scanner = FrontendScanner::default();
        let (tags, bytes, messages) = scanned(&client.concat(), &cuts, |buffer| scanner.next(buffer));
        prop_assert_eq!((tags, bytes, messages), (expected, client.concat(), client.len()));
        let expected: Vec<u8> = server.iter().map(|message| message[0]).collect();
        let mut scanner = BackendScanner::default();
        let (tags, bytes, messages) = scanned(&server.concat(), &cuts, |buffer| scanner.next(buffer));
        prop_assert_eq!((tags, bytes, messages), (expected, server.concat(), server.len()));
    }

    #[test]
    fn a_large_row_passes_in_pieces(extra in 0..200_000_usize, cuts in vec(any::<usize>(), 0..20)) {
        let row = framed(b'D', &vec![0; PIECES_ABOVE + extra]);
        let stream = [&row[..], &framed(b'C', b"SELECT 1\0"), &row[..]].concat();
        let mut scanner = BackendScanner::default();
        let (tags, bytes, _) = scanned(&stream, &cuts, |buffer| scanner.next(buffer));
        prop_assert_eq!(tags, b"DCD".to_vec());
        prop_assert!(bytes == stream);
        prop_assert!(!scanner.is_inside_message());
    }

    #[test]
    fn no_bytes_make_it_panic(tag: u8, body in vec(any::<u8>(), 0..80)) {
        for parsed in [
            Frontend::parse_parts(tag, &body).map(|message| { let mut out = BytesMut::new(); message.write(&mut out).map(|()| out) }),
            Backend::parse_parts(tag, &body).map(|message| { let mut out = BytesMut::new(); message.write(&mut out).map(|()| out) }),
        ].into_iter().flatten() {
            prop_assert_eq!(parsed.expect("short"), framed(tag, &body));
        }
        let mut buffer = BytesMut::from(&body[..]);
        let _ = startup::next(&mut buffer);
        let _ = frontend::sasl_initial(&body);
        let _ = frontend::password(&body);
    }

    #[test]
    fn a_message_with_bytes_missing_or_left_over_is_refused(message in frontend_bytes(), extra in 1..9_usize) {
        let (tag, body) = (message[0], &message[5..]);
        prop_assume!(!matches!(tag, b'd' | b'p'));
        let longer = [body, &vec![1; extra]].concat();
        prop_assert!(Frontend::parse_parts(tag, &longer).is_err());
        if let Some(shorter) = body.len().checked_sub(extra) {
            prop_assert!(Frontend::parse_parts(tag, &body[..shorter]).is_err());
        }
    }
}

#[test]
fn hostile_lengths_are_refused_before_anything_is_kept() {
    for length in [0_u32, 1, 2, 3, 1 << 31, (1 << 31) + 1, u32::MAX - 4, u32::MAX] {
        for tag in 0..=u8::MAX {
            let header = [&[tag][..], &length.to_be_bytes()].concat();
            let mut buffer = BytesMut::from(&header[..]);
            assert!(FrontendScanner::default().next(&mut buffer).is_err(), "client {tag:02x} {length}");
            assert!(BackendScanner::default().next(&mut buffer).is_err(), "server {tag:02x} {length}");
            assert!(frame::next(&mut buffer, FRAME_SIZE_MAX).is_err());
        }
        let mut buffer = BytesMut::from(&length.to_be_bytes()[..]);
        assert!(startup::next(&mut buffer).is_err(), "start-up {length}");
    }
    // 2³¹ − 1 is refused for everything that must be whole; a row of that size would only ever pass in pieces.
    for tag in (0..=u8::MAX).filter(|tag| !b"DdENAV".contains(tag)) {
        let header = [&[tag][..], &0x7fff_ffff_u32.to_be_bytes()].concat();
        assert!(FrontendScanner::default().next(&mut BytesMut::from(&header[..])).is_err());
        assert!(BackendScanner::default().next(&mut BytesMut::from(&header[..])).is_err());
    }
    let huge_copy = [&b"d"[..], &0x7fff_ffff_u32.to_be_bytes()].concat();
    assert!(FrontendScanner::default().next(&mut BytesMut::from(&huge_copy[..])).is_err());
}

#[test]
fn the_limit_counts_the_whole_message() {
    let mut exactly = BytesMut::from(&[&b"Q"[..], &(FRAME_SIZE_MAX - 1).to_be_bytes()].concat()[..]);
    assert_eq!(FrontendScanner::default().next(&mut exactly), Ok(None));
    let mut above = BytesMut::from(&[&b"Q"[..], &FRAME_SIZE_MAX.to_be_bytes()].concat()[..]);
    assert!(FrontendScanner::default().next(&mut above).is_err());
    let mut status = BytesMut::from(&[&b"S"[..], &BACKEND_WHOLE_MAX.to_be_bytes()].concat()[..]);
    assert!(BackendScanner::default().next(&mut status).is_err());
}

#[test]
fn a_bad_length_behind_good_messages_is_found_once_they_are_taken() {
    let mut buffer = framed(b'D', b"\0\0");
    buffer.extend_from_slice(b"D\0\0\0\x03");
    let mut scanner = BackendScanner::default();
    assert!(matches!(scanner.next(&mut buffer), Ok(Some(Piece::Run { started: 1, open: false, .. }))));
    assert_eq!(scanner.next(&mut buffer), Err(CodecError::LengthTooSmall { tag: b'D', length: 3 }));
}

#[test]
fn a_second_statement_behind_a_nul_is_not_overlooked() {
    let smuggled = framed(b'Q', b"select 1\0; drop table t\0");
    let frame = Frame { tag: b'Q', bytes: smuggled.freeze() };
    let expected = CodecError::Malformed { message: "Query", problem: "bytes after its end" };
    assert_eq!(Frontend::parse(&frame), Err(expected));
    for (body, problem) in [(&b"select 1"[..], "a string without its terminator"), (b"", "a string without its terminator")] {
        assert_eq!(Frontend::parse_parts(b'Q', body), Err(CodecError::Malformed { message: "Query", problem }));
    }
    assert_eq!(Frontend::parse_parts(b'Q', b"\xff\xfe\0"), Err(CodecError::NotUtf8 { message: "Query" }));
    assert!(Frontend::parse_parts(b'E', b"portal\0\xff\xff\xff\xff").is_err(), "negative row count");
    assert!(Frontend::parse_parts(b'B', b"\0\0\0\0\0\x01\xff\xff\xff\xfe\0\0").is_err(), "length -2");
    assert!(Frontend::parse_parts(b'B', b"\0\0\0\0\xff\xff\0\0").is_err(), "65535 values in no bytes");
}

#[test]
fn startup_packets_keep_their_bytes() {
    let parameters = vec![("user".to_owned(), "agent".to_owned()), ("database".to_owned(), "shop/orders".to_owned())];
    let key = |length| CancelKey { pid: 7, secret: vec![9; length].into() };
    for packet in [
        Startup::SslRequest,
        Startup::GssEncRequest,
        Startup::Cancel(key(4)),
        Startup::Cancel(key(32)),
        Startup::Cancel(key(256)),
        Startup::Session { version: ProtocolVersion::V3_0, parameters: parameters.clone() },
        Startup::Session { version: ProtocolVersion::V3_2, parameters },
    ] {
        let mut whole = BytesMut::new();
        packet.write(&mut whole);
        for end in 0..whole.len() {
            assert_eq!(startup::next(&mut BytesMut::from(&whole[..end])), Ok(None), "{packet:?} cut at {end}");
        }
        whole.extend_from_slice(b"next");
        assert_eq!(startup::next(&mut whole), Ok(Some(packet)));
        assert_eq!(&whole[..], b"next");
    }
}

#[test]
fn startup_packets_that_are_not_whole_are_refused() {
    let check = |code: u32, rest: &[u8]| {
        let mut packet = BytesMut::new();
        write::untagged(&mut packet, |out| {
            out.put_u32(code);
            out.put_slice(rest);
        });
        startup::next(&mut packet)
    };
    assert!(check(196_608, b"user\0agent\0").is_err(), "no end");
    assert!(check(196_608, b"user\0agent\0\0x").is_err(), "bytes after the end");
    assert!(check(196_608, b"user\0agent").is_err(), "no terminator");
    assert!(check(196_608, b"user\0\xff\0\0").is_err(), "not UTF-8");
    assert!(check(80_877_103, b"x").is_err(), "an SSLRequest with a body");
    assert!(check(80_877_102, b"\0\0\0\x01").is_err(), "a cancel without a key");
    assert!(check(80_877_102, &[1; 4 + 257]).is_err(), "a cancel with a key of 257 bytes");
    assert_eq!(check(2 << 16, b"user\0a\0\0"), Err(CodecError::Version { major: 2, minor: 0 }));
    assert!(check(196_608, &[b'a'; 10_001]).is_err(), "above 10 000 bytes");
    assert_eq!(format!("{:?}", CancelKey { pid: 1, secret: vec![2; 4].into() }), "CancelKey { pid: 1, secret: [redacted] }");
}

#[test]
fn the_other_crate_writes_what_we_parse() {
    use postgres_protocol::IsNull;
    use postgres_protocol::message::frontend as other;
    let mut buffer = BytesMut::new();
    other::query("select 'ü'", &mut buffer).expect("valid");
    other::parse("s1", "select $1", [23, 25], &mut buffer).expect("valid");
    let value = |value: Option<&[u8]>, out: &mut BytesMut| match value {
        None => Ok(IsNull::Yes),
        Some(bytes) => {
            out.put_slice(bytes);
            Ok(IsNull::No)
        }
    };
    assert!(other::bind("p1", "s1", [1_i16], [Some(&b"\0\x01"[..]), None], value, [0_i16], &mut buffer).is_ok());
    other::describe(b'S', "s1", &mut buffer).expect("valid");
    other::execute("p1", 100, &mut buffer).expect("valid");
    other::close(b'P', "p1", &mut buffer).expect("valid");
    other::sync(&mut buffer);
    other::flush(&mut buffer);
    other::copy_fail("no", &mut buffer).expect("valid");
    let mut frames = std::iter::from_fn(|| frame::next(&mut buffer, FRAME_SIZE_MAX).expect("valid"));
    let mut check = |expect: &dyn Fn(Frontend<'_>) -> bool| {
        let frame = frames.next().expect("one more");
        let parsed = Frontend::parse(&frame).expect("valid");
        assert!(expect(parsed), "{parsed:?}");
    };
    check(&|m| m == Frontend::Query { text: "select 'ü'" });
    check(&|m| matches!(m, Frontend::Parse { statement: "s1", text: "select $1", types } if types.iter().eq([23, 25])));
    check(&|m| {
        matches!(m, Frontend::Bind { portal: "p1", statement: "s1", formats, values, results }
            if formats.of(1) == 1 && results.of(0) == 0 && values.iter().eq([Some(&b"\0\x01"[..]), None]))
    });
    check(&|m| m == Frontend::Describe { subject: frontend::Subject::Statement, name: "s1" });
    check(&|m| m == Frontend::Execute { portal: "p1", rows: 100 });
    check(&|m| m == Frontend::Close { subject: frontend::Subject::Portal, name: "p1" });
    check(&|m| m == Frontend::Sync);
    check(&|m| m == Frontend::Flush);
    check(&|m| m == Frontend::CopyFail { reason: "no" });
}

#[test]
fn the_other_crate_parses_what_we_write() {
    use postgres_protocol::message::backend::Message;
    use tokio_postgres::fallible_iterator::FallibleIterator;
    let mut out = BytesMut::new();
    backend::write_sasl(&mut out, &["SCRAM-SHA-256-PLUS", "SCRAM-SHA-256"]);
    let response = Response {
        severity: Severity::Error,
        sqlstate: "42501",
        message: "permission denied".into(),
        detail: Some("because".into()),
        hint: Some("ask".into()),
    };
    response.write(&mut out);
    for message in [
        Backend::ParameterStatus { name: "TimeZone", value: "UTC" },
        Backend::BackendKeyData { pid: 5, secret: &[1, 2, 3, 4] },
        Backend::ReadyForQuery(TransactionStatus::Failed),
        Backend::CommandComplete { tag: "SELECT 1" },
    ] {
        message.write(&mut out).expect("short");
    }
    let mut next = || Message::parse(&mut out).expect("valid").expect("whole");
    let Message::AuthenticationSasl(body) = next() else { panic!("not SASL") };
    assert_eq!(body.mechanisms().collect::<Vec<_>>().expect("valid"), ["SCRAM-SHA-256-PLUS", "SCRAM-SHA-256"]);
    let Message::ErrorResponse(body) = next() else { panic!("not an error") };
    let fields: Vec<(u8, String)> =
        body.fields().map(|field| Ok((field.type_(), String::from_utf8_lossy(field.value_bytes()).into_owned()))).collect().expect("valid");
    let texts: Vec<(u8, &str)> = fields.iter().map(|(letter, text)| (*letter, text.as_str())).collect();
    assert_eq!(texts, [(b'S', "ERROR"), (b'V', "ERROR"), (b'C', "42501"), (b'M', "permission denied"), (b'D', "because"), (b'H', "ask"),]);
    assert!(matches!(next(), Message::ParameterStatus(body) if body.name().ok() == Some("TimeZone")));
    assert!(matches!(next(), Message::BackendKeyData(body) if body.process_id() == 5));
    assert!(matches!(next(), Message::ReadyForQuery(body) if body.status() == b'E'));
    assert!(matches!(next(), Message::CommandComplete(body) if body.tag().ok() == Some("SELECT 1")));
}
