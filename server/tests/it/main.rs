//! The server's parts against real databases, each test with SQLite and with PostgreSQL.

#![expect(clippy::unwrap_used, reason = "the lint knows only functions marked as tests")]

mod app_hooks;
mod approvals;
mod apps;
mod caches;
mod checks;
mod comments;
mod default_branch;
mod deliveries;
mod hostile;
mod hub;
mod identity;
mod intake;
mod limits;
mod listening;
mod migrations;
mod openapi;
mod operations;
mod outages;
mod pages;
mod people;
mod queue;
mod records;
mod refs;
mod routes;
mod runs;
mod sample;
mod secrets;
mod serving;
mod shares;
mod statuses;
mod statuses_of_one_commit;
mod support;
mod telling;
mod work;

#[test]
fn every_file_is_a_module() {
    let main = include_str!("main.rs");
    for entry in std::fs::read_dir("tests/it").unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let module = name.trim_end_matches(".rs");
        assert!(module == "main" || main.contains(&format!("mod {module};")), "{name}");
    }
}
