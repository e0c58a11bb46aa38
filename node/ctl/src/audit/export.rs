//! `assize audit export`: what the API streams, written as the export file of [`domain::audit::export`].

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::PathBuf;

use clap::Args;
use domain::audit::export::{EXPORT_MAGIC, ExportCheckpoint, ExportEnd, ExportHeader, ExportLeaf, Item, encode_item};
use proto::admin as pb;
use proto::admin::export_item::Item as Wire;

use crate::client::{Client, rpc};
use crate::outcome::{Failure, refused};
use crate::output::Output;

#[derive(Debug, Clone, Args)]
pub struct ExportArgs {
    /// Must not exist yet.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Only these logs; by default all. Verifying signatures needs `control` among them.
    #[arg(long = "log", value_name = "LOG")]
    logs: Vec<String>,
    /// Write the genesis into a file of its own, to be kept where the cluster cannot reach it and given to `audit verify`.
    #[arg(long, value_name = "FILE")]
    genesis_out: Option<PathBuf>,
}

/// Under another name until it is whole.
pub(crate) async fn run(client: &mut Client, out: &mut Output<'_>, args: ExportArgs) -> Result<(), Failure> {
    if args.out.exists() {
        return Err(Failure::usage(format!("{} exists already", args.out.display())));
    }
    let mut stream = rpc!(client.stream, audit_client::AuditClient, export, pb::ExportRequest { logs: args.logs })?;
    let part = args.out.with_extension("part");
    let mut file = BufWriter::new(File::create(&part)?);
    file.write_all(EXPORT_MAGIC)?;
    let mut end = None;
    while let Some(item) = stream.message().await.map_err(|status| refused(&status))? {
        let item = item.item.ok_or_else(|| Failure::failed("the node exports what this version does not know"))?;
        let item = stored(item)?;
        match (&item, &args.genesis_out) {
            (Item::Header(header), Some(path)) => std::fs::write(path, format!("{}\n", header.genesis))?,
            (Item::End(counts), _) => end = Some(*counts),
            (Item::Header(_) | Item::Leaf(_) | Item::Checkpoint(_), _) => {}
        }
        file.write_all(&encode_item(item))?;
    }
    let end = end.ok_or_else(|| Failure::failed("the node stopped before the export was whole"))?;
    file.into_inner().map_err(|e| Failure::from(e.into_error()))?.sync_all()?;
    std::fs::rename(&part, &args.out)?;
    out.say(&format!("{} records and {} checkpoints in {}", end.leaves, end.checkpoints, args.out.display()))
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
