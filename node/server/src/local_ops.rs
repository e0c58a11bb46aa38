//! What runs on the machine of a node itself, while no node runs there: init, join, recover.

use std::io::{Read as _, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use cluster::join::{self, JoinAs, JoinToken};
use cluster::pki::Issued;
use cluster::recovery::{self, Place, RecoverAs};
use cluster::secrets::RecoveryKey;
use ctl::{InitArgs, JoinArgs, LocalOps, RecoverArgs, WitnessInitArgs, WitnessServeArgs};
use domain::audit::add_checkpoint::Trusted;
use domain::audit::checkpoint::VerifierKey;
use domain::id::Name;

use crate::config::Config;

pub(crate) struct OnThisMachine;

/// Names and addresses a node's certificate carries, so that operators can check whom they speak to.
fn hosts(config: &Config) -> Vec<String> {
    let host = config.admin.advertise.rsplit_once(':').map_or(config.admin.advertise.as_str(), |(host, _)| host);
    let mut hosts = vec![host.trim_matches(['[', ']']).to_owned(), "localhost".to_owned(), "127.0.0.1".to_owned()];
    let listen = config.admin.listen.ip();
    if !listen.is_unspecified() {
        hosts.push(listen.to_string());
    }
    hosts.sort();
    hosts.dedup();
    hosts
}

fn write_private(path: &Path, content: &[u8]) -> Result<()> {
    let mut file =
        std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).with_context(|| path.display().to_string())?;
    file.write_all(content).with_context(|| path.display().to_string())
}

const ADMIN_FILES: [&str; 3] = ["cert.pem", "key.pem", "ca.pem"];

/// Said before anything is done that would have to be undone.
fn ensure_no_admin(folder: &Path) -> Result<()> {
    match ADMIN_FILES.iter().map(|name| folder.join(name)).find(|file| file.exists()) {
        Some(file) => bail!("{} is there already; say --admin-out", file.display()),
        None => Ok(()),
    }
}

/// Where an administrator's client certificate goes, and what its client trusts.
fn write_admin(folder: &Path, issued: &Issued, trust_pem: &str) -> Result<()> {
    std::fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
    write_private(&folder.join("cert.pem"), issued.cert_pem.as_bytes())?;
    write_private(&folder.join("key.pem"), issued.key_pem.as_bytes())?;
    write_private(&folder.join("ca.pem"), trust_pem.as_bytes())
}

fn say_how_to_connect(out: &mut dyn Write, config: &Config, folder: &Path, admin: &Name) -> Result<()> {
    let folder = folder.display();
    writeln!(out, "client certificate of {admin}: {folder}/cert.pem, {folder}/key.pem; authority: {folder}/ca.pem")?;
    writeln!(out, "start the node, then:")?;
    writeln!(
        out,
        "  export ASSIZE_ADDR={} ASSIZE_CA={folder}/ca.pem ASSIZE_CERT={folder}/cert.pem ASSIZE_KEY={folder}/key.pem",
        config.admin.advertise
    )?;
    writeln!(out, "  assize cluster status")?;
    Ok(())
}

fn admin_folder(config: &Config, asked: Option<PathBuf>) -> PathBuf {
    asked.unwrap_or_else(|| config.data_dir.join("admin"))
}

fn secret_line(path: &Path) -> Result<String> {
    let mut text = String::new();
    if path == Path::new("-") {
        std::io::stdin().read_to_string(&mut text)?;
    } else {
        text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
    }
    Ok(text.trim().to_owned())
}

fn runtime() -> Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().context("starting the runtime")
}

/// The commands run inside the operator's runtime; what blocks on another one does so on a thread of its own.
fn apart<T: Send>(work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    std::thread::scope(|scope| scope.spawn(work).join().unwrap_or_else(|_| bail!("a thread ended early")))
}

impl LocalOps for OnThisMachine {
    fn witness_init(&self, args: WitnessInitArgs, out: &mut dyn Write) -> Result<()> {
        if args.state.exists() {
            bail!("{} is there already", args.state.display());
        }
        let key = witness::Key::create(&args.key_file, &args.name)?;
        witness::State::create(&args.state)?;
        writeln!(out, "{}", key.public())?;
        Ok(())
    }

    fn witness_serve(&self, args: WitnessServeArgs, out: &mut dyn Write) -> Result<()> {
        let key = witness::Key::read(&args.key_file)?;
        let state = witness::State::read(&args.state)?;
        let trust = args.trust.iter().map(|key| key.parse::<VerifierKey>().with_context(|| format!("--trust {key}")));
        let trusted = Trusted(trust.collect::<Result<_>>()?);
        writeln!(out, "witness {} listens on {}", key.public().name, args.listen)?;
        out.flush()?;
        let served = witness::serve(args.listen, witness::Witness::new(key, trusted, state));
        // Elsewhere than in the runtime that runs this command: it lasts.
        std::thread::scope(|scope| {
            let ended = scope.spawn(|| runtime()?.block_on(served).map_err(anyhow::Error::from)).join();
            ended.unwrap_or_else(|_| bail!("the witness ended"))
        })
    }

    fn init(&self, args: InitArgs, out: &mut dyn Write) -> Result<()> {
        let config = Config::load(&args.config)?;
        let admin: Name = args.admin.parse().context("--admin")?;
        let founded = join::init_cluster(&config.data_dir, &admin, &hosts(&config))?;
        let folder = admin_folder(&config, args.admin_out);
        write_admin(&folder, &founded.admin, &founded.admin_trust_pem)?;
        writeln!(out, "cluster {} is ready to start", founded.cluster)?;
        writeln!(out, "recovery key, shown this once; keep it offline: {}", founded.recovery_key.printed().as_str())?;
        writeln!(out, "genesis, for whoever verifies the audit log: {}", founded.genesis)?;
        say_how_to_connect(out, &config, &folder, &admin)
    }

    fn join(&self, args: JoinArgs, out: &mut dyn Write) -> Result<()> {
        let config = Config::load(&args.config)?;
        let token = JoinToken::parse(&secret_line(&args.token_file)?)?;
        let about = JoinAs {
            address: config.cluster.advertise.clone(),
            admin_address: config.admin.advertise.clone(),
            voter: true,
            hosts: hosts(&config),
        };
        let node = apart(|| runtime()?.block_on(join::join_cluster(&config.data_dir, &token, &about)).map_err(Into::into))?;
        writeln!(out, "this machine is node {node}; start it, and the cluster brings it up to date")?;
        Ok(())
    }

    fn recover(&self, args: RecoverArgs, out: &mut dyn Write) -> Result<()> {
        if !args.yes {
            bail!("recovering starts a new incarnation: approvals become void and every grant waits until a person confirms it; say --yes");
        }
        let config = Config::load(&args.config)?;
        let Some(key_file) = &args.recovery_key_file else { bail!("--recovery-key-file is needed") };
        let key = RecoveryKey::parse(&secret_line(key_file)?)?;
        let admin: Name = args.admin.parse().context("--admin")?;
        let folder = std::path::absolute(admin_folder(&config, args.admin_out))?;
        let place = match &args.backup {
            Some(_) => Place::empty(&config.data_dir)?,
            None => Place::of_survivor(&config.data_dir)?,
        };
        // A folder inside the survivor's makes room with it.
        let built = folder
            .strip_prefix(std::path::absolute(&config.data_dir)?)
            .map_or_else(|_| folder.clone(), |inside| place.stage().join(inside));
        ensure_no_admin(if place.lost_dir().is_some() { &built } else { &folder })?;
        let (dir, hosts) = (place.stage(), hosts(&config));
        let new = RecoverAs { dir: &dir, first_admin: &admin, hosts: &hosts };
        let recovered = match &args.backup {
            Some(backup) => apart(|| Ok(runtime()?.block_on(recovery::from_backup(backup, &key, &new))?))?,
            None => apart(|| Ok(runtime()?.block_on(recovery::from_survivor(&config.data_dir, &key, &new))?))?,
        };
        let lost = place.lost_dir();
        let written = write_admin(&built, &recovered.admin, &recovered.admin_trust_pem);
        if let Err(error) = written.and_then(|()| Ok(place.settle()?)) {
            ADMIN_FILES.iter().for_each(|name| drop(std::fs::remove_file(built.join(name))));
            return Err(error);
        }
        writeln!(out, "cluster {} goes on as incarnation {}, node {}", recovered.cluster, recovered.incarnation, recovered.node)?;
        if let Some(lost) = lost {
            writeln!(out, "the data before is kept in {}", lost.display())?;
        }
        writeln!(out, "genesis, for whoever verifies the audit log: {}", recovered.genesis)?;
        writeln!(out, "confirm grants with `assize grant confirm`; add nodes with new join tokens")?;
        say_how_to_connect(out, &config, &folder, &admin)
    }
}
