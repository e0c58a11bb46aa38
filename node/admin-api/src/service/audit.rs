use std::pin::Pin;
use std::sync::Arc;

use domain::audit::record::KIND_NAMES;
use futures_util::Stream;
use proto::admin as pb;
use proto::admin::export_item::{self, Item};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

use super::{Api, Parts};
use crate::control::{ControlError, Leaf, SignedHead};
use crate::convert::fields::collect;
use crate::convert::record::{COMMAND_KIND, describe};
use crate::convert::timestamp;
use crate::{failure, limits};

const LOG_DEFAULT: &str = "audit/0";
/// Version of the order and meaning of items in an export.
const EXPORT_FORMAT: u32 = 1;

type Answer<T> = Result<Response<T>, Status>;
type Streamed<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl pb::audit_server::Audit for Api {
    type QueryRecordsStream = Streamed<pb::AuditRecord>;

    async fn query_records(&self, request: Request<pb::QueryRecordsRequest>) -> Answer<Self::QueryRecordsStream> {
        let (call, message) = self.enter(request)?;
        let state = call.may("*")?;
        let query = Query::read(message)?;
        self.0.audit.size(&query.log).map_err(|e| failure::control(&e))?;
        let (out, stream) = mpsc::channel(limits::STREAM_BACKLOG);
        tokio::spawn(run_query(self.0.clone(), query, out));
        let stream: Self::QueryRecordsStream = Box::pin(ReceiverStream::new(stream));
        call.answer(&state, stream)
    }

    async fn get_checkpoint(&self, request: Request<pb::GetCheckpointRequest>) -> Answer<pb::Checkpoint> {
        let (call, message) = self.enter(request)?;
        let state = call.may("*")?;
        let size = (message.size != 0).then_some(message.size);
        let head = self.0.audit.checkpoint(log_or_default(&message.log), size).await.map_err(|e| failure::control(&e))?;
        call.answer(&state, checkpoint(head))
    }

    async fn get_inclusion_proof(&self, request: Request<pb::GetInclusionProofRequest>) -> Answer<pb::InclusionProof> {
        let (call, message) = self.enter(request)?;
        let state = call.may("*")?;
        let (audit, log) = (&self.0.audit, log_or_default(&message.log));
        let size = match message.size {
            0 => audit.checkpoint(log, None).await.map_err(|e| failure::control(&e))?.size,
            size => size,
        };
        let leaves = audit.read(log, message.number, 1).await.map_err(|e| failure::control(&e))?;
        let leaf = leaves.into_iter().next().ok_or_else(|| failure::not_found(&format!("record {} of {log}", message.number)))?;
        let path = audit.inclusion(log, message.number, size).await.map_err(|e| failure::control(&e))?;
        call.answer(&state, pb::InclusionProof { number: message.number, size, leaf: leaf.bytes, path: hashes(path) })
    }

    async fn get_consistency_proof(&self, request: Request<pb::GetConsistencyProofRequest>) -> Answer<pb::ConsistencyProof> {
        let (call, message) = self.enter(request)?;
        let state = call.may("*")?;
        let (from_size, to_size) = (message.from_size, message.to_size);
        if from_size > to_size {
            return Err(failure::invalid_field("from_size", "must not be beyond to_size"));
        }
        let path = self.0.audit.consistency(log_or_default(&message.log), from_size, to_size).await.map_err(|e| failure::control(&e))?;
        call.answer(&state, pb::ConsistencyProof { from_size, to_size, path: hashes(path) })
    }

    type ExportStream = Streamed<pb::ExportItem>;

    async fn export(&self, request: Request<pb::ExportRequest>) -> Answer<Self::ExportStream> {
        let (call, message) = self.enter(request)?;
        let state = call.may("*")?;
        let logs = if message.logs.is_empty() { self.0.audit.logs() } else { message.logs };
        for log in &logs {
            self.0.audit.size(log).map_err(|e| failure::control(&e))?;
        }
        let header = pb::ExportHeader {
            format: EXPORT_FORMAT,
            cluster: state.cluster.id.clone(),
            incarnation: state.cluster.incarnation,
            genesis: self.0.audit.genesis(),
        };
        let (out, stream) = mpsc::channel(limits::STREAM_BACKLOG);
        let export = Export { parts: self.0.clone(), out, end: pb::ExportEnd::default() };
        tokio::spawn(export.run(header, logs));
        let stream: Self::ExportStream = Box::pin(ReceiverStream::new(stream));
        call.answer(&state, stream)
    }
}

fn log_or_default(log: &str) -> &str {
    if log.is_empty() { LOG_DEFAULT } else { log }
}

fn hashes(path: Vec<[u8; 32]>) -> Vec<Vec<u8>> {
    path.into_iter().map(|hash| hash.to_vec()).collect()
}

fn checkpoint(head: SignedHead) -> pb::Checkpoint {
    pb::Checkpoint {
        log: head.log,
        size: head.size,
        root: head.root.to_vec(),
        signed: head.note,
        made: Some(timestamp(head.made)),
        signers: head.signers.into_iter().map(|node| node.0).collect(),
    }
}

/// A query with its defaults filled in.
struct Query {
    log: String,
    asked: pb::QueryRecordsRequest,
    limit: u32,
    since: Option<u64>,
    until: Option<u64>,
}

impl Query {
    fn read(asked: pb::QueryRecordsRequest) -> Result<Query, Status> {
        let (since, until) = collect(|f| {
            let since = f.time("since", asked.since.as_ref());
            let until = f.time("until", asked.until.as_ref());
            if !(asked.kind.is_empty() || asked.kind == COMMAND_KIND || KIND_NAMES.contains(&asked.kind.as_str())) {
                return f.fault("kind", format!("is none of {COMMAND_KIND}, {}", KIND_NAMES.join(", ")));
            }
            Some((since?, until?))
        })?;
        let limit = match asked.limit {
            0 if asked.follow => u32::MAX,
            0 => limits::QUERY_LIMIT_DEFAULT,
            limit => limit,
        };
        let log = log_or_default(&asked.log).to_owned();
        Ok(Query { log, asked, limit, since: since.map(|t| t.0), until: until.map(|t| t.0) })
    }

    fn wants(&self, record: &pb::AuditRecord) -> bool {
        let same = |wanted: &str, is: &str| wanted.is_empty() || wanted == is;
        let at = record
            .at
            .as_ref()
            .map(|t| u64::try_from(t.seconds).unwrap_or_default() * 1000 + u64::try_from(t.nanos).unwrap_or_default() / 1_000_000);
        same(&self.asked.principal, &record.principal)
            && same(&self.asked.target, &record.target)
            && same(&self.asked.session, &record.session)
            && same(&self.asked.kind, &record.kind)
            && same(&self.asked.run, record.fields.get("run").map_or("", String::as_str))
            && self.since.is_none_or(|since| at.is_some_and(|at| at >= since))
            && self.until.is_none_or(|until| at.is_some_and(|at| at < until))
    }
}

/// Sends what the query wants until its limit, the end of the log, or the caller leaves.
async fn run_query(parts: Arc<Parts>, query: Query, out: mpsc::Sender<Result<pb::AuditRecord, Status>>) {
    let (mut next, mut sent, mut seen) = (query.asked.from, 0u32, 0u64);
    loop {
        let leaves = match parts.audit.read(&query.log, next, limits::AUDIT_BATCH).await {
            Ok(leaves) => leaves,
            Err(error) => {
                let _ = out.send(Err(failure::control(&error))).await;
                return;
            }
        };
        let at_end = leaves.is_empty();
        for leaf in leaves {
            next = leaf.number + 1;
            seen += 1;
            let record = described(&query, leaf);
            if !query.wants(&record) {
                continue;
            }
            if out.send(Ok(record)).await.is_err() {
                return;
            }
            sent += 1;
            if sent >= query.limit {
                return;
            }
        }
        if query.asked.follow {
            if at_end {
                tokio::select! {
                    () = out.closed() => return,
                    () = tokio::time::sleep(limits::FOLLOW_INTERVAL) => {}
                }
            }
        } else if at_end || seen >= limits::QUERY_SCAN_MAX {
            return;
        }
    }
}

fn described(query: &Query, leaf: Leaf) -> pb::AuditRecord {
    let mut record = describe(&query.log, &leaf.bytes);
    record.log.clone_from(&query.log);
    record.number = leaf.number;
    if query.asked.with_leaf {
        record.leaf = leaf.bytes;
    }
    record
}

/// One running export: counts what it sent, so that a file cut short is noticed.
struct Export {
    parts: Arc<Parts>,
    out: mpsc::Sender<Result<pb::ExportItem, Status>>,
    end: pb::ExportEnd,
}

/// Nothing more can be sent: the caller left, or was told why.
struct Over;

impl Export {
    async fn run(mut self, header: pb::ExportHeader, logs: Vec<String>) {
        if self.send(Item::Header(header)).await.is_err() {
            return;
        }
        for log in logs {
            if self.log(&log).await.is_err() {
                return;
            }
        }
        let _ = self.send(Item::End(self.end)).await;
    }

    /// Checkpoints first: the leaves then reach at least as far as each of them.
    async fn log(&mut self, log: &str) -> Result<(), Over> {
        let audit = self.parts.audit.clone();
        let heads = self.told(audit.checkpoints(log).await).await?;
        let size = self.told(audit.size(log)).await?;
        let mut next = 0;
        while next < size {
            let leaves = self.told(audit.read(log, next, limits::AUDIT_BATCH).await).await?;
            if leaves.is_empty() {
                let missing = ControlError::NotFound(format!("record {next} of {log}"));
                return self.told(Err(missing)).await;
            }
            for leaf in leaves.into_iter().take_while(|leaf| leaf.number < size) {
                next = leaf.number + 1;
                self.end.leaves += 1;
                self.send(Item::Leaf(export_item::Leaf { log: log.to_owned(), number: leaf.number, leaf: leaf.bytes })).await?;
            }
        }
        for head in heads.into_iter().filter(|head| head.size <= size) {
            self.end.checkpoints += 1;
            self.send(Item::Checkpoint(checkpoint(head))).await?;
        }
        Ok(())
    }

    async fn told<T>(&self, result: Result<T, ControlError>) -> Result<T, Over> {
        match result {
            Ok(value) => Ok(value),
            Err(error) => {
                let _ = self.out.send(Err(failure::control(&error))).await;
                Err(Over)
            }
        }
    }

    async fn send(&self, item: Item) -> Result<(), Over> {
        self.out.send(Ok(pb::ExportItem { item: Some(item) })).await.map_err(|_| Over)
    }
}
