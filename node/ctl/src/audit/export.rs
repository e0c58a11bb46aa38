//! `assize audit export`: what the API streams, written as the export file of [`domain::audit::export`]; or, with
//! `--format`, the records for a log collector.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use clap::Args;
use domain::audit::export::{EXPORT_MAGIC, ExportCheckpoint, ExportEnd, ExportHeader, ExportLeaf, Item, encode_item};
use proto::admin as pb;
use proto::admin::export_item::Item as Wire;
use record_formats::{Formatter, RecordFormat};

use crate::client::{Client, rpc};
use crate::outcome::{Failure, refused};
use crate::output::Output;
use crate::when::{self, When};

/// Records asked for in one call of an export by format.
const RECORDS_PER_CALL: u32 = 10_000;

#[derive(Debug, Clone, Args)]
pub struct ExportArgs {
    /// Must not exist yet. With --format, standard output by default.
    #[arg(long, value_name = "FILE", required_unless_present = "format")]
    out: Option<PathBuf>,
    /// Only these logs; by default all (with --format, `audit/0`). Verifying signatures needs `control` among them.
    #[arg(long = "log", value_name = "LOG")]
    logs: Vec<String>,
    /// Write the genesis into a file of its own, to be kept where the cluster cannot reach it and given to `audit verify`.
    #[arg(long, value_name = "FILE", conflicts_with = "format")]
    genesis_out: Option<PathBuf>,
    /// A line a record, for log collectors. Without it, a file for `audit verify`.
    #[arg(long, value_enum)]
    format: Option<Format>,
    /// First record of each log, counted from 0.
    #[arg(long, default_value_t = 0, hide_default_value = true, value_name = "NUMBER", requires = "format")]
    from: u64,
    /// Only records from a time on, or from a span back from now.
    #[arg(long, value_parser = when::parse, value_name = "TIME", requires = "format")]
    since: Option<When>,
    /// Only records before a time.
    #[arg(long, value_parser = when::parse, value_name = "TIME", requires = "format")]
    until: Option<When>,
}

/// How a record is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Format {
    /// A JSON object a line, in the Open Cybersecurity Schema Framework, version 1.8.0
    Ocsf,
    /// ArcSight Common Event Format
    Cef,
    /// A JSON object a line, in the schema `assize.audit.v1`
    Json,
}

impl From<Format> for RecordFormat {
    fn from(format: Format) -> RecordFormat {
        match format {
            Format::Ocsf => RecordFormat::Ocsf,
            Format::Cef => RecordFormat::Cef,
            Format::Json => RecordFormat::Json,
        }
    }
}

pub(crate) async fn run(client: &mut Client, out: &mut Output<'_>, args: ExportArgs) -> Result<(), Failure> {
    if let Some(path) = args.out.as_ref().filter(|path| path.exists()) {
        return Err(Failure::usage(format!("{} exists already", path.display())));
    }
    match (args.format.map(RecordFormat::from), args.out.clone()) {
        (Some(format), Some(path)) => {
            let part = path.with_extension("part");
            let mut file = create(&part)?;
            let written = records(client, &mut file, format, &args).await?;
            file.into_inner().map_err(|e| Failure::from(e.into_error()))?.sync_all()?;
            std::fs::rename(&part, &path)?;
            out.say(&format!("{written} records in {}", path.display()))
        }
        (Some(format), None) => {
            let written = records(client, out.writer(), format, &args).await.map(drop);
            out.writer().flush()?;
            written
        }
        (None, Some(path)) => proof(client, out, args, path).await,
        (None, None) => Err(Failure::usage("--out or --format is needed")),
    }
}

/// Every record of the logs until their end as it is met, each once and in order; how many there were.
async fn records(client: &mut Client, to: &mut (dyn Write + Send), format: RecordFormat, args: &ExportArgs) -> Result<u64, Failure> {
    let logs = if args.logs.is_empty() { vec!["audit/0".to_owned()] } else { args.logs.clone() };
    let bounds = [args.since, args.until].map(|bound| bound.map(|at| at.back()));
    let moment = |t: &proto::types::Timestamp| (t.seconds, t.nanos);
    let mut written = 0;
    for log in logs {
        let mut formatter = Formatter::new(format);
        let mut next = args.from;
        loop {
            // Times are compared here: a node looks at a bounded number of records for one filtered query.
            let request = pb::QueryRecordsRequest { log: log.clone(), from: next, limit: RECORDS_PER_CALL, ..Default::default() };
            let mut stream = rpc!(client.stream, audit_client::AuditClient, query_records, request)?;
            let asked_from = next;
            while let Some(record) = stream.message().await.map_err(|status| refused(&status))? {
                next = record.number + 1;
                let line = formatter.line(&record);
                let at = record.at.as_ref().map(moment).unwrap_or_default();
                let [since, until] = bounds.each_ref().map(|bound| bound.as_ref().map(moment));
                if since.is_none_or(|since| at >= since) && until.is_none_or(|until| at < until) {
                    to.write_all(line.as_bytes())?;
                    to.write_all(b"\n")?;
                    written += 1;
                }
            }
            if next == asked_from {
                break;
            }
        }
    }
    Ok(written)
}

fn create(path: &Path) -> Result<BufWriter<File>, Failure> {
    File::create(path).map(BufWriter::new).map_err(|e| Failure::of_file(path, e))
}

/// Under another name until it is whole.
async fn proof(client: &mut Client, out: &mut Output<'_>, args: ExportArgs, path: PathBuf) -> Result<(), Failure> {
    let mut stream = rpc!(client.stream, audit_client::AuditClient, export, pb::ExportRequest { logs: args.logs })?;
    let part = path.with_extension("part");
    let mut file = create(&part)?;
    file.write_all(EXPORT_MAGIC)?;
    let mut end = None;
    while let Some(item) = stream.message().await.map_err(|status| refused(&status))? {
        let item = item.item.ok_or_else(|| Failure::failed("the node exports what this version does not know"))?;
        let item = stored(item)?;
        match (&item, &args.genesis_out) {
            (Item::Header(header), Some(path)) => {
                std::fs::write(path, format!("{}\n", header.genesis)).map_err(|e| Failure::of_file(path, e))?
            }
            (Item::End(counts), _) => end = Some(*counts),
            (Item::Header(_) | Item::Leaf(_) | Item::Checkpoint(_), _) => {}
        }
        file.write_all(&encode_item(item))?;
    }
    let end = end.ok_or_else(|| Failure::failed("the node stopped before the export was whole"))?;
    file.into_inner().map_err(|e| Failure::from(e.into_error()))?.sync_all()?;
    std::fs::rename(&part, &path)?;
    out.say(&format!("{} records and {} checkpoints in {}", end.leaves, end.checkpoints, path.display()))
}

fn stored(item: Wire) -> Result<Item, Failure> {
    Ok(match item {
        Wire::Header(h) => Item::Header(ExportHeader { cluster: h.cluster, incarnation: h.incarnation, genesis: h.genesis }),
        Wire::Leaf(l) => Item::Leaf(ExportLeaf { log: l.log, number: l.number, leaf: l.leaf.into() }),
        Wire::Checkpoint(c) => {
            let note = String::from_utf8(c.signed).map_err(|_| Failure::failed("a checkpoint is no text"))?;
            Item::Checkpoint(ExportCheckpoint { note })
        }
        Wire::End(e) => Item::End(ExportEnd { leaves: e.leaves, checkpoints: e.checkpoints }),
    })
}
