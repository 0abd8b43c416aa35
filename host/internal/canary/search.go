package canary

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib" // the driver "pgx"
	_ "modernc.org/sqlite"             // the driver "sqlite"
)

// Folder searches the names and the contents of all files below a folder. What goes
// away meanwhile is left out.
func Folder(folder string) (found error) {
	err := filepath.WalkDir(folder, func(path string, entry fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		content := []byte(path)
		if entry.Type().IsRegular() {
			text, err := os.ReadFile(path)
			if err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
			content = append(content, text...)
		}
		if err := Find(content); err != nil {
			found = errors.Join(found, fmt.Errorf("%s: %w", path, err))
		}
		return nil
	})
	return errors.Join(found, err)
}

// Database searches every column of every table of a database, which is the file or the
// PostgreSQL of an URL.
func Database(ctx context.Context, url string) (found error) {
	driver, list := "pgx", `SELECT table_name FROM information_schema.tables WHERE table_schema = current_schema()`
	if !strings.HasPrefix(url, "postgres") {
		driver, list = "sqlite", `SELECT name FROM sqlite_master WHERE type = 'table'`
	}
	db, err := sql.Open(driver, url)
	if err != nil {
		return err
	}
	defer func() { found = errors.Join(found, db.Close()) }()
	tables, err := read(ctx, db, list)
	if err == nil && len(tables) == 0 {
		err = fmt.Errorf("the database has no tables")
	}
	if err != nil {
		return err
	}
	for _, table := range tables {
		rows, err := read(ctx, db, fmt.Sprintf(`SELECT * FROM "%s"`, table))
		if err != nil {
			return err
		}
		for _, row := range rows {
			if err := Find([]byte(row)); err != nil {
				found = errors.Join(found, fmt.Errorf("table %s: %w", table, err))
			}
		}
	}
	return found
}

// read returns the rows of a query, the columns of each put together as they are.
func read(ctx context.Context, db *sql.DB, query string) (all []string, err error) {
	rows, err := db.QueryContext(ctx, query)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", query, err)
	}
	defer rows.Close()
	names, err := rows.Columns()
	if err != nil {
		return nil, err
	}
	values := make([]any, len(names))
	for i := range values {
		values[i] = new(any)
	}
	for rows.Next() {
		if err := rows.Scan(values...); err != nil {
			return nil, fmt.Errorf("%s: %w", query, err)
		}
		var parts []string
		for _, value := range values {
			switch v := (*value.(*any)).(type) {
			case []byte:
				parts = append(parts, string(v))
			case nil:
			default:
				parts = append(parts, fmt.Sprint(v))
			}
		}
		all = append(all, strings.Join(parts, "\n"))
	}
	return all, rows.Err()
}

// Answers searches what a host answers to GETs of paths.
func Answers(server, user string, paths ...string) (found error) {
	client := http.Client{Timeout: 10 * time.Second}
	for _, path := range paths {
		r, err := http.NewRequest(http.MethodGet, server+path, nil)
		if err != nil {
			return err
		}
		r.Header.Set("X-Heimdall-User", user)
		answer, err := client.Do(r)
		if err != nil {
			return err
		}
		content, err := io.ReadAll(answer.Body)
		answer.Body.Close()
		if err != nil {
			return fmt.Errorf("GET %s: %w", path, err)
		}
		content = fmt.Appendf(content, "\n%v", answer.Header)
		if err := Find(content); err != nil {
			found = errors.Join(found, fmt.Errorf("GET %s: %w", path, err))
		}
	}
	return found
}

// Processes searches the command lines of a process and of all that come from it, and
// the environments of those that run a binary below a folder: that of the process itself
// is where secrets come from, and what jobs run may be given some.
func Processes(pid int, binaries string) (found error) {
	for _, pid := range family(pid) {
		folder := "/proc/" + strconv.Itoa(pid)
		files := []string{"cmdline"}
		if binary, _ := os.Readlink(folder + "/exe"); strings.HasPrefix(binary, binaries) {
			files = append(files, "environ")
		}
		for _, file := range files {
			content, _ := os.ReadFile(folder + "/" + file) // of one that has ended: nothing
			if err := Find(content); err != nil {
				found = errors.Join(found, fmt.Errorf("%s of process %d: %w", file, pid, err))
			}
		}
	}
	return found
}

// family returns a process and its descendants.
func family(pid int) []int {
	all := []int{pid}
	tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	for _, task := range tasks {
		children, _ := os.ReadFile(task) // it may have ended
		for _, child := range strings.Fields(string(children)) {
			if n, err := strconv.Atoi(child); err == nil {
				all = append(all, family(n)...)
			}
		}
	}
	return all
}
