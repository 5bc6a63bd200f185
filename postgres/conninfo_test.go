package postgres_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tanist-ha/tanist/postgres"
)

func TestParseConninfo(t *testing.T) {
	tests := []struct {
		text string
		want postgres.Conninfo
	}{
		{"", postgres.Conninfo{}},
		{"  host=a port = 5432\n user=u", postgres.Conninfo{"host": "a", "port": "5432", "user": "u"}},
		{`password='it''s'`, nil}, // libpq escapes a quote with a backslash only
		{`password='it\'s \\ a=b' dbname=x\ y`, postgres.Conninfo{"password": `it's \ a=b`, "dbname": "x y"}},
		{`options='' dbname=`, postgres.Conninfo{"options": "", "dbname": ""}},
		{"postgres://10.0.0.1:5432/postgres", postgres.Conninfo{"host": "10.0.0.1", "port": "5432", "dbname": "postgres"}},
		{"postgresql://u:p%40ss@[::1]:6432/d%2Fb?sslmode=require&application_name=a%20b",
			postgres.Conninfo{"user": "u", "password": "p@ss", "host": "::1", "port": "6432", "dbname": "d/b", "sslmode": "require", "application_name": "a b"}},
		{"postgres://h1:1,h2:2,[fe80::1]:3/db", postgres.Conninfo{"host": "h1,h2,fe80::1", "port": "1,2,3", "dbname": "db"}},
		{"postgres://h1,h2", postgres.Conninfo{"host": "h1,h2"}},
		{"postgres:///db?host=/var/run/postgresql", postgres.Conninfo{"host": "/var/run/postgresql", "dbname": "db"}},
		{"postgres://%2Ftmp:1/db", postgres.Conninfo{"host": "/tmp", "port": "1", "dbname": "db"}},
		{"postgres://", postgres.Conninfo{}},
		{"host", nil}, {"=x", nil}, {"host='a", nil}, {"a b=c", nil}, {"postgres://h/%zz", nil}, {"postgres://h/d?x", nil},
	}
	for _, tt := range tests {
		got, err := postgres.ParseConninfo(tt.text)
		if tt.want == nil {
			if err == nil {
				t.Errorf("ParseConninfo(%q) = %s, want an error", tt.text, got)
			}
			continue
		}
		if err != nil {
			t.Errorf("ParseConninfo(%q): %v", tt.text, err)
		}
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("ParseConninfo(%q) (-want +got):\n%s", tt.text, diff)
		}
	}
}

func TestConninfoHidesSecrets(t *testing.T) {
	c := postgres.Conninfo{"host": "a", "password": "hush", "sslpassword": "hush", "application_name": ""}
	for _, text := range []string{c.String(), fmt.Sprint(c), fmt.Sprintf("%v %+v %#v %s", c, c, c, c), fmt.Sprintf("%+v", postgres.ConnectParams{Conninfo: c})} {
		if strings.Contains(text, "hush") {
			t.Errorf("a secret shows: %s", text)
		}
	}
	if c["password"] != "hush" {
		t.Error("String changed the value")
	}
	if got, want := c.Format(), "host=a password=hush sslpassword=hush"; got != want {
		t.Errorf("Format = %q, want %q", got, want)
	}
	for _, text := range []string{"password='hush", "password hush", "postgres://u:hush@h/%zz", "hush"} {
		if _, err := postgres.ParseConninfo(text); err == nil || strings.Contains(err.Error(), "hush") {
			t.Errorf("error of ParseConninfo(%q): %v", text, err)
		}
	}
}

func TestMemberURL(t *testing.T) {
	for want, in := range map[string][3]string{
		"postgres://10.0.0.1:5432/postgres":  {"10.0.0.1", "5432", "postgres"},
		"postgres://[fe80::1]:5432/postgres": {"fe80::1", "5432", "postgres"},
	} {
		got := postgres.MemberURL(in[0], in[1], in[2])
		if got != want {
			t.Errorf("MemberURL = %q, want %q", got, want)
		}
		c, err := postgres.ParseConninfo(got)
		if err != nil || c["host"] != in[0] || c["port"] != in[1] || c["dbname"] != in[2] {
			t.Errorf("ParseConninfo(%q) = %v, %v", got, c, err)
		}
	}
}

func TestQuote(t *testing.T) {
	for in, want := range map[string]string{"a": `"a"`, `A"b`: `"A""b"`, "": `""`} {
		if got := postgres.QuoteIdent(in); got != want {
			t.Errorf("QuoteIdent(%q) = %s", in, got)
		}
	}
	for in, want := range map[string]string{"a": `'a'`, "it's": `'it''s'`, `a\'`: ` E'a\\'''`} {
		if got := postgres.QuoteLiteral(in); got != want {
			t.Errorf("QuoteLiteral(%q) = %s, want %s", in, got, want)
		}
	}
	err := &postgres.ServerError{Severity: "ERROR", Code: "42710", Message: "slot exists", Detail: "it is mine"}
	if got := err.Error(); got != "ERROR: slot exists (SQLSTATE 42710): it is mine" {
		t.Errorf("Error = %q", got)
	}
}

func TestParseLSN(t *testing.T) {
	for text, want := range map[string]postgres.LSN{"0/0": 0, "0/3000060": 0x3000060, "1A/2b": 0x1A_0000002B, "FFFFFFFF/FFFFFFFF": 1<<64 - 1} {
		got, err := postgres.ParseLSN(text)
		if err != nil || got != want {
			t.Errorf("ParseLSN(%q) = %d, %v, want %d", text, got, err, want)
		}
		if again, err := postgres.ParseLSN(got.String()); err != nil || again != got {
			t.Errorf("%q is printed %s, which is read as %d, %v", text, got, again, err)
		}
	}
	for _, bad := range []string{"", "0", "/", "0/", "x/0", "0/100000000", "-1/0", "0/0/0", " 0/0"} {
		if got, err := postgres.ParseLSN(bad); err == nil {
			t.Errorf("ParseLSN(%q) = %d, want an error", bad, got)
		}
	}
}
