-- What people asked for at a forge, by what its delivery says and signs: it counts once. The key of a delivery is signed by
-- no forge, so that what was delivered may come again under another.
CREATE TABLE wishes (
    project BIGINT NOT NULL REFERENCES projects (id) ON DELETE CASCADE,
    -- A comment with the commit that it names, or a digest of what says that somebody pressed a button.
    wish TEXT NOT NULL,
    -- The delivery that said so first; it may be forgotten by now.
    delivery BIGINT NOT NULL,
    asked_at BIGINT NOT NULL,
    PRIMARY KEY (project, wish)
);
