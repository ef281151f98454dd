// Package redis holds the activities that back up and recover a Redis server.
//
// A backup is an RDB that the server writes itself. A restore prepares a data
// directory beside the live one, proves it with Redis's own tools and an
// isolated server, and only CutOver stops the live server and swaps the two.
// Every activity may run twice and leaves the same.
package redis
