package savepoint

import (
	"context"
	"fmt"
	"path"
)

// CopyOut copies the files of a native part into a directory, which must not
// have files of these names, verifying them on the way and syncing each. It is
// what a start does that cannot adopt a live directory (P15). progress, if not
// nil, is called with the bytes copied.
func (s *Savepoint) CopyOut(ctx context.Context, uid string, partition int32, dst FS, progress func(bytes int)) error {
	if progress == nil {
		progress = func(int) {}
	}
	p, err := s.part(uid, partition)
	if err != nil {
		return err
	}
	if s.manifest.Form != Native {
		return fmt.Errorf("%w: savepoint %s is %s; its rows are read instead", ErrInvalid, s.name, s.manifest.Form)
	}
	for _, f := range p.Files {
		name := path.Join(partDir(uid, partition), f.Name)
		have, err := copyFile(ctx, s.fs, path.Join(s.dir, name), dst, f.Name, progress)
		if err != nil {
			return s.damage(name, err)
		}
		if have != f {
			return &DamageError{Savepoint: s.name, File: name, Problem: "its size or checksum is wrong"}
		}
	}
	return dst.SyncDir(".")
}
