// Package hosts looks after what recoveries leave on a host: directories that they
// replaced, and directories that they filled and never put in place.
package hosts
