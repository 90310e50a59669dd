//! Tables while they are built: who may still add to which.

use std::collections::BTreeMap;

use super::{Toml, TomlErrorKind};

/// How a table came to be, which says who may add to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    /// Named only on the way to another (`[a]` by `[a.b]`); may still get a header of its own.
    Implied,
    /// By a header.
    Header,
    /// By a dotted key, in the table whose header was this one (a counter).
    Dotted(usize),
    /// Written in braces, or as a value: complete.
    Closed,
}

/// A table that is being built.
#[derive(Debug)]
pub(super) struct Table {
    pub(super) origin: Origin,
    entries: BTreeMap<String, Node>,
}

/// A value in a table that is being built.
#[derive(Debug)]
enum Node {
    Value(Toml),
    Table(Table),
    /// Tables with `[[headers]]`.
    Tables(Vec<Table>),
}

impl Table {
    pub(super) fn new(origin: Origin) -> Self {
        Table { origin, entries: BTreeMap::new() }
    }

    /// Returns the table of a header, making it and those on the way; `array` is for `[[header]]`.
    pub(super) fn header(
        &mut self,
        path: &[String],
        array: bool,
    ) -> Result<&mut Table, TomlErrorKind> {
        let Some((last, way)) = path.split_last() else {
            return Err(TomlErrorKind::Expected("a key"));
        };
        let mut table = self;
        for key in way {
            let node = table.entries.entry(key.clone());
            table = match node.or_insert_with(|| Node::Table(Table::new(Origin::Implied))) {
                Node::Table(table) if table.origin != Origin::Closed => table,
                Node::Tables(tables) => match tables.last_mut() {
                    Some(table) => table,
                    None => return Err(TomlErrorKind::Closed(key.clone())),
                },
                Node::Table(_) | Node::Value(_) => return Err(TomlErrorKind::Closed(key.clone())),
            };
        }
        let duplicate = || TomlErrorKind::Duplicate(last.clone());
        if array {
            let node = table.entries.entry(last.clone());
            let Node::Tables(tables) = node.or_insert_with(|| Node::Tables(Vec::new())) else {
                return Err(duplicate());
            };
            tables.push(Table::new(Origin::Header));
            return tables.last_mut().ok_or_else(duplicate);
        }
        let node = table.entries.entry(last.clone());
        match node.or_insert_with(|| Node::Table(Table::new(Origin::Implied))) {
            Node::Table(table) if table.origin == Origin::Implied => {
                table.origin = Origin::Header;
                Ok(table)
            }
            Node::Table(_) | Node::Tables(_) | Node::Value(_) => Err(duplicate()),
        }
    }

    /// Returns the table that a header made last.
    pub(super) fn last(&mut self, path: &[String]) -> Option<&mut Table> {
        let mut table = self;
        for key in path {
            table = match table.entries.get_mut(key)? {
                Node::Table(table) => table,
                Node::Tables(tables) => tables.last_mut()?,
                Node::Value(_) => return None,
            };
        }
        Some(table)
    }

    /// Adds a value under a dotted key; `section` counts headers, since a dotted key may only add to
    /// tables of dotted keys of its own section.
    pub(super) fn insert(
        &mut self,
        path: &[String],
        value: Toml,
        section: usize,
    ) -> Result<(), TomlErrorKind> {
        let Some((last, way)) = path.split_last() else {
            return Err(TomlErrorKind::Expected("a key"));
        };
        let mut table = self;
        for key in way {
            let node = table.entries.entry(key.clone());
            table = match node.or_insert_with(|| Node::Table(Table::new(Origin::Dotted(section)))) {
                Node::Table(table)
                    if table.origin == Origin::Dotted(section)
                        || table.origin == Origin::Implied =>
                {
                    table
                }
                Node::Table(_) | Node::Tables(_) | Node::Value(_) => {
                    return Err(TomlErrorKind::Closed(key.clone()));
                }
            };
        }
        if table.entries.contains_key(last) {
            return Err(TomlErrorKind::Duplicate(last.clone()));
        }
        table.entries.insert(last.clone(), Node::Value(value));
        Ok(())
    }

    /// Returns the finished table.
    pub(super) fn finish(self) -> Toml {
        let finish = |node| match node {
            Node::Value(value) => value,
            Node::Table(table) => table.finish(),
            Node::Tables(tables) => Toml::Array(tables.into_iter().map(Table::finish).collect()),
        };
        Toml::Table(self.entries.into_iter().map(|(key, node)| (key, finish(node))).collect())
    }
}
