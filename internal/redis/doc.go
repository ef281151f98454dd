// Package redis is all that is said to a Redis server, or to the files of one.
//
// It promises:
//
//   - [Server.CaptureRDB] gives an RDB that the server wrote after it was asked,
//     whole, and the window of time in which its moment lies. A save that was
//     running before does not count, and a later one is not taken for it.
//   - [Arrange] places an RDB where a server with a given [Layout] loads it. With
//     appendonly on that is the base of an append-only file with its manifest: an
//     RDB alone would be passed over, and the server would start empty.
//   - [StartIsolated] loads a data directory in a server that nothing can reach
//     but its caller, which neither replicates nor saves.
//
// Written for Redis 7 (multi-part append-only files) and tried on 7.0.
package redis
