-- Who uses the server. Of secrets there are only hashes.
-- The forges by whose accounts people sign in.
CREATE TABLE sign_in_forges (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kind TEXT NOT NULL,
    url TEXT NOT NULL UNIQUE,
    client_id TEXT NOT NULL,
    secret_file TEXT NOT NULL,
    created_at BIGINT NOT NULL
);

-- A person is an account at a forge, known by its number. The operator has none.
CREATE TABLE people (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    forge BIGINT REFERENCES sign_in_forges (id) ON DELETE CASCADE,
    account BIGINT,
    login TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    CHECK ((forge IS NULL) = (account IS NULL)),
    UNIQUE (forge, account)
);

CREATE TABLE sessions (
    cookie TEXT PRIMARY KEY,
    person BIGINT NOT NULL REFERENCES people (id) ON DELETE CASCADE,
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL
);

CREATE INDEX sessions_of_person ON sessions (person);

-- The link by which the operator signs in, until it is used.
CREATE TABLE operator_links (
    link TEXT PRIMARY KEY,
    expires_at BIGINT NOT NULL
);

-- Who is on the way to a forge and back.
CREATE TABLE sign_ins (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    state TEXT NOT NULL UNIQUE,
    -- The browser that they left with.
    browser TEXT NOT NULL,
    forge BIGINT NOT NULL REFERENCES sign_in_forges (id) ON DELETE CASCADE,
    verifier TEXT NOT NULL,
    next TEXT NOT NULL,
    expires_at BIGINT NOT NULL
);

CREATE TABLE api_tokens (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    secret TEXT NOT NULL UNIQUE,
    scope TEXT NOT NULL CHECK (scope IN ('read', 'write', 'admin')),
    -- The only project that it is for; all without one.
    project BIGINT REFERENCES projects (id) ON DELETE CASCADE,
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    used_at BIGINT
);

-- Whether everybody may see it, as its forge says.
ALTER TABLE projects ADD COLUMN is_public BIGINT NOT NULL DEFAULT 0;

-- The number of a pull request's author at the forge, who may cancel and re-run.
ALTER TABLE heads ADD COLUMN author BIGINT;
ALTER TABLE runs ADD COLUMN author BIGINT;
