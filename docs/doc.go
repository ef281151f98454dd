// Package docs holds the tests that keep the documents in step with the code.
package docs
