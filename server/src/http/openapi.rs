//! `GET /api/v1/openapi.json`: what the interface below `/api/v1` takes and answers, as an OpenAPI document.
//!
//! `tests/it/openapi.rs` holds it against the table of routes, against real answers, and against `docs/openapi.json`.

use axum::Json;
use serde_json::{Value, json};

use super::table::{Needs, Table};

pub(super) fn routes(table: Table) -> Table {
    table.get("/api/v1/openapi.json", Needs::Nothing, async || Json(document()))
}

/// Returns the document.
pub fn document() -> Value {
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "levain",
            "version": "1",
            "summary": "Projects and runs of a levain server.",
            "license": { "name": "MIT OR Apache-2.0" },
        },
        "paths": paths(),
        "components": { "schemas": schemas(), "responses": responses() },
    })
}

fn paths() -> Value {
    json!({
        "/api/v1/openapi.json": { "get": {
            "summary": "This document.",
            "responses": { "200": of(json!({ "type": "object" }), "The document.") },
        } },
        "/api/v1/visitor": { "get": {
            "summary": "Who whoever asks is here.",
            "responses": { "200": of(schema("Visitor"), "Who it is.") },
        } },
        "/api/v1/projects/{project}/pulls/{number}/approve": { "post": {
            "summary": "Lets a commit of a fork's pull request be built: its newest, and no other.",
            "parameters": [
                parameter("project", json!({ "type": "string" }), "The project's name."),
                parameter("number", number(), "The pull request's number."),
            ],
            "requestBody": { "required": true, "content": { "application/json": { "schema": object(json!({
                "commit": text("The commit, all 40 digits of it."),
            }), &[]) } } },
            "responses": acting(object(json!({
                "runs": { "type": "array", "items": number(), "description": "The runs that waited for it." },
                "expiresAt": time("Until when they may begin."),
            }), &[]), "It is approved."),
        } },
        "/api/v1/runs/{run}/cancel": { "post": {
            "summary": "Stops a run.",
            "parameters": [parameter("run", number(), "The run's number.")],
            "responses": acting(schema("Acted"), "It is cancelled."),
        } },
        "/api/v1/runs/{run}/again": { "post": {
            "summary": "Runs the newest commit of the run's branch or pull request once more.",
            "parameters": [parameter("run", number(), "The run's number.")],
            "responses": acting(schema("Acted"), "The run that is queued, or waits for an approval."),
        } },
        "/api/v1/projects/{project}/cache/drop": { "post": {
            "summary": "Has no build start any more from the caches of a job that were recorded until now.",
            "parameters": [parameter("project", json!({ "type": "string" }), "The project's name.")],
            "requestBody": body(object(json!({
                "job": text("The job, as in `x86_64-linux.server`."),
                "jobset": or_null(text("`heads/BRANCH`, `pull/NUMBER` or `tags/TAG`; everywhere, if absent.")),
            }), &["jobset"])),
            "responses": done(object(json!({
                "forgotten": described(number(), "How many incremental successes were forgotten."),
            }), &[]), "They are dropped."),
        } },
        "/api/v1/projects/{project}/cache/allow": { "post": {
            "summary": "Lets a job use caches again that an audit kept from it.",
            "parameters": [parameter("project", json!({ "type": "string" }), "The project's name.")],
            "requestBody": body(object(json!({
                "job": text("The job, as in `x86_64-linux.server`."),
            }), &[])),
            "responses": done(object(json!({
                "wasOff": { "type": "boolean", "description": "Whether it was kept from any." },
            }), &[]), "It may use caches."),
        } },
        "/api/v1/projects": { "get": {
            "summary": "The projects that whoever asks may see, by name.",
            "responses": {
                "200": of(list("Project"), "The projects."),
                "503": response("Unavailable"),
            },
        } },
        "/api/v1/projects/{project}/runs": { "get": {
            "summary": "The last 100 runs of a project, the newest first, without their reports.",
            "parameters": [parameter("project", json!({ "type": "string" }), "The project's name.")],
            "responses": {
                "200": of(list("Run"), "The runs."),
                "404": response("Nothing"),
                "503": response("Unavailable"),
            },
        } },
        "/api/v1/queue": { "get": {
            "summary": "The runs that whoever asks may see and that are under way or wait for their turn, the next first: at most 100.",
            "responses": {
                "200": of(object(json!({
                    "running": list("Queued"),
                    "waiting": list("Queued"),
                    "slots": schema("Slots"),
                }), &[]), "The runs, without their reports, and what takes the slots of this server."),
                "503": response("Unavailable"),
            },
        } },
        "/api/v1/runs/{run}": { "get": {
            "summary": "A run with its notices and its report.",
            "parameters": [parameter("run", number(), "The run's number.")],
            "responses": {
                "200": of(schema("Run"), "The run."),
                "404": response("Nothing"),
                "503": response("Unavailable"),
            },
        } },
    })
}

fn responses() -> Value {
    json!({
        "Nothing": {
            "description": "There is nothing, or nothing that whoever asks may see: the two are not told apart.",
        },
        "Unavailable": { "description": "The database does not answer." },
        "Anonymous": { "description": "Nobody says who they are, or the token does not count." },
        "Forbidden": { "description": "Whoever asks may see it, and not do that." },
        "Conflict": of(object(json!({ "error": text("Why.") }), &[]), "It cannot be done as things are."),
    })
}

/// Describes the answers to what changes something, if that can be done.
fn acting(done: Value, description: &str) -> Value {
    let mut answers = self::done(done, description);
    answers["409"] = response("Conflict");
    answers
}

/// Describes the answers to what changes something, however things are.
fn done(done: Value, description: &str) -> Value {
    json!({
        "200": of(done, description),
        "401": response("Anonymous"),
        "403": response("Forbidden"),
        "404": response("Nothing"),
        "503": response("Unavailable"),
    })
}

/// Describes what is sent.
fn body(schema: Value) -> Value {
    json!({ "required": true, "content": { "application/json": { "schema": schema } } })
}

fn described(mut value: Value, description: &str) -> Value {
    value["description"] = json!(description);
    value
}

fn schemas() -> Value {
    json!({
        "Visitor": object(json!({
            "kind": one_of(&["nobody", "local", "operator", "person", "program"], "What they are."),
            "name": or_null(text("What they are called.")),
        }), &[]),
        "Acted": object(json!({
            "run": { "type": "integer", "format": "int64", "description": "The run's number." },
            "state": text("Where it stands."),
        }), &[]),
        "Queued": object(json!({
            "run": schema("Run"),
            "eta": or_null(described(object(json!({
                "seconds": described(number(), "How long until it is over."),
                "error": described(number(), "How many seconds more or less it may be: half of the earlier runs were nearer."),
                "text": text("Both, in words."),
            }), &[]), "By how long earlier runs took that succeeded; null if they do not tell.")),
        }), &[]),
        "Project": object(json!({
            "name": text("What people call it."),
            "forge": text("A kind of forge, or `git`."),
            "url": text("Where its repository is, without a password."),
            "pullRequests": one_of(&["none", "own", "approved", "all"], "Which pull requests are built."),
            "merge": one_of(&["base", "head"], "What of them is built: their merge with their base, or their head."),
            "tags": or_null(text("Which tags are built, if any: `*` stands for any text.")),
            "schedule": or_null(text("When the default branch is built anew, if it is: `6h`, `7d`, or `03:00` in UTC.")),
            "public": { "type": "boolean", "description": "Whether everybody may see it." },
            "hasToken": { "type": "boolean", "description": "Whether there is a token for the forge." },
            "lookedAt": or_null(time("When its branches and pull requests were listed last.")),
            "lookFailed": or_null(text("Why that failed, if it did.")),
        }), &[]),
        "Slots": object(json!({
            "building": {
                "type": "array",
                "description": "The builds that are under way for runs that whoever asks may see, first what was not heard of for the longest time: at most 100.",
                "items": object(json!({
                    "name": text("The derivation's name."),
                    "derivation": text("The derivation."),
                    "since": time("When it began."),
                    "heardAt": time("When it printed a line last, or began."),
                    "runs": { "type": "array", "items": number(), "description": "The runs that want it." },
                    "waitingJobs": { "type": "integer", "description": "How many of their jobs wait for it, besides those that it is the build of." },
                }), &[]),
            },
            "waitingJobs": {
                "type": "array",
                "description": "The jobs of these runs whose builds have not begun: at most 100.",
                "items": object(json!({
                    "run": number(),
                    "job": text("The job."),
                    "kind": one_of(&["slot", "dependency", "nix", "retry"], "What it waits for: a slot, a dependency, for Nix to begin (which may itself wait for another build of the same, a download or a remote builder), or to be tried again."),
                    "blocker": or_null(text("The derivation that it waits for.")),
                    "until": or_null(time("Until when it waits, if that is known.")),
                }), &[]),
            },
            "moreBuilding": { "type": "integer", "description": "How many builds are not listed." },
            "moreWaitingJobs": { "type": "integer", "description": "How many jobs are not listed." },
        }), &[]),
        "Run": object(json!({
            "id": { "type": "integer", "format": "int64", "description": "Its number." },
            "project": text("Its project's name."),
            "jobset": text("`heads/BRANCH`, `pull/NUMBER` or `tags/TAG`."),
            "commit": text("The author's commit."),
            "base": or_null(text("The branch that it is merged with to be built, if it is.")),
            "baseCommit": or_null(text("The commit of that branch, once it was begun.")),
            "trust": one_of(&["branch", "own", "fork"], "Whose commit it is."),
            "state": one_of(&[
                "unapproved", "queued", "running", "succeeded", "failed", "errored", "conflict",
                "cancelled", "superseded",
            ], "Where it stands."),
            "summary": or_null(text("What became of it, or when it is tried again and why, in a line.")),
            "attempts": { "type": "integer", "description": "How often it was begun, save by servers that left it to others." },
            "putOff": { "type": "integer", "description": "How often something that was away kept it from being carried out." },
            "putOffUntil": or_null(time("When it is tried again after that.")),
            "createdAt": time("When it was asked for."),
            "startedAt": or_null(time("When it was begun last.")),
            "endedAt": or_null(time("When it ended.")),
            "notices": {
                "type": "array",
                "items": { "type": "string" },
                "description": "What the reader should know besides. Only where one run is asked for.",
            },
            "report": {
                "type": "object",
                "description": "What `levain run --format json` prints. Only where one run is asked for, once it has one.",
            },
            "live": described(live(), "What it is doing right now. Only where one run is asked for, from the server that carries it out."),
        }), &["notices", "report", "live"]),
    })
}

/// Describes what a run is doing.
fn live() -> Value {
    let counts = ["fresh", "incremental", "clean", "failed", "errors", "cancelled", "skipped"];
    let counts: serde_json::Map<String, Value> =
        counts.into_iter().map(|name| (name.to_owned(), number())).collect();
    let statuses = ["fresh", "incremental", "clean", "failed", "error", "cancelled", "skipped"];
    object(
        json!({
            "stage": or_null(described(object(json!({
                "name": one_of(&[
                    "fetch", "evaluate-base", "evaluate-shadow", "build", "audit", "deliver",
                ], "What."),
                "jobs": described(number(), "How many jobs are built or audited."),
                "fresh": described(number(), "How many jobs have nothing to build."),
            }), &["jobs", "fresh"]), "What it is doing.")),
            "stageSince": or_null(time("Since when.")),
            "jobs": or_null(described(number(), "How many jobs there are, once that is known.")),
            "counters": described(object(counts.into(), &[]), "How many jobs ended how."),
            "waiting": described(by_name(object(json!({
                "built": or_null(text("The derivation that is built for it, as a path.")),
            }), &[])), "The jobs that are not done, by name."),
            "waits": described(by_name(object(json!({
                "kind": one_of(&["slot", "dependency", "nix", "retry"], "What it waits for."),
                "derivation": text("A derivation whose outputs it needs."),
                "at": time("When it is tried once more."),
            }), &["derivation", "at"])), "Why builds do not begin, by derivation."),
            "builds": described(by_name(object(json!({
                "since": time("Since when."),
                "lastLine": or_null(time("When it printed a line last, if it did.")),
            }), &[])), "What is being built, by derivation."),
            "ended": described(by_name(object(json!({
                "status": one_of(&statuses, "How."),
            }), &[])), "How those jobs ended that have, by name."),
        }),
        &[],
    )
}

/// Describes an object whose names are not known before.
fn by_name(value: Value) -> Value {
    json!({ "type": "object", "additionalProperties": value })
}

/// Describes an object of which all properties are there but those.
fn object(properties: Value, optional: &[&str]) -> Value {
    let names = properties.as_object().into_iter().flat_map(|object| object.keys());
    let required: Vec<&String> = names.filter(|name| !optional.contains(&name.as_str())).collect();
    json!({ "type": "object", "required": required, "properties": properties })
}

fn text(description: &str) -> Value {
    json!({ "type": "string", "description": description })
}

fn number() -> Value {
    json!({ "type": "integer", "format": "int64" })
}

fn time(description: &str) -> Value {
    json!({
        "type": "integer",
        "format": "int64",
        "description": format!("{description} Milliseconds since 1970, in UTC."),
    })
}

fn one_of(names: &[&str], description: &str) -> Value {
    json!({ "type": "string", "enum": names, "description": description })
}

fn or_null(mut value: Value) -> Value {
    if let Some(kind) = value.get_mut("type") {
        *kind = json!([kind.clone(), "null"]);
    }
    value
}

fn schema(name: &str) -> Value {
    json!({ "$ref": format!("#/components/schemas/{name}") })
}

fn list(name: &str) -> Value {
    json!({ "type": "array", "items": schema(name) })
}

fn of(schema: Value, description: &str) -> Value {
    json!({ "description": description, "content": { "application/json": { "schema": schema } } })
}

fn response(name: &str) -> Value {
    json!({ "$ref": format!("#/components/responses/{name}") })
}

fn parameter(name: &str, schema: Value, description: &str) -> Value {
    json!({
        "name": name,
        "in": "path",
        "required": true,
        "description": description,
        "schema": schema,
    })
}
