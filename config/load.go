package config

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/tanist-ha/tanist/postgres"
)

// Load reads, merges and types the configuration. The error joins everything that is wrong (each an *Error). Config is
// not nil where the sources could be read at all, so that Validate can add what it finds; otherwise use it only without
// an error. Load demands no key: a tool needs less than an agent, whose demands are in Validate.
func Load(o Options) (*Config, []Warning, error) {
	t, warnings, err := readSources(o)
	if err != nil {
		return nil, warnings, err
	}
	c := &Config{Path: o.Path, tree: t}
	r := &reader{tree: t}
	root := r.root()
	c.readTop(root)
	c.readRestAPI(root.sub("restapi"))
	c.readCtl(root.sub("ctl"))
	c.readStores(root)
	c.readLog(root.sub("log"))
	c.readWatchdog(root.sub("watchdog"))
	c.readTags(root)
	c.readBootstrap(root.sub("bootstrap"))
	c.readPostgreSQL(root.sub("postgresql"))
	root.done()
	c.readSettings(r)
	return c, inOrder(append(warnings, r.warnings...), func(w Warning) Where { return w.Where }), joinProblems(r.problems)
}

// inOrder sorts messages by source and line, so that a file can be corrected from top to bottom.
func inOrder[M any](list []M, where func(M) Where) []M {
	slices.SortStableFunc(list, func(a, b M) int {
		x, y := where(a), where(b)
		return cmp.Or(cmp.Compare(x.Source, y.Source), cmp.Compare(x.Line, y.Line))
	})
	return list
}

func joinProblems(problems []Error) error {
	problems = inOrder(problems, func(p Error) Where { return p.Where })
	errs := make([]error, len(problems))
	for i := range problems {
		errs[i] = &problems[i]
	}
	return errors.Join(errs...)
}

func (c *Config) readTop(s *section) {
	c.Name = s.text("name", "")
	if c.Name == "" {
		c.Name = s.sub("postgresql").text("name", "") // as Patroni 1 had it
	}
	c.Scope = s.text("scope", "")
	c.Namespace = strings.Trim(s.text("namespace", "service"), "/")
	if s.has("namespace") && c.Namespace == "" {
		c.Namespace = "service"
	}
	for _, k := range []string{"thread_pool_size", "thread_stack_size"} { // of Patroni's Python threads: nothing to do
		s.known[k] = true
	}
	for _, k := range []string{"ttl", "loop_wait", "retry_timeout"} {
		if s.has(k) {
			what, hint := s.unknown(k)
			s.r.warn(s.at(k), what, hint)
		}
	}
}

func (c *Config) readRestAPI(s *section) {
	auth := s.sub("authentication")
	c.RestAPI = RestAPI{
		Listen:                  s.hostPort("listen", 0),
		ConnectAddress:          s.hostPort("connect_address", 0),
		Username:                auth.text("username", ""),
		Password:                auth.secret("password"),
		CertFile:                s.text("certfile", ""),
		KeyFile:                 s.text("keyfile", ""),
		KeyFilePassword:         s.secret("keyfile_password"),
		CAFile:                  s.text("cafile", ""),
		Ciphers:                 s.text("ciphers", ""),
		VerifyClient:            s.oneOf("verify_client", "none", "optional", "required"),
		Allowlist:               s.words("allowlist"),
		AllowlistIncludeMembers: s.boolean("allowlist_include_members", false),
		HTTPExtraHeaders:        s.textMap("http_extra_headers"),
		HTTPSExtraHeaders:       s.textMap("https_extra_headers"),
		RequestQueueSize:        int(s.integer("request_queue_size", 5, 0, 4096, "")),
		ServerTokens:            s.oneOf("server_tokens", "original", "minimal", "productonly"),
	}
	s.known["thread_pool_size"] = true
	c.RestAPI.splitAuth(s)
	if (c.RestAPI.Username == "") != (c.RestAPI.Password == "") {
		s.r.fail(s.at("authentication"), "username and password belong together", "set both, or neither")
	}
	if c.RestAPI.ConnectAddress == (HostPort{}) && !c.RestAPI.Listen.Wildcard() {
		c.RestAPI.ConnectAddress = c.RestAPI.Listen
	}
	if c.RestAPI.Ciphers != "" {
		s.r.warn(s.at("ciphers"), "is not honoured: Go's own list of safe ciphers is used", "remove it")
	}
	auth.done()
	s.done()
}

// splitAuth reads restapi.auth, the short form USERNAME:PASSWORD.
func (a *RestAPI) splitAuth(s *section) {
	short := s.text("auth", "")
	if user, password, ok := strings.Cut(short, ":"); ok && a.Username == "" {
		a.Username, a.Password = user, Secret(password)
	}
}

func (c *Config) readCtl(s *section) {
	auth := s.sub("authentication")
	c.Ctl = Ctl{
		Insecure:        s.boolean("insecure", false),
		CACert:          s.text("cacert", c.RestAPI.CAFile),
		CertFile:        s.text("certfile", ""),
		KeyFile:         s.text("keyfile", ""),
		KeyFilePassword: s.secret("keyfile_password"),
		Username:        auth.text("username", ""),
		Password:        auth.secret("password"),
	}
	if c.Ctl.Username == "" {
		c.Ctl.Username, c.Ctl.Password = c.RestAPI.Username, c.RestAPI.Password
	}
	s.known["auth"] = true
	auth.done()
	s.done()
}

func (c *Config) readLog(s *section) {
	l := Log{
		Type:           s.oneOf("type", "plain", "json"),
		Level:          s.level("level", "INFO"),
		TracebackLevel: s.level("traceback_level", "ERROR"),
		DateFormat:     s.text("dateformat", ""),
		StaticFields:   s.textMap("static_fields"),
		MaxQueueSize:   int(s.integer("max_queue_size", 1000, 0, math.MaxInt32, "")),
		Dir:            s.text("dir", ""),
		FileNum:        int(s.integer("file_num", 4, 0, math.MaxInt32, "")),
		FileSize:       s.integer("file_size", 25_000_000, 0, math.MaxInt64, ""),
		Mode:           int(s.integer("mode", 0, 0, 0o777, "")),
		Deduplicate:    s.boolean("deduplicate_heartbeat_logs", false),
	}
	if list, ok := s.get("format").([]any); ok {
		l.FormatFields = list
	} else {
		l.Format = s.text("format", "")
	}
	loggers := s.sub("loggers")
	for _, name := range sortedKeys(loggers.values) {
		if l.Loggers == nil {
			l.Loggers = map[string]string{}
		}
		l.Loggers[name] = loggers.level(name, "INFO")
	}
	c.Log = l
	s.done()
}

// level reads one of Python's log levels; WARN and FATAL are the older spellings of WARNING and CRITICAL.
func (s *section) level(key, def string) string {
	levels := []string{"debug", "info", "warning", "error", "critical", "warn", "fatal"}
	levels = slices.Insert(slices.DeleteFunc(levels, func(l string) bool { return strings.EqualFold(l, def) }), 0, strings.ToLower(def))
	switch l := strings.ToUpper(s.oneOf(key, levels...)); l {
	case "WARN":
		return "WARNING"
	case "FATAL":
		return "CRITICAL"
	default:
		return l
	}
}

func (c *Config) readWatchdog(s *section) {
	mode := "automatic"
	switch v := s.get("mode").(type) {
	case bool: // `mode: off` is a boolean in YAML 1.1
		if !v {
			mode = "off"
		} else {
			s.wrong("mode", "off, automatic or required", "")
		}
	default:
		switch mode = s.oneOf("mode", "automatic", "off", "required", "auto", "require", "disable", "disabled", "false"); mode {
		case "auto":
			mode = "automatic"
		case "require":
			mode = "required"
		case "disable", "disabled", "false":
			mode = "off"
		}
	}
	c.Watchdog = Watchdog{
		Mode:         mode,
		Device:       s.text("device", "/dev/watchdog"),
		SafetyMargin: int(s.integer("safety_margin", 5, -1, math.MaxInt32, "s")),
		Driver:       s.oneOf("driver", "default", "testing"),
	}
	s.done()
}

// credentialKeys are the keys of one role under authentication.
var credentialKeys = []string{"username", "password", "sslmode", "sslcert", "sslkey", "sslpassword", "sslrootcert", "sslcrl",
	"sslcrldir", "gssencmode", "channel_binding", "sslnegotiation"}

func readCredentials(s *section) Credentials {
	cr := Credentials{Username: s.text("username", ""), Password: s.secret("password")}
	for _, k := range credentialKeys[2:] {
		if v := s.text(k, ""); v != "" {
			if cr.Options == nil {
				cr.Options = postgres.Conninfo{}
			}
			cr.Options[k] = v
		}
	}
	s.done()
	return cr
}

func (c *Config) readPostgreSQL(s *section) {
	p := PostgreSQL{
		ConnectAddress:    s.hostPort("connect_address", 5432),
		ProxyAddress:      s.hostPort("proxy_address", 5432),
		DataDir:           s.text("data_dir", ""),
		ConfigBaseName:    s.text("config_base_name", "postgresql"),
		CustomConf:        s.text("custom_conf", ""),
		BinDir:            s.text("bin_dir", ""),
		Database:          s.text("database", "postgres"),
		PgPass:            s.text("pgpass", ""),
		KrbSrvName:        s.text("krbsrvname", ""),
		UseUnixSocket:     s.boolean("use_unix_socket", false),
		UseUnixSocketRepl: s.boolean("use_unix_socket_repl", false),
	}
	p.ConfigDir = s.text("config_dir", p.DataDir)
	p.readListen(s)
	names := s.sub("bin_name")
	for _, n := range []string{"pg_ctl", "initdb", "pg_controldata", "pg_basebackup", "postgres", "pg_isready", "pg_rewind"} {
		if v := names.text(n, ""); v != "" {
			if p.BinName == nil {
				p.BinName = map[string]string{}
			}
			p.BinName[n] = v
		}
	}
	names.done()
	p.Authentication = readAuthentication(s)
	s.known["name"], s.known["scope"] = true, true
	warnControlled(s)
	markSettings(s)
	s.done()
	c.PostgreSQL = p
}

// warnControlled names local settings that only the dynamic configuration can make.
func warnControlled(s *section) {
	params := s.sub("parameters")
	var shared []string
	for _, name := range s.r.tree.ordered(params.path, params.values) {
		if !postgres.IsControlled(name) || params.values[name] == nil {
			continue
		}
		if own := strings.ToLower(name); own == "listen_addresses" || own == "port" || own == "cluster_name" {
			s.r.warn(params.at(name), "does nothing here: the agent sets it", "it follows from postgresql.listen and scope")
			continue
		}
		shared = append(shared, name)
	}
	if len(shared) > 0 {
		s.r.warn(params.path, "all members must agree on "+strings.Join(shared, ", ")+", and the local file does not set them",
			"change them with `tanistctl edit-config`; a new cluster takes them from bootstrap.dcs.postgresql.parameters")
	}
	if s.has("use_slots") {
		s.r.warn(s.at("use_slots"), "does nothing here: it is one setting for the whole cluster", "change it with `tanistctl edit-config`")
	}
}

func readAuthentication(s *section) Authentication {
	auth := s.sub("authentication")
	rewind := "rewind"
	if !auth.present() { // the layout of Patroni 1
		auth, rewind = s, "pg_rewind"
		if !s.has("superuser") && !s.has("replication") && !s.has("pg_rewind") {
			return Authentication{}
		}
	}
	a := Authentication{
		Superuser:   readCredentials(auth.sub("superuser")),
		Replication: readCredentials(auth.sub("replication")),
		Rewind:      readCredentials(auth.sub(rewind)),
	}
	if auth != s {
		auth.done()
	}
	return a
}

// readListen reads HOST[,HOST…]:PORT.
func (p *PostgreSQL) readListen(s *section) {
	p.ListenPort = 5432
	if !s.has("listen") {
		return
	}
	bad := func() { s.wrong("listen", "HOST:PORT or HOST,HOST:PORT", "for example 0.0.0.0:5432") }
	text, ok := s.get("listen").(string)
	if !ok {
		bad()
		return
	}
	hosts := strings.Split(text, ",")
	for i, h := range hosts {
		hp, err := ParseHostPort(strings.TrimSpace(h), 5432)
		if err != nil || i < len(hosts)-1 && hp.Host != strings.Trim(strings.TrimSpace(h), "[]") {
			bad()
			return
		}
		p.ListenHosts = append(p.ListenHosts, hp.Host)
		p.ListenPort = hp.Port
	}
	if len(p.ListenHosts) > 1 && slices.Contains(p.ListenHosts, "*") {
		s.r.fail(s.at("listen"), "* stands for all addresses and must stand alone", "write *:"+itoa(p.ListenPort))
	}
	if first := (HostPort{p.ListenHosts[0], p.ListenPort}); p.ConnectAddress == (HostPort{}) && !first.Wildcard() {
		p.ConnectAddress = first
	}
}

// ListenAddresses is the value of PostgreSQL's listen_addresses.
func (p PostgreSQL) ListenAddresses() string { return strings.Join(p.ListenHosts, ",") }

func (c *Config) readBootstrap(s *section) {
	b := Bootstrap{
		HBA:           s.texts("pg_hba"),
		PostBootstrap: s.text("post_bootstrap", s.text("post_init", "")),
	}
	if m := s.text("method", "initdb"); m != "initdb" {
		s.r.fail(s.at("method"), fmt.Sprintf("custom bootstrap (%q) is not built yet in this release", m), "remove it, so that initdb is used")
		s.known[m] = true
	}
	opts, problems := readOptions(s, "initdb", []string{"pgdata", "nosync", "no-sync", "pwfile", "sync-only", "version"})
	for _, p := range problems {
		s.r.fail(p.path, p.what, p.hint)
	}
	b.InitDB = opts
	b.Users = readUsers(s)
	dcs := s.sub("dcs")
	b.DCS = c.orderedJSON(dcs.path, dcs.values)
	checkDynamicKeys(dcs)
	s.done()
	c.Bootstrap = b
}

func readUsers(s *section) []User {
	users := s.sub("users")
	var out []User
	for _, name := range s.r.tree.ordered(users.path, users.values) {
		u := users.sub(name)
		out = append(out, User{name, u.secret("password"), u.texts("options")})
		u.done()
	}
	if len(out) > 0 {
		s.r.warn(users.path, "is honoured here, but Patroni dropped it in version 4 and ignores it", "create roles in a post_bootstrap script")
	}
	return out
}
