-- +goose Up

-- The commands and clusters that there are, or were, whoever declares them.
CREATE TABLE catalog_object (
	kind text COLLATE "C" NOT NULL, -- command, cluster
	id text COLLATE "C" NOT NULL,
	managed_by text NOT NULL, -- file, api, lease
	definition text NOT NULL, -- JSON, without what only the host of the file may know
	status_override text, -- in place of that of the definition
	source text NOT NULL DEFAULT '', -- host:path of the file
	gone boolean NOT NULL DEFAULT FALSE, -- nobody declares it any more
	revision bigint NOT NULL,
	version bigint NOT NULL, -- that its last change gave the catalog
	lease_ttl bigint, -- microseconds
	lease_until timestamptz,
	lease_over boolean NOT NULL DEFAULT FALSE,
	created_at timestamptz NOT NULL,
	updated_at timestamptz NOT NULL,
	updated_by text NOT NULL,
	PRIMARY KEY (kind, id)
);
CREATE INDEX catalog_object_version ON catalog_object (version);
CREATE INDEX catalog_object_lease ON catalog_object (lease_until) WHERE lease_until IS NOT NULL AND NOT gone;

-- Which host's file declares what.
CREATE TABLE catalog_declaration (
	host_id text COLLATE "C" NOT NULL,
	kind text COLLATE "C" NOT NULL,
	id text COLLATE "C" NOT NULL,
	digest text NOT NULL, -- of the definition as it is stored
	lapsed boolean NOT NULL DEFAULT FALSE, -- the host was found not to live
	PRIMARY KEY (host_id, kind, id)
);
CREATE INDEX catalog_declaration_object ON catalog_declaration (kind, id) WHERE NOT lapsed;
CREATE INDEX catalog_declaration_host ON catalog_declaration (host_id) WHERE NOT lapsed;

-- Each change: what was in force from then on, and who brought it about.
CREATE TABLE catalog_change (
	kind text COLLATE "C" NOT NULL,
	id text COLLATE "C" NOT NULL,
	revision bigint NOT NULL,
	version bigint NOT NULL,
	managed_by text NOT NULL,
	definition text NOT NULL,
	status_override text,
	source text NOT NULL,
	gone boolean NOT NULL,
	lease_over boolean NOT NULL,
	at timestamptz NOT NULL,
	by text NOT NULL,
	PRIMARY KEY (kind, id, revision)
);

-- One row, which each change raises and so keeps other changes out until its commit.
CREATE TABLE catalog_version (
	one integer PRIMARY KEY,
	version bigint NOT NULL
);
INSERT INTO catalog_version (one, version) VALUES (1, 0);

-- The clusters that a host cannot use although it may know them: jobs on them are
-- for other hosts.
CREATE TABLE host_lacks_cluster (
	host_id text NOT NULL,
	cluster_id text NOT NULL,
	PRIMARY KEY (host_id, cluster_id)
);
