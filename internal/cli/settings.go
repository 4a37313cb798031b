package cli

import (
	"fmt"
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
	admin   string // adminOff: none
	memory  int64
	budget  budget
	workers int // 0: one per core, see [workers]
}

const defaultData = "procd-data"

// settings resolves what the user said.
func (a *app) settings() (settings, error) {
	file := &config.Settings{}
	if a.flags.config != "" {
		var err error
		if file, err = config.LoadSettings(a.flags.config); err != nil {
			return settings{}, err
		}
	}
	s := settings{cluster: file.Cluster, memory: file.Memory, workers: file.Workers}
	if err := a.commandConfig(&s); err != nil {
		return s, err
	}
	if brokers := a.flags.brokerList(); brokers != nil {
		s.cluster.Brokers = brokers
	}
	s.admin = first(a.flags.admin, file.Admin, admin.DefaultAddr)
	if s.memory == 0 {
		s.memory = defaultMemory
	}
	if s.memory < minMemory {
		return s, usageError("memory: %d bytes are too few; at least %d MiB are needed", s.memory, minMemory>>20)
	}
	s.budget = divide(s.memory)
	var err error
	if s.data, err = filepath.Abs(first(a.flags.data, file.Data, defaultData)); err != nil {
		return s, fmt.Errorf("data directory: %w", err)
	}
	return s, nil
}

// commandConfig takes the connection from a client.properties, all of it: half
// of one file and half of another would be neither.
func (a *app) commandConfig(s *settings) error {
	if a.flags.commandConfig == "" {
		return nil
	}
	c, warnings, err := cluster.FromProperties(a.flags.commandConfig)
	if err != nil {
		return err
	}
	for _, w := range warnings {
		a.log.Warn(w)
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
