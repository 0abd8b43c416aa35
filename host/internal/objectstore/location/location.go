// Package location reads where artifacts are kept from the text of artifacts.url.
package location

import (
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Location is a place for objects: the folder artifacts of the data folder, or a
// bucket of an S3 service.
type Location struct {
	S3       bool
	Bucket   string
	Prefix   string // of all keys, without slashes at its ends; empty: none
	Endpoint string // host:port; empty: that of Amazon
	Insecure bool   // http instead of https
	Region   string // empty: what the environment says
	// PathStyle says how a bucket is named in URLs: in the path, or in the name of
	// the host. nil: the path, but for Amazon.
	PathStyle *bool
	CAFile    string // certificates to be trusted beside those of the system
	// CredentialsFile and Profile name keys in a file as the AWS tools have it.
	// Empty: what the environment says.
	CredentialsFile, Profile string
}

const want = `want "file" or "s3://bucket/prefix?endpoint=https://host&region=name"`

// names of buckets, as they can be everywhere.
var bucketName = regexp.MustCompile(`^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$`)

// Parse reads a location. Its errors show no part of what may be a secret.
func Parse(text string) (Location, error) {
	if text == "file" {
		return Location{}, nil
	}
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Scheme != "s3" || u.Opaque != "" || u.Fragment != "" || u.Port() != "":
		return Location{}, errors.New(want)
	case u.User != nil:
		return Location{}, errors.New("keys do not stand in the URL; put them into AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or into a file that credentials_file names")
	case !bucketName.MatchString(u.Host):
		return Location{}, fmt.Errorf("%q cannot be the name of a bucket; %s", u.Host, want)
	}
	l := Location{S3: true, Bucket: u.Host, Prefix: strings.Trim(u.Path, "/")}
	if l.Prefix != "" && !fs.ValidPath(l.Prefix) {
		return Location{}, fmt.Errorf("%q cannot be the beginning of keys; leave out \"..\" and empty parts", l.Prefix)
	}
	query, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return Location{}, errors.New("what follows the ? cannot be read; " + want)
	}
	for name, values := range query {
		if len(values) > 1 {
			return Location{}, fmt.Errorf("%s stands there twice", name)
		}
		if err := l.set(name, values[0]); err != nil {
			return Location{}, err
		}
	}
	if l.CAFile != "" && l.Insecure {
		return Location{}, errors.New("ca_file is for endpoints of https")
	}
	return l, nil
}

func (l *Location) set(name, value string) error {
	known := map[string]*string{
		"region": &l.Region, "ca_file": &l.CAFile, "credentials_file": &l.CredentialsFile, "profile": &l.Profile,
	}
	switch to := known[name]; {
	case value == "":
		return fmt.Errorf("%s is empty; leave it out", name)
	case to != nil:
		*to = value
	case name == "endpoint":
		u, err := url.Parse(value)
		if err != nil || !slices.Contains([]string{"http", "https"}, u.Scheme) || u.Host == "" ||
			strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.User != nil {
			return errors.New("endpoint is no URL of a service; write it like https://s3.example.com:9000")
		}
		l.Endpoint, l.Insecure = u.Host, u.Scheme == "http"
	case name == "path_style":
		b, err := strconv.ParseBool(value)
		if err != nil {
			return fmt.Errorf("path_style is %q; want true or false", value)
		}
		l.PathStyle = &b
	default:
		return fmt.Errorf("%q is not known; there are endpoint, region, path_style, ca_file, credentials_file, profile", name)
	}
	return nil
}
