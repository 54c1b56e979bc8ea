//! docs/faults.md: each known fault once, with the test that carries its number or the reason why there is none.

use std::collections::BTreeMap;

use ilmenite_tidy::{names_with_files, read, root};

/// The numbers docs/faults.md has a row for each of.
fn fault_numbers() -> Vec<String> {
    let known = [
        ('F', 1..=25),
        ('F', 30..=50),
        ('F', 60..=68),
        ('F', 70..=74),
        ('P', 1..=19),
        ('S', 1..=35),
    ];
    let numbers = known
        .into_iter()
        .flat_map(|(kind, range)| range.map(move |n| format!("{kind}{n:02}")));
    numbers.collect()
}

/// The attributes and the comment right above a function, which the file must have exactly once.
fn above_function(path: &str, name: &str) -> Result<String, String> {
    let text = std::fs::read_to_string(root().join(path)).map_err(|e| format!("{path}: {e}"))?;
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    let is_it = |line: &str| {
        let rest = line
            .split_once("fn ")
            .and_then(|(_, rest)| rest.strip_prefix(name));
        rest.is_some_and(|rest| rest.starts_with(['(', '<']))
    };
    let at: Vec<usize> = (0..lines.len()).filter(|&n| is_it(lines[n])).collect();
    let &[at] = &at[..] else {
        return Err(format!("{path} has {} functions {name}", at.len()));
    };
    let above = lines[..at].iter().rev();
    let above: Vec<&str> = above
        .take_while(|line| line.starts_with("///") || line.starts_with("#["))
        .copied()
        .collect();
    Ok(above.join("\n"))
}

fn check_fault(number: &str, kind: &str, by: &str) -> Result<(), String> {
    let named = names_with_files(by, "../");
    for (name, path) in &named {
        let above = above_function(path, name)?;
        if !kind.contains("test") {
            continue;
        }
        if !above.contains("test") || above.contains("#[ignore") {
            return Err(format!("{path}: {name} is no test that is run"));
        }
        let comment = above.lines().filter(|line| line.starts_with("///"));
        if !comment
            .flat_map(|line| line.split([' ', ',', ':']))
            .any(|word| word == number)
        {
            return Err(format!("{path}: the comment of {name} lacks the number"));
        }
    }
    match kind {
        "test" | "design" | "test, open" if named.is_empty() => Err("names nothing".into()),
        "test" | "design" => Ok(()),
        "open" | "test, open" if by.contains("see ") || by.contains("pen: ") => Ok(()),
        other => Err(format!("'{other}' is not known here, or not explained")),
    }
}

/// docs/faults.md: each number once, and each test it names is there, is run, and carries the number in its comment.
#[test]
fn every_fault_has_its_row_and_its_test() {
    let text = read(&root().join("docs/faults.md"));
    let mut rows: BTreeMap<String, Vec<(String, String)>> = BTreeMap::new();
    for line in text.lines() {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        if let ["", number, _what, kind, by, ""] = cells[..]
            && number.len() == 3
            && number.starts_with(['F', 'P', 'S'])
        {
            let row = (kind.to_owned(), by.to_owned());
            rows.entry(number.to_owned()).or_default().push(row);
        }
    }
    let numbers = fault_numbers();
    assert_eq!(rows.keys().cloned().collect::<Vec<_>>(), numbers);
    let mut wrong = Vec::new();
    for (number, rows) in &rows {
        match &rows[..] {
            [(kind, by)] => wrong.extend(
                check_fault(number, kind, by)
                    .err()
                    .map(|e| format!("{number}: {e}")),
            ),
            more => wrong.push(format!("{number} has {} rows", more.len())),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    // The check itself sees what it is for.
    let file = "`licences_of_dependencies_are_permissive` in [dependencies.rs](../crates/tidy/tests/dependencies.rs)";
    for (kind, by) in [
        ("test", file),
        ("test", "nothing"),
        ("guess", file),
        ("design", "`f` in [x](../x.rs)"),
    ] {
        assert!(check_fault("F01", kind, by).is_err(), "{kind}: {by}");
    }
}
