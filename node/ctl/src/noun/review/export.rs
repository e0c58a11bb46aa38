//! A review for those who were not there: the CSV that was signed, JSON with every field, OSCAL assessment results.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use proto::admin as pb;
use proto::admin::review_status::Status;
use serde_json::{Value, json};

use super::subject;
use crate::client::{Client, rpc};
use crate::outcome::{Failure, refused};
use crate::output::Output;
use crate::when;

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum ExportFormat {
    Csv,
    Json,
    Oscal,
}

#[derive(Debug, Clone, Args)]
pub struct ExportArgs {
    /// E.g. review-1047.
    id: String,
    #[arg(long, value_enum, default_value = "csv")]
    format: ExportFormat,
    /// Where to; by default standard output.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

pub(super) async fn run(client: &mut Client, out: &mut Output<'_>, args: ExportArgs) -> Result<(), Failure> {
    let report = report(client, &args.id).await?;
    let bytes = match args.format {
        ExportFormat::Csv => report,
        ExportFormat::Json | ExportFormat::Oscal => {
            let digest = data_encoding::HEXLOWER.encode(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &report).as_ref());
            let review = rpc!(client.ask, reviews_client::ReviewsClient, get_review, pb::GetReviewRequest { id: args.id.clone() })?;
            let request = pb::ListReviewItemsRequest { review: args.id.clone(), ..Default::default() };
            let items = crate::noun::all_pages!(client, reviews_client::ReviewsClient, list_review_items, request, items);
            let whole = match args.format {
                ExportFormat::Oscal => oscal(&review, &items, &digest),
                ExportFormat::Csv | ExportFormat::Json => json!({ "review": review, "items": items, "reportSha256": digest }),
            };
            serde_json::to_vec_pretty(&whole).map_err(|e| Failure::failed(format!("JSON: {e}")))?
        }
    };
    match args.out {
        Some(path) => std::fs::write(&path, bytes).map_err(|e| Failure::failed(format!("{}: {e}", path.display()))),
        None => out.writer().write_all(&bytes).map_err(Failure::from),
    }
}

async fn report(client: &mut Client, id: &str) -> Result<Vec<u8>, Failure> {
    let request = pb::ExportReviewRequest { id: id.to_owned() };
    let mut stream = rpc!(client.stream, reviews_client::ReviewsClient, export_review, request)?;
    let mut bytes = Vec::new();
    while let Some(part) = stream.message().await.map_err(|status| refused(&status))? {
        bytes.extend(part.data);
    }
    Ok(bytes)
}

/// Namespace of the properties that OSCAL has no word for.
const NAMESPACE: &str = "https://assize.dev/ns/oscal";
/// What a review of access is evidence for, in NIST SP 800-53.
const CONTROLS: [&str; 3] = ["ac-2", "ac-5", "ac-6.7"];

/// OSCAL 1.1.2 assessment results: an observation an item. Identifiers follow from ours, so that exporting twice gives
/// the same document but for its date.
fn oscal(review: &pb::Review, items: &[pb::ReviewItem], digest: &str) -> Value {
    let terms = review.terms.clone().unwrap_or_default();
    let closed = match review.status.as_ref().and_then(|s| s.status.as_ref()) {
        Some(Status::Closed(closed)) => Some(closed),
        _ => None,
    };
    let end = closed.and_then(|c| c.at.as_ref()).or(review.due.as_ref());
    let mut result = json!({
        "uuid": uuid(&[&review.id, "result"]),
        "title": format!("Access review {} ({})", review.name, review.id),
        "description": terms.basis,
        "start": when::show(review.opened.as_ref()),
        "end": when::show(end),
        "props": [
            property("population-index", review.id.trim_start_matches("review-")),
            property("population-count", &review.items.to_string()),
            property("undecided", &review.undecided.to_string()),
            property("report-sha256", digest),
        ],
        "reviewed-controls": {
            "control-selections": [{ "include-controls": CONTROLS.map(|id| json!({ "control-id": id })) }]
        },
        "observations": items.iter().map(|item| observation(review, item)).collect::<Vec<_>>(),
    });
    if let Some(closed) = closed {
        result["attestations"] = json!([{
            "parts": [{
                "name": "authorization-statement",
                "prose": format!("{} signed at {}: {}", closed.by, when::show(closed.at.as_ref()), closed.statement),
            }]
        }]);
    }
    let modified = closed.and_then(|c| c.at.as_ref()).or(review.opened.as_ref());
    json!({
        "assessment-results": {
            "uuid": uuid(&[&review.id, digest]),
            "metadata": {
                "title": format!("Assize access review {}", review.id),
                "last-modified": when::show(modified),
                "version": review.etag,
                "oscal-version": "1.1.2",
            },
            "import-ap": { "href": "#access-review", "remarks": terms.basis },
            "results": [result],
        }
    })
}

fn observation(review: &pb::Review, item: &pb::ReviewItem) -> Value {
    let (id, target, access) = subject(item);
    let decisions: Vec<String> = item
        .decisions
        .iter()
        .map(|d| {
            let choice = match d.choice.as_ref().and_then(|c| c.choice.as_ref()) {
                Some(pb::review_choice::Choice::Approve(_)) => "approved",
                Some(pb::review_choice::Choice::Modify(_)) => "modified",
                Some(pb::review_choice::Choice::Revoke(_)) => "revoked",
                Some(pb::review_choice::Choice::Abstain(_)) => "abstained",
                None => "",
            };
            format!("stage {}: {choice} by {} at {} (index {}): {}", d.stage, d.by, when::show(d.at.as_ref()), d.index, d.rationale)
        })
        .collect();
    let collected = item.decisions.last().and_then(|d| d.at.as_ref()).or(review.opened.as_ref());
    let mut observation = json!({
        "uuid": uuid(&[&review.id, &item.number.to_string()]),
        "title": format!("{id} of {}: {}", item.principal, item.standing),
        "description": format!("{} may: {access}", item.principal),
        "methods": ["EXAMINE"],
        "types": ["control-objective"],
        "collected": when::show(collected),
        "props": [
            property("subject", &id),
            property("principal", &item.principal),
            property("target", &target),
            property("outcome", &item.standing),
        ],
    });
    if !decisions.is_empty() {
        observation["remarks"] = json!(decisions.join("\n\n"));
    }
    observation
}

fn property(name: &str, value: &str) -> Value {
    json!({ "name": name, "ns": NAMESPACE, "value": if value.is_empty() { "none" } else { value } })
}

/// A UUID of version 5 (RFC 9562 §5.5) in the namespace of URLs.
fn uuid(parts: &[&str]) -> String {
    const URL_NAMESPACE: [u8; 16] = [0x6b, 0xa7, 0xb8, 0x11, 0x9d, 0xad, 0x11, 0xd1, 0x80, 0xb4, 0x00, 0xc0, 0x4f, 0xd4, 0x30, 0xc8];
    let name = format!("{NAMESPACE}/{}", parts.join("/"));
    let input = [&URL_NAMESPACE[..], name.as_bytes()].concat();
    let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA1_FOR_LEGACY_USE_ONLY, &input);
    let mut bytes = hash.as_ref()[..16].to_vec();
    bytes[6] = (bytes[6] & 0x0f) | 0x50;
    bytes[8] = (bytes[8] & 0x3f) | 0x80;
    let hex = data_encoding::HEXLOWER.encode(&bytes);
    [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `python3 -c "import uuid; print(uuid.uuid5(uuid.NAMESPACE_URL, 'https://assize.dev/ns/oscal/review-1/result'))"`
    #[test]
    fn uuids_are_of_version_5() {
        assert_eq!(uuid(&["review-1", "result"]), "4133e1e9-a88c-5d03-b85f-55bf109fa7de");
    }
}
