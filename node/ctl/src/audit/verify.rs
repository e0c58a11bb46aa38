//! `assize audit verify`: checks an export offline. Nothing is believed but the pinned genesis, and nothing is asked of
//! the cluster; all judging is in [`domain::audit::verify`], and this file reads, supplies Ed25519 and prints.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use aws_lc_rs::signature::{ED25519, UnparsedPublicKey};
use clap::Args;
use domain::audit::checkpoint::{Checkpoint, Note, VerifierKey};
use domain::audit::cosignature::WitnessKey;
use domain::audit::export::{ExportReader, Item};
use domain::audit::merkle::{self, Hash};
use domain::audit::proof::{InclusionProof, verify_consistency};
use domain::audit::pruned;
use domain::audit::verify::{LogReport, Report, Survey, Verifier};
use serde::Serialize;

use crate::config;
use crate::outcome::Failure;
use crate::output::Output;

/// Bytes read at a time.
const CHUNK: usize = 1 << 20;

#[derive(Debug, Clone, Args)]
pub struct VerifyArgs {
    /// The file `assize audit export` wrote.
    export: PathBuf,
    /// The genesis to trust: the line `cluster init` or `audit export --genesis-out` gave, or a file that holds it.
    /// Without it the export vouches for itself, which proves only that it is consistent.
    #[arg(long, value_name = "KEY|FILE")]
    genesis: Option<String>,
    /// A checkpoint kept elsewhere: the export must contain that log.
    #[arg(long = "checkpoint", value_name = "FILE")]
    checkpoints: Vec<PathBuf>,
    /// Key of an outside witness, or a file that holds it, as its own operator gave it: says how much it vouches for.
    #[arg(long = "witness", value_name = "KEY|FILE")]
    witnesses: Vec<String>,
    /// Fail unless so many of them vouch for each log.
    #[arg(long, default_value_t = 0, hide_default_value = true, value_name = "COUNT")]
    min_witnesses: usize,
    /// The log that --record and --between are about.
    #[arg(long, default_value = "audit/0")]
    log: String,
    /// Prove that this record is in the log.
    #[arg(long, value_name = "NUMBER")]
    record: Option<u64>,
    /// Write the record's proof, to be checked without the export.
    #[arg(long, value_name = "FILE", requires = "record")]
    proof_out: Option<PathBuf>,
    /// Prove that the checkpoint at the second size continues the one at the first.
    #[arg(long, num_args = 2, value_names = ["SIZE", "SIZE"])]
    between: Option<Vec<u64>>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Found {
    whole: bool,
    genesis_pinned: bool,
    genesis: String,
    cluster: String,
    incarnation: u64,
    logs: BTreeMap<String, FoundLog>,
    failures: Vec<String>,
    proved: Vec<String>,
    #[serde(skip)]
    words: String,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct FoundLog {
    leaves: u64,
    signed: u64,
    root: String,
    checkpoints_verified: u64,
    signers: Vec<u64>,
    /// Bodies that retention let go.
    pruned: Vec<FoundPruned>,
    /// By the witness's name.
    witnesses: BTreeMap<String, FoundWitness>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct FoundPruned {
    class: String,
    /// The control entry that decided it, and its time in milliseconds since 1970.
    plan: u64,
    time_ms: u64,
    bodies: u64,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct FoundWitness {
    leaves: u64,
    /// Seconds since 1970, by its own clock.
    time: u64,
}

pub(crate) fn run(args: VerifyArgs, out: &mut Output<'_>) -> Result<(), Failure> {
    let witnesses = witnesses(&args)?;
    let mut first = FirstReading::default();
    read(&args.export, |item| first.item(item))?;
    for path in &args.checkpoints {
        let note: Note = config::read(path)?.parse().map_err(|e| Failure::of_file(path, e))?;
        first.note(note).map_err(|e| Failure::of_file(path, e))?;
    }
    let FirstReading { survey, notes } = first;
    let genesis = match &args.genesis {
        Some(given) => pinned(given)?,
        None => survey.claimed_genesis().ok_or_else(|| Failure::failed("the export names no genesis"))?,
    };
    let mut second = SecondReading {
        verifier: survey.verifier(genesis.clone()).map_err(failed)?,
        log: &args.log,
        hashes: Vec::new(),
        leaf: None,
        record: args.record,
    };
    read(&args.export, |item| second.item(item))?;
    let SecondReading { verifier, hashes, leaf, .. } = second;
    let report = verifier.finish_with_witnesses(&witnesses, &check_signature).map_err(failed)?;

    let mut proved = Vec::new();
    if report.is_whole() {
        if let Some(number) = args.record {
            let proof = prove_record(&report, &args, number, &notes, &hashes, leaf.as_deref())?;
            let gone = leaf.as_deref().is_some_and(|leaf| pruned::read(leaf).is_some());
            let which = if gone { "the hash of record" } else { "record" };
            let why = if gone { "; its body was pruned" } else { "" };
            proved.push(format!("{which} {number} of {} is in the log{why}", args.log));
            if let Some(path) = &args.proof_out {
                std::fs::write(path, proof.to_string())?;
            }
        }
        if let Some([a, b]) = args.between.as_deref() {
            prove_consistency(&report, &args.log, (*a, *b), &notes, &hashes)?;
            proved.push(format!("{} at {b} continues {} at {a}", args.log, args.log));
        }
    }
    show(out, &report, &args, &genesis, proved)
}

fn failed(error: impl std::fmt::Display) -> Failure {
    Failure::failed(error.to_string())
}

fn check_signature(key: &[u8; 32], message: &[u8], signature: &[u8]) -> bool {
    UnparsedPublicKey::new(&ED25519, key).verify(message, signature).is_ok()
}

/// The line itself, or a file that holds it.
fn pinned(given: &str) -> Result<VerifierKey, Failure> {
    if let Ok(key) = given.parse() {
        return Ok(key);
    }
    let text = config::read(Path::new(given)).map_err(|e| Failure::usage(format!("--genesis is neither a key nor a file: {e}")))?;
    text.trim().parse().map_err(|e| Failure::usage(format!("{given}: {e}")))
}

/// The keys of `--witness`, each once: two lines of one key are one witness.
fn witnesses(args: &VerifyArgs) -> Result<Vec<WitnessKey>, Failure> {
    let mut keys = BTreeMap::new();
    for given in &args.witnesses {
        let text = if given.parse::<WitnessKey>().is_ok() { given.clone() } else { config::read(Path::new(given))? };
        let key: WitnessKey = text.trim().parse().map_err(|e| Failure::usage(format!("--witness {given}: {e}")))?;
        keys.insert(key.key, key);
    }
    if args.min_witnesses > keys.len() {
        return Err(Failure::usage(format!("--min-witnesses {} of {} keys that --witness gives", args.min_witnesses, keys.len())));
    }
    Ok(keys.into_values().collect())
}

/// Signed notes by log and size.
type Notes = BTreeMap<(String, u64), Note>;

#[derive(Default)]
struct FirstReading {
    survey: Survey,
    notes: Notes,
}

impl FirstReading {
    fn item(&mut self, item: &Item) -> Result<(), Failure> {
        if let Item::Checkpoint(checkpoint) = item {
            let note: Note = checkpoint.note.parse().map_err(failed)?;
            self.keep(note)?;
        }
        self.survey.item(item).map_err(failed)
    }

    fn note(&mut self, note: Note) -> Result<(), Failure> {
        self.keep(note.clone())?;
        self.survey.note(note).map_err(failed)
    }

    /// Of several for one size, the one most have signed.
    fn keep(&mut self, note: Note) -> Result<(), Failure> {
        let head = Checkpoint::parse(&note.text).map_err(failed)?;
        let known = self.notes.entry((head.origin.log, head.size)).or_insert_with(|| note.clone());
        if known.signatures.len() < note.signatures.len() {
            *known = note;
        }
        Ok(())
    }
}

struct SecondReading<'a> {
    verifier: Verifier,
    log: &'a str,
    /// Leaf hashes of the log that single proofs are about.
    hashes: Vec<Hash>,
    leaf: Option<Vec<u8>>,
    record: Option<u64>,
}

impl SecondReading<'_> {
    fn item(&mut self, item: &Item) -> Result<(), Failure> {
        if let Item::Leaf(leaf) = item
            && leaf.log == self.log
        {
            self.hashes.push(pruned::stored_hash(&leaf.leaf));
            if self.record == Some(leaf.number) {
                self.leaf = Some(leaf.leaf.to_vec());
            }
        }
        self.verifier.item(item).map_err(failed)
    }
}

fn read(path: &Path, mut each: impl FnMut(&Item) -> Result<(), Failure>) -> Result<(), Failure> {
    let in_file = |e: String| Failure::failed(format!("{}: {e}", path.display()));
    let mut file = File::open(path).map_err(|e| Failure::of_file(path, e))?;
    let (mut reader, mut chunk) = (ExportReader::default(), vec![0; CHUNK]);
    loop {
        let count = file.read(&mut chunk)?;
        if count == 0 {
            break;
        }
        reader.feed(chunk.get(..count).unwrap_or_default());
        while let Some(item) = reader.next_item().map_err(|e| in_file(e.to_string()))? {
            each(&item)?;
        }
    }
    if reader.is_done() { Ok(()) } else { Err(in_file("is cut short".into())) }
}

/// The record under the latest checkpoint that was verified.
fn prove_record(
    report: &Report,
    args: &VerifyArgs,
    number: u64,
    notes: &Notes,
    hashes: &[Hash],
    leaf: Option<&[u8]>,
) -> Result<InclusionProof, Failure> {
    let size = report.logs.get(&args.log).map_or(0, |log| log.signed_size);
    let (Some(leaf), true) = (leaf, report.holds(&args.log, number)) else {
        return Err(Failure::failed(format!("record {number} of {} is under no verified checkpoint; the latest is at {size}", args.log)));
    };
    let checkpoint = notes.get(&(args.log.clone(), size)).cloned().ok_or_else(|| Failure::failed("the checkpoint is missing"))?;
    let tree = Tree::new(hashes);
    let path = merkle::inclusion_proof(number, size, |level, at| tree.node(level, at))?;
    let proof = InclusionProof { number, path, checkpoint };
    // What stands for a pruned body has its hash; that a rule let it go is a part of the report being whole.
    proof.verify_hash(&pruned::stored_hash(leaf), &report.voters, &check_signature).map_err(failed)?;
    Ok(proof)
}

fn prove_consistency(report: &Report, log: &str, (a, b): (u64, u64), notes: &Notes, hashes: &[Hash]) -> Result<(), Failure> {
    let note =
        |size: u64| notes.get(&(log.to_owned(), size)).ok_or_else(|| Failure::failed(format!("there is no checkpoint of {log} at {size}")));
    let (old, new) = (note(a)?, note(b)?);
    let tree = Tree::new(hashes);
    let path = merkle::consistency_proof(a, b, |level, at| tree.node(level, at))?;
    verify_consistency(old, new, &path, &report.voters, &check_signature).map(drop).map_err(failed)
}

/// Every complete subtree of the leaves, level by level.
struct Tree(Vec<Vec<Hash>>);

impl Tree {
    fn new(leaves: &[Hash]) -> Tree {
        let mut levels = vec![leaves.to_vec()];
        while let Some(below) = levels.last().filter(|level| level.len() > 1) {
            let above = below.chunks_exact(2).filter_map(|pair| Some(merkle::node_hash(pair.first()?, pair.last()?))).collect();
            levels.push(above);
        }
        Tree(levels)
    }

    fn node(&self, level: u8, at: u64) -> Result<Hash, Failure> {
        let found = self.0.get(usize::from(level)).and_then(|level| level.get(usize::try_from(at).ok()?));
        found.copied().ok_or_else(|| Failure::failed("the export has fewer records than its checkpoint"))
    }
}

/// How many of the auditor's witnesses vouch for how much.
fn witnessed(report: &Report, args: &VerifyArgs) -> String {
    let line = |(name, log): (&String, &LogReport)| {
        let count = log.witnesses.len();
        let mut line = format!("{name}: {count} of {} witnesses vouch for it", args.witnesses.len());
        if count > 0 {
            line.push_str(&format!("; all of them for the first {} leaves", log.vouched_by(count)));
        }
        line + "\n"
    };
    if args.witnesses.is_empty() { String::new() } else { report.logs.iter().map(line).collect() }
}

fn show(out: &mut Output<'_>, report: &Report, args: &VerifyArgs, genesis: &VerifierKey, proved: Vec<String>) -> Result<(), Failure> {
    let logs = report.logs.iter().map(|(name, log)| {
        let found = FoundLog {
            leaves: log.leaves,
            signed: log.signed_size,
            root: data_encoding::HEXLOWER.encode(&log.root),
            checkpoints_verified: log.verified,
            signers: log.signers.iter().map(|node| node.0).collect(),
            pruned: (log.pruned.iter())
                .map(|(plan, by)| FoundPruned { class: by.class.to_string(), plan: plan.0, time_ms: by.at.0, bodies: by.bodies })
                .collect(),
            witnesses: (log.witnesses.values())
                .map(|vouched| (vouched.name.clone(), FoundWitness { leaves: vouched.size, time: vouched.time }))
                .collect(),
        };
        (name.clone(), found)
    });
    let found = Found {
        whole: report.is_whole(),
        genesis_pinned: args.genesis.is_some(),
        genesis: genesis.to_string(),
        cluster: report.cluster.clone(),
        incarnation: report.incarnation,
        logs: logs.collect(),
        failures: report.failures.iter().map(ToString::to_string).collect(),
        proved,
        words: report.to_string(),
    };
    let witnessed = witnessed(report, args);
    out.show(&found, |found| {
        let mut text = format!("{}\n", found.words);
        text.push_str(&witnessed);
        found.proved.iter().for_each(|proved| text.push_str(&format!("proved: {proved}\n")));
        if !found.genesis_pinned {
            text.push_str(&format!("note: the genesis was taken from the export itself; pin it with --genesis '{}'\n", found.genesis));
        }
        text
    })?;
    let short = |log: &LogReport| log.leaves > 0 && log.vouched_by(args.min_witnesses) == 0;
    if let Some((name, _)) = report.logs.iter().find(|(_, log)| args.min_witnesses > 0 && short(log)) {
        return Err(Failure::failed(format!("{name}: fewer than {} witnesses vouch for it", args.min_witnesses)));
    }
    if found.whole { Ok(()) } else { Err(Failure::failed(format!("{} faults in the log", found.failures.len()))) }
}
