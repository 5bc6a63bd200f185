package postgres

import (
	"cmp"
	"fmt"
	"maps"
	"net"
	"net/url"
	"slices"
	"strings"
)

// Conninfo is a libpq connection string as keywords and values (PostgreSQL documentation, "Connection Strings"). Its
// String hides secrets; Format does not.
type Conninfo map[string]string

// secrets are the keywords whose values must not reach logs.
var secrets = []string{"password", "sslpassword", "oauth_client_secret"}

// String is the connection string with its secrets replaced by stars: for people and logs.
func (c Conninfo) String() string {
	safe := maps.Clone(c)
	for _, k := range secrets {
		if safe[k] != "" {
			safe[k] = "***"
		}
	}
	return safe.Format()
}

// GoString hides secrets from %#v, too.
func (c Conninfo) GoString() string { return "postgres.Conninfo{" + c.String() + "}" }

// Format is the connection string for libpq, secrets included. Keywords stand in a fixed order: host, port, user, dbname,
// then the others by name. Keywords with empty values are left out, which libpq takes for the same.
func (c Conninfo) Format() string {
	var parts []string
	for _, k := range c.keywords() {
		if c[k] != "" {
			parts = append(parts, k+"="+quoteConninfo(c[k]))
		}
	}
	return strings.Join(parts, " ")
}

func (c Conninfo) keywords() []string {
	rank := map[string]int{"host": -4, "port": -3, "user": -2, "dbname": -1}
	return slices.SortedFunc(maps.Keys(c), func(a, b string) int {
		return cmp.Or(cmp.Compare(rank[a], rank[b]), cmp.Compare(a, b))
	})
}

func quoteConninfo(v string) string {
	if v != "" && !strings.ContainsAny(v, " \t\n\r\f\v'\\=") {
		return v
	}
	return `'` + strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(v) + `'`
}

// ParseConninfo reads a connection string in either of libpq's forms: keywords and values, or a postgres:// URL. Nothing
// is added from the environment. Errors do not repeat the string, as it may hold a password.
func ParseConninfo(s string) (Conninfo, error) {
	if strings.HasPrefix(s, "postgres://") || strings.HasPrefix(s, "postgresql://") {
		return parseConnURL(s)
	}
	c := Conninfo{}
	for rest := strings.TrimLeft(s, connSpace); rest != ""; rest = strings.TrimLeft(rest, connSpace) {
		key, after, ok := strings.Cut(rest, "=")
		key = strings.TrimRight(key, connSpace)
		if !ok || key == "" || strings.ContainsAny(key, connSpace+`'\`) {
			return nil, fmt.Errorf("parse connection string: no \"=\" after keyword number %d", len(c)+1)
		}
		value, left, err := cutConnValue(strings.TrimLeft(after, connSpace))
		if err != nil {
			return nil, fmt.Errorf("parse connection string: value of %s: %w", key, err)
		}
		c[key], rest = value, left
	}
	return c, nil
}

// connSpace is what libpq's isspace finds in the C locale.
const connSpace = " \t\n\r\f\v"

// cutConnValue reads one value, quoted or bare, and returns what follows it.
func cutConnValue(s string) (value, rest string, err error) {
	var b strings.Builder
	quoted := strings.HasPrefix(s, "'")
	if quoted {
		s = s[1:]
	}
	for i := 0; i < len(s); i++ {
		switch ch := s[i]; {
		case ch == '\\':
			if i++; i < len(s) {
				b.WriteByte(s[i])
			}
		case quoted && ch == '\'':
			return b.String(), s[i+1:], nil
		case !quoted && strings.IndexByte(connSpace, ch) >= 0:
			return b.String(), s[i:], nil
		default:
			b.WriteByte(ch)
		}
	}
	if quoted {
		return "", "", fmt.Errorf("the closing quote is missing")
	}
	return b.String(), "", nil
}

// parseConnURL reads postgres://user:password@host1:port1,host2:port2/dbname?keyword=value. The many hosts are why
// net/url alone cannot read it.
func parseConnURL(s string) (Conninfo, error) {
	c := Conninfo{}
	_, rest, _ := strings.Cut(s, "://")
	rest, query, _ := strings.Cut(rest, "?")
	authority, dbname, _ := strings.Cut(rest, "/")
	var err error
	set := func(key, escaped string) {
		v, e := url.PathUnescape(escaped)
		if e != nil && err == nil {
			err = fmt.Errorf("parse connection URL: %s: malformed percent escape", key)
		}
		if v != "" {
			c[key] = v
		}
	}
	if at := strings.LastIndexByte(authority, '@'); at >= 0 {
		user, password, _ := strings.Cut(authority[:at], ":")
		set("user", user)
		set("password", password)
		authority = authority[at+1:]
	}
	var hosts, ports []string
	for _, hp := range strings.Split(authority, ",") {
		host, port := splitHostPort(hp)
		hosts, ports = append(hosts, host), append(ports, port)
	}
	if h := strings.Join(hosts, ","); strings.Trim(h, ",") != "" {
		set("host", h)
	}
	if p := strings.Join(ports, ","); strings.Trim(p, ",") != "" {
		set("port", p)
	}
	set("dbname", dbname)
	for _, kv := range strings.Split(query, "&") {
		if k, v, ok := strings.Cut(kv, "="); ok {
			set(k, v)
		} else if kv != "" {
			return nil, fmt.Errorf("parse connection URL: no \"=\" in its query")
		}
	}
	if err != nil {
		return nil, err
	}
	return c, nil
}

// splitHostPort splits at the last colon, outside of the brackets of an IPv6 address.
func splitHostPort(s string) (host, port string) {
	if strings.HasPrefix(s, "[") {
		if end := strings.IndexByte(s, ']'); end > 0 {
			return s[1:end], strings.TrimPrefix(s[end+1:], ":")
		}
	}
	if i := strings.LastIndexByte(s, ':'); i >= 0 {
		return s[:i], s[i+1:]
	}
	return s, ""
}

// MemberURL is the address under which a member publishes its server: postgres://host:port/dbname.
func MemberURL(host, port, dbname string) string {
	return (&url.URL{Scheme: "postgres", Host: net.JoinHostPort(host, port), Path: "/" + dbname}).String()
}
