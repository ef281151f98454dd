// Package watch holds the workflows that look after a system between its backups
// and its recoveries.
package watch
