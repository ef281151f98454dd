package temporal

import (
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/converter"
)

// FailureConverter is what a connection with these payloads turns errors into failures with.
func FailureConverter(p *Payloads) converter.FailureConverter { return p.failures }

// Through has a connection seal and open with these payloads.
func Through(p *Payloads, options *client.Options) { p.apply(options) }
