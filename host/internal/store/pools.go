package store

import (
	"database/sql"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
)

// Pool is how a pool of connections to the database stands.
type Pool struct {
	Name            string
	Max, Open, Used int
	Waits           int64         // for a connection, ever
	Waited          time.Duration // together
}

// Pools returns how the pools of connections stand.
func (db *DB) Pools() []Pool { return db.pools() }

// Up reports whether the database answers writes, as far as is known.
func (db *DB) Up() bool { return !db.outage.away() }

// Speaks reports whether the store says itself what is the matter now: whoever fails
// because the database does not answer need not.
func (db *DB) Speaks() bool { return db.outage.speaks.Load() }

func (p *postgres) pools() []Pool {
	return []Pool{poolOf("work", p.pool), poolOf("lists", p.lists), poolOf("beside", p.side)}
}

func poolOf(name string, p *pgxpool.Pool) Pool {
	s := p.Stat()
	return Pool{
		Name: name, Max: int(s.MaxConns()), Open: int(s.TotalConns()), Used: int(s.AcquiredConns()),
		Waits: s.EmptyAcquireCount(), Waited: s.EmptyAcquireWaitTime(),
	}
}

func (s *lite) pools() []Pool {
	return []Pool{poolOfSQL("write", s.writer), poolOfSQL("read", s.reader)}
}

func poolOfSQL(name string, db *sql.DB) Pool {
	s := db.Stats()
	return Pool{Name: name, Max: s.MaxOpenConnections, Open: s.OpenConnections, Used: s.InUse, Waits: s.WaitCount, Waited: s.WaitDuration}
}
