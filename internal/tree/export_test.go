package tree

import "os"

// CloneWith has files cloned by something else than the file system.
func (x *Extraction) CloneWith(clone func(to, from *os.File) error) { x.clone = clone }
