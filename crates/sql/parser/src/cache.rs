//! Parsed statements by text, so that a hot statement is read once.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;

use super::{LexMode, Parsed, parse};
use ilmenite_error::Result;

/// Longer texts are mostly bulk data, never to be seen again.
const MAX_CACHED_TEXT_BYTES: usize = 4 << 10;
/// Entries of each of the two generations.
const GENERATION_ENTRIES: usize = 512;

type Statements = Arc<Vec<Parsed>>;

/// Two generations: what is asked for moves to the younger one, and when that is full the older is forgotten.
#[derive(Default)]
struct Generations {
    young: HashMap<(LexMode, Box<[u8]>), Statements>,
    old: HashMap<(LexMode, Box<[u8]>), Statements>,
}

#[derive(Default)]
pub struct ParseCache {
    generations: Mutex<Generations>,
}

impl ParseCache {
    /// The statements of `text`. Texts that do not parse are not kept.
    pub fn parse(&self, text: &[u8], mode: LexMode) -> Result<Statements> {
        if text.len() > MAX_CACHED_TEXT_BYTES {
            return Ok(Arc::new(parse(text, mode)?));
        }
        let key = (mode, Box::from(text));
        {
            let mut generations = self.generations.lock();
            if let Some(found) = generations.young.get(&key) {
                return Ok(found.clone());
            }
            if let Some(found) = generations.old.remove(&key) {
                generations.insert(key, found.clone());
                return Ok(found);
            }
        }
        let parsed = Arc::new(parse(text, mode)?);
        self.generations.lock().insert(key, parsed.clone());
        Ok(parsed)
    }
}

impl Generations {
    fn insert(&mut self, key: (LexMode, Box<[u8]>), statements: Statements) {
        if self.young.len() >= GENERATION_ENTRIES {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(key, statements);
    }
}
