package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgconn/ctxwatch"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/heimdall-run/heimdall/sdk"
	"github.com/heimdall-run/heimdall/sdk/sql"
)

// Postgres runs SQL; its fields are the operator's settings.
type Postgres struct {
	ConnectionString sdk.Secret   `json:"connection_string" doc:"postgres://user:password@host:5432/database?sslmode=verify-full, or host=… user=…; instead of the keys below."`
	Host             string       `json:"host" doc:"Name or address of the server, or the folder of its socket."`
	Port             int          `json:"port" doc:"Left out: 5432."`
	Database         string       `json:"database" doc:"Left out: as the user."`
	User             string       `json:"user" doc:"Who the queries run as."`
	Password         sdk.Secret   `json:"password" doc:"Of the user."`
	SSLMode          string       `json:"sslmode" doc:"disable, allow, prefer, require, verify-ca or verify-full, as PostgreSQL's own programs have it. Left out: prefer, with ca_file verify-full."`
	CAFile           string       `json:"ca_file" doc:"File of the certificates (PEM) that the server's is verified with."`
	CertFile         string       `json:"cert_file" doc:"File of the certificate (PEM) to show the server."`
	KeyFile          string       `json:"key_file" doc:"File of its key (PEM)."`
	MaxConnections   int32        `json:"max_connections" doc:"Most connections at once; further queries wait for one. Left out: 16."`
	ConnectTimeout   sdk.Duration `json:"connect_timeout" doc:"Longest time to make a connection. Left out: 10s."`
	StatementTimeout sdk.Duration `json:"statement_timeout" doc:"Longest time of a statement, kept by the server; 0s: any. The job has a timeout of its own."`
	sql.Limits

	pool *pgxpool.Pool
}

// Input is what callers write.
type Input struct {
	sql.Input
	ReturnResult *bool `json:"return_result" doc:"false: the rows are read, and dropped."`
}

// create returns a Postgres with the default settings.
func create() *Postgres {
	return &Postgres{MaxConnections: 16, ConnectTimeout: sdk.Duration(10 * time.Second)}
}

const (
	// What a canceled query may take until its connection is cut.
	cancelTime = 5 * time.Second
	idleTime   = 5 * time.Minute // until a connection that nobody uses is closed
)

// Open makes the pool. No connection is made before the first query.
func (p *Postgres) Open(ctx context.Context) error {
	if err := p.Limits.Check(); err != nil {
		return err
	}
	c, err := p.config()
	if err != nil {
		return sdk.Errorf(sdk.Internal, "%w", err)
	}
	// Its context is that of all connections, and ends with them only.
	p.pool, err = pgxpool.NewWithConfig(context.WithoutCancel(ctx), c)
	return err
}

// Close closes the connections.
func (p *Postgres) Close() error {
	if p.pool != nil {
		p.pool.Close()
	}
	return nil
}

// Check asks the server for an answer.
func (p *Postgres) Check(ctx context.Context) error {
	conn, err := p.pool.Acquire(ctx)
	if err != nil {
		return fault(err, "")
	}
	defer conn.Release()
	_, err = conn.Conn().PgConn().Exec(ctx, "SELECT 1").ReadAll()
	return fault(err, "")
}

func (p *Postgres) config() (*pgxpool.Config, error) {
	text := p.ConnectionString.Reveal()
	if text == "" {
		text = p.address()
	} else if p.Host != "" || p.Port != 0 || p.Database != "" || p.User != "" || p.Password.Reveal() != "" || p.SSLMode != "" || p.CAFile != "" || p.CertFile != "" || p.KeyFile != "" {
		return nil, errors.New("connection_string says where the server is and who asks; leave out host, port, database, user, password, sslmode, ca_file, cert_file and key_file")
	}
	c, err := pgxpool.ParseConfig(text)
	if err != nil {
		return nil, fmt.Errorf("the settings of the connection cannot be used: %w", readable(err))
	}
	if p.MaxConnections < 1 {
		return nil, fmt.Errorf("max_connections is %d; it must be 1 or more", p.MaxConnections)
	}
	if p.StatementTimeout < 0 || p.ConnectTimeout < 0 {
		return nil, errors.New("statement_timeout and connect_timeout cannot be negative")
	}
	c.MaxConns, c.MinConns, c.MaxConnIdleTime = p.MaxConnections, 0, idleTime
	if p.ConnectTimeout > 0 {
		c.ConnConfig.ConnectTimeout = p.ConnectTimeout.Std()
	}
	for key, value := range map[string]string{
		"application_name": "heimdall",
		// The texts of values that types.go reads.
		"client_encoding": "UTF8", "datestyle": "ISO", "intervalstyle": "iso_8601", "timezone": "UTC", "bytea_output": "hex", "extra_float_digits": "1",
	} {
		c.ConnConfig.RuntimeParams[key] = value
	}
	if p.StatementTimeout > 0 {
		c.ConnConfig.RuntimeParams["statement_timeout"] = strconv.FormatInt(p.StatementTimeout.Std().Milliseconds(), 10)
	}
	c.ConnConfig.BuildContextWatcherHandler = func(conn *pgconn.PgConn) ctxwatch.Handler {
		return &pgconn.CancelRequestContextWatcherHandler{Conn: conn, DeadlineDelay: cancelTime}
	}
	largest := int(min(2*p.Cell(), 1<<30)) + 1<<20 // several large values are still one row
	c.AfterConnect = func(_ context.Context, conn *pgx.Conn) error {
		conn.PgConn().Frontend().SetMaxBodyLen(largest)
		return nil
	}
	return c, nil
}

// address returns the settings as a URL.
func (p *Postgres) address() string {
	query := url.Values{}
	if mode := p.SSLMode; mode != "" {
		query.Set("sslmode", mode)
	} else if p.CAFile != "" {
		query.Set("sslmode", "verify-full")
	}
	for key, value := range map[string]string{"host": p.Host, "sslrootcert": p.CAFile, "sslcert": p.CertFile, "sslkey": p.KeyFile} {
		if value != "" {
			query.Set(key, value)
		}
	}
	if p.Port != 0 {
		query.Set("port", strconv.Itoa(p.Port))
	}
	u := url.URL{Scheme: "postgres", Path: "/" + p.Database, RawQuery: query.Encode()}
	if p.User != "" {
		u.User = url.UserPassword(p.User, p.Password.Reveal())
	}
	return u.String()
}

// readable drops the connection string from an error, which has its password.
func readable(err error) error {
	if file, ok := errors.AsType[*fs.PathError](err); ok {
		return file
	}
	if _, ok := errors.AsType[*pgconn.ParseConfigError](err); ok {
		return errors.New("it is not postgres://user:password@host:port/database?key=value, or one of its values is none that PostgreSQL knows")
	}
	return err
}
