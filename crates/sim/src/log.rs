//! What happened, in order: a hash of all of it, by which two runs of a seed are compared, and on demand the text.

use std::collections::VecDeque;
use std::fmt::Write;

use parking_lot::Mutex;
use tokio::time::Instant;
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// Lines kept for a failing seed.
const LINES_KEPT: usize = 4000;

pub struct Log {
    began: Instant,
    inner: Mutex<Inner>,
}

struct Inner {
    hash: u64,
    events: u64,
    /// `None`: no text is kept.
    lines: Option<VecDeque<String>>,
    echo: bool,
}

impl Log {
    /// `keep`: the last lines as text. `echo`: all of them, to standard error.
    pub fn new(keep: bool, echo: bool) -> Self {
        Log {
            began: Instant::now(),
            inner: Mutex::new(Inner {
                hash: 0,
                events: 0,
                lines: keep.then(VecDeque::new),
                echo,
            }),
        }
    }

    /// Milliseconds of virtual time since the beginning.
    pub fn now_ms(&self) -> u64 {
        self.began.elapsed().as_millis() as u64
    }

    /// An event, in a few numbers; and in words, which are made only when they are kept.
    pub fn event(&self, numbers: &[u64], text: impl FnOnce() -> String) {
        let now_ms = self.now_ms();
        let mut inner = self.inner.lock();
        let mut bytes = [0; 64];
        let all = std::iter::once(&now_ms).chain(numbers);
        let mut len = 0;
        for (chunk, number) in bytes.chunks_exact_mut(8).zip(all) {
            chunk.copy_from_slice(&number.to_le_bytes());
            len += 8;
        }
        inner.hash = xxh3_64_with_seed(&bytes[..len], inner.hash);
        inner.events += 1;
        if inner.lines.is_some() {
            let mut line = String::new();
            let _ = write!(line, "{:>4}.{:03} {}", now_ms / 1000, now_ms % 1000, text());
            if inner.echo {
                eprintln!("{line}");
            }
            if let Some(lines) = &mut inner.lines {
                if lines.len() == LINES_KEPT {
                    lines.pop_front();
                }
                lines.push_back(line);
            }
        }
    }

    /// Something worth words only.
    pub fn note(&self, text: impl FnOnce() -> String) {
        self.event(&[], text);
    }

    pub fn hash(&self) -> u64 {
        self.inner.lock().hash
    }

    pub fn events(&self) -> u64 {
        self.inner.lock().events
    }

    pub fn lines(&self) -> Vec<String> {
        let inner = self.inner.lock();
        inner.lines.iter().flatten().cloned().collect()
    }
}
