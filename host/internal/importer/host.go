package importer

import (
	"strconv"
	"strings"
)

// server converts where the host listens.
func (c *converter) server(t *table) {
	server := c.section(t, "server")
	if server == nil {
		c.notes = append(c.notes, Note{Text: "the host listens on 127.0.0.1:9090, not on all addresses: set server.listen, and auth.trusted_proxies to those that may name users"})
		return
	}
	address := server.take("addr")
	if address == nil {
		address = server.take("address")
	}
	if text, ok := c.text(address); ok {
		c.out.table("server")
		c.out.value("listen", text)
		if host, _, _ := strings.Cut(text, ":"); host != "127.0.0.1" && host != "localhost" {
			c.note(address, "carried over; but users are believed only from this machine until auth.trusted_proxies says more, and nobody may change the catalog until auth.operators does")
		}
	}
	for _, name := range []string{"read_timeout", "write_timeout", "idle_timeout", "read_header_timeout"} {
		if e := server.take(name); e != nil {
			c.note(e, "left out: each request has the time here that it needs; a synchronous job may take hours")
		}
	}
	c.rest(server)
}

// store converts the database.
func (c *converter) store(t *table) {
	database := c.section(t, "database")
	if database == nil {
		return
	}
	e := database.take("connection_string")
	if text, ok := c.text(e); ok {
		if strings.HasPrefix(text, "postgres://") || strings.HasPrefix(text, "postgresql://") {
			c.out.table("store")
			c.out.value("url", text)
			c.note(e, "carried over; the jobs in it are not: give the host a database of its own, and rather ${NAME} than a password in the file")
		} else {
			c.note(e, "left out: store.url is a URL, postgres://user:password@host:5432/database")
		}
	}
	c.rest(database)
}

// pool converts how many jobs run at once, and janitor how long they are kept.
func (c *converter) pool(t *table) {
	workers, keep := "", ""
	pool := c.section(t, "pool")
	if pool != nil {
		if e := pool.take("size"); e != nil {
			if n, err := strconv.Atoi(e.value.Value); err == nil && n > 0 {
				workers = strconv.Itoa(n)
				c.note(e, "carried over as queue.workers, which bounds synchronous jobs too; the default is 64")
			} else {
				c.note(e, "left out: it is not a number of jobs")
			}
		}
		if e := pool.take("sleep"); e != nil {
			c.note(e, "left out: hosts tell each other of new jobs")
		}
		c.rest(pool)
	}
	janitor := c.section(t, "janitor")
	if janitor != nil {
		if e := janitor.take("finished_job_retention_days"); e != nil {
			if days, err := strconv.Atoi(e.value.Value); err == nil && days > 0 && days < 36500 {
				keep = strconv.Itoa(days*24) + "h"
			} else if err != nil || days != 0 { // 0: for ever, as without it
				c.note(e, "left out: it is not a number of days")
			}
		}
		for _, name := range []string{"keepalive", "stale_job", "clean_interval"} {
			if e := janitor.take(name); e != nil {
				c.note(e, "left out: what a lost host had is found by its lease; see queue.lease and queue.lost_after")
			}
		}
		c.rest(janitor)
	}
	if workers != "" || keep != "" {
		c.out.table("queue")
	}
	if workers != "" {
		c.out.raw("workers", workers)
	}
	if keep != "" {
		c.out.value("keep", keep)
	}
}

// auth converts the header that names the user.
func (c *converter) auth(t *table) {
	auth := c.section(t, "auth")
	if auth == nil {
		return
	}
	plugin := auth.take("plugin")
	name, _ := c.text(plugin)
	context := c.section(auth, "context")
	if plugin != nil && !strings.Contains(name, "auth_header") {
		c.note(plugin, "left out: users are named by a header here (auth.trusted_headers), which a proxy before the host sets")
	} else if context != nil {
		if header, ok := c.text(context.take("header")); ok {
			c.out.table("auth")
			c.out.value("trusted_headers", []any{header})
		}
		c.rest(context)
	}
	c.rest(auth)
}
