package job

// Fields returns what names an attempt in a line of the log, and more behind it.
func (c Claimed) Fields(more ...any) []any {
	fields := []any{"job_id", c.Job.ID, "attempt", c.Lease.Attempt, "command", c.Job.Pair.CommandID, "user", c.Job.User}
	if id := c.Job.Trace.ID(); id != "" {
		fields = append(fields, "trace_id", id)
	}
	return append(fields, more...)
}
