-- Who uses the server. Of secrets there are only hashes.
-- The forges by whose accounts people sign in.
CREATE TABLE sign_in_forges (
    id INTEGER PRIMARY KEY,
    kind TEXT NOT NULL,
    url TEXT NOT NULL UNIQUE,
    client_id TEXT NOT NULL,
    secret_file TEXT NOT NULL,
    created_at INTEGER NOT NULL
) STRICT;

-- A person is an account at a forge, known by its number. The operator has none.
CREATE TABLE people (
    id INTEGER PRIMARY KEY,
    forge INTEGER REFERENCES sign_in_forges (id) ON DELETE CASCADE,
    account INTEGER,
    login TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    CHECK ((forge IS NULL) = (account IS NULL)),
    UNIQUE (forge, account)
) STRICT;

CREATE TABLE sessions (
    cookie TEXT PRIMARY KEY,
    person INTEGER NOT NULL REFERENCES people (id) ON DELETE CASCADE,
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL
) STRICT;

CREATE INDEX sessions_of_person ON sessions (person);

-- The link by which the operator signs in, until it is used.
CREATE TABLE operator_links (
    link TEXT PRIMARY KEY,
    expires_at INTEGER NOT NULL
) STRICT;

-- Who is on the way to a forge and back.
CREATE TABLE sign_ins (
    id INTEGER PRIMARY KEY,
    state TEXT NOT NULL UNIQUE,
    -- The browser that they left with.
    browser TEXT NOT NULL,
    forge INTEGER NOT NULL REFERENCES sign_in_forges (id) ON DELETE CASCADE,
    verifier TEXT NOT NULL,
    next TEXT NOT NULL,
    expires_at INTEGER NOT NULL
) STRICT;

CREATE TABLE api_tokens (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    secret TEXT NOT NULL UNIQUE,
    scope TEXT NOT NULL CHECK (scope IN ('read', 'write', 'admin')),
    -- The only project that it is for; all without one.
    project INTEGER REFERENCES projects (id) ON DELETE CASCADE,
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    used_at INTEGER
) STRICT;

-- Whether everybody may see it, as its forge says.
ALTER TABLE projects ADD COLUMN is_public INTEGER NOT NULL DEFAULT 0;

-- The number of a pull request's author at the forge, who may cancel and re-run.
ALTER TABLE heads ADD COLUMN author INTEGER;
ALTER TABLE runs ADD COLUMN author INTEGER;
