-- Apps: what this server is at a forge by itself, without anybody's token. Keys and secrets are in clear: whoever can read
-- this database can act as the App.
CREATE TABLE apps (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    -- The last part of the address that deliveries for all its repositories are sent to.
    hook TEXT NOT NULL UNIQUE,
    name TEXT NOT NULL UNIQUE,
    -- The kind of forge, and the address of its web pages.
    forge TEXT NOT NULL,
    url TEXT NOT NULL,
    -- The App's own page there, if it was made from here.
    page TEXT,
    -- The forge's number for it.
    number INTEGER NOT NULL,
    private_key TEXT NOT NULL,
    webhook_secret TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    UNIQUE (url, number)
) STRICT;

-- The App that the project is looked after by, instead of a token.
ALTER TABLE projects ADD COLUMN app INTEGER REFERENCES apps (id);
-- The forge's numbers for its repository and for the App's installation there, as the forge said with a token.
ALTER TABLE projects ADD COLUMN repository INTEGER;
ALTER TABLE projects ADD COLUMN installation INTEGER;

CREATE INDEX projects_of_app ON projects (app, repository);
