package wire

import (
	"context"
	"fmt"
	"strings"

	"github.com/tanist-ha/tanist/config"
	"github.com/tanist-ha/tanist/dcs"
	"github.com/tanist-ha/tanist/dcs/etcd3"
)

// Legacy asks whether Patroni keeps a cluster of cfg's scope where b, opened by Backend, cannot see it: under the section etcd, Patroni uses
// version 2 of etcd's protocol. said is what the endpoints answered, in words. Every other section is absent without a question.
func Legacy(ctx context.Context, cfg *config.Config, b dcs.Backend) (legacy etcd3.Legacy, said string) {
	store, ok := b.(*etcd3.Backend)
	if !ok || cfg.Etcd3 == nil || cfg.Etcd3.Section != "etcd" {
		return etcd3.LegacyAbsent, ""
	}
	legacy, answers, err := store.AskLegacy(ctx, dcs.Prefix(cfg.Namespace, cfg.Scope))
	if err != nil {
		return legacy, err.Error()
	}
	texts := make([]string, len(answers))
	for i, a := range answers {
		texts[i] = a.Endpoint + ": " + a.Text
	}
	return legacy, strings.Join(texts, "; ")
}

// LegacyError is the refusal to touch a cluster that Patroni keeps in version 2 of etcd.
type LegacyError struct{ Scope, Folder string }

// FoundLegacy is the error for the cluster of cfg.
func FoundLegacy(cfg *config.Config) *LegacyError {
	return &LegacyError{cfg.Scope, strings.TrimSuffix(dcs.Prefix(cfg.Namespace, cfg.Scope), "/")}
}

func (e *LegacyError) Error() string {
	return fmt.Sprintf("cluster %s is one of Patroni, in the keyspace of etcd's version 2 (%s), which is not seen from version 3: there would be two primaries", e.Scope, e.Folder)
}

// Hint is the way out.
func (e *LegacyError) Hint() string {
	return "stop Patroni on all members; then rename the section etcd to etcd3, or remove the old keys: ETCDCTL_API=2 etcdctl rm -r " + e.Folder
}
