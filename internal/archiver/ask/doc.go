// Package ask is the other half of package archiver: what asks a worker for WAL to
// be pushed. It needs little, so that what PostgreSQL calls for each file starts at once.
//
// It promises: Worker gives nil only when the worker said that the file is in the
// store. Everything else, a worker that is down, hangs, is an older one, or protects
// something else included, is an error, after which the caller pushes the file itself.
package ask
