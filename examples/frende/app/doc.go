// Command app is Frende: a small real web application, and the thing that the
// example destroys and recovers. It knows nothing of what protects it.
//
// People, matches and messages are rows in PostgreSQL, sessions are keys in
// Redis, photos are files on disk. Configuration files are read at the start.
//
//	app migrate  --config DIR                 bring the schema up to date
//	app backend  --config DIR --name backend-1  serve the API
//	app frontend --config DIR                 share requests out over the back ends
//
// A write is acknowledged when it is durable: the row is committed; the photo
// is synced, has its name, and its folder is synced. A session is as durable as
// Redis is configured to be.
package main
