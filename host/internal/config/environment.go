package config

import (
	"reflect"
	"strconv"
	"strings"
	"time"
)

// environment is a process environment, as os.Environ gives it.
type environment []string

// lookup returns the value of a variable; the last one wins.
func (e environment) lookup(name string) (value string, ok bool) {
	for _, pair := range e {
		if n, v, found := strings.Cut(pair, "="); found && n == name {
			value, ok = v, true
		}
	}
	return value, ok
}

// override sets the settings that have a variable. The catalog and the plugins'
// settings have none.
func (e environment) override(c *Config, found *faults) {
	sections := reflect.ValueOf(c).Elem()
	for i := range sections.NumField() {
		section, key := sections.Field(i), sections.Type().Field(i).Tag.Get("toml")
		switch section.Kind() {
		case reflect.String:
			e.set(key, section, found)
		case reflect.Struct:
			for j := range section.NumField() {
				e.set(join(key, section.Type().Field(j).Tag.Get("toml")), section.Field(j), found)
			}
		}
	}
}

// set sets one setting, if its variable is there. What the file has for it then
// does not matter.
func (e environment) set(key string, field reflect.Value, found *faults) {
	name := "HEIMDALL_" + strings.ToUpper(strings.ReplaceAll(key, ".", "_"))
	value, ok := e.lookup(name)
	if !ok {
		return
	}
	found.drop(key)
	found.variables[key] = name
	switch to := field.Addr().Interface().(type) {
	case *string:
		*to = value
	case *int, *int64:
		n, err := strconv.ParseInt(strings.TrimSpace(value), 10, 64)
		if err != nil {
			found.add(key, "%q is not a whole number", value)
		}
		field.SetInt(n)
	case *time.Duration:
		duration, err := time.ParseDuration(strings.TrimSpace(value))
		if err != nil {
			found.add(key, `%q is not a duration such as "30s" or "5m"`, value)
		}
		*to = duration
	case *[]string:
		*to = []string{}
		for part := range strings.SplitSeq(value, ",") {
			if part = strings.TrimSpace(part); part != "" {
				*to = append(*to, part)
			}
		}
	case *map[string]Policy:
		found.add(key, "a variable cannot say this; write it into the file")
	}
}
