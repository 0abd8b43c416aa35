-- +goose Up

-- What all hosts of the store know, and nobody else: the first that needs a key
-- makes it.
CREATE TABLE host_key (
	name TEXT PRIMARY KEY,
	key BLOB NOT NULL
) STRICT;
