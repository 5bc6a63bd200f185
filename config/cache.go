package config

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// CacheFile is the name of the cache in the data directory, the same as Patroni's.
const CacheFile = "patroni.dynamic.json"

// Cache keeps the last dynamic configuration beside the data that it belongs to, so that an agent that starts while the
// store is away, or was wiped, knows it. It is an ha.Cache.
type Cache struct {
	dir string
}

// Cache returns the cache in the member's data directory.
func (c *Config) Cache() *Cache { return &Cache{c.PostgreSQL.DataDir} }

// Load returns what was saved; nil if there is nothing, or if it is not a JSON object.
func (c *Cache) Load() []byte {
	raw, err := os.ReadFile(filepath.Join(c.dir, CacheFile))
	if err != nil {
		return nil
	}
	if _, err := decodeObject(raw); err != nil {
		return nil
	}
	return raw
}

// Save replaces the file, whole or not at all. Into a directory without a PostgreSQL cluster it writes nothing: a file
// there would keep initdb and pg_basebackup from using it.
func (c *Cache) Save(raw []byte) error {
	if _, err := os.Stat(filepath.Join(c.dir, "PG_VERSION")); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return fmt.Errorf("save the dynamic configuration: %w", err)
	}
	mode := fs.FileMode(0o600)
	if info, err := os.Stat(c.dir); err == nil && info.Mode()&0o050 == 0o050 {
		mode = 0o640 // PostgreSQL's group access: initdb --allow-group-access
	}
	if err := replaceFile(filepath.Join(c.dir, CacheFile), raw, mode); err != nil {
		return fmt.Errorf("save the dynamic configuration: %w", err)
	}
	return nil
}

// replaceFile writes a file so that a crash leaves the old or the new content.
func replaceFile(name string, data []byte, mode fs.FileMode) (err error) {
	f, err := os.CreateTemp(filepath.Dir(name), filepath.Base(name)+".*.tmp")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			f.Close()
			os.Remove(f.Name())
		}
	}()
	if _, err := f.Write(data); err != nil {
		return err
	}
	if err := f.Chmod(mode); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), name); err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(name))
	if err != nil {
		return err
	}
	defer dir.Close()
	return dir.Sync()
}
