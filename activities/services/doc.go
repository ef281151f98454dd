// Package services holds the activities that stop and start the services of a
// system, and migrate its databases.
//
// Every activity may run twice and leaves the same: a service that has the
// state asked for is left alone. None of them decides whether a service may be
// touched; the workflow does.
package services
