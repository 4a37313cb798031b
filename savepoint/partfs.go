package savepoint

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// partRoot is where Pebble believes a part's directory to be.
const partRoot = "part"

// errReadOnly answers everything that would change a savepoint.
var errReadOnly = errors.New("procd/savepoint: a savepoint is only read")

// partFS shows Pebble the files of one part, as the manifest lists them, and
// nothing else. Pebble would make a lock file, which a savepoint must not have.
type partFS struct {
	fs    FS
	dir   string
	files map[string]File
}

var _ vfs.FS = (*partFS)(nil)

func newPartFS(fsys FS, dir string, files []File) *partFS {
	p := &partFS{fs: fsys, dir: dir, files: make(map[string]File, len(files))}
	for _, f := range files {
		p.files[f.Name] = f
	}
	return p
}

func (p *partFS) Open(name string, opts ...vfs.OpenOption) (vfs.File, error) {
	base := path.Base(name)
	if _, ok := p.files[base]; !ok || path.Dir(name) != partRoot {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	}
	f, err := p.fs.Open(path.Join(p.dir, base))
	if err != nil {
		return nil, err
	}
	file := &partFile{ReadFile: f}
	for _, o := range opts {
		o.Apply(file)
	}
	return file, nil
}

func (p *partFS) OpenDir(name string) (vfs.File, error) {
	if name != partRoot {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	}
	return vfs.NewMemFile(nil), nil // Pebble only syncs it
}

func (p *partFS) List(name string) ([]string, error) {
	if name != partRoot {
		return nil, &fs.PathError{Op: "list", Path: name, Err: fs.ErrNotExist}
	}
	names := make([]string, 0, len(p.files))
	for n := range p.files {
		names = append(names, n)
	}
	return names, nil
}

func (p *partFS) Stat(name string) (vfs.FileInfo, error) {
	base := path.Base(name)
	if _, ok := p.files[base]; !ok || path.Dir(name) != partRoot {
		return nil, &fs.PathError{Op: "stat", Path: name, Err: fs.ErrNotExist}
	}
	info, err := p.fs.Lstat(path.Join(p.dir, base))
	if err != nil {
		return nil, err
	}
	return partInfo{info}, nil
}

func (p *partFS) Lock(string) (io.Closer, error) { return io.NopCloser(nil), nil }

func (p *partFS) PathBase(name string) string        { return path.Base(name) }
func (p *partFS) PathJoin(elem ...string) string     { return path.Join(elem...) }
func (p *partFS) PathDir(name string) string         { return path.Dir(name) }
func (p *partFS) Unwrap() vfs.FS                     { return nil }
func (p *partFS) Remove(string) error                { return errReadOnly }
func (p *partFS) RemoveAll(string) error             { return errReadOnly }
func (p *partFS) Rename(_, _ string) error           { return errReadOnly }
func (p *partFS) Link(_, _ string) error             { return errReadOnly }
func (p *partFS) MkdirAll(string, os.FileMode) error { return nil }

func (p *partFS) GetDiskUsage(string) (vfs.DiskUsage, error) { return vfs.DiskUsage{}, errReadOnly }

func (p *partFS) Create(string, vfs.DiskWriteCategory) (vfs.File, error) { return nil, errReadOnly }

func (p *partFS) OpenReadWrite(string, vfs.DiskWriteCategory, ...vfs.OpenOption) (vfs.File, error) {
	return nil, errReadOnly
}

func (p *partFS) ReuseForWrite(_, _ string, _ vfs.DiskWriteCategory) (vfs.File, error) {
	return nil, errReadOnly
}

// partFile is a file that Pebble reads.
type partFile struct{ ReadFile }

func (f *partFile) Stat() (vfs.FileInfo, error) {
	info, err := f.ReadFile.Stat()
	if err != nil {
		return nil, fmt.Errorf("procd/savepoint: %w", err)
	}
	return partInfo{info}, nil
}

func (f *partFile) Write([]byte) (int, error)          { return 0, errReadOnly }
func (f *partFile) WriteAt([]byte, int64) (int, error) { return 0, errReadOnly }
func (f *partFile) Preallocate(_, _ int64) error       { return errReadOnly }
func (f *partFile) Sync() error                        { return nil }
func (f *partFile) SyncTo(int64) (bool, error)         { return true, nil }
func (f *partFile) SyncData() error                    { return nil }
func (f *partFile) Prefetch(_, _ int64) error          { return nil }
func (f *partFile) Fd() uintptr                        { return vfs.InvalidFd }

// partInfo adds what Pebble wants to know of a disk, and does not need here.
type partInfo struct{ fs.FileInfo }

func (partInfo) DeviceID() vfs.DeviceID { return vfs.DeviceID{} }
