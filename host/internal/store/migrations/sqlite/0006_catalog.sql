-- +goose Up

-- The commands and clusters that there are, or were, whoever declares them.
CREATE TABLE catalog_object (
	kind TEXT NOT NULL, -- command, cluster
	id TEXT NOT NULL,
	managed_by TEXT NOT NULL, -- file, api, lease
	definition TEXT NOT NULL, -- JSON, without what only the host of the file may know
	status_override TEXT, -- in place of that of the definition
	source TEXT NOT NULL DEFAULT '', -- host:path of the file
	gone INTEGER NOT NULL DEFAULT 0, -- nobody declares it any more
	revision INTEGER NOT NULL,
	version INTEGER NOT NULL, -- that its last change gave the catalog
	lease_ttl INTEGER, -- microseconds
	lease_until INTEGER,
	lease_over INTEGER NOT NULL DEFAULT 0,
	created_at INTEGER NOT NULL,
	updated_at INTEGER NOT NULL,
	updated_by TEXT NOT NULL,
	PRIMARY KEY (kind, id)
) STRICT, WITHOUT ROWID;
CREATE INDEX catalog_object_version ON catalog_object (version);
CREATE INDEX catalog_object_lease ON catalog_object (lease_until) WHERE lease_until IS NOT NULL AND NOT gone;

-- Which host's file declares what.
CREATE TABLE catalog_declaration (
	host_id TEXT NOT NULL,
	kind TEXT NOT NULL,
	id TEXT NOT NULL,
	digest TEXT NOT NULL, -- of the definition as it is stored
	lapsed INTEGER NOT NULL DEFAULT 0, -- the host was found not to live
	PRIMARY KEY (host_id, kind, id)
) STRICT, WITHOUT ROWID;
CREATE INDEX catalog_declaration_object ON catalog_declaration (kind, id) WHERE NOT lapsed;
CREATE INDEX catalog_declaration_host ON catalog_declaration (host_id) WHERE NOT lapsed;

-- Each change: what was in force from then on, and who brought it about.
CREATE TABLE catalog_change (
	kind TEXT NOT NULL,
	id TEXT NOT NULL,
	revision INTEGER NOT NULL,
	version INTEGER NOT NULL,
	managed_by TEXT NOT NULL,
	definition TEXT NOT NULL,
	status_override TEXT,
	source TEXT NOT NULL,
	gone INTEGER NOT NULL,
	lease_over INTEGER NOT NULL,
	at INTEGER NOT NULL,
	by TEXT NOT NULL,
	PRIMARY KEY (kind, id, revision)
) STRICT, WITHOUT ROWID;

-- One row, which each change raises and so keeps other changes out until its commit.
CREATE TABLE catalog_version (
	one INTEGER PRIMARY KEY,
	version INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO catalog_version (one, version) VALUES (1, 0);

-- The clusters that a host cannot use although it may know them: jobs on them are
-- for other hosts.
CREATE TABLE host_lacks_cluster (
	host_id TEXT NOT NULL,
	cluster_id TEXT NOT NULL,
	PRIMARY KEY (host_id, cluster_id)
) STRICT, WITHOUT ROWID;
