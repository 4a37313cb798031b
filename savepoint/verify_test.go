package savepoint

import (
	"errors"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// 1,000 random bit flips, cuts, additions and removals over all files of a
// savepoint: every one is found, and the file is named.
func TestEveryCorruptionIsFound(t *testing.T) {
	_, s, dir := newTestJob(t).saveToDisk(t)
	files := allFiles(t, dir)
	if len(files) < 20 || !slices.Contains(files, manifestName) {
		t.Fatalf("files: %v", files)
	}
	rng := rand.New(rand.NewPCG(4, 4))
	for range 1000 {
		file := files[rng.IntN(len(files))]
		name := filepath.Join(dir, file)
		content := readFile(t, name)
		what := corrupt(t, rng, name, content)
		err := verifyPath(t, dir)
		if !errors.Is(err, ErrDamaged) && !errors.Is(err, ErrNotFound) && !errors.Is(err, ErrNewerFormat) {
			t.Fatalf("%s of %s: %v", what, file, err)
		}
		if !strings.Contains(err.Error(), file) {
			t.Fatalf("%s of %s: the error does not name it: %v", what, file, err)
		}
		must(t, os.WriteFile(name, content, 0o644))
	}
	must(t, s.Verify(t.Context(), nil))
}

// corrupt damages a file in a random way.
func corrupt(t *testing.T, rng *rand.Rand, name string, content []byte) (what string) {
	t.Helper()
	damaged := slices.Clone(content)
	switch kind := rng.IntN(5); {
	case kind == 0:
		must(t, os.Remove(name))
		return "removal"
	case kind == 1 || len(content) == 0:
		what, damaged = "addition", append(damaged, byte(rng.IntN(256)))
	case kind == 2:
		what, damaged = "cut", damaged[:rng.IntN(len(damaged))]
	default:
		what = "bit flip"
		damaged[rng.IntN(len(damaged))] ^= 1 << rng.IntN(8)
	}
	must(t, os.WriteFile(name, damaged, 0o644))
	return what
}

func allFiles(t *testing.T, dir string) (files []string) {
	t.Helper()
	must(t, fs.WalkDir(os.DirFS(dir), ".", func(name string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			files = append(files, name)
		}
		return err
	}))
	return files
}

func verifyPath(t *testing.T, dir string) error {
	t.Helper()
	s, err := OpenPath(dir)
	if err != nil {
		return err
	}
	return errors.Join(s.Verify(t.Context(), nil), s.Close())
}

// Two flipped bytes name two files.
func TestEveryDamagedFileIsNamed(t *testing.T) {
	_, s, dir := newTestJob(t).saveToDisk(t)
	var damaged []string
	for _, f := range allFiles(t, dir) {
		if filepath.Ext(f) == ".sst" {
			damaged = append(damaged, f)
			content := readFile(t, filepath.Join(dir, f))
			content[len(content)/2] ^= 1
			must(t, os.WriteFile(filepath.Join(dir, f), content, 0o644))
		}
	}
	err := s.Verify(t.Context(), nil)
	for _, f := range damaged {
		if err == nil || !strings.Contains(err.Error(), f) {
			t.Errorf("%s is not named in %v", f, err)
		}
	}
	if len(damaged) != 4 {
		t.Errorf("%d tables", len(damaged))
	}
	for _, rowErr := range s.Rows(t.Context(), "arm", 0) {
		if !errors.Is(rowErr, ErrDamaged) {
			t.Errorf("rows of a damaged part: %v", rowErr)
		}
	}
	if err := s.Export(t.Context(), openDir(t, t.TempDir()), nil); !errors.Is(err, ErrDamaged) {
		t.Errorf("export of a damaged savepoint: %v", err)
	}
}

// What does not belong to a savepoint is found: it may be read by mistake.
func TestHostileEntries(t *testing.T) {
	for name, plant := range map[string]func(t *testing.T, dir string) string{
		"file": func(t *testing.T, dir string) string {
			must(t, os.WriteFile(filepath.Join(dir, "stores/arm/0/extra"), nil, 0o644))
			return "stores/arm/0/extra"
		},
		"directory": func(t *testing.T, dir string) string {
			must(t, os.Mkdir(filepath.Join(dir, "stores/other"), 0o755))
			return "stores/other"
		},
		"link to a file outside": func(t *testing.T, dir string) string {
			return replaceByLink(t, dir, "stores/arm/0/"+someTable(t, dir))
		},
		"link to a directory": func(t *testing.T, dir string) string {
			return replaceByLink(t, dir, "stores/arm")
		},
		"pipe": func(t *testing.T, dir string) string {
			name := "stores/arm/0/" + someTable(t, dir)
			must(t, os.Remove(filepath.Join(dir, name)))
			must(t, mkfifo(filepath.Join(dir, name)))
			return name
		},
	} {
		t.Run(name, func(t *testing.T) {
			_, s, dir := newTestJob(t).saveToDisk(t)
			planted := plant(t, dir)
			err := s.Verify(t.Context(), nil)
			if !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), planted) {
				t.Errorf("%v", err)
			}
		})
	}
}

// A link is not followed by any way of reading.
func TestLinksAreNotFollowed(t *testing.T) {
	_, s, dir := newTestJob(t).saveToDisk(t)
	replaceByLink(t, dir, "stores/arm/0/"+someTable(t, dir))
	if err := s.VerifyPart(t.Context(), "arm", 0, nil); !errors.Is(err, ErrDamaged) {
		t.Errorf("verify: %v", err)
	}
	if err := s.CopyOut(t.Context(), "arm", 0, openDir(t, t.TempDir()), nil); !errors.Is(err, ErrDamaged) {
		t.Errorf("copy out: %v", err)
	}
	replaceByLink(t, dir, manifestName)
	if _, err := OpenPath(dir); !errors.Is(err, ErrNotRegular) {
		t.Errorf("manifest: %v", err)
	}
}

// replaceByLink moves an entry away and puts a link to it in its place: the
// bytes are right, and still it is refused.
func replaceByLink(t *testing.T, dir, name string) string {
	t.Helper()
	away := filepath.Join(t.TempDir(), "away")
	must(t, os.Rename(filepath.Join(dir, name), away))
	must(t, os.Symlink(away, filepath.Join(dir, name)))
	return name
}

func someTable(t *testing.T, dir string) string {
	t.Helper()
	for _, f := range allFiles(t, filepath.Join(dir, "stores/arm/0")) {
		if isTable(f) {
			return f
		}
	}
	t.Fatal("no table")
	return ""
}

// VerifyFiles is for a live directory, which has files of its own besides.
func TestVerifyFiles(t *testing.T) {
	_, s, dir := newTestJob(t).saveToDisk(t)
	p, _ := s.Manifest().Part("arm", 0)
	live := openDir(t, filepath.Join(dir, partDir("arm", 0)))
	var read int
	if err := VerifyFiles(t.Context(), live, ".", "live copy", p.Files, func(n int) { read += n }); err != nil || int64(read) != p.Bytes() {
		t.Errorf("%d bytes, %v", read, err)
	}
	files := slices.Clone(p.Files)
	files[1].SHA256 = strings.Repeat("0", 64)
	if err := VerifyFiles(t.Context(), live, ".", "live copy", files, nil); !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), files[1].Name) {
		t.Errorf("%v", err)
	}
}
