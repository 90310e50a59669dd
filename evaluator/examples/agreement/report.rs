//! Counts what agrees, lists what does not, and prints one table at the end.

use std::collections::BTreeMap;

/// The counts of one group of cases.
#[derive(Debug, Default)]
struct Group {
    agree: usize,
    differ: usize,
    left_out: usize,
    notes: usize,
}

/// What was compared so far.
#[derive(Debug, Default)]
pub(crate) struct Report {
    groups: BTreeMap<String, Group>,
    lines: Vec<String>,
}

impl Report {
    fn group(&mut self, name: &str) -> &mut Group {
        self.groups.entry(name.to_owned()).or_default()
    }

    /// Counts a case that agrees.
    pub(crate) fn agrees(&mut self, group: &str) {
        self.group(group).agree += 1;
    }

    /// Counts and lists a case that differs.
    pub(crate) fn differs(&mut self, group: &str, case: &str, how: &str) {
        self.group(group).differ += 1;
        self.lines.push(format!("DIFFERS  {group} {case}\n      {how}"));
    }

    /// Counts and lists a case that was not compared.
    pub(crate) fn left_out(&mut self, group: &str, case: &str, why: &str) {
        self.group(group).left_out += 1;
        self.lines.push(format!("LEFT OUT {group} {case}: {why}"));
    }

    /// Lists something worth knowing about a case that agrees.
    pub(crate) fn note(&mut self, group: &str, case: &str, what: &str) {
        self.group(group).notes += 1;
        self.lines.push(format!("NOTE     {group} {case}\n      {what}"));
    }

    /// Lists something that concerns no single case.
    pub(crate) fn remark(&mut self, what: &str) {
        self.lines.push(format!("REMARK   {what}"));
    }

    /// Returns how many cases differ.
    pub(crate) fn differences(&self) -> usize {
        self.groups.values().map(|group| group.differ).sum()
    }

    /// Returns all that was listed, and the table.
    pub(crate) fn text(&self) -> String {
        let mut text = String::new();
        for line in &self.lines {
            text.push_str(line);
            text.push('\n');
        }
        let wide = self.groups.keys().map(String::len).max().unwrap_or(0).max(5);
        text.push_str(&format!(
            "\n{:wide$}  {:>8}  {:>8}  {:>8}  {:>8}\n",
            "group", "cases", "agree", "differ", "left out"
        ));
        for (name, group) in &self.groups {
            let all = group.agree + group.differ + group.left_out;
            text.push_str(&format!(
                "{name:wide$}  {all:>8}  {:>8}  {:>8}  {:>8}",
                group.agree, group.differ, group.left_out
            ));
            if group.notes > 0 {
                text.push_str(&format!("  ({} with a note)", group.notes));
            }
            text.push('\n');
        }
        text
    }
}
