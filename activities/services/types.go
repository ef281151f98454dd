package services

import "github.com/frende/lifeboat/internal/system"

// StatusInput names the services to look at.
type StatusInput struct {
	Services []system.Service `json:"services"`
}

// StopInput names the services to stop. They are stopped in reverse order, as
// what is started last depends on the others.
type StopInput struct {
	Services []system.Service `json:"services"`
}

// StartInput names the services to start, in their order.
type StartInput struct {
	Services []system.Service `json:"services"`
}

// Result says what became of each service, in the order in which they were
// worked on. It is also the heartbeat of Stop and Start.
type Result struct {
	Services []Outcome `json:"services"`
}

// Outcome is one service.
type Outcome struct {
	Name    string          `json:"name"`
	State   string          `json:"state"`   // "running", "stopped", "failed", "changing"
	Changed bool            `json:"changed"` // whether this attempt brought it there
	Took    system.Duration `json:"took"`
}

// MigrateInput names the migration, and the database it is for.
type MigrateInput struct {
	Migration system.Migration `json:"migration"`
	Database  system.Database  `json:"database"`
}

// MigrateResult says how long the migration took.
type MigrateResult struct {
	Name string          `json:"name"`
	Took system.Duration `json:"took"`
}
