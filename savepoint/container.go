package savepoint

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"path"
	"slices"
	"strconv"

	"github.com/go-json-experiment/json"
	"github.com/twmb/avro"
	"github.com/twmb/avro/ocf"
)

// Bounds of a container file (D3). A block is written when it reaches
// blockBytes; one row can be larger.
const (
	blockBytes     = 64 << 10
	maxBlockBytes  = 64 << 20
	maxHeaderBytes = 2 * maxSchemaBytes
)

// containerMagic begins every Avro object container file.
const containerMagic = "Obj\x01"

// metadataSchema is the type of a container's metadata.
var metadataSchema = avro.MustParse(`{"type":"map","values":"bytes"}`)

// rowSchema is the schema of the rows of one version: the key as bytes, and the
// state. The record has no namespace, so that names inside of the state stay
// what they are.
func rowSchema(state string) (string, error) {
	var value any
	if err := json.Unmarshal([]byte(state), &value); err != nil {
		return "", fmt.Errorf("%w: schema: %w", ErrInvalid, err)
	}
	type field struct {
		Name string `json:"name"`
		Type any    `json:"type"`
	}
	text, err := json.Marshal(struct {
		Type   string  `json:"type"`
		Name   string  `json:"name"`
		Fields []field `json:"fields"`
	}{"record", "procd_row", []field{{"key", "bytes"}, {"value", value}}}, json.Deterministic(true))
	if err != nil {
		return "", fmt.Errorf("%w: schema: %w", ErrInvalid, err)
	}
	return string(text), nil
}

// containerWriter writes the rows of one version of one part. The rows' bytes
// are written as they are.
type containerWriter struct {
	ocf *ocf.Writer
	row []byte
}

// newContainer begins a container. Its sync marker, which must not occur in the
// data by chance, is given, so that one savepoint has one export.
func newContainer(w io.Writer, state string, marker [16]byte) (*containerWriter, error) {
	text, err := rowSchema(state)
	if err != nil {
		return nil, err
	}
	schema, err := avro.Parse(text)
	if err != nil {
		return nil, fmt.Errorf("%w: schema: %w", ErrInvalid, err)
	}
	o, err := ocf.NewWriter(w, schema, ocf.WithBlockBytes(blockBytes), ocf.WithSyncMarker(marker))
	if err != nil {
		return nil, err
	}
	return &containerWriter{ocf: o}, nil
}

func (c *containerWriter) add(r Row) error {
	c.row = binary.AppendVarint(c.row[:0], int64(len(r.Key)))
	c.row = append(append(c.row, r.Key...), r.Data...)
	if len(c.row)+blockBytes > maxBlockBytes {
		return fmt.Errorf("%w: row of %d bytes, key %q", ErrTooLarge, len(c.row), abbreviate(string(r.Key)))
	}
	_, err := c.ocf.Write(c.row)
	return err
}

func (c *containerWriter) close() error { return c.ocf.Close() }

// containerReader reads the rows that a containerWriter wrote, keeping the
// state's bytes as they are, which no library does. Only the form that is
// written here is read: not compressed, and with the expected schema.
type containerReader struct {
	in      *bufio.Reader
	version int
	value   *avro.Schema
	marker  [16]byte
	block   []byte // what is left of it
	rows    int64  // in block
	whole   []byte // the block's memory
}

// openContainer reads the header. state is the schema of the rows' states.
func openContainer(in io.Reader, version int, state string) (*containerReader, error) {
	value, err := parseSchema(state)
	if err != nil {
		return nil, err
	}
	c := &containerReader{in: bufio.NewReaderSize(in, maxHeaderBytes), version: version, value: value}
	head, err := c.in.Peek(maxHeaderBytes)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	body, ok := bytes.CutPrefix(head, []byte(containerMagic))
	if !ok {
		return nil, fmt.Errorf("%w: not an Avro object container", ErrMalformed)
	}
	var meta map[string][]byte
	rest, err := metadataSchema.Decode(body, &meta)
	if err != nil {
		return nil, fmt.Errorf("%w: container metadata: %w", ErrMalformed, err)
	}
	if err := checkMetadata(meta, state); err != nil {
		return nil, err
	}
	if n := copy(c.marker[:], rest); n < len(c.marker) {
		return nil, fmt.Errorf("%w: container has no sync marker", ErrMalformed)
	}
	_, err = c.in.Discard(len(head) - len(rest) + len(c.marker))
	return c, err
}

func checkMetadata(meta map[string][]byte, state string) error {
	if codec := string(meta["avro.codec"]); codec != "" && codec != "null" {
		return fmt.Errorf("%w: container is compressed with %q", ErrMalformed, abbreviate(codec))
	}
	want, err := rowSchema(state)
	if err != nil {
		return err
	}
	if !bytes.Equal(meta["avro.schema"], []byte(want)) {
		return fmt.Errorf("%w: the container's schema is not that of the manifest", ErrMalformed)
	}
	return nil
}

// next returns the next row, valid until the following call; io.EOF at the end.
func (c *containerReader) next() (Row, error) {
	for c.rows == 0 {
		if len(c.block) > 0 {
			return Row{}, fmt.Errorf("%w: %d bytes after the last row of a block", ErrMalformed, len(c.block))
		}
		if err := c.readBlock(); err != nil {
			return Row{}, err
		}
	}
	c.rows--
	size, n := binary.Varint(c.block)
	if n <= 0 || size < 0 || size > int64(len(c.block)-n) {
		return Row{}, fmt.Errorf("%w: key of a row is cut off", ErrMalformed)
	}
	key, value := c.block[n:n+int(size)], c.block[n+int(size):]
	var ignored any
	rest, err := c.value.Decode(value, &ignored)
	if err != nil {
		return Row{}, fmt.Errorf("%w: row of key %q: %w", ErrMalformed, abbreviate(string(key)), err)
	}
	c.block = rest
	return Row{Key: key, Version: c.version, Data: value[:len(value)-len(rest)]}, nil
}

func (c *containerReader) readBlock() error {
	rows, err := binary.ReadVarint(c.in)
	if err != nil {
		return err // io.EOF where a block would begin is the end
	}
	size, err := binary.ReadVarint(c.in)
	if err != nil {
		return cutOff(err)
	}
	// Every row has at least the byte that counts its key.
	if size < 0 || size > maxBlockBytes || rows < 1 || rows > size {
		return fmt.Errorf("%w: block of %d rows in %d bytes", ErrMalformed, rows, size)
	}
	if err := c.fill(int(size)); err != nil {
		return cutOff(err)
	}
	var marker [16]byte
	if _, err := io.ReadFull(c.in, marker[:]); err != nil {
		return cutOff(err)
	}
	if marker != c.marker {
		return fmt.Errorf("%w: block is not followed by the sync marker", ErrMalformed)
	}
	c.rows = rows
	return nil
}

// fill reads a block of declared size. Memory grows with what is really there.
func (c *containerReader) fill(size int) error {
	buf := bytes.NewBuffer(c.whole[:0])
	n, err := io.CopyN(buf, c.in, int64(size))
	if err == nil && n < int64(size) {
		err = io.ErrUnexpectedEOF
	}
	c.whole = buf.Bytes()
	c.block = c.whole
	return err
}

func cutOff(err error) error {
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return fmt.Errorf("%w: container is cut off: %w", ErrMalformed, err)
}

// EachRow calls fn for every row of one part of a portable savepoint, version by
// version, until it returns an error. The files are verified as they are read:
// after an error, whatever fn got counts for nothing. Where a key is there
// twice, as in a savepoint made by hand, its last row counts.
func (s *Savepoint) EachRow(ctx context.Context, uid string, partition int32, fn func(Row) error) error {
	p, err := s.part(uid, partition)
	if err != nil {
		return err
	}
	if s.manifest.Form != Portable {
		return fmt.Errorf("%w: savepoint %s is %s; its files are copied instead", ErrInvalid, s.name, s.manifest.Form)
	}
	return s.eachPortable(ctx, p, fn)
}

// eachPortable calls fn for every row of a portable part, until it returns an
// error.
func (s *Savepoint) eachPortable(ctx context.Context, p *Part, fn func(Row) error) error {
	files, err := byVersion(p.Files)
	if err != nil {
		return fmt.Errorf("savepoint %s, %s: %w", s.name, partDir(p.UID, p.Partition), err)
	}
	for _, f := range files {
		if err := s.eachOfFile(ctx, p, f, func(int) {}, fn); err != nil {
			return err
		}
	}
	return nil
}

// byVersion sorts containers, so that rows of a newer schema come later.
func byVersion(files []File) ([]File, error) {
	versions := make(map[string]int, len(files))
	for _, f := range files {
		var err error
		if versions[f.Name], err = containerVersion(f.Name); err != nil {
			return nil, err
		}
	}
	files = slices.Clone(files)
	slices.SortFunc(files, func(a, b File) int { return versions[a.Name] - versions[b.Name] })
	return files, nil
}

// eachOfFile reads one container to its end, however bad its rows are: what is
// wrong with its bytes is the better answer. An error of fn ends it at once.
func (s *Savepoint) eachOfFile(ctx context.Context, p *Part, f File, progress func(int), fn func(Row) error) error {
	name := path.Join(partDir(p.UID, p.Partition), f.Name)
	version, schema, err := s.schemaOf(p, f)
	if err != nil {
		return fmt.Errorf("savepoint %s, %s: %w", s.name, name, err)
	}
	in, err := s.fs.Open(path.Join(s.dir, name))
	if err != nil {
		return s.damage(name, err)
	}
	// One byte more than it should have shows a file that has grown.
	body := &hashedFile{ctx: ctx, in: io.LimitReader(in, f.Size+1), sum: sha256.New(), progress: progress}
	var failed error
	err = eachOfContainer(body, version, schema, func(r Row) error {
		failed = fn(r)
		return failed
	})
	if failed == nil {
		_, rest := io.Copy(io.Discard, body)
		err = errors.Join(rest, err)
	}
	err = errors.Join(err, in.Close())
	switch {
	case failed != nil:
		return failed
	case body.failed != nil:
		return s.damage(name, body.failed)
	case body.size != f.Size:
		return &DamageError{Savepoint: s.name, File: name, Problem: "it does not have " + strconv.FormatInt(f.Size, 10) + " bytes"}
	case hex.EncodeToString(body.sum.Sum(nil)) != f.SHA256:
		return &DamageError{Savepoint: s.name, File: name, Problem: "its checksum is wrong"}
	case err != nil:
		return fmt.Errorf("savepoint %s, %s: %w", s.name, name, err)
	}
	return nil
}

// schemaOf is what the rows of a container are written with.
func (s *Savepoint) schemaOf(p *Part, f File) (version int, schema string, err error) {
	if version, err = containerVersion(f.Name); err != nil {
		return 0, "", err
	}
	store, _ := s.manifest.Store(p.UID)
	schema, ok := store.Schema(version)
	if !ok {
		return 0, "", fmt.Errorf("%w: version %d has no schema", ErrMalformed, version)
	}
	return version, schema, nil
}

// hashedFile hashes what is read of a file.
type hashedFile struct {
	ctx      context.Context
	in       io.Reader
	sum      hash.Hash
	progress func(int)
	size     int64
	failed   error // of reading: nothing is known of the file
}

func (h *hashedFile) Read(b []byte) (int, error) {
	if h.failed == nil {
		h.failed = h.ctx.Err()
	}
	if h.failed != nil {
		return 0, h.failed
	}
	n, err := h.in.Read(b)
	h.sum.Write(b[:n]) // never fails
	h.size += int64(n)
	h.progress(n)
	if err != nil && !errors.Is(err, io.EOF) {
		h.failed = err
	}
	return n, err
}

func eachOfContainer(in io.Reader, version int, schema string, fn func(Row) error) error {
	c, err := openContainer(in, version, schema)
	if err != nil {
		return err
	}
	for {
		r, err := c.next()
		if errors.Is(err, io.EOF) && !errors.Is(err, ErrMalformed) {
			return nil
		}
		if err == nil {
			err = fn(r)
		}
		if err != nil {
			return err
		}
	}
}
