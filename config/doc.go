// Package config reads the configuration of an agent or a tool: Patroni's YAML file and its PATRONI_* variables, and the
// dynamic configuration that the members of a cluster share through the store.
//
// # Two kinds of settings
//
// The local file belongs to one member: addresses, paths, passwords, tags. [Load] turns it into a [Config], which stays
// as it is until the file is read again. The dynamic configuration belongs to the cluster: one JSON document in the
// store that an operator changes with tanistctl edit-config or PATCH /config. [Config.Dynamic] merges it with the local
// file into an ha.Settings, each time it changes. The types differ, so that a setting of the cluster cannot be taken
// from a file by mistake.
//
// # Precedence
//
//  1. A file, or the *.yml and *.yaml of a directory in byte order of their names, each merged onto those before it.
//  2. The environment on top. It wins over files. Without a file PATRONI_CONFIGURATION, a whole YAML document, is used alone;
//     without that the PATRONI_* variables alone, which suffice for the store, the REST API and the roles.
//  3. What is in force is: defaults, then the dynamic configuration, then the local file's section postgresql. A local key
//     replaces the dynamic one as a whole; only parameters are merged, name by name.
//
// Three things are not taken from where one might write them. ttl, loop_wait, retry_timeout and their like are the
// cluster's: locally they do nothing. So do the parameters that all members must agree on (max_connections, wal_level;
// postgres.ControlledParameters has them all). And listen, data_dir, authentication and what else is a member's own is
// not taken from the dynamic configuration. bootstrap.dcs is the dynamic configuration of a cluster that does not exist
// yet, and only of that.
//
// Merging is Patroni's: null removes a key, a mapping is merged into a mapping, anything else replaces what is there.
// [Patch] does the same to the JSON document and keeps its order of keys, as tools compare it by its text.
//
// # YAML as Patroni reads it
//
// That is YAML 1.1: on, off, yes and no are booleans, 010 is 8, 1:30 is 90 (which draws a warning). Passwords of digits
// belong in quotes.
//
// # What is said about mistakes
//
// Everything that is wrong is reported at once, as FILE:LINE: key: what is wrong; what to do. Unknown keys do no harm
// and are warned about with the nearest known key, or with the place where the key would have an effect. Timeouts of the
// cluster that do not fit together are adjusted and said; a dynamic value never ends an agent. Settings that this
// release does not honour are listed in Settings.Notices: "synchronous_mode is set and NOT honoured".
//
// # Beyond Patroni
//
//   - embedetcd: an etcd member inside the agent; see [EmbedEtcd]. In the environment PATRONI_EMBEDETCD_*.
//   - tanist: {minimum_ttl: N}, in the dynamic configuration: ttl may be as low as N (3 to 20 s), loop_wait and
//     retry_timeout as low as 1 s, as long as no Patroni member lives.
//   - tanist: {handover_timeout: N}, in the dynamic configuration: how many seconds (1 to 3600, 5 by default) a standby may
//     take to receive the end of the log of a leader that is stopped in order.
//   - bootstrap.users is honoured, which Patroni 4 dropped.
package config
