package config

import (
	"testing"

	"github.com/BurntSushi/toml"
	"github.com/google/go-cmp/cmp"
)

func TestLocate(t *testing.T) {
	t.Parallel()
	text := `# comment = 1
a = 1
b.c . "d e" = """
text [x]
"" """
'q.r' = '''
# '''' # comment
"\u0061b" = "x\"#" # ]

[t]
list = [ # [
  1, 2,
  [ 'a,', # }
    "]" ], { k = 1,
    m.n = [{}] },
]
[[x]]
[[x.y]]
k = 1
[[x.y]] # [[x.y]]
[x.y.z]
k = """\
  a\
  """
[[x]]
y = [
]
[ "x" . 'w' ]
at = 2026-11-23 10:00:00 # 1
last = 'x'`
	want := map[string]int{
		"a": 2, "b": 3, "b.c": 3, `b.c."d e"`: 3, `"q.r"`: 6, "ab": 8,
		"t": 10, "t.list": 11, "t.list[0]": 12, "t.list[1]": 12, "t.list[2]": 13, "t.list[2][0]": 13, "t.list[2][1]": 14,
		"t.list[3]": 14, "t.list[3].k": 14, "t.list[3].m": 15, "t.list[3].m.n": 15, "t.list[3].m.n[0]": 15,
		"x": 17, "x[0]": 17, "x[0].y": 18, "x[0].y[0]": 18, "x[0].y[0].k": 19, "x[0].y[1]": 20,
		"x[0].y[1].z": 21, "x[0].y[1].z.k": 22,
		"x[1]": 25, "x[1].y": 26, "x[1].w": 28, "x[1].w.at": 29, "x[1].w.last": 30,
	}
	got, deep := locate(text)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("locate (-want +got):\n%s", diff)
	}
	if deep != 0 {
		t.Errorf("deep = %d, want 0", deep)
	}
}

func TestParent(t *testing.T) {
	t.Parallel()
	for path, want := range map[string]string{
		"": "", "a": "", "a.b": "a", "a.b[1]": "a.b", "a[1].b": "a[1]", `a."b.c"`: "a", `a."b\".[c"`: "a", `"a.b"`: "",
	} {
		if got := parent(path); got != want {
			t.Errorf("parent(%s) = %s, want %s", path, got, want)
		}
	}
}

// FuzzLocate holds the locator against the parser: whatever the parser reads
// has a line, and no key is deeper than the bound unless the locator says so.
func FuzzLocate(f *testing.F) {
	for _, text := range []string{
		"a = 1\n[b]\nc.d = [1, {e = 2}]\n[[f]]\n[[f.g]]\nh = '''\n'''\n[[f]]\n",
		"\"a\\\"b\" = \"\"\"x\\\n\"\"\"\"\"\r\n[x.\"\"]\n'' = 1979-05-27 07:32:00 # c",
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		lines, deep := locate(text)
		if deep > 0 {
			return
		}
		var tree map[string]any
		if _, err := toml.Decode(text, &tree); err != nil {
			return
		}
		var check func(key string, value any)
		check = func(key string, value any) {
			if key != "" && lines[key] < 1 {
				t.Errorf("%s has no line; lines: %v", key, lines)
			}
			if table, ok := value.(map[string]any); ok {
				for name, of := range table {
					check(join(key, name), of)
				}
			}
			values, _ := list(value)
			for i, of := range values {
				check(element(key, i), of)
			}
		}
		check("", tree)
	})
}
