// Command wreck is the disaster of the demonstration.
//
//	wreck --lab DIR host --kill NAME,NAME [--remove PATH,PATH]
//	wreck --lab DIR chunk --store DIR[,DIR] --under KEY
//	wreck --lab DIR table --config DIR --table NAME
//
// host kills services of a lab with SIGKILL, by their process records, and
// then deletes directories. chunk flips one byte in the middle of a chunk of
// the backup with the key KEY, in the directory of each S3 server that is given;
// every one gets the same damage. table drops a table of Frende's database, and
// nothing else: the servers and the application go on.
//
// It touches nothing outside the lab. It prints what it did as JSON.
package main
