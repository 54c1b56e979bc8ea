//! Names with wildcards, as accounts and grants have them: `%` is any text, `_` any character, each for itself after `\`.

/// Whether `text` is one of those that `pattern` stands for. Letters are compared as they are. The time it takes is bounded
/// by the product of both lengths.
pub(crate) fn matches(pattern: &str, text: &str) -> bool {
    let pattern = parse(pattern);
    let text: Vec<char> = text.chars().collect();
    let (mut at, mut here) = (0, 0);
    // Where the last `%` stands, and how much of the text it has taken.
    let mut last = None;
    while here < text.len() {
        match pattern.get(at) {
            Some(Part::Any) => {
                last = Some((at, here));
                at += 1;
            }
            Some(part) if part.is(text[here]) => {
                at += 1;
                here += 1;
            }
            _ => match last {
                None => return false,
                Some((any, taken)) => {
                    last = Some((any, taken + 1));
                    at = any + 1;
                    here = taken + 1;
                }
            },
        }
    }
    pattern[at..].iter().all(|part| matches!(part, Part::Any))
}

/// How many characters stand before the first wildcard: the more, the more specific. `None`: there is none.
pub(crate) fn literal_chars(pattern: &str) -> Option<usize> {
    parse(pattern)
        .iter()
        .position(|part| !matches!(part, Part::Literal(_)))
}

enum Part {
    Literal(char),
    One,
    Any,
}

impl Part {
    fn is(&self, c: char) -> bool {
        match self {
            Part::Literal(own) => *own == c,
            Part::One => true,
            Part::Any => false,
        }
    }
}

fn parse(pattern: &str) -> Vec<Part> {
    let mut chars = pattern.chars();
    let mut parts = Vec::with_capacity(pattern.len());
    while let Some(c) = chars.next() {
        parts.push(match c {
            '%' => Part::Any,
            '_' => Part::One,
            '\\' => Part::Literal(chars.next().unwrap_or('\\')),
            c => Part::Literal(c),
        });
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wildcards_match_what_like_matches() {
        for (pattern, text, expected) in [
            ("shop", "shop", true),
            ("sh%", "shop", true),
            ("sh%", "sh", true),
            ("%sh", "shop", false),
            ("%o_", "shop", true),
            ("s%h%p", "shop", true),
            ("s%h%q", "shop", false),
            ("a_b", "axb", true),
            (r"a\_b", "axb", false),
            (r"a\_b", "a_b", true),
            ("", "", true),
            ("%", "", true),
            ("_", "", false),
            ("ü_", "üx", true),
        ] {
            assert_eq!(matches(pattern, text), expected, "{pattern} {text}");
        }
        let long = "%a".repeat(1000);
        assert!(!matches(&long, &"a".repeat(999)));
        assert_eq!(literal_chars("sh%"), Some(2));
        assert_eq!(literal_chars(r"s\_h"), None);
    }
}
