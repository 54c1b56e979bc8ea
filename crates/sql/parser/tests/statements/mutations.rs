//! Texts that nobody would write: statements with tokens cut out, doubled and swapped. Reading them gives a statement or an
//! error, and comes to an end.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{LazyLock, Mutex};
use std::time::Duration;

use ilmenite_parser::{LexMode, parse};
use proptest::prelude::*;

use crate::golden;

/// A text of a few hundred tokens is read in well under a millisecond; the machine may be busy with other things.
const PATIENCE: Duration = Duration::from_secs(5);

static CORPUS: LazyLock<Vec<String>> = LazyLock::new(|| ilmenite_golden::inputs(&golden(), "parse"));

#[derive(Debug, Clone)]
enum Change {
    Cut,
    Double,
    /// With the token so many places on.
    Swap(usize),
    /// By a token of another statement.
    Replace(prop::sample::Index, prop::sample::Index),
}

fn change() -> impl Strategy<Value = (prop::sample::Index, Change)> {
    let change = prop_oneof![
        Just(Change::Cut),
        Just(Change::Double),
        (1..8usize).prop_map(Change::Swap),
        any::<(prop::sample::Index, prop::sample::Index)>().prop_map(|(s, t)| Change::Replace(s, t)),
    ];
    (any::<prop::sample::Index>(), change)
}

/// Words, numbers, runs of white space, and all else one by one: about what a lexer sees.
fn tokens(text: &str) -> Vec<String> {
    let kind = |c: char| match c {
        c if c.is_alphanumeric() || c == '_' => 1,
        c if c.is_whitespace() => 2,
        _ => 0,
    };
    let mut tokens: Vec<String> = Vec::new();
    let mut before = 0;
    for c in text.chars() {
        match tokens.last_mut() {
            Some(last) if kind(c) != 0 && kind(c) == before => last.push(c),
            _ => tokens.push(c.to_string()),
        }
        before = kind(c);
    }
    tokens
}

fn apply(tokens: &mut Vec<String>, at: prop::sample::Index, change: Change) {
    if tokens.is_empty() {
        return;
    }
    let at = at.index(tokens.len());
    match change {
        Change::Cut => {
            tokens.remove(at);
        }
        Change::Double => tokens.insert(at, tokens[at].clone()),
        Change::Swap(ahead) => {
            let other = (at + ahead) % tokens.len();
            tokens.swap(at, other);
        }
        Change::Replace(statement, token) => {
            let others = self::tokens(statement.get::<String>(&CORPUS));
            tokens[at].clone_from(token.get(&others));
        }
    }
}

/// Reads texts on a thread of its own, so that one that never ends is found out.
struct Worker {
    texts: Sender<(String, LexMode)>,
    done: Receiver<bool>,
}

impl Worker {
    fn start() -> Worker {
        let (texts, incoming) = channel::<(String, LexMode)>();
        let (outgoing, done) = channel();
        std::thread::spawn(move || {
            for (text, mode) in incoming {
                let read = parse(text.as_bytes(), mode).is_ok();
                if outgoing.send(read).is_err() {
                    return;
                }
            }
        });
        Worker { texts, done }
    }

    /// Whether the text can be read; an error when reading it panics or does not end.
    fn read(&self, text: &str, mode: LexMode) -> Result<bool, TestCaseError> {
        let sent = self
            .texts
            .send((text.to_owned(), mode))
            .map_err(|e| e.to_string());
        let read = sent.and_then(|()| self.done.recv_timeout(PATIENCE).map_err(|e| e.to_string()));
        read.map_err(|e| TestCaseError::fail(format!("{e}, reading: {text}")))
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    #[test]
    fn any_mutation_of_a_statement_is_read_or_refused(
        statement in any::<prop::sample::Index>(),
        changes in prop::collection::vec(change(), 1..12),
        bits in 0..16u8,
    ) {
        static WORKER: LazyLock<Mutex<Worker>> = LazyLock::new(|| Mutex::new(Worker::start()));
        let mut tokens = tokens(statement.get::<String>(&CORPUS));
        for (at, change) in changes {
            apply(&mut tokens, at, change);
        }
        let mode = LexMode {
            ansi_quotes: bits & 1 != 0,
            no_backslash_escapes: bits & 2 != 0,
            pipes_as_concat: bits & 4 != 0,
            real_as_float: bits & 8 != 0,
        };
        let mut worker = WORKER.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let read = worker.read(&tokens.concat(), mode);
        if read.is_err() {
            // The next text, a smaller one maybe, needs a thread that reads.
            *worker = Worker::start();
        }
        read?;
    }
}

/// What nests is refused at some depth, and the way there is no longer than it looks.
#[test]
fn deep_texts_are_refused_in_good_time() {
    let worker = Worker::start();
    for (open, inner, close) in [
        ("(", "1", ")"),
        ("(SELECT ", "1", ")"),
        ("NOT ", "1", ""),
        ("- ", "1", ""),
        ("INTERVAL ", "1", " DAY"),
        ("INTERVAL(", "1", ")"),
        ("CHAR(", "1", ")"),
        ("CASE WHEN ", "1", " THEN 1 END"),
        ("f(", "1", ")"),
        ("CAST(", "1", " AS CHAR)"),
        ("1 + (", "1", ")"),
        ("a IN (", "1", ")"),
        ("EXISTS (SELECT ", "1", ")"),
        ("a BETWEEN ", "1", " AND 2"),
        ("TRIM(", "1", ")"),
        ("EXTRACT(DAY FROM ", "1", ")"),
        ("ROW(", "1", ", 2)"),
    ] {
        for depth in [3, 30, 300, 3000] {
            let text = format!("SELECT {}{inner}{}", open.repeat(depth), close.repeat(depth));
            worker.read(&text, LexMode::default()).expect("an end");
            let text = format!(
                "SELECT * FROM {}{inner}{}",
                open.repeat(depth),
                close.repeat(depth)
            );
            worker.read(&text, LexMode::default()).expect("an end");
        }
    }
}
