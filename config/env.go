package config

import (
	"errors"
	"slices"
	"strings"
)

const envPrefix = "PATRONI_"

// kind is how the text of an environment variable is read.
type kind int

const (
	asText  kind = iota
	asList       // YAML list; brackets are added if missing
	asMap        // YAML mapping; braces are added if missing
	asValue      // any YAML scalar: numbers, booleans
)

// envVar maps one variable to one key.
type envVar struct {
	name string // without PATRONI_
	path []string
	kind kind
}

// known lists the variables of fixed name, in the order in which they are applied. Sections of stores follow a pattern
// instead (storeVar).
func knownEnv() []envVar {
	var vars []envVar
	add := func(prefix string, section []string, k kind, names string) {
		for _, n := range strings.Fields(names) {
			vars = append(vars, envVar{prefix + n, append(slices.Clone(section), strings.ToLower(n)), k})
		}
	}
	add("", nil, asText, "NAME NAMESPACE SCOPE")
	add("", nil, asValue, "THREAD_POOL_SIZE THREAD_STACK_SIZE")

	vars = append(vars, // the names of Patroni 1
		envVar{"LOGLEVEL", []string{"log", "level"}, asText},
		envVar{"LOGFORMAT", []string{"log", "format"}, asText},
		envVar{"LOG_DATEFMT", []string{"log", "dateformat"}, asText})
	add("LOG_", []string{"log"}, asText, "TYPE LEVEL TRACEBACK_LEVEL FORMAT DATEFORMAT DIR MODE")
	add("LOG_", []string{"log"}, asValue, "MAX_QUEUE_SIZE FILE_SIZE FILE_NUM DEDUPLICATE_HEARTBEAT_LOGS")
	add("LOG_", []string{"log"}, asMap, "STATIC_FIELDS LOGGERS")

	rest := []string{"restapi"}
	add("RESTAPI_", rest, asText, "LISTEN CONNECT_ADDRESS CERTFILE KEYFILE KEYFILE_PASSWORD CAFILE CIPHERS VERIFY_CLIENT SERVER_TOKENS")
	add("RESTAPI_", rest, asMap, "HTTP_EXTRA_HEADERS HTTPS_EXTRA_HEADERS")
	add("RESTAPI_", rest, asList, "ALLOWLIST")
	add("RESTAPI_", rest, asValue, "ALLOWLIST_INCLUDE_MEMBERS REQUEST_QUEUE_SIZE")
	add("RESTAPI_", append(rest, "authentication"), asText, "USERNAME PASSWORD")

	add("CTL_", []string{"ctl"}, asText, "CACERT CERTFILE KEYFILE KEYFILE_PASSWORD")
	add("CTL_", []string{"ctl"}, asValue, "INSECURE")
	add("CTL_", []string{"ctl", "authentication"}, asText, "USERNAME PASSWORD")

	pg := []string{"postgresql"}
	add("POSTGRESQL_", pg, asText, "LISTEN CONNECT_ADDRESS PROXY_ADDRESS CONFIG_DIR DATA_DIR PGPASS BIN_DIR")
	add("POSTGRESQL_BIN_", append(pg, "bin_name"), asText, "PG_CTL INITDB PG_CONTROLDATA PG_BASEBACKUP POSTGRES PG_ISREADY PG_REWIND")
	for _, user := range []string{"SUPERUSER", "REPLICATION", "REWIND"} {
		add(user+"_", []string{"postgresql", "authentication", strings.ToLower(user)}, asText, strings.ToUpper(strings.Join(credentialKeys, " ")))
	}
	embed := []string{"embedetcd"}
	add("EMBEDETCD_", embed, asText, "NAME DATA_DIR CLIENT_LISTEN PEER_LISTEN CLIENT_ADVERTISE PEER_ADVERTISE HOSTS INITIAL_CLUSTER_STATE INITIAL_CLUSTER_TOKEN")
	add("EMBEDETCD_", embed, asMap, "INITIAL_CLUSTER")
	for _, store := range []string{"ETCD", "ETCD3"} {
		add(store+"_", []string{strings.ToLower(store)}, asText, "USERNAME PASSWORD")
	}
	add("CONSUL_", []string{"consul"}, asText, "SCHEME") // documented by Patroni, which does not read it
	add("RAFT_", []string{"raft"}, asText, "DATA_DIR SELF_ADDR PASSWORD BIND_ADDR")
	add("RAFT_", []string{"raft"}, asList, "PARTNER_ADDRS")
	return vars
}

// storeKinds are the suffixes of PATRONI_<SECTION>_<SUFFIX>, whose section is a store's.
var storeKinds = func() map[string]kind {
	m := map[string]kind{}
	for k, names := range map[kind]string{
		asText: "HOST PROTOCOL SRV SRV_SUFFIX URL PROXY CACERT CERT KEY KEY_PASSWORD TOKEN DC CONSISTENCY SERVICE_CHECK_INTERVAL " +
			"SERVICE_CHECK_TLS_SERVER_NAME NAMESPACE CONTEXT SCOPE_LABEL ROLE_LABEL POD_IP DATABASE LEADER_LABEL_VALUE " +
			"FOLLOWER_LABEL_VALUE STANDBY_LEADER_LABEL_VALUE TMP_ROLE_LABEL",
		asValue: "PORT POLL_INTERVAL TICK_TIME USE_PROXIES VERIFY REGISTER_SERVICE USE_ENDPOINTS BYPASS_API_SERVICE USE_SSL GROUP",
		asList:  "HOSTS PORTS CHECKS SERVICE_TAGS RETRIABLE_HTTP_CODES",
		asMap:   "LABELS SET_ACLS AUTH_DATA BOOTSTRAP_LABELS",
	} {
		for _, n := range strings.Fields(names) {
			m[n] = k
		}
	}
	return m
}()

// storeVar reads PATRONI_<SECTION>_<SUFFIX>: the section is the part before the first underscore.
func storeVar(name string) (envVar, bool) {
	section, suffix, _ := strings.Cut(name, "_")
	k, ok := storeKinds[suffix]
	if !ok || section == "" {
		return envVar{}, false
	}
	return envVar{name, []string{strings.ToLower(section), strings.ToLower(suffix)}, k}, true
}

// readEnv turns PATRONI_* variables into a tree. Empty ones count as absent.
func readEnv(environ []string) (*tree, []Warning, error) {
	t := newTree("environment")
	set := map[string]string{}
	for _, e := range environ {
		if name, value, ok := strings.Cut(e, "="); ok && strings.HasPrefix(name, envPrefix) {
			set[strings.TrimPrefix(name, envPrefix)] = value
		}
	}
	var errs []error
	apply := func(v envVar) {
		text, ok := set[v.name]
		delete(set, v.name)
		if !ok || strings.TrimSpace(text) == "" {
			return
		}
		if err := t.setEnv(v, text); err != nil {
			errs = append(errs, err)
		}
	}
	known := knownEnv()
	for _, v := range known {
		apply(v)
	}
	var warnings []Warning
	for _, name := range sortedKeys(set) {
		if name == "CONFIGURATION" {
			continue
		}
		if v, ok := storeVar(name); ok {
			apply(v)
			continue
		}
		names := make([]string, len(known))
		for i, v := range known {
			names[i] = envPrefix + v.name
		}
		warnings = append(warnings, Warning{Where{Source: t.source, Key: envPrefix + name}, "unknown variable, it does nothing", didYouMean(envPrefix+name, names)})
	}
	return t, warnings, errors.Join(errs...)
}

// setEnv stores one variable's value.
func (t *tree) setEnv(v envVar, text string) error {
	where := Where{Source: t.source, Key: envPrefix + v.name}
	at := place{source: t.source, key: where.Key, raw: text, seq: len(t.places)}
	var value any = text
	switch v.kind {
	case asValue:
		value = plainScalar(strings.TrimSpace(text))
		at.plain = true
	case asList, asMap:
		sub, err := envCollection(where, v.kind, text)
		if err != nil {
			return err
		}
		value = sub
	}
	m := t.values
	for _, k := range v.path[:len(v.path)-1] {
		next, ok := m[k].(map[string]any)
		if !ok {
			next = map[string]any{}
			m[k] = next
		}
		m = next
	}
	m[v.path[len(v.path)-1]] = value
	t.places[joinPath(v.path)] = at
	return nil
}

func envCollection(where Where, k kind, text string) (any, error) {
	text = strings.TrimSpace(text)
	open, end, want := "[", "]", "a list, such as a,b or [a, b]"
	if k == asMap {
		open, end, want = "{", "}", "a mapping, such as a: 1, b: 2"
	}
	if !strings.HasPrefix(text, open) && !(k == asList && strings.HasPrefix(text, "-")) {
		text = open + text + end
	}
	doc, _, err := readYAML(where.Source, []byte("value: "+indented(text)))
	if err == nil {
		value := doc.values["value"]
		if _, ok := value.([]any); ok && k == asList {
			return value, nil
		}
		if _, ok := value.(map[string]any); ok && k == asMap {
			return value, nil
		}
	}
	return nil, &Error{where, "must be " + want, ""}
}

// indented moves a text of several lines below its key.
func indented(text string) string {
	if !strings.Contains(text, "\n") && !strings.HasPrefix(text, "-") {
		return text
	}
	return "\n  " + strings.ReplaceAll(text, "\n", "\n  ")
}

// Scrub returns the environment for PostgreSQL and for the commands that the agent runs: without PATRONI_* (passwords
// are among them), KUBERNETES_* and NOTIFY_SOCKET, and with PG_MALLOC_ARENA_MAX under its real name, MALLOC_ARENA_MAX.
func Scrub(environ []string) []string {
	out := make([]string, 0, len(environ))
	for _, e := range environ {
		name, value, _ := strings.Cut(e, "=")
		switch {
		case strings.HasPrefix(name, envPrefix), strings.HasPrefix(name, "KUBERNETES_"), name == "NOTIFY_SOCKET":
		case name == "PG_MALLOC_ARENA_MAX":
			out = append(out, "MALLOC_ARENA_MAX="+value)
		default:
			out = append(out, e)
		}
	}
	return out
}
