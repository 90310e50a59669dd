-- What runs remember about repositories, for all servers that share this database. A repository is known by its address,
-- whichever projects have it built, as its mirrors are; it stays when its projects are removed.
CREATE TABLE repositories (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    url TEXT NOT NULL UNIQUE
);

-- Successes of base derivations.
CREATE TABLE successes (
    repository BIGINT NOT NULL REFERENCES repositories (id) ON DELETE CASCADE,
    -- The base derivation, without the store's directory.
    base TEXT NOT NULL,
    -- The jobset that made it from a cache, and that it counts for; empty if the base derivation itself was built, which
    -- counts for all.
    maker TEXT NOT NULL,
    job TEXT NOT NULL,
    -- The derivation that was built, and its outputs as JSON.
    built TEXT NOT NULL,
    outputs TEXT NOT NULL,
    commit_id TEXT NOT NULL,
    -- In seconds since 1970.
    made_at BIGINT NOT NULL,
    -- Trust in the jobset that made it.
    tier TEXT NOT NULL CHECK (tier IN ('default-branch', 'branch', 'pull-request', 'fork')),
    -- What became of its cache output; `entry` is what a pointer may say of it.
    cache TEXT NOT NULL CHECK (cache IN ('none', 'entry', 'unusable')),
    entry TEXT CHECK ((entry IS NULL) = (cache <> 'entry')),
    PRIMARY KEY (repository, base, maker)
);

-- Caches that are not used any more: `until` a time, or `off` since an audit.
CREATE TABLE dropped_caches (
    repository BIGINT NOT NULL REFERENCES repositories (id) ON DELETE CASCADE,
    -- One for all marks of the same caches.
    name TEXT NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('until', 'off')),
    -- `*` for all.
    jobset TEXT NOT NULL,
    -- Nothing for all.
    job TEXT CHECK (kind = 'until' OR job IS NOT NULL),
    -- In seconds since 1970.
    dropped_until BIGINT CHECK ((kind = 'until') = (dropped_until IS NOT NULL)),
    -- The commit whose audit said so.
    commit_id TEXT CHECK ((kind = 'off') = (commit_id IS NOT NULL)),
    PRIMARY KEY (repository, name)
);

-- What went into the keys of caches, as JSON.
CREATE TABLE cache_keys (
    repository BIGINT NOT NULL REFERENCES repositories (id) ON DELETE CASCADE,
    key TEXT NOT NULL,
    document TEXT NOT NULL,
    PRIMARY KEY (repository, key)
);

-- The files of mirrors that were taken over, part by part, so that none is taken over twice.
CREATE TABLE taken_over (
    part TEXT PRIMARY KEY,
    repository BIGINT NOT NULL REFERENCES repositories (id) ON DELETE CASCADE
);
