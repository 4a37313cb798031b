package cli

import (
	"fmt"
	"log/slog"
	"path/filepath"

	"github.com/procd/procd/config"
	"github.com/procd/procd/internal/admin"
	"github.com/procd/procd/internal/cluster"
)

// adminOff is the address that means no admin server.
const adminOff = "off"

// settings are what a command runs with: flags, else environment, else the
// settings file, else defaults.
type settings struct {
	cluster cluster.Config
	data    string
	// savepoints is the directory of savepoints, absolute. It need not exist.
	savepoints string
	admin      string // adminOff: none
	memory     int64
	budget     budget
	workers    int // 0: one per core, see [workers]
}

const (
	defaultData       = "procd-data"
	defaultSavepoints = "savepoints"
)

// settings resolves what the command line says.
func (a *app) settings() (settings, error) {
	return resolve(a.flags, a.flags.brokerList(), a.log)
}

// resolve is what counts: flags, else the settings file, else defaults. brokers
// may be nil.
func resolve(f flags, brokers []string, log *slog.Logger) (settings, error) {
	file := &config.Settings{}
	if f.config != "" {
		var err error
		if file, err = config.LoadSettings(f.config); err != nil {
			return settings{}, err
		}
	}
	s := settings{cluster: file.Cluster, memory: file.Memory, workers: file.Workers}
	if err := s.connectAs(f.commandConfig, log); err != nil {
		return s, err
	}
	if brokers != nil {
		s.cluster.Brokers = brokers
	}
	s.admin = first(f.admin, file.Admin, admin.DefaultAddr)
	if s.memory == 0 {
		s.memory = defaultMemory
	}
	if s.memory < minMemory {
		return s, usageError("memory: %d bytes are too few; at least %d MiB are needed", s.memory, minMemory>>20)
	}
	s.budget = divide(s.memory)
	var err error
	if s.data, err = filepath.Abs(first(f.data, file.Data, defaultData)); err != nil {
		return s, fmt.Errorf("data directory: %w", err)
	}
	if s.savepoints, err = filepath.Abs(first(f.savepointDir, file.SavepointDir, defaultSavepoints)); err != nil {
		return s, fmt.Errorf("directory of savepoints: %w", err)
	}
	return s, nil
}

// connectAs takes the connection from a client.properties, all of it: half of
// one file and half of another would be neither. An empty path changes nothing.
func (s *settings) connectAs(properties string, log *slog.Logger) error {
	if properties == "" {
		return nil
	}
	c, warnings, err := cluster.FromProperties(properties)
	if err != nil {
		return err
	}
	for _, w := range warnings {
		log.Warn(w)
	}
	if len(c.Brokers) == 0 {
		c.Brokers = s.cluster.Brokers
	}
	c.AllowOldTransactions = s.cluster.AllowOldTransactions
	s.cluster = c
	return nil
}

// first is the first text that is not empty.
func first(texts ...string) string {
	for _, t := range texts {
		if t != "" {
			return t
		}
	}
	return ""
}
