package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/tanist-ha/tanist/dcs"
	"github.com/tanist-ha/tanist/dcs/etcd3"
)

const (
	legacyBudget = 5 * time.Second // of one look into the keyspace of version 2
	legacyPause  = 5 * time.Second // between two
)

// awaitOneHome returns when it is certain enough that Patroni does not keep this cluster elsewhere (safety 11.3). Under the section etcd it
// uses version 2 of etcd's protocol, whose keys version 3 does not see: an agent would find no leader there, and promote beside Patroni's.
// So before anything is written, or done to the server, version 2 is asked.
//
// A cluster there ends the agent. Where it cannot be ruled out and there is data that could be promoted, the agent waits until it can be, or
// until the cluster is in version 3: because an agent ran there before, or because `tanistctl adopt` put it there.
func (a *agent) awaitOneHome(ctx context.Context, signals <-chan os.Signal) error {
	if e := a.cfg.Etcd3; e == nil || e.Section != "etcd" {
		return nil
	}
	for said := ""; ; {
		done, doubt, err := a.lookForLegacy(ctx)
		if done || err != nil {
			return err
		}
		if doubt != said {
			said = doubt
			a.log.Error("waiting: Patroni may keep this cluster in the keyspace of etcd's version 2, and this agent would promote beside it",
				"doubt", doubt, "hint", legacyHint)
		}
		select {
		case <-time.After(legacyPause):
		case s := <-signals:
			if s != syscall.SIGHUP {
				return errAsked
			}
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

const legacyHint = "make each etcd endpoint answer; or, when Patroni is stopped on all members, `tanistctl adopt`; or rename the section to etcd3"

// lookForLegacy looks once. doubt is what keeps it from being done.
func (a *agent) lookForLegacy(ctx context.Context) (done bool, doubt string, err error) {
	ctx, cancel := context.WithTimeout(ctx, legacyBudget)
	defer cancel()
	prefix := a.store.client.Prefix()
	legacy, answers, err := a.store.backend.AskLegacy(ctx, prefix)
	switch {
	case err != nil:
		return false, err.Error(), nil
	case legacy == etcd3.LegacyAbsent:
		return true, "", nil
	case legacy == etcd3.LegacyFound:
		folder := strings.TrimSuffix(prefix, "/")
		return true, "", &hinted{
			fmt.Errorf("cluster %s is one of Patroni, in the keyspace of etcd's version 2 (%s): this agent would promote beside it", a.cfg.Scope, folder),
			"stop Patroni on all members; then rename the section etcd to etcd3, or remove the old keys: ETCDCTL_API=2 etcdctl rm -r " + folder}
	}
	if entries, err := os.ReadDir(a.cfg.PostgreSQL.DataDir); errors.Is(err, os.ErrNotExist) || err == nil && len(entries) == 0 {
		a.log.Warn("it could not be ruled out that Patroni keeps a cluster of this name in etcd's version 2", "answers", answersText(answers))
		return true, "", nil // nothing here could be promoted
	}
	cluster, err := a.store.client.Load(ctx)
	if err == nil && cluster.Initialize != nil && dcs.ValidSystemID(cluster.Initialize.SystemID) {
		return true, "", nil
	}
	doubt = answersText(answers)
	if err != nil {
		doubt += "; version 3: " + err.Error()
	}
	return false, doubt, nil
}

// answersText says what the endpoints said.
func answersText(answers []etcd3.LegacyAnswer) string {
	texts := make([]string, len(answers))
	for i, a := range answers {
		texts[i] = a.Endpoint + ": " + a.Text
	}
	return strings.Join(texts, "; ")
}
