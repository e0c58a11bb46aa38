//! A bundle: `.rego` files, `data.json` files, a `.manifest`, in OPA's layout. Packed it is a tar file with the files
//! in the order of their paths and nothing of the machine it was made on, so that one content has one digest.

use std::collections::BTreeMap;
use std::io::Read;
use std::sync::Arc;

use domain::id::Digest;
use sha2::Digest as _;

use crate::Fault;
use crate::limits::{FILES_MAX, PATH_MAX, UNPACKED_MAX};

/// Path → bytes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Bundle {
    files: BTreeMap<String, Vec<u8>>,
}

/// What the manifest says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    pub revision: String,
    /// Packages and data outside of these are an error; one empty root is everything.
    pub roots: Vec<String>,
    /// `metadata.assize.two_people`: nobody activates what they published.
    pub two_people: bool,
}

const MANIFEST: &str = ".manifest";
const DATA: &str = "data.json";

/// Does a file belong into a bundle? All else in a directory (a README, editor files) is left out when it is packed.
pub fn belongs(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path);
    path.ends_with(".rego") || name == DATA || path == MANIFEST || refused(path).is_some()
}

/// Known to OPA, and not to us: leaving it out would change what the bundle says.
fn refused(path: &str) -> Option<&'static str> {
    let name = path.rsplit('/').next().unwrap_or(path);
    match name {
        "data.yaml" | "data.yml" => Some("data in YAML is not read: write it as data.json"),
        ".signatures.json" => Some("signatures of bundles are not verified: publish it without, and demand two people instead"),
        "patch.json" => Some("delta bundles are not read: publish the whole bundle"),
        _ if name.ends_with(".wasm") => Some("compiled policies are not run: publish the .rego files"),
        _ => None,
    }
}

/// A file of data: its name, the path its contents stand at, and those.
type DataFile<'a> = (&'a str, Vec<&'a str>, serde_json::Value);

impl Bundle {
    /// # Errors
    /// On a file that does not belong into a bundle, or more and longer ones than there may be.
    pub fn new(files: impl IntoIterator<Item = (String, Vec<u8>)>) -> Result<Bundle, Fault> {
        let mut bundle = Bundle::default();
        let mut size = 0;
        for (path, bytes) in files {
            let path = path.trim_start_matches("./").trim_start_matches('/').to_owned();
            if path.is_empty() || path.len() > PATH_MAX || path.split('/').any(|part| part == ".." || part.is_empty()) {
                return Err(Fault::of(&path, format!("is no path of a file in a bundle, of at most {PATH_MAX} bytes")));
            }
            if let Some(why) = refused(&path) {
                return Err(Fault::of(&path, why));
            }
            if !belongs(&path) {
                return Err(Fault::of(&path, "does not belong into a bundle: it has .rego files, data.json files and one .manifest"));
            }
            size += bytes.len();
            if size > UNPACKED_MAX || bundle.files.len() == FILES_MAX {
                return Err(Fault::whole(format!("the bundle has more than {FILES_MAX} files or {UNPACKED_MAX} bytes")));
            }
            if bundle.files.insert(path.clone(), bytes).is_some() {
                return Err(Fault::of(&path, "is there twice"));
            }
        }
        if bundle.rego().next().is_none() {
            return Err(Fault::whole("the bundle has no .rego file"));
        }
        Ok(bundle)
    }

    /// A tar file, gzipped or not: what `opa build` makes, and what [`Bundle::pack`] makes.
    ///
    /// # Errors
    /// As [`Bundle::new`], and on what is no tar file.
    pub fn unpack(bytes: &[u8]) -> Result<Bundle, Fault> {
        let gzipped = bytes.starts_with(&[0x1f, 0x8b]);
        // One byte beyond what is allowed, with room for the headers of all files: longer ones are not read.
        let most = (UNPACKED_MAX + (FILES_MAX + 2) * 1024) as u64 + 1;
        let reader: Box<dyn Read + '_> = if gzipped { Box::new(flate2::read::GzDecoder::new(bytes)) } else { Box::new(bytes) };
        let mut archive = tar::Archive::new(reader.take(most));
        let unreadable = |error: std::io::Error| Fault::whole(format!("this is no tar file, gzipped or not, of a bundle: {error}"));
        let mut files = Vec::new();
        for entry in archive.entries().map_err(unreadable)? {
            let mut entry = entry.map_err(unreadable)?;
            if entry.header().entry_type().is_dir() {
                continue;
            }
            let path = String::from_utf8(entry.path_bytes().into_owned()).map_err(|_| Fault::whole("a path is not UTF-8"))?;
            if !entry.header().entry_type().is_file() {
                return Err(Fault::of(&path, "is no ordinary file"));
            }
            if files.len() > FILES_MAX {
                return Err(Fault::whole(format!("the bundle has more than {FILES_MAX} files")));
            }
            let mut content = Vec::new();
            entry.by_ref().take(UNPACKED_MAX as u64 + 1).read_to_end(&mut content).map_err(unreadable)?;
            files.push((path, content));
        }
        Bundle::new(files)
    }

    /// The bytes that are published.
    ///
    /// # Errors
    /// When they are more than a published bundle may have.
    pub fn pack(&self) -> Result<Arc<[u8]>, Fault> {
        let mut builder = tar::Builder::new(Vec::new());
        for (path, content) in &self.files {
            let mut header = tar::Header::new_ustar();
            header.set_mode(0o644);
            header.set_size(content.len() as u64);
            let written = header.set_path(path).and_then(|()| {
                header.set_cksum();
                builder.append(&header, content.as_slice())
            });
            written.map_err(|error| Fault::of(path, error.to_string()))?;
        }
        let bytes = builder.into_inner().map_err(|error| Fault::whole(error.to_string()))?;
        let most = domain::limits::POLICY_BUNDLE_MAX;
        if bytes.len() > most {
            return Err(Fault::whole(format!("the bundle is {} bytes long as a tar file; it may have {most}", bytes.len())));
        }
        Ok(bytes.into())
    }

    pub fn digest(bytes: &[u8]) -> Digest {
        Digest(sha2::Sha256::digest(bytes).into())
    }

    pub fn files(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.files.iter().map(|(path, bytes)| (path.as_str(), bytes.as_slice()))
    }

    pub(crate) fn rego(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.files().filter(|(path, _)| path.ends_with(".rego"))
    }

    /// All `data.json` files, each under the path of its directory.
    pub(crate) fn data(&self) -> Result<Vec<DataFile<'_>>, Fault> {
        let is_data = |path: &&str| *path == DATA || path.ends_with("/data.json");
        let files = self.files().filter(|(path, _)| is_data(path));
        files
            .map(|(path, bytes)| {
                let value: serde_json::Value =
                    serde_json::from_slice(bytes).map_err(|e| Fault::at(path, u32::try_from(e.line()).unwrap_or(0), e.to_string()))?;
                if !value.is_object() {
                    return Err(Fault::of(path, "holds no object"));
                }
                let under = path.trim_end_matches(DATA).split('/').filter(|part| !part.is_empty()).collect();
                Ok((path, under, value))
            })
            .collect()
    }

    pub(crate) fn manifest(&self) -> Result<Manifest, Fault> {
        let Some(bytes) = self.files.get(MANIFEST) else {
            return Ok(Manifest { revision: String::new(), roots: vec![String::new()], two_people: false });
        };
        let value: serde_json::Value =
            serde_json::from_slice(bytes).map_err(|e| Fault::at(MANIFEST, u32::try_from(e.line()).unwrap_or(0), e.to_string()))?;
        let wrong = |what: &str| Fault::of(MANIFEST, what.to_owned());
        let fields = value.as_object().ok_or_else(|| wrong("holds no object"))?;
        for (field, value) in fields {
            match field.as_str() {
                "revision" if value.is_string() => {}
                "roots" | "metadata" => {}
                "rego_version" if value.as_u64() == Some(1) => {}
                "rego_version" => return Err(wrong("rego_version: only version 1 is read")),
                "wasm" | "file_rego_versions" => return Err(wrong(&format!("{field}: is not supported"))),
                other => return Err(wrong(&format!("{other}: is not known, or not of its type"))),
            }
        }
        let text = |value: &serde_json::Value| value.as_str().map(|root| root.trim_matches('/').to_owned());
        let roots = match fields.get("roots") {
            None => vec![String::new()],
            Some(roots) => roots
                .as_array()
                .and_then(|roots| roots.iter().map(text).collect::<Option<Vec<_>>>())
                .ok_or_else(|| wrong("roots: is a list of paths"))?,
        };
        let two_people = match fields.get("metadata").and_then(|metadata| metadata.get("assize")) {
            None => false,
            Some(ours) => two_people(ours)?,
        };
        let revision = fields.get("revision").and_then(serde_json::Value::as_str).unwrap_or_default().to_owned();
        Ok(Manifest { revision, roots, two_people })
    }
}

/// What is written for us is read strictly: a misspelt demand would be no demand.
fn two_people(ours: &serde_json::Value) -> Result<bool, Fault> {
    let wrong = || Fault::of(MANIFEST, "metadata.assize: holds nothing but two_people, true or false");
    let fields = ours.as_object().ok_or_else(wrong)?;
    match (fields.len(), fields.get("two_people")) {
        (0, None) => Ok(false),
        (1, Some(value)) => value.as_bool().ok_or_else(wrong),
        (_, _) => Err(wrong()),
    }
}

impl Manifest {
    /// Is a package, or data, of this path inside the roots?
    pub(crate) fn holds(&self, path: &[&str]) -> bool {
        self.roots.iter().any(|root| {
            let root: Vec<&str> = root.split('/').filter(|part| !part.is_empty()).collect();
            path.starts_with(&root)
        })
    }
}
