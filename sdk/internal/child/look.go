package child

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"syscall"
)

// lookPath finds a program by the PATH of an environment. A name with a slash is
// returned as it is. Folders in PATH that are not absolute are passed over: what
// they mean depends on where the program is started.
func lookPath(name string, env []string) (string, error) {
	if name == "" {
		return "", errors.New("no program is named")
	}
	if strings.Contains(name, "/") {
		return name, nil
	}
	search := variable(env, "PATH")
	found := error(fs.ErrNotExist)
	for dir := range strings.SplitSeq(search, ":") {
		if !strings.HasPrefix(dir, "/") {
			continue
		}
		path := strings.TrimSuffix(dir, "/") + "/" + name
		err := executable(path)
		if err == nil {
			return path, nil
		}
		if errors.Is(err, fs.ErrPermission) {
			found = fmt.Errorf("%s may not be executed; look at its permissions: %w", path, fs.ErrPermission)
		}
	}
	if errors.Is(found, fs.ErrPermission) {
		return "", found
	}
	return "", fmt.Errorf("no such program in PATH %q; install it or give its full path: %w", search, found)
}

// variable returns the last value of a variable, which is the one that counts.
func variable(env []string, name string) string {
	for i := len(env) - 1; i >= 0; i-- {
		if value, ok := strings.CutPrefix(env[i], name+"="); ok {
			return value
		}
	}
	return ""
}

// unique keeps the last of several variables of one name: programs differ in
// which one they believe.
func unique(env []string) []string {
	seen := make(map[string]bool, len(env))
	out := make([]string, 0, len(env))
	for _, entry := range slices.Backward(env) {
		name, _, _ := strings.Cut(entry, "=")
		if !seen[name] {
			seen[name] = true
			out = append(out, entry)
		}
	}
	slices.Reverse(out)
	return out
}

func executable(path string) error {
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return err
	case info.IsDir():
		return syscall.EISDIR
	case info.Mode()&0o111 == 0:
		return syscall.EACCES
	}
	return nil
}
