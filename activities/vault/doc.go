// Package vault is how whole backups are read back and copied to another region.
package vault
