package checks

import "github.com/frende/lifeboat/internal/system"

// HealthInput names the checks, and the components that they ask.
type HealthInput struct {
	Checks    []system.Check    `json:"checks"`
	Databases []system.Database `json:"databases,omitempty"`
	Caches    []system.Cache    `json:"caches,omitempty"`
}

// HealthResult holds a result for each check, in the order of the input. It is
// also the heartbeat of Health, with the checks that have ended so far.
type HealthResult struct {
	Results []Result `json:"results"`
}

// Result is one check.
type Result struct {
	Name    string          `json:"name"`
	OK      bool            `json:"ok"`
	Tries   int             `json:"tries"`
	Latency system.Duration `json:"latency"` // of the last try
	Message string          `json:"message"` // what was seen, without secrets
}
