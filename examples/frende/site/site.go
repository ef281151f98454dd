// Package site is how Frende is configured: the files that the application,
// its load and its oracle read.
package site

import (
	"fmt"
	"os"
	"path/filepath"

	"go.yaml.in/yaml/v4"
)

// Names of the configuration files.
const (
	StorageFile = "storage.yaml"
	NetworkFile = "network.yaml"
	LookFile    = "look.yaml"
)

// Storage says where the data lies.
type Storage struct {
	Database string `yaml:"database"` // PostgreSQL URL
	Redis    Redis  `yaml:"redis"`
	Photos   string `yaml:"photos"` // directory
}

// Redis is the server of the sessions.
type Redis struct {
	Address  string `yaml:"address"` // host:port
	Password string `yaml:"password"`
}

// Network says who listens where.
type Network struct {
	Frontend string            `yaml:"frontend"` // host:port
	Backends map[string]string `yaml:"backends"` // name: host:port
}

// Look is what the page says.
type Look struct {
	Title   string `yaml:"title"`
	Welcome string `yaml:"welcome"`
}

// Read reads one configuration file. A key that it does not know is an error.
func Read[T Storage | Network | Look](dir, name string) (T, error) {
	var read T
	path := filepath.Join(dir, name)
	raw, err := os.ReadFile(path)
	if err != nil {
		return read, fmt.Errorf("read configuration: %w", err)
	}
	if err := yaml.Load(raw, &read, yaml.WithKnownFields()); err != nil {
		return read, fmt.Errorf("read configuration %s: %w", path, err)
	}
	return read, nil
}
