package store

import (
	"context"
	"time"
)

// channel names what the hosts of one schema listen to. It is a query: several
// stores may share a database.
const channel = "SELECT 'heimdall_' || substr(md5(current_schema()), 1, 16)"

// listenAgain is the time before a broken connection is replaced.
const listenAgain = 200 * time.Millisecond

func (p *postgres) listen(ctx context.Context, ready func(), heard func(string)) error {
	for ctx.Err() == nil {
		if err := p.hear(ctx, ready, heard); err != nil && ctx.Err() == nil {
			p.log.Debug("notices of other hosts are not heard for a moment", "error", short(err))
		}
		select {
		case <-ctx.Done():
		case <-time.After(listenAgain):
		}
	}
	return nil
}

// hear listens on one connection until that breaks.
func (p *postgres) hear(ctx context.Context, ready func(), heard func(string)) error {
	conn, err := p.side.Acquire(ctx)
	if err != nil {
		return err
	}
	own := conn.Hijack() // it listens until it is closed
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		_ = own.Close(ctx)
	}()
	var name string
	if err := own.QueryRow(ctx, channel).Scan(&name); err != nil {
		return err
	}
	if _, err := own.Exec(ctx, "LISTEN "+name); err != nil {
		return err
	}
	ready()
	for {
		n, err := own.WaitForNotification(ctx)
		if err != nil {
			return err
		}
		heard(n.Payload)
	}
}

// notify need not be durable: after a crash of the server nobody listens any more.
func (p *postgres) notify(ctx context.Context, texts []string) error {
	ctx, cancel := context.WithTimeout(ctx, openTimeout)
	defer cancel()
	_, err := p.side.Exec(ctx, `
		SELECT set_config('synchronous_commit', 'off', true),
			(SELECT count(pg_notify((`+channel+`), text)) FROM unnest($1::text[]) AS text)`, texts)
	return err
}
