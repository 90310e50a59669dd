-- Projects, and what their forges deliver. Times are milliseconds since 1970.
CREATE TABLE projects (
    id INTEGER PRIMARY KEY,
    -- The last part of the address that deliveries are sent to. Not a secret, but not guessable either.
    hook TEXT NOT NULL UNIQUE,
    name TEXT NOT NULL UNIQUE,
    -- A kind of forge, or `git`: a repository without one.
    forge TEXT NOT NULL,
    url TEXT NOT NULL,
    created_at INTEGER NOT NULL
) STRICT;

-- While one secret is exchanged for another, a project has both.
CREATE TABLE webhook_secrets (
    id INTEGER PRIMARY KEY,
    project INTEGER NOT NULL REFERENCES projects (id) ON DELETE CASCADE,
    secret TEXT NOT NULL,
    created_at INTEGER NOT NULL
) STRICT;

CREATE INDEX webhook_secrets_of_project ON webhook_secrets (project);

CREATE TABLE deliveries (
    id INTEGER PRIMARY KEY,
    project INTEGER NOT NULL REFERENCES projects (id) ON DELETE CASCADE,
    -- The forge's own, the same when it delivers once more.
    key TEXT NOT NULL,
    received_at INTEGER NOT NULL,
    -- The header that names what the body is about.
    event TEXT,
    body BLOB NOT NULL,
    -- What became of it: `waiting`, `acted`, `ignored` or `failed`.
    state TEXT NOT NULL CHECK (state IN ('waiting', 'acted', 'ignored', 'failed')),
    -- Why, in words.
    outcome TEXT,
    settled_at INTEGER,
    -- How often it came again: the same, or another body under the same key.
    repeats INTEGER NOT NULL DEFAULT 0,
    conflicts INTEGER NOT NULL DEFAULT 0,
    UNIQUE (project, key)
) STRICT;

CREATE INDEX deliveries_waiting ON deliveries (id) WHERE state = 'waiting';
CREATE INDEX deliveries_of_project ON deliveries (project, id);
CREATE INDEX deliveries_by_age ON deliveries (received_at);
