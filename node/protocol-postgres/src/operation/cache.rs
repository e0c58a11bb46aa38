//! Judgements kept by text and by shape, so that what a session repeats is not parsed again.
//!
//! A hit compares the whole text (or shape) and the whole context: a hash only finds the place, so no two texts can be
//! taken for one another. The two tables are sharded, each shard behind its own short lock, and bounded in bytes;
//! what was not used lately goes first (second chance).

use std::collections::HashMap;
use std::collections::VecDeque;
use std::hash::{BuildHasher, Hash, Hasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use parking_lot::Mutex;
use xxhash_rust::xxh3::{Xxh3, xxh3_128_with_seed};

use super::classified::Classified;
use super::context::Context;
use super::{classify, shape};

/// Bytes that all kept judgements may take together, about.
pub const CACHE_SIZE_MAX: usize = 64 << 20;
/// Bytes. Longer texts are judged anew each time; they are few, and one could push out many.
pub const CACHED_TEXT_SIZE_MAX: usize = 16 << 10;

const SHARDS: usize = 16;
/// About what an entry takes beside its text and accesses.
const ENTRY_OVERHEAD: usize = 600;

/// Judges texts, and remembers.
pub struct Classifier {
    texts: Table,
    shapes: Table,
    /// Drawn at start, so that nobody can choose texts that meet in one place.
    seed: u64,
    new: AtomicU64,
    by_text: AtomicU64,
    by_shape: AtomicU64,
}

/// How often each way was taken since start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CacheCounts {
    pub by_text: u64,
    pub by_shape: u64,
    pub new: u64,
}

impl Default for Classifier {
    fn default() -> Self {
        Classifier::with_size(CACHE_SIZE_MAX)
    }
}

impl Classifier {
    /// `size`: bytes of both tables together.
    pub fn with_size(size: usize) -> Self {
        Classifier {
            texts: Table::new(size / 2 / SHARDS),
            shapes: Table::new(size / 2 / SHARDS),
            seed: RandomState::new().hash_one(0u8),
            new: AtomicU64::new(0),
            by_text: AtomicU64::new(0),
            by_shape: AtomicU64::new(0),
        }
    }

    /// As [`classify`].
    pub fn classify(&self, sql: &str, context: &Arc<Context>) -> Arc<Classified> {
        if sql.len() > CACHED_TEXT_SIZE_MAX {
            self.new.fetch_add(1, Ordering::Relaxed);
            return Arc::new(classify(sql, context));
        }
        let salt = self.salt(context);
        let place = xxh3_128_with_seed(sql.as_bytes(), salt);
        if let Some(known) = self.texts.find(place, sql.as_bytes(), context) {
            self.by_text.fetch_add(1, Ordering::Relaxed);
            return known;
        }
        let shape = shape::of(sql).map(|shape| (xxh3_128_with_seed(&shape, salt), shape));
        if let Some((place, shape)) = &shape
            && let Some(known) = self.shapes.find(*place, shape, context)
        {
            self.by_shape.fetch_add(1, Ordering::Relaxed);
            return known;
        }
        self.new.fetch_add(1, Ordering::Relaxed);
        let judged = Arc::new(classify(sql, context));
        // A text whose shape serves as well would only push out others.
        match shape {
            Some((place, shape)) if judged.constants_free => self.shapes.keep(place, shape, context, &judged),
            _ => self.texts.keep(place, sql.as_bytes().into(), context, &judged),
        }
        judged
    }

    pub fn counts(&self) -> CacheCounts {
        CacheCounts {
            by_text: self.by_text.load(Ordering::Relaxed),
            by_shape: self.by_shape.load(Ordering::Relaxed),
            new: self.new.load(Ordering::Relaxed),
        }
    }

    fn salt(&self, context: &Context) -> u64 {
        let mut hash = Xxh3::with_seed(self.seed);
        context.hash(&mut hash);
        hash.finish()
    }
}

struct Table {
    shards: [Mutex<Shard>; SHARDS],
    /// Bytes.
    shard_size_max: usize,
}

#[derive(Default)]
struct Shard {
    entries: HashMap<u128, Entry>,
    /// Places in the order they were filled.
    order: VecDeque<u128>,
    size: usize,
}

struct Entry {
    text: Box<[u8]>,
    context: Arc<Context>,
    judged: Arc<Classified>,
    size: usize,
    used: AtomicBool,
}

impl Table {
    fn new(shard_size_max: usize) -> Self {
        Table { shards: Default::default(), shard_size_max }
    }

    fn shard(&self, place: u128) -> &Mutex<Shard> {
        &self.shards[(place >> 124) as usize % SHARDS]
    }

    fn find(&self, place: u128, text: &[u8], context: &Arc<Context>) -> Option<Arc<Classified>> {
        let shard = self.shard(place).lock();
        let entry = shard.entries.get(&place)?;
        let same = entry.text.as_ref() == text && (Arc::ptr_eq(&entry.context, context) || entry.context == *context);
        same.then(|| {
            entry.used.store(true, Ordering::Relaxed);
            entry.judged.clone()
        })
    }

    fn keep(&self, place: u128, text: Box<[u8]>, context: &Arc<Context>, judged: &Arc<Classified>) {
        let size = text.len() * 2 + ENTRY_OVERHEAD + judged.operation.accesses.len() * 200 + judged.steps.len() * 400;
        if size > self.shard_size_max {
            return;
        }
        let entry = Entry { text, context: context.clone(), judged: judged.clone(), size, used: AtomicBool::new(false) };
        let mut shard = self.shard(place).lock();
        match shard.entries.insert(place, entry) {
            Some(replaced) => shard.size -= replaced.size,
            None => shard.order.push_back(place),
        }
        shard.size += size;
        while shard.size > self.shard_size_max {
            let Some(oldest) = shard.order.pop_front() else { break };
            let spared = oldest == place || shard.entries.get(&oldest).is_some_and(|e| e.used.swap(false, Ordering::Relaxed));
            if spared && shard.order.len() > 1 {
                shard.order.push_back(oldest);
            } else if let Some(gone) = shard.entries.remove(&oldest) {
                shard.size -= gone.size;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn context(schema: &str) -> Arc<Context> {
        Arc::new(Context::with_schemas("app", [schema]))
    }

    #[test]
    fn a_text_is_judged_once_and_its_shape_serves_others() {
        let classifier = Classifier::default();
        let public = context("public");
        let first = classifier.classify("SELECT a FROM t WHERE id = 1", &public);
        let second = classifier.classify("SELECT a FROM t WHERE id = 2", &public);
        assert!(Arc::ptr_eq(&first, &second));
        assert_eq!(*first, classify("SELECT a FROM t WHERE id = 2", &public));
        classifier.classify("SELECT a FROM t", &public);
        classifier.classify("SELECT a FROM t", &public);
        assert_eq!(classifier.counts(), CacheCounts { by_text: 1, by_shape: 1, new: 2 });
    }

    #[test]
    fn equal_texts_in_different_contexts_are_judged_apart() {
        let classifier = Classifier::default();
        let one = classifier.classify("SELECT a FROM t", &context("one"));
        let two = classifier.classify("SELECT a FROM t", &context("two"));
        assert_ne!(one.operation.accesses, two.operation.accesses);
        assert!(Arc::ptr_eq(&one, &classifier.classify("SELECT a FROM t", &context("one"))));
    }

    #[test]
    fn constants_that_decide_are_never_shared() {
        let classifier = Classifier::default();
        let public = context("public");
        for (a, b) in [
            ("SELECT set_config('timezone', 'UTC', false)", "SELECT set_config('role', 'UTC', false)"),
            ("SELECT nextval('a')", "SELECT nextval('b')"),
            ("SET statement_timeout = 1", "SET statement_timeout = 2"),
            ("COPY t TO 'a'", "COPY t TO 'b'"),
            ("EXPLAIN (ANALYZE 1) DELETE FROM t", "EXPLAIN (ANALYZE 0) DELETE FROM t"),
        ] {
            assert_ne!(classifier.classify(a, &public), classifier.classify(b, &public), "{a} and {b}");
        }
    }

    #[test]
    fn the_cache_stays_within_its_size() {
        let classifier = Classifier::with_size(1 << 20);
        let public = context("public");
        for n in 0..3_000 {
            classifier.classify(&format!("SELECT c{n} FROM t{n}"), &public);
        }
        let size: usize = classifier.texts.shards.iter().map(|s| s.lock().size).sum();
        assert!(size <= 1 << 19, "{size} bytes");
        for shard in &classifier.texts.shards {
            let shard = shard.lock();
            assert_eq!(shard.entries.len(), shard.order.len());
            assert_eq!(shard.entries.values().map(|e| e.size).sum::<usize>(), shard.size);
        }
    }
}
