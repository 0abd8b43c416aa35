package location_test

import (
	"reflect"
	"strings"
	"testing"

	"github.com/heimdall-run/heimdall/host/internal/objectstore/location"
)

func TestParse(t *testing.T) {
	yes, no := true, false
	for text, want := range map[string]location.Location{
		"file":                {},
		"s3://bucket":         {S3: true, Bucket: "bucket"},
		"s3://a.b-c/":         {S3: true, Bucket: "a.b-c"},
		"s3://bucket//a/b//":  {S3: true, Bucket: "bucket", Prefix: "a/b"},
		"s3://bucket/a%20b/c": {S3: true, Bucket: "bucket", Prefix: "a b/c"},
		"s3://bucket?endpoint=http://127.0.0.1:9000/&path_style=false": {
			S3: true, Bucket: "bucket", Endpoint: "127.0.0.1:9000", Insecure: true, PathStyle: &no,
		},
		"s3://bucket/p?endpoint=https://s3.example.com&region=eu-1&path_style=true&ca_file=/etc/ca.pem&credentials_file=/etc/keys&profile=jobs": {
			S3: true, Bucket: "bucket", Prefix: "p", Endpoint: "s3.example.com", Region: "eu-1", PathStyle: &yes,
			CAFile: "/etc/ca.pem", CredentialsFile: "/etc/keys", Profile: "jobs",
		},
	} {
		got, err := location.Parse(text)
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("Parse(%q): got %+v, %v, want %+v", text, got, err, want)
		}
	}
}

// TestParseRefuses has hunter2 wherever somebody might write a secret: no error may
// say it again.
func TestParseRefuses(t *testing.T) {
	for text, want := range map[string]string{
		"":                                         `want "file"`,
		"files":                                    `want "file"`,
		"file:///var/artifacts":                    `want "file"`,
		"http://bucket/hunter2":                    `want "file"`,
		"s3:bucket":                                `want "file"`,
		"s3://bucket:9000":                         `want "file"`,
		"s3://bucket#hunter2":                      `want "file"`,
		"s3://bucket/%zz-hunter2":                  `want "file"`,
		"s3://":                                    "name of a bucket",
		"s3://Bucket":                              "name of a bucket",
		"s3://b":                                   "name of a bucket",
		"s3://" + strings.Repeat("b", 64):          "name of a bucket",
		"s3://key:hunter2@bucket":                  "AWS_SECRET_ACCESS_KEY",
		"s3://bucket/a/../b":                       "beginning of keys",
		"s3://bucket/a//b":                         "beginning of keys",
		"s3://bucket?region=a;hunter2":             "cannot be read",
		"s3://bucket?region=a&region=b":            "region stands there twice",
		"s3://bucket?region=":                      "region is empty",
		"s3://bucket?secret_key=hunter2":           `"secret_key" is not known`,
		"s3://bucket?path_style=perhaps":           "want true or false",
		"s3://bucket?endpoint=s3.example.com":      "endpoint is no URL",
		"s3://bucket?endpoint=ftp://a":             "endpoint is no URL",
		"s3://bucket?endpoint=https://a/b":         "endpoint is no URL",
		"s3://bucket?endpoint=https://":            "endpoint is no URL",
		"s3://bucket?endpoint=https://k:hunter2@a": "endpoint is no URL",
		"s3://bucket?endpoint=http://a&ca_file=/etc/c.pem": "ca_file is for endpoints of https",
	} {
		got, err := location.Parse(text)
		switch {
		case err == nil:
			t.Errorf("Parse(%q): got %+v, want an error with %q", text, got, want)
		case !strings.Contains(err.Error(), want):
			t.Errorf("Parse(%q): got %q, want an error with %q", text, err, want)
		case strings.Contains(err.Error(), "hunter2"):
			t.Errorf("Parse(%q) shows the secret: %q", text, err)
		}
	}
}
