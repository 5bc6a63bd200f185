// Package e2e has the end-to-end tests: agents as processes, real PostgreSQL, real etcd, HAProxy, psql and pgbench. It
// exports nothing.
//
// They need what `make test` installs, take minutes, and are left out with -short. As root they run the servers as user
// postgres, and some tests need root for network namespaces. PG_BINS=DIR:DIR runs the life cycle on other majors.
package e2e
