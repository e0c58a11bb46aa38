//! A bundle, ready to be asked.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::time::{Duration, Instant};

use domain::policy::Ruling;
use parking_lot::Mutex;
use regorus::Value;
use regorus::utils::limits::ExecutionTimerConfig;

use crate::answer::{self, Answers, Kind};
use crate::bundle::Bundle;
use crate::limits::{
    EVALUATION_TIME_MAX, EVALUATORS_KEPT_MAX, REASON_MAX, STEPS_PER_CHECK, TEST_TIME_MAX, TESTS_MAX, TESTS_TIME_MAX, TEXT_MADE_MAX,
};
use crate::{Fault, check, document};

/// Why a question was not answered. Each is a refusal.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    #[error("it took longer than {} ms", EVALUATION_TIME_MAX.as_millis())]
    Budget,
    /// A rule failed; where and why is for the operator.
    #[error("one of its rules failed")]
    Rule(Fault),
    #[error("its answer is not understood: {0}")]
    Answer(String),
}

/// Good for any number of questions at a time.
pub struct Compiled {
    /// Never asked: others are cloned from it.
    pristine: Mutex<regorus::Engine>,
    ready: Mutex<Vec<regorus::Engine>>,
    written: BTreeMap<Kind, Vec<&'static str>>,
}

impl std::fmt::Debug for Compiled {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Compiled({:?})", self.written)
    }
}

/// What one test of a bundle gave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TestResult {
    pub file: String,
    pub line: u32,
    /// `package.test_name`.
    pub name: String,
    /// `None`: it passed.
    pub failed: Option<String>,
}

impl TestResult {
    pub fn fault(&self) -> Option<Fault> {
        self.failed.as_ref().map(|why| Fault::at(&self.file, self.line, format!("{} failed: {why}", self.name)))
    }
}

impl Compiled {
    /// # Errors
    /// Everything that is wrong with the bundle.
    pub fn new(bundle: &Bundle) -> Result<Compiled, Vec<Fault>> {
        let manifest = bundle.manifest().map_err(|fault| vec![fault])?;
        // Tests are read with the rest, so that one that cannot run is found here.
        let (mut all, data) = engine_of(bundle, true)?;
        let written = check::read(all.get_modules(), &manifest, &data)?;
        drop(all);
        let (pristine, _) = engine_of(bundle, false)?;
        Ok(Compiled { pristine: Mutex::new(pristine), ready: Mutex::default(), written })
    }

    /// Does it have anything to say to this kind of question?
    pub(crate) fn asks(&self, kind: Kind) -> bool {
        self.written.contains_key(&kind)
    }

    pub(crate) fn evaluate(&self, kind: Kind, input: Value) -> Result<Ruling, Failure> {
        let Some(rules) = self.written.get(&kind) else { return Ok(Ruling::default()) };
        let ready = self.ready.lock().pop();
        let mut engine = ready.unwrap_or_else(|| self.pristine.lock().clone());
        engine.set_input(input);
        let deadline = Instant::now() + EVALUATION_TIME_MAX;
        let mut answers = Answers::default();
        for rule in rules {
            let value = ask(&mut engine, &format!("data.{}.{rule}", kind.package()), deadline)?;
            match *rule {
                "allow" => (answers.allow_is_written, answers.allow) = (true, value),
                "deny" => answers.deny = value,
                "hold" => answers.hold = value,
                _ => answers.obligations = value,
            }
        }
        // One that failed is not kept: what it left behind is not known.
        let mut ready = self.ready.lock();
        if ready.len() < EVALUATORS_KEPT_MAX {
            ready.push(engine);
        }
        drop(ready);
        answer::ruling(kind, &answers).map_err(Failure::Answer)
    }

    /// As the gateway would, on a question written as JSON: for dry runs.
    ///
    /// # Errors
    /// [`Failure`]; the gateway refuses then.
    pub fn evaluate_json(&self, question: &serde_json::Value) -> Result<Ruling, Failure> {
        let kind = if question.get("kind").and_then(|kind| kind.as_str()) == Some("admission") { Kind::Admission } else { Kind::Operation };
        self.evaluate(kind, Value::from(question.clone()))
    }

    /// What fails on an ordinary question fails on every one.
    pub(crate) fn try_on_sample(&self) -> Result<(), Fault> {
        for question in [document::sample_admission(), document::sample_operation()] {
            match self.evaluate_json(&question) {
                Ok(_) => {}
                Err(Failure::Rule(fault)) => return Err(fault),
                Err(failure) => return Err(Fault::whole(format!("on a sample question {failure}"))),
            }
        }
        Ok(())
    }
}

/// All modules and data of a bundle in one evaluator, and where its data stands.
fn engine_of(bundle: &Bundle, with_tests: bool) -> Result<(regorus::Engine, Vec<Vec<&str>>), Vec<Fault>> {
    let mut engine = regorus::Engine::new();
    // A built-in that fails is an error, not an undefined that a deny rule passes over.
    engine.set_strict_builtin_errors(true);
    engine.set_gather_prints(true);
    bounded_texts(&mut engine).map_err(|error| vec![Fault::whole(error.to_string())])?;
    let mut faults = Vec::new();
    for (path, bytes) in bundle.rego().filter(|(path, _)| with_tests || !check::is_test(path)) {
        let added = match str::from_utf8(bytes) {
            Ok(text) => engine.add_policy(path.to_owned(), text.to_owned()).map(|_| ()).map_err(|e| located(path, &e.to_string())),
            Err(_) => Err(Fault::of(path, "is not UTF-8")),
        };
        faults.extend(added.err());
    }
    let mut places = Vec::new();
    match bundle.data() {
        Ok(data) => {
            for (path, under, value) in data {
                let wrapped = under.iter().rev().fold(value, |inner, key| serde_json::json!({ (*key): inner }));
                if let Err(error) = engine.add_data(Value::from(wrapped)) {
                    faults.push(Fault::of(path, format!("does not fit the other data: {error}")));
                }
                places.push(under);
            }
        }
        Err(fault) => faults.push(fault),
    }
    if faults.is_empty() { Ok((engine, places)) } else { Err(faults) }
}

/// `concat` and `replace` of our own, found before the built-in ones: they look at the length before they make it.
fn bounded_texts(engine: &mut regorus::Engine) -> anyhow::Result<()> {
    engine.add_extension("concat".to_owned(), 2, Box::new(concat))?;
    engine.add_extension("replace".to_owned(), 3, Box::new(replace))
}

fn concat(arguments: Vec<Value>) -> anyhow::Result<Value> {
    let [between, items] = arguments.as_slice() else { anyhow::bail!("concat takes two arguments") };
    let between = between.as_string()?;
    let items: Vec<&str> = match items {
        Value::Array(items) => items.iter().map(|item| item.as_string().map(AsRef::as_ref)).collect::<anyhow::Result<_>>()?,
        Value::Set(items) => items.iter().map(|item| item.as_string().map(AsRef::as_ref)).collect::<anyhow::Result<_>>()?,
        _ => anyhow::bail!("concat takes an array or a set of texts"),
    };
    let length = items.iter().map(|item| item.len()).sum::<usize>() + between.len().saturating_mul(items.len());
    bounded(length)?;
    Ok(Value::from(items.join(between)))
}

fn replace(arguments: Vec<Value>) -> anyhow::Result<Value> {
    let [text, old, new] = arguments.as_slice() else { anyhow::bail!("replace takes three arguments") };
    let (text, old, new) = (text.as_string()?, old.as_string()?, new.as_string()?);
    bounded(text.len().saturating_add(text.matches(old.as_ref()).count().saturating_mul(new.len())))?;
    Ok(Value::from(text.replace(old.as_ref(), new)))
}

fn bounded(length: usize) -> anyhow::Result<()> {
    anyhow::ensure!(length <= TEXT_MADE_MAX, "a text of more than {TEXT_MADE_MAX} bytes would be made");
    Ok(())
}

fn ask(engine: &mut regorus::Engine, rule: &str, deadline: Instant) -> Result<Option<serde_json::Value>, Failure> {
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() {
        return Err(Failure::Budget);
    }
    limit(engine, left);
    let value = engine.eval_rule(rule.to_owned()).map_err(|error| failure(&error))?;
    // Also one that looked at the clock too late is late.
    if Instant::now() > deadline {
        return Err(Failure::Budget);
    }
    match value {
        Value::Undefined => Ok(None),
        value => {
            let mut left = ANSWER_SIZE_MAX;
            if !fits(&value, &mut left) {
                return Err(Failure::Answer(format!("it is longer than {ANSWER_SIZE_MAX} bytes")));
            }
            serde_json::to_value(&value).map(Some).map_err(|error| Failure::Answer(error.to_string()))
        }
    }
}

/// Bytes of what one rule says, before it is copied: shared texts count each time they stand there.
const ANSWER_SIZE_MAX: usize = 256 * 1024;

fn fits(value: &Value, left: &mut usize) -> bool {
    let own = match value {
        Value::String(text) => text.len(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Undefined | Value::Array(_) | Value::Set(_) | Value::Object(_) => 8,
    };
    let Some(rest) = left.checked_sub(own) else { return false };
    *left = rest;
    match value {
        Value::Array(items) => items.iter().all(|item| fits(item, left)),
        Value::Set(items) => items.iter().all(|item| fits(item, left)),
        Value::Object(fields) => fields.iter().all(|(key, value)| fits(key, left) && fits(value, left)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Undefined | Value::String(_) => true,
    }
}

fn limit(engine: &mut regorus::Engine, limit: Duration) {
    let check_interval = NonZeroU32::new(STEPS_PER_CHECK).expect("more than none");
    engine.set_execution_timer_config(ExecutionTimerConfig { limit, check_interval });
}

fn failure<E: std::fmt::Display>(error: &E) -> Failure {
    let text = format!("{error:#}");
    if text.contains("exceeded time limit") { Failure::Budget } else { Failure::Rule(located("", &text)) }
}

/// The evaluator's errors name their place in a drawing: `--> FILE:LINE:COLUMN`, the line, an arrow, `error: …`.
fn located(file: &str, drawn: &str) -> Fault {
    let place = drawn.lines().find_map(|line| {
        let mut parts = line.trim().strip_prefix("--> ")?.rsplitn(3, ':');
        let (_column, line, file) = (parts.next()?, parts.next()?.parse::<u32>().ok()?, parts.next()?);
        Some((file.to_owned(), line))
    });
    let (file, line) = place.unwrap_or_else(|| (file.to_owned(), 0));
    let message = drawn.lines().rev().find_map(|line| line.trim().strip_prefix("error: ")).unwrap_or(drawn).trim();
    let mut end = message.len().min(REASON_MAX);
    while !message.is_char_boundary(end) {
        end -= 1;
    }
    Fault { file, line, message: message[..end].to_owned() }
}

/// Runs every `test_…` rule of the `…_test.rego` files.
///
/// # Errors
/// When there are too many, or the bundle cannot be read. A test that fails is a result.
pub(crate) fn run_tests(bundle: &Bundle) -> Result<Vec<TestResult>, Vec<Fault>> {
    let (mut engine, _) = engine_of(bundle, true)?;
    let mut tests = BTreeMap::new();
    for module in engine.get_modules() {
        let file = module.package.span.source.get_path().clone();
        if !check::is_test(&file) {
            continue;
        }
        let package = module.package.refr.span().text().to_owned();
        for rule in &module.policy {
            let name = check::rule_name(rule).unwrap_or_default();
            if name.starts_with("test_") {
                tests.entry(format!("{package}.{name}")).or_insert((file.clone(), rule.span().line));
            }
        }
    }
    if tests.len() > TESTS_MAX {
        return Err(vec![Fault::whole(format!("the bundle has more than {TESTS_MAX} tests"))]);
    }
    let deadline = Instant::now() + TESTS_TIME_MAX;
    let results = tests.into_iter().map(|(name, (file, line))| {
        let limit = (Instant::now() + TEST_TIME_MAX).min(deadline);
        let failed = match ask(&mut engine, &format!("data.{name}"), limit) {
            Ok(Some(serde_json::Value::Bool(true))) => None,
            Ok(Some(other)) => Some(format!("it is {other}")),
            Ok(None) => Some("it is undefined".to_owned()),
            Err(Failure::Rule(fault)) => Some(fault.to_string()),
            Err(Failure::Budget) => Some(format!("it took longer than {} ms", TEST_TIME_MAX.as_millis())),
            Err(failure) => Some(failure.to_string()),
        };
        TestResult { file, line, name, failed }
    });
    Ok(results.collect())
}
