// Package check asks whether a part of a running system does its work: an HTTP
// answer, an open port, a true row, a Redis PONG, a program's exit status.
//
// A check is tried until it is true or its window (Check.Within) has passed;
// each try has its own time (Check.Timeout). It changes nothing at what it
// asks: SQL runs in a read-only transaction. What it saw is told without
// secrets.
package check
