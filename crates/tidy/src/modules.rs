//! The modules of each crate and which of them name each other, read from the sources.
//!
//! An edge runs from the module that uses a name to the module that defines it, through re-exports. A module that only
//! hands on what its children define (`pub use child::Name`) does not know them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use proc_macro2::{TokenStream, TokenTree};
use quote::ToTokens;
use syn::{Item, UseTree, Visibility};

use crate::{files, metadata, read, shown};

/// A crate of the workspace.
pub struct Crate {
    pub name: String,
    /// Where its manifest is.
    pub dir: PathBuf,
    /// Those of the workspace that it depends on, but for tests; sorted.
    pub knows: Vec<String>,
}

/// All crates of the workspace, by name.
pub fn crates() -> Vec<Crate> {
    let metadata = metadata();
    let members: BTreeSet<&str> = metadata["workspace_members"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|id| id.as_str())
        .collect();
    let packages: Vec<_> = metadata["packages"]
        .as_array()
        .into_iter()
        .flatten()
        .filter(|package| package["id"].as_str().is_some_and(|id| members.contains(id)))
        .collect();
    let names: BTreeSet<&str> = packages.iter().filter_map(|p| p["name"].as_str()).collect();
    let mut crates: Vec<Crate> = packages
        .iter()
        .map(|package| {
            let dependencies = package["dependencies"].as_array().into_iter().flatten();
            let mut knows: Vec<String> = dependencies
                .filter(|dependency| dependency["kind"].as_str() != Some("dev"))
                .filter_map(|dependency| dependency["name"].as_str())
                .filter(|name| names.contains(name))
                .map(str::to_owned)
                .collect();
            knows.sort();
            let mut dir = PathBuf::from(package["manifest_path"].as_str().unwrap_or_default());
            dir.pop();
            Crate {
                name: package["name"].as_str().unwrap_or_default().to_owned(),
                dir,
                knows,
            }
        })
        .collect();
    crates.sort_by(|a, b| a.name.cmp(&b.name));
    crates
}

/// A module's path in its crate; empty for the root.
type Path = Vec<String>;

struct Module {
    items: Vec<Item>,
    /// What it hands on: name → where that is.
    exports: BTreeMap<String, Path>,
}

type Modules = BTreeMap<Path, Module>;

/// The circles of a crate's modules: sets of two and more that know each other, over any way round. Tests are left out.
pub fn circles(of: &Crate) -> Vec<Vec<String>> {
    let mut modules = read_modules(of);
    let paths: Vec<Path> = modules.keys().cloned().collect();
    for path in &paths {
        let exports = exports(&modules, path);
        if let Some(module) = modules.get_mut(path) {
            module.exports = exports;
        }
    }
    let edges: BTreeMap<&Path, BTreeSet<Path>> =
        paths.iter().map(|path| (path, edges(&modules, path))).collect();
    let reach = |from: &Path| {
        let mut seen = BTreeSet::new();
        let mut next = vec![from];
        while let Some(at) = next.pop() {
            for to in edges.get(at).into_iter().flatten() {
                if seen.insert(to.clone()) {
                    next.push(to);
                }
            }
        }
        seen
    };
    let reached: BTreeMap<&Path, BTreeSet<Path>> = paths.iter().map(|path| (path, reach(path))).collect();
    let mut found: BTreeSet<Vec<String>> = BTreeSet::new();
    for path in &paths {
        let circle: Vec<String> = paths
            .iter()
            .filter(|other| reached[path].contains(*other) && reached[other].contains(path))
            .map(|path| match path.is_empty() {
                true => "(root)".to_owned(),
                false => path.join("::"),
            })
            .collect();
        if circle.len() > 1 {
            found.insert(circle);
        }
    }
    found.into_iter().collect()
}

fn read_modules(of: &Crate) -> Modules {
    let src = of.dir.join("src");
    let mut modules = Modules::new();
    for file in files(&src, ".rs") {
        let relative = file.strip_prefix(&src).unwrap_or(&file).with_extension("");
        let mut path: Path = relative
            .iter()
            .map(|part| part.to_string_lossy().into_owned())
            .collect();
        if path
            .last()
            .is_some_and(|last| ["mod", "lib", "main"].contains(&last.as_str()))
        {
            path.pop();
        }
        if path.iter().any(|part| part == "tests" || part == "testing") {
            continue;
        }
        let parsed = syn::parse_file(&read(&file)).unwrap_or_else(|e| panic!("{}: {e}", shown(&file)));
        let module = modules.entry(path).or_insert_with(|| Module {
            items: Vec::new(),
            exports: BTreeMap::new(),
        });
        // A binary beside a library has a root, too.
        module
            .items
            .extend(parsed.items.into_iter().filter(|item| !is_test(item)));
    }
    modules
}

fn is_test(item: &Item) -> bool {
    let attributes = match item {
        Item::Mod(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        Item::Fn(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        _ => return false,
    };
    attributes.iter().any(|attribute| {
        let tokens = match &attribute.meta {
            syn::Meta::List(list) if list.path.is_ident("cfg") => list.tokens.to_string(),
            _ => return false,
        };
        tokens == "test"
    })
}

/// `pub use` of what other modules define.
fn exports(modules: &Modules, at: &Path) -> BTreeMap<String, Path> {
    let mut exports = BTreeMap::new();
    for item in &modules[at].items {
        if let Item::Use(item) = item
            && !matches!(item.vis, Visibility::Inherited)
        {
            for (segments, name) in leaves(&item.tree) {
                if let (Some(path), Some(name)) = (absolute(modules, at, &segments), name) {
                    exports.insert(name, path);
                }
            }
        }
    }
    exports
}

fn edges(modules: &Modules, at: &Path) -> BTreeSet<Path> {
    let mut found = BTreeSet::new();
    for item in &modules[at].items {
        let mut named: Vec<Vec<String>> = Vec::new();
        match item {
            Item::Use(item) if matches!(item.vis, Visibility::Inherited) => {
                named.extend(leaves(&item.tree).into_iter().map(|(segments, _)| segments));
            }
            Item::Use(_) | Item::Mod(_) => {}
            other => paths_in(other.to_token_stream(), &mut named),
        }
        for segments in named {
            if let Some(path) = absolute(modules, at, &segments) {
                found.insert(defining(modules, &path, 0));
            }
        }
    }
    found.remove(at);
    found
}

/// Every `a::b::…` in the tokens, macros included.
fn paths_in(tokens: TokenStream, found: &mut Vec<Vec<String>>) {
    let tokens: Vec<TokenTree> = tokens.into_iter().collect();
    let mut at = 0;
    while at < tokens.len() {
        if let TokenTree::Group(group) = &tokens[at] {
            paths_in(group.stream(), found);
        }
        let TokenTree::Ident(first) = &tokens[at] else {
            at += 1;
            continue;
        };
        let mut segments = vec![first.to_string()];
        at += 1;
        while let [
            TokenTree::Punct(a),
            TokenTree::Punct(b),
            TokenTree::Ident(next),
            ..,
        ] = &tokens[at..]
        {
            if a.as_char() != ':' || b.as_char() != ':' {
                break;
            }
            segments.push(next.to_string());
            at += 3;
        }
        if segments.len() > 1 {
            found.push(segments);
        }
    }
}

/// Each path a `use` names, and the name it has here.
fn leaves(tree: &UseTree) -> Vec<(Vec<String>, Option<String>)> {
    match tree {
        UseTree::Path(path) => leaves(&path.tree)
            .into_iter()
            .map(|(mut segments, name)| {
                segments.insert(0, path.ident.to_string());
                (segments, name)
            })
            .collect(),
        UseTree::Name(name) if name.ident == "self" => vec![(Vec::new(), None)],
        UseTree::Name(name) => vec![(vec![name.ident.to_string()], Some(name.ident.to_string()))],
        UseTree::Rename(rename) => vec![(vec![rename.ident.to_string()], Some(rename.rename.to_string()))],
        UseTree::Glob(_) => vec![(Vec::new(), None)],
        UseTree::Group(group) => group.items.iter().flat_map(leaves).collect(),
    }
}

/// From the crate's root; `None` for what is another crate's, or no module's.
fn absolute(modules: &Modules, at: &Path, segments: &[String]) -> Option<Path> {
    let first = segments.first()?.as_str();
    let mut path = match first {
        "crate" => Vec::new(),
        "self" => at.clone(),
        "super" => {
            let ups = segments.iter().take_while(|segment| *segment == "super").count();
            let mut base = at.clone();
            base.truncate(at.len().saturating_sub(ups));
            base.extend(segments[ups..].iter().cloned());
            return Some(base);
        }
        _ => {
            let mut child = at.clone();
            child.push(first.to_owned());
            modules.get(&child)?;
            child
        }
    };
    path.extend(segments[1..].iter().cloned());
    Some(path)
}

/// The module that defines what the path names.
fn defining(modules: &Modules, path: &[String], depth: usize) -> Path {
    let mut module: Path = Vec::new();
    for segment in path {
        let mut child = module.clone();
        child.push(segment.clone());
        if modules.contains_key(&child) {
            module = child;
            continue;
        }
        // Handed on from elsewhere; a chain that is longer leads round in a circle.
        if depth < 8
            && let Some(elsewhere) = modules[&module].exports.get(segment)
        {
            return defining(modules, elsewhere, depth + 1);
        }
        break;
    }
    module
}
