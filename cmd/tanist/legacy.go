package main

import (
	"context"
	"errors"
	"os"
	"syscall"
	"time"

	"github.com/tanist-ha/tanist/dcs"
	"github.com/tanist-ha/tanist/dcs/etcd3"
	"github.com/tanist-ha/tanist/internal/wire"
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
	asking, cancel := context.WithTimeout(ctx, legacyBudget)
	legacy, answers := wire.Legacy(asking, a.cfg, a.store.backend)
	cancel()
	switch legacy {
	case etcd3.LegacyAbsent:
		return true, "", nil
	case etcd3.LegacyFound:
		return true, "", wire.FoundLegacy(a.cfg)
	}
	if entries, err := os.ReadDir(a.cfg.PostgreSQL.DataDir); errors.Is(err, os.ErrNotExist) || err == nil && len(entries) == 0 {
		a.log.Warn("it could not be ruled out that Patroni keeps a cluster of this name in etcd's version 2", "answers", answers)
		return true, "", nil // nothing here could be promoted
	}
	reading, cancel := context.WithTimeout(ctx, legacyBudget)
	defer cancel()
	cluster, err := a.store.client.Load(reading)
	if err == nil && cluster.Initialize != nil && dcs.ValidSystemID(cluster.Initialize.SystemID) {
		return true, "", nil
	}
	doubt = answers
	if err != nil {
		doubt += "; version 3: " + err.Error()
	}
	return false, doubt, nil
}
