//! What a bundle must be before it is published. The evaluator finds much of this only when it runs (a function that
//! does not exist, one that calls itself); here it is found by reading, with file and line.

use std::collections::{BTreeMap, BTreeSet};

use regorus::Value;
use regorus::unstable::{Expr, Literal, Module, Query, Ref, Rule, RuleHead};

use crate::Fault;
use crate::answer::{Kind, RULES};
use crate::bundle::{Bundle, Manifest};
use crate::compiled::{self, Compiled, TestResult};

/// A bundle that may be published.
#[derive(Debug)]
pub struct Checked {
    pub revision: String,
    pub two_people: bool,
    /// All of them passed.
    pub tests: Vec<TestResult>,
}

/// Reads, compiles, tries on a sample, runs the tests.
///
/// # Errors
/// Everything that is wrong with it, or every test that failed.
pub fn check(bundle: &Bundle) -> Result<Checked, Vec<Fault>> {
    let manifest = bundle.manifest().map_err(|fault| vec![fault])?;
    let compiled = Compiled::new(bundle)?;
    compiled.try_on_sample().map_err(|fault| vec![fault])?;
    let tests = compiled::run_tests(bundle)?;
    let failed: Vec<Fault> = tests.iter().filter_map(TestResult::fault).collect();
    if failed.is_empty() { Ok(Checked { revision: manifest.revision, two_people: manifest.two_people, tests }) } else { Err(failed) }
}

/// Built-in functions a policy may use: those that give the same for the same everywhere and at any time, and do not
/// make much of little in one step. Not here: `time.now_ns` (ask `input.time_ns`), `rand.*`, `uuid.*`, `http.send`,
/// `opa.runtime`, `net.cidr_expand`, `numbers.range`, `bits.lsh`, `regex.replace`, `json.marshal`.
const ALLOWED: [&str; 86] = [
    "abs",
    "array.concat",
    "array.reverse",
    "array.slice",
    "base64.decode",
    "base64.encode",
    "base64.is_valid",
    "bits.and",
    "bits.negate",
    "bits.or",
    "bits.rsh",
    "bits.xor",
    "ceil",
    "concat",
    "contains",
    "count",
    "endswith",
    "floor",
    "format_int",
    "glob.match",
    "glob.quote_meta",
    "hex.decode",
    "hex.encode",
    "indexof",
    "indexof_n",
    "intersection",
    "is_array",
    "is_boolean",
    "is_null",
    "is_number",
    "is_object",
    "is_set",
    "is_string",
    "json.filter",
    "json.is_valid",
    "json.remove",
    "json.unmarshal",
    "lower",
    "max",
    "min",
    "net.cidr_contains",
    "net.cidr_is_valid",
    "object.filter",
    "object.get",
    "object.keys",
    "object.remove",
    "object.subset",
    "object.union",
    "object.union_n",
    "product",
    "regex.find_n",
    "regex.is_valid",
    "regex.match",
    "regex.split",
    "replace",
    "round",
    "semver.compare",
    "semver.is_valid",
    "sort",
    "split",
    "sprintf",
    "startswith",
    "strings.any_prefix_match",
    "strings.any_suffix_match",
    "strings.count",
    "strings.reverse",
    "substring",
    "sum",
    "time.add_date",
    "time.clock",
    "time.date",
    "time.diff",
    "time.parse_duration_ns",
    "time.parse_rfc3339_ns",
    "time.weekday",
    "to_number",
    "trim",
    "trim_left",
    "trim_prefix",
    "trim_right",
    "trim_space",
    "trim_suffix",
    "type_name",
    "union",
    "upper",
    "walk",
];

/// Width or precision in a format: more makes a long text of a short one.
const FORMAT_DIGITS_MAX: usize = 3;

pub(crate) fn is_test(file: &str) -> bool {
    file.ends_with("_test.rego")
}

/// The rules among [`RULES`] that each package asked has, if reading all modules finds nothing wrong.
pub(crate) fn read(
    modules: &[Ref<Module>],
    manifest: &Manifest,
    data: &[Vec<&str>],
) -> Result<BTreeMap<Kind, Vec<&'static str>>, Vec<Fault>> {
    let mut reading = Reading::default();
    for module in modules {
        reading.module_heads(module, manifest);
    }
    for path in data.iter().filter(|path| !manifest.holds(path)) {
        reading.faults.push(Fault::of(&format!("{}/data.json", path.join("/")), "is outside the manifest's roots"));
    }
    for module in modules {
        reading.module_bodies(module);
    }
    reading.find_circles();
    if reading.written.is_empty() && reading.faults.is_empty() {
        let names = Kind::ALL.map(Kind::package).join(" and ");
        reading.faults.push(Fault::whole(format!("nothing would ask this bundle: the packages asked are {names}")));
    }
    if reading.faults.is_empty() { Ok(reading.written) } else { Err(reading.faults) }
}

/// A place in the bundle.
type Place = (String, u32);

#[derive(Default)]
struct Reading {
    faults: Vec<Fault>,
    written: BTreeMap<Kind, Vec<&'static str>>,
    /// Full path of each function that is written in the bundle.
    functions: BTreeMap<String, Place>,
    /// Which function calls which.
    calls: BTreeMap<String, BTreeSet<String>>,
    // where the reading is
    file: String,
    package: Vec<String>,
    aliases: BTreeMap<String, Vec<String>>,
    /// The function whose body is being read.
    inside: Option<String>,
}

impl Reading {
    fn fault(&mut self, line: u32, message: impl Into<String>) {
        let fault = Fault::at(&self.file, line, message);
        self.faults.push(fault);
    }

    fn enter(&mut self, module: &Module) {
        self.file = module.package.span.source.get_path().clone();
        self.package = path_of(&module.package.refr).unwrap_or_default();
        let alias = |import: &regorus::unstable::Import| {
            let path = path_of(&import.refr)?;
            let name = import.r#as.as_ref().map(|name| name.text().to_owned()).or_else(|| path.last().cloned())?;
            (path.first().map(String::as_str) == Some("data")).then_some((name, path))
        };
        self.aliases = module.imports.iter().filter_map(alias).collect();
        self.inside = None;
    }

    fn module_heads(&mut self, module: &Module, manifest: &Manifest) {
        self.enter(module);
        let line = module.package.span.line;
        let package: Vec<String> = self.package.clone();
        let parts: Vec<&str> = package.iter().map(String::as_str).collect();
        if !manifest.holds(&parts) {
            self.fault(line, format!("package {} is outside the manifest's roots", package.join(".")));
        }
        let asked = Kind::ALL.into_iter().find(|kind| kind.package() == package.join("."));
        let ours = parts.first() == Some(&"assize") && parts.get(1) != Some(&"lib");
        if ours && asked.is_none() && !is_test(&self.file) {
            let names = Kind::ALL.map(Kind::package).join(" and ");
            self.fault(line, format!("package {} is not asked: {names} are; what they share can be in assize.lib", package.join(".")));
        }
        if module.target.is_some() {
            self.fault(line, "__target__ is not Rego");
        }
        for rule in &module.policy {
            self.head(rule, asked);
        }
    }

    fn head(&mut self, rule: &Rule, asked: Option<Kind>) {
        let (refr, is_function) = match rule {
            Rule::Spec { head: RuleHead::Compr { refr, .. } | RuleHead::Set { refr, .. }, .. } => (refr, false),
            Rule::Spec { head: RuleHead::Func { refr, args, .. }, .. } => (refr, !args.is_empty()),
            Rule::Default { refr, args, .. } => (refr, !args.is_empty()),
        };
        let line = rule.span().line;
        let Some(name) = path_of(refr) else { return self.fault(line, "the name of this rule cannot be read") };
        if is_function {
            let full = self.full(&name);
            self.functions.entry(full).or_insert((self.file.clone(), line));
        }
        let (Some(kind), false) = (asked, is_test(&self.file)) else { return };
        let first = name.first().map_or("", String::as_str);
        if first == "mask" {
            return self.fault(line, "masking is not enforced on the road of PostgreSQL: a policy cannot mask; deny or hold instead");
        }
        let Some(rule) = RULES.into_iter().find(|known| *known == first) else { return };
        if is_function || name.len() > 1 {
            return self.fault(line, format!("{rule} is what the gateway reads: it must be a rule of its own, not a function or a part"));
        }
        let written = self.written.entry(kind).or_default();
        if !written.contains(&rule) {
            written.push(rule);
        }
    }

    fn full(&self, name: &[String]) -> String {
        self.package.iter().chain(name).cloned().collect::<Vec<_>>().join(".")
    }

    fn module_bodies(&mut self, module: &Module) {
        self.enter(module);
        for rule in &module.policy {
            self.inside = None;
            match &**rule {
                Rule::Default { args, value, .. } => {
                    args.iter().for_each(|arg| self.expr(arg));
                    self.expr(value);
                }
                Rule::Spec { head, bodies, .. } => {
                    match head {
                        RuleHead::Compr { refr, assign, .. } => {
                            self.expr(refr);
                            assign.iter().for_each(|assign| self.expr(&assign.value));
                        }
                        RuleHead::Set { refr, key, .. } => {
                            self.expr(refr);
                            key.iter().for_each(|key| self.expr(key));
                        }
                        RuleHead::Func { refr, args, assign, .. } => {
                            self.inside = path_of(refr).map(|name| self.full(&name));
                            args.iter().for_each(|arg| self.expr(arg));
                            assign.iter().for_each(|assign| self.expr(&assign.value));
                        }
                    }
                    for body in bodies {
                        body.assign.iter().for_each(|assign| self.expr(&assign.value));
                        self.query(&body.query);
                    }
                }
            }
        }
    }

    fn query(&mut self, query: &Query) {
        for statement in &query.stmts {
            for with in &statement.with_mods {
                let root = path_of(&with.refr).and_then(|path| path.first().cloned());
                if root.as_deref() != Some("input") && !is_test(&self.file) {
                    self.fault(with.span.line, "outside of tests `with` replaces input only");
                }
                self.expr(&with.r#as);
            }
            match &statement.literal {
                Literal::SomeVars { .. } => {}
                Literal::SomeIn { key, value, collection, .. } => {
                    key.iter().for_each(|key| self.expr(key));
                    self.expr(value);
                    self.expr(collection);
                }
                Literal::Expr { expr, .. } | Literal::NotExpr { expr, .. } => self.expr(expr),
                Literal::Every { domain, query, .. } => {
                    self.expr(domain);
                    self.query(query);
                }
            }
        }
    }

    fn expr(&mut self, expr: &Expr) {
        match expr {
            Expr::String { .. }
            | Expr::RawString { .. }
            | Expr::Number { .. }
            | Expr::Bool { .. }
            | Expr::Null { .. }
            | Expr::Var { .. } => {}
            Expr::Array { items, .. } | Expr::Set { items, .. } => items.iter().for_each(|item| self.expr(item)),
            Expr::Object { fields, .. } => {
                for (_, key, value) in fields {
                    self.expr(key);
                    self.expr(value);
                }
            }
            Expr::ArrayCompr { term, query, .. } | Expr::SetCompr { term, query, .. } => {
                self.expr(term);
                self.query(query);
            }
            Expr::ObjectCompr { key, value, query, .. } => {
                self.expr(key);
                self.expr(value);
                self.query(query);
            }
            Expr::Call { span, fcn, params, .. } => {
                self.call(span.line, fcn, params);
                params.iter().for_each(|param| self.expr(param));
            }
            Expr::UnaryExpr { expr, .. } => self.expr(expr),
            Expr::RefDot { refr, .. } => self.expr(refr),
            Expr::RefBrack { refr, index, .. } => {
                self.expr(refr);
                self.expr(index);
            }
            Expr::BinExpr { lhs, rhs, .. }
            | Expr::BoolExpr { lhs, rhs, .. }
            | Expr::ArithExpr { lhs, rhs, .. }
            | Expr::AssignExpr { lhs, rhs, .. } => {
                self.expr(lhs);
                self.expr(rhs);
            }
            Expr::Membership { key, value, collection, .. } => {
                key.iter().for_each(|key| self.expr(key));
                self.expr(value);
                self.expr(collection);
            }
        }
    }

    fn call(&mut self, line: u32, function: &Expr, params: &[Ref<Expr>]) {
        let Some(path) = path_of(function) else { return self.fault(line, "what is called here cannot be read") };
        let imported = path.first().and_then(|first| self.aliases.get(first)).map(|start| [&start[..], &path[1..]].concat());
        let path = imported.unwrap_or(path);
        let named = path.join(".");
        let local = self.full(&path);
        let written = match path.first().map(String::as_str) {
            Some("data") => Some(path[1..].join(".")),
            _ if self.functions.contains_key(&local) => Some(local),
            _ => None,
        };
        match written {
            Some(callee) if self.functions.contains_key(&callee) => {
                if let Some(caller) = self.inside.clone() {
                    self.calls.entry(caller).or_default().insert(callee);
                }
            }
            Some(_) => self.fault(line, format!("there is no function {named}")),
            None if named == "print" && is_test(&self.file) => {}
            None if named == "sprintf" => self.format(line, params),
            None if ALLOWED.contains(&named.as_str()) => {}
            None => self.fault(line, format!("there is no function {named} that a policy may use{}", instead(&named))),
        }
    }

    fn format(&mut self, line: u32, params: &[Ref<Expr>]) {
        let format = params.first().and_then(|format| match &**format {
            Expr::String { value: Value::String(text), .. } | Expr::RawString { value: Value::String(text), .. } => Some(text.clone()),
            _ => None,
        });
        let Some(format) = format else { return self.fault(line, "the format of sprintf must stand there as a text") };
        let longest = format.split('%').skip(1).map(|verb| verb.chars().take_while(|c| c.is_numeric() || *c == '.').count()).max();
        if longest.is_some_and(|digits| digits > FORMAT_DIGITS_MAX) {
            self.fault(line, format!("a width in a format has at most {FORMAT_DIGITS_MAX} digits"));
        }
    }

    /// A function that calls itself, by itself or through others, need not end.
    fn find_circles(&mut self) {
        let mut faults = Vec::new();
        for (function, (file, line)) in &self.functions {
            let mut seen = BTreeSet::new();
            let mut open: Vec<&String> = self.calls.get(function).into_iter().flatten().collect();
            while let Some(next) = open.pop() {
                if next == function {
                    faults.push(Fault::at(file, *line, format!("the function {function} calls itself, by itself or through others")));
                    break;
                }
                if seen.insert(next) {
                    open.extend(self.calls.get(next).into_iter().flatten());
                }
            }
        }
        self.faults.extend(faults);
    }
}

fn instead(named: &str) -> &'static str {
    match named {
        "time.now_ns" => ": the time is input.time_ns, at operations",
        "print" | "trace" => ": it is for tests",
        "http.send" => ": a policy knows its input and its data, nothing else",
        _ => "",
    }
}

/// `a.b["c"]` as its parts; `None` for what is no plain path.
fn path_of(expr: &Expr) -> Option<Vec<String>> {
    match expr {
        Expr::Var { span, .. } => Some(vec![span.text().to_owned()]),
        Expr::RefDot { refr, field, .. } => {
            let mut path = path_of(refr)?;
            path.push(field.0.text().to_owned());
            Some(path)
        }
        Expr::RefBrack { refr, index, .. } => {
            let mut path = path_of(refr)?;
            // In `deny[x]` the rule is deny.
            if let Expr::String { value: Value::String(text), .. } = &**index {
                path.push(text.to_string());
            }
            Some(path)
        }
        _ => None,
    }
}

/// The first part of a rule's name.
pub(crate) fn rule_name(rule: &Rule) -> Option<String> {
    let refr = match rule {
        Rule::Spec { head: RuleHead::Compr { refr, .. } | RuleHead::Set { refr, .. } | RuleHead::Func { refr, .. }, .. } => refr,
        Rule::Default { refr, .. } => refr,
    };
    path_of(refr)?.first().cloned()
}
