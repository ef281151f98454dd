// Package lab runs real servers on free loopback ports, for tests and for the
// demonstration: PostgreSQL, Redis, S3 (versitygw) and Temporal.
//
// It knows nothing of what it serves. Every server runs as an ordinary user:
// as the postgres user when the caller is root (PostgreSQL refuses to run as
// root), else as the caller. A server that is started is ready: it answered.
//
// A test calls StartPostgres, StartRedis, StartS3 or StartTemporal; the server
// ends with the test, even when the test process is killed. A missing program
// fails the test.
//
// A Lab keeps servers and services under one directory: how each is started,
// its process record and its log. They are detached and outlive the process
// that started them, until Remove. A record holds the start time and the
// command line of its process, so a process that merely has the same number is
// never touched.
package lab
