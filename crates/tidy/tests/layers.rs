//! Which crate may know which: the table of ARCHITECTURE.md's map, held against the manifests.
//!
//! The map's rows stand in the order of the floors, the highest first. A crate knows those that its row names, all of them,
//! and none above itself. Tests may use more.

use ilmenite_tidy::{circles, crates, read, root};

/// Modules of one crate that know each other, at most.
const MAX_CIRCLE: usize = 6;

/// A row of the map.
struct Row {
    name: String,
    knows: Vec<String>,
    /// Files that the crate starts at.
    starts_at: Vec<String>,
}

fn map() -> Vec<Row> {
    let text = read(&root().join("ARCHITECTURE.md"));
    let quoted = |cell: &str| -> Vec<String> {
        let names = cell.split('`').skip(1).step_by(2);
        names.map(str::to_owned).collect()
    };
    let (_, after) = text.split_once("| Crate |").expect("ARCHITECTURE.md has the map");
    let rows = after.lines().skip(2).take_while(|line| line.starts_with('|'));
    rows.map(|row| {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        let [_, name, _what, knows, starts_at, _] = cells[..] else {
            panic!("a row of the map has other columns: {row}");
        };
        let name = match name.split_once('[').and_then(|(_, rest)| rest.split_once(']')) {
            Some(("ilmenite", _)) => "ilmenite".to_owned(),
            Some((name, _)) => format!("ilmenite-{name}"),
            None => panic!("a row of the map names no crate: {row}"),
        };
        let mut knows: Vec<String> = quoted(knows)
            .iter()
            .map(|name| format!("ilmenite-{name}"))
            .collect();
        knows.sort();
        let starts_at = quoted(starts_at);
        Row {
            name,
            knows,
            starts_at,
        }
    })
    .collect()
}

#[test]
fn the_map_is_what_the_manifests_say() {
    let map = map();
    let crates = crates();
    assert!(crates.len() > 20, "only {} crates were found", crates.len());
    let mut wrong = Vec::new();
    for found in &crates {
        match map.iter().find(|row| row.name == found.name) {
            None => wrong.push(format!("{} is not on the map", found.name)),
            Some(row) => {
                for name in found.knows.iter().filter(|name| !row.knows.contains(name)) {
                    wrong.push(format!(
                        "{} must not know {name}: its row does not name it",
                        found.name
                    ));
                }
                for name in row.knows.iter().filter(|name| !found.knows.contains(name)) {
                    wrong.push(format!(
                        "{} does not know {name}, but its row says so",
                        found.name
                    ));
                }
                for file in &row.starts_at {
                    let places = [found.dir.join("src").join(file), found.dir.join(file)];
                    if !places.iter().any(|place| place.is_file()) {
                        wrong.push(format!("{}: there is no {file}", found.name));
                    }
                }
            }
        }
    }
    for Row { name, .. } in &map {
        if !crates.iter().any(|found| found.name == *name) {
            wrong.push(format!("{name} is on the map, and not in the workspace"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn no_crate_knows_one_above_it() {
    let map = map();
    let floor = |name: &str| map.iter().position(|row| row.name == name);
    for (at, Row { name, knows, .. }) in map.iter().enumerate() {
        for known in knows {
            let below = floor(known).is_some_and(|other| other > at);
            assert!(below, "{name} stands below {known} on the map, and knows it");
        }
    }
}

#[test]
fn no_circle_of_modules_is_large() {
    let mut large = Vec::new();
    for of in crates() {
        for circle in circles(&of) {
            if circle.len() > MAX_CIRCLE {
                large.push(format!(
                    "{}: {} modules know each other: {}",
                    of.name,
                    circle.len(),
                    circle.join(", ")
                ));
            }
        }
    }
    assert!(large.is_empty(), "{}", large.join("\n"));
}
